"""Evaluates a run's checkpoints as they appear, beside the process that trains it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from instrux.data.selected_step import SELECTED
from instrux.errors import InputError
from instrux.models.several_processes import of_first
from instrux.progress import duration, tell
from instrux.training.checkpoints import CHECKPOINTS, all_steps

ALL = "all"
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Follow:
    """How to wait for a run's checkpoints.

    Attributes:
        poll_seconds: time between looks at the folder.
        patience_seconds: without a new checkpoint for so long it gives up, None for never.
    """

    poll_seconds: float = 10.0
    patience_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.poll_seconds > 0:
            raise InputError(f"Follow.poll_seconds is {self.poll_seconds}; give more than 0.")


def each_kept(model_dir: str, evaluate: Callable[[int], _Result]) -> _Result:
    """Evaluates every checkpoint that a run keeps, the oldest first.

    Returns:
        What the newest gave.

    Raises:
        InputError: there is none.
    """
    steps = all_steps(model_dir)
    if not steps:
        raise InputError(f"{model_dir}: no checkpoint yet; `instrux train` makes one.")
    return [evaluate(step) for step in steps][-1]


def each_new(model_dir: str, follow: Follow, evaluate: Callable[[int], _Result]) -> _Result:
    """Evaluates checkpoints until the run is complete and its last one is evaluated.

    Checkpoints that are there already come first; where training goes faster than evaluation, those
    that are gone by then are left out, and told.

    Returns:
        What the last one gave.

    Raises:
        InputError: no checkpoint appeared for `patience_seconds`.
    """
    done = 0
    waiting_told = False
    result: _Result | None = None
    since = time.monotonic()
    while True:
        complete_at = of_first(_complete_at(model_dir) or 0)
        step = of_first(next((step for step in all_steps(model_dir) if step > done), 0))
        if step:
            result, done = _evaluated(model_dir, step, evaluate) or result, step
            since, waiting_told = time.monotonic(), False
        elif result is not None and 0 < complete_at <= done:
            tell(f"evaluate: the run is complete at step {complete_at:,}, and evaluated")
            return result
        elif (
            follow.patience_seconds is not None
            and time.monotonic() - since > follow.patience_seconds
        ):
            raise InputError(
                f"{model_dir}: no checkpoint after step {done:,} for"
                f" {duration(follow.patience_seconds)}, and the run is not complete; start training"
                " again, or evaluate without Follow."
            )
        else:
            if not waiting_told:
                tell(f"evaluate: waiting for a checkpoint after step {done:,} of {model_dir}")
                waiting_told = True
            time.sleep(follow.poll_seconds)


def _evaluated(model_dir: str, step: int, evaluate: Callable[[int], _Result]) -> _Result | None:
    tell(f"evaluate: checkpoint of step {step:,}")
    try:
        return evaluate(step)
    except (InputError, OSError):
        if (Path(model_dir) / CHECKPOINTS / str(step)).is_dir():
            raise
        tell(f"evaluate: the run has removed the checkpoint of step {step:,}: left out")
        return None


def _complete_at(model_dir: str) -> int | None:
    """The step at which a run says that it is complete."""
    try:
        summary = json.loads((Path(model_dir) / "summary.json").read_text(encoding="utf-8"))
        return None if summary["stopped"] == "signal" else int(summary["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_step(step: int | str | None, follow: Follow | None) -> None:
    """Checks that what is followed is not also one checkpoint.

    Raises:
        InputError: both are asked for, or the step is a word that stands for nothing.
    """
    if follow is not None and step not in (None, ALL):
        raise InputError(
            f"evaluate: step is {step!r} and Follow evaluates them all; leave one out."
        )
    if isinstance(step, str) and step not in (ALL, SELECTED):
        raise InputError(
            f"step is {step!r}; give a number, {SELECTED!r}, {ALL!r}, or None for the newest."
        )
