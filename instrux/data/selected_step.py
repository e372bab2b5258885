"""`<model_dir>/selected.json`: which checkpoint of a run was chosen, by what, and from which.

Wherever a step's number is asked for, `selected` (the word) stands for the step in this file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from instrux.data.files import write_json_atomically
from instrux.errors import InputError

SELECTED = "selected"
FILE_NAME = "selected.json"
SCHEMA = "instrux.selected/1"


@dataclass(frozen=True, kw_only=True)
class SelectedStep:
    """The choice of a checkpoint.

    Attributes:
        step: the chosen checkpoint's step.
        checkpoint: fingerprint of its content when it was chosen.
        rule: how a checkpoint's score was made of its tasks'.
        score: the chosen checkpoint's score: percent, or whatever a scorer's numbers mean.
        scores: step -> score, of every checkpoint that was looked at.
        tasks: the rendered tasks that were scored.
        left_out: tasks that were asked for and are not rendered.
        split: the split that was scored.
        max_examples: examples a task at most, or None for all.
        evaluation: the folder under the run that holds each step's results.
        losses: step -> validation loss, nats a token, where it was logged.
        steps_per_epoch: where a run is counted in epochs, or None.
    """

    step: int
    checkpoint: str
    rule: str
    score: float
    scores: Mapping[int, float]
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    split: str
    max_examples: int | None
    evaluation: str
    losses: Mapping[int, float] = field(default_factory=dict)
    steps_per_epoch: int | None = None


def write_selected(model_dir: str | Path, selected: SelectedStep) -> bool:
    """Writes the file, whole or not at all; False where it says the same already."""
    try:
        if read_selected(model_dir) == selected:
            return False
    except InputError:  # absent, or not one of ours: written anew
        pass
    content: dict[str, Any] = asdict(selected) | {"schema": SCHEMA}
    for name in ("scores", "losses"):
        content[name] = {str(step): value for step, value in content[name].items()}
    write_json_atomically(Path(model_dir) / FILE_NAME, content)
    return True


def read_selected(model_dir: str | Path) -> SelectedStep:
    """Reads what `write_selected` wrote.

    Raises:
        InputError: no checkpoint was chosen, or the file is damaged.
    """
    path = Path(model_dir) / FILE_NAME
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        for name in ("scores", "losses"):
            values = {int(step): float(value) for step, value in content.get(name, {}).items()}
            content[name] = dict(sorted(values.items()))  # the file has them in order of letters
        for name in ("tasks", "left_out"):
            content[name] = tuple(map(str, content[name]))
        selected = SelectedStep(**content)
        if type(selected.step) is not int or selected.step not in selected.scores:
            raise ValueError("its step is none of those it scores")
    except FileNotFoundError as error:
        raise InputError(
            f"{model_dir}: no checkpoint was selected ({FILE_NAME} is absent); run `instrux select`,"
            " or give a step's number."
        ) from error
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not a selected step ({type(error).__name__}: {error}); delete it and run"
            " `instrux select` again."
        ) from error
    return selected


def step_number(model_dir: str | Path, step: int | str | None) -> int | None:
    """Gives the number that `step` stands for: its own, that of the selected step, or None.

    Raises:
        InputError: it is another word, or no checkpoint was selected.
    """
    if not isinstance(step, str):
        return step
    if step != SELECTED:
        raise InputError(f"step is {step!r}; give a number, {SELECTED!r}, or None for the newest.")
    return read_selected(model_dir).step
