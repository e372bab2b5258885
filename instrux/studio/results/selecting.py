"""Which rows of one file of predictions, or of several, a page shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from instrux.studio.results.prediction_index import RIGHT, WRONG, Lines

FILTERS = {"all": "all", "right": "right", "wrong": "wrong"}
ORDERS = {"file": "as in the file", "low": "lowest credit first", "high": "highest credit first"}
COMPARISONS = {
    "all": "all",
    "differ": "credit differs",
    "first": "first better than all others",
    "others": "first worse than some other",
    "none": "no model right",
}
_SAME_CREDIT = 1e-4


def select(lines: Lines, *, show: str, order: str = "file") -> np.ndarray:
    """Numbers of the lines to show, in order.

    Args:
        lines: of the file.
        show: a key of `FILTERS`.
        order: a key of `ORDERS`; equal credits keep the file's order.
    """
    wanted = {"right": RIGHT, "wrong": WRONG}.get(show)
    chosen = np.arange(len(lines)) if wanted is None else np.flatnonzero(lines.correct == wanted)
    if order == "file":
        return chosen
    credit = lines.credits[chosen]
    return chosen[np.argsort(credit if order == "low" else -credit, kind="stable")]


@dataclass(frozen=True)
class SameRows:
    """Rows that several models answered.

    Attributes:
        numbers: `[rows, models]`, the line of each row in each model's file.
        answered: rows of the first model's file.
    """

    numbers: np.ndarray
    answered: int


def same_rows(models: Sequence[Lines]) -> SameRows:
    """Matches lines by example, in the order of the first file.

    An example that a file holds several times is matched by its first line there.
    """
    common = np.unique(models[0].examples)
    for lines in models[1:]:
        common = np.intersect1d(common, lines.examples)
    columns = []
    for lines in models:
        examples, first = np.unique(lines.examples, return_index=True)
        columns.append(first[np.searchsorted(examples, common)])
    numbers = np.stack(columns, axis=1) if len(common) else np.zeros((0, len(models)), np.int64)
    return SameRows(numbers[np.argsort(numbers[:, 0], kind="stable")], len(models[0]))


def compare(models: Sequence[Lines], rows: SameRows, *, show: str) -> np.ndarray:
    """The rows of `rows.numbers` to show, by a key of `COMPARISONS`; `[chosen, models]`."""
    credits = np.stack(
        [lines.credits[rows.numbers[:, place]] for place, lines in enumerate(models)], axis=1
    )
    correct = np.stack(
        [lines.correct[rows.numbers[:, place]] for place, lines in enumerate(models)], axis=1
    )
    return rows.numbers[_COMPARED[show](credits, correct)]


def _best_of_others(credits: np.ndarray) -> np.ndarray:
    return credits[:, 1:].max(axis=1, initial=-np.inf)


_COMPARED: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "all": lambda credits, correct: np.ones(len(credits), bool),
    "differ": lambda credits, correct: np.ptp(credits, axis=1) > _SAME_CREDIT,
    "first": lambda credits, correct: credits[:, 0] > _best_of_others(credits) + _SAME_CREDIT,
    "others": lambda credits, correct: credits[:, 0] < _best_of_others(credits) - _SAME_CREDIT,
    "none": lambda credits, correct: (correct != RIGHT).all(axis=1),
}
