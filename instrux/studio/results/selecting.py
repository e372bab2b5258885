"""Which rows of one file of predictions, or of several, a page shows."""

import threading
from collections import OrderedDict
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
_KEPT_MATCHES = 4


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
    first_ids = models[0].examples
    if all(np.array_equal(lines.examples, first_ids) for lines in models[1:]):
        first = np.sort(np.unique(first_ids, return_index=True)[1])
        return SameRows(np.repeat(first[:, None], len(models), axis=1), len(first_ids))
    common = np.unique(first_ids)
    for lines in models[1:]:
        common = np.intersect1d(common, lines.examples)
    columns = []
    for lines in models:
        examples, first = np.unique(lines.examples, return_index=True)
        columns.append(first[np.searchsorted(examples, common)])
    numbers = np.stack(columns, axis=1) if len(common) else np.zeros((0, len(models)), np.int64)
    return SameRows(numbers[np.argsort(numbers[:, 0], kind="stable")], len(models[0]))


class Matches:
    """The matches that were asked for last, since matching a million rows takes a second."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, ...], tuple[list[Lines], SameRows]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, models: list[Lines]) -> SameRows:
        """What `same_rows` gives; `models` must be complete."""
        # Those kept hold their lines, so an id stands for no other.
        key = tuple(map(id, models))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (models, same_rows(models))
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT_MATCHES:
                self._kept.popitem(last=False)
            return self._kept[key][1]


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
