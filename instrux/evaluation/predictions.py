"""Predictions of one task as JSON lines: what was asked, what the model said, what it got for it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from instrux.data.files import write_atomically
from instrux.errors import InputError


@dataclass(frozen=True)
class Prediction:
    """One example's prediction.

    Attributes:
        example_id: `dataset/config/split/row`, the same for all prompts of that row.
        template: name of the template that rendered it.
        inputs: what the model read, before truncation.
        targets: what it should have said.
        prediction: what it said; for a ranked example one of `choices`.
        choices: the answer choices that were ranked, or None where text was generated.
        scores: log-probability of each choice in nats, end of sequence included.
        correct: whether the prediction is right, or None under metrics that are not right or wrong.
        credit: what the task's headline metric gives for it, 0 to 100.
    """

    example_id: str
    template: str
    inputs: str
    targets: str
    prediction: str
    choices: tuple[str, ...] | None
    scores: tuple[float, ...] | None
    correct: bool | None
    credit: float


def predictions_path(folder: Path, task: str) -> Path:
    """Where a task's predictions lie in an evaluation's folder."""
    return folder / "predictions" / f"{task}.jsonl"


def task_credits(folder: Path, task: str) -> list[tuple[str, float]]:
    """The (example id, credit) pairs of a task, from its predictions."""
    return [(p.example_id, p.credit) for p in read_predictions(predictions_path(folder, task))]


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Writes one JSON object a line, whole or not at all."""
    lines = (json.dumps(asdict(p), ensure_ascii=False, allow_nan=False) for p in predictions)
    # A lone surrogate (half of an emoji, cut upstream) has no UTF-8 bytes.
    write_atomically(path, (f"{line}\n".encode(errors="replace") for line in lines))


def read_predictions(path: Path) -> Iterator[Prediction]:
    """Reads what `write_predictions` wrote, one at a time.

    Raises:
        InputError: the file is missing, or a line is not a prediction (with its line number).
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield parse_prediction(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: predictions cannot be read ({error}); delete the folder above it and"
            " evaluate again."
        ) from error


def parse_prediction(line: str, where: str) -> Prediction:
    """Reads one line.

    Args:
        line: the line.
        where: names it in the complaint.

    Raises:
        InputError: it is not a prediction.
    """
    try:
        fields: Any = json.loads(line)
        return Prediction(
            example_id=_text(fields["example_id"]),
            template=_text(fields["template"]),
            inputs=_text(fields["inputs"]),
            targets=_text(fields["targets"]),
            prediction=_text(fields["prediction"]),
            choices=None if fields["choices"] is None else tuple(map(_text, fields["choices"])),
            scores=None if fields["scores"] is None else tuple(map(float, fields["scores"])),
            correct=None if fields["correct"] is None else bool(fields["correct"]),
            credit=float(fields["credit"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: not a prediction ({type(error).__name__}: {error}); evaluate this task again."
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value
