"""Packs examples into rows of fixed length, inputs and targets jointly.

An example takes room in two dimensions, and must stay whole in one row: two-dimensional vector
bin packing. The whole shard is at hand, so rows are built one at a time, each from all examples
that are left. A row starts with the example whose size, weighted, is largest, and goes on with
the one that points most in the direction of the room that is left (the dot-product rule for
vector packing: Panigrahy, Talwar, Uyeda and Wieder, "Heuristics for Vector Bin Packing", 2011).
The weights make the dimension dear of which more rows are still needed. Each row is tried under
several tilts of these weights, and the fullest is kept.

Work is done on sizes, not on examples: those of equal size are interchangeable, and a pattern
that fills a row is used as often as the sizes that are left allow.
"""

from dataclasses import dataclass

import numpy as np

_TILTS = (0.0, 0.4, -0.4)
"""Logarithms of what inputs weigh more, and targets less, when a row is tried."""

_SCARCITY_POWER = 4
"""How much more the dimension weighs of which more rows are still needed. Chosen with the tilts on
real examples (docs/packing.md): wider tilts fill the first rows better and leave the last ones
what fits nowhere."""

_FULL_ENOUGH = 1e-3
"""A row that leaves less than this share of its weighted room empty is not tried again."""

_AT_ONCE = 16_384
"""Examples that are packed against each other: the work grows with the sizes there are, and rows
hardly become fuller beyond (docs/packing.md)."""

_CLEAR_EVERY_ROWS = 16
"""How often sizes of which none is left are dropped from the arrays."""


def pack(
    inputs_lengths: np.ndarray,
    targets_lengths: np.ndarray,
    *,
    inputs_length: int,
    targets_length: int,
) -> np.ndarray:
    """Assigns every example to a row.

    The same lengths in the same order give the same rows. Among examples of equal size those
    that come first go to the rows that are built first, so an order that was shuffled stays so.

    Args:
        inputs_lengths: encoder tokens of each example, `[examples]`, at most `inputs_length`.
        targets_lengths: decoder tokens of each example, `[examples]`, from 1 to `targets_length`.
        inputs_length: encoder positions a row.
        targets_length: decoder positions a row.

    Returns:
        int64 `[examples]`: the row of each example. Rows are numbered from 0, in the order in
        which they were built: the largest examples come first, so shuffle the rows.

    Raises:
        ValueError: a length is out of its range.
    """
    inputs_lengths = np.asarray(inputs_lengths, np.int64)
    targets_lengths = np.asarray(targets_lengths, np.int64)
    if not len(inputs_lengths):
        return np.zeros(0, np.int64)
    _check(inputs_lengths, 0, inputs_length, "inputs")
    _check(targets_lengths, 1, targets_length, "targets")
    room = inputs_length, targets_length
    rows: list[np.ndarray] = []
    first_row = 0
    for start in range(0, len(inputs_lengths), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        rows.append(first_row + _pack_part(inputs_lengths[part], targets_lengths[part], room))
        first_row = int(rows[-1].max()) + 1
    return np.concatenate(rows)


def _pack_part(inputs: np.ndarray, targets: np.ndarray, room: tuple[int, int]) -> np.ndarray:
    """As `pack`, all examples against all."""
    sizes, size_of_example, counts = np.unique(
        inputs * (room[1] + 1) + targets, return_inverse=True, return_counts=True
    )
    stock = _Stock(sizes // (room[1] + 1), sizes % (room[1] + 1), counts, room)
    return _rows_of_examples(size_of_example, _build_rows(stock))


@dataclass(frozen=True)
class _Pattern:
    """Sizes that fill a row together, and how many rows are filled so.

    Attributes:
        sizes: the number of each size, with repeats.
        rows: how many rows.
    """

    sizes: list[int]
    rows: int


class _Stock:
    """The sizes that are not packed yet."""

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        counts: np.ndarray,
        room: tuple[int, int],
    ) -> None:
        self.inputs = inputs
        self.targets = targets
        self.counts = counts
        self.room = room
        self.present = np.arange(len(counts))
        """Numbers of the sizes that may be left."""
        self.rows_needed = [
            float(inputs @ counts) / room[0],
            float(targets @ counts) / room[1],
        ]
        """What is left, in rows, counted in inputs and counted in targets."""

    def weights(self) -> tuple[float, float]:
        """What a full row's inputs and targets are worth; they sum to 1."""
        inputs, targets = (needed**_SCARCITY_POWER for needed in self.rows_needed)
        whole = inputs + targets
        return inputs / whole, targets / whole

    def take(self, pattern: _Pattern) -> None:
        for size in pattern.sizes:
            self.counts[size] -= pattern.rows
        used = self.inputs[pattern.sizes].sum(), self.targets[pattern.sizes].sum()
        for dimension in (0, 1):
            taken = pattern.rows * float(used[dimension]) / self.room[dimension]
            # Rounding must not make it zero in both dimensions while something is left.
            self.rows_needed[dimension] = max(self.rows_needed[dimension] - taken, 1e-9)


def _check(lengths: np.ndarray, low: int, high: int, name: str) -> None:
    if lengths.min() < low or lengths.max() > high:
        raise ValueError(
            f"{name} lengths go from {lengths.min()} to {lengths.max()}, outside {low} to {high}"
        )


def _build_rows(stock: _Stock) -> list[_Pattern]:
    patterns: list[_Pattern] = []
    while True:
        if len(patterns) % _CLEAR_EVERY_ROWS == 0:
            stock.present = stock.present[stock.counts[stock.present] > 0]
        candidates = stock.present[stock.counts[stock.present] > 0]
        if not len(candidates):
            return patterns
        sizes = _fullest_row(stock, candidates)
        often: dict[int, int] = {}
        for size in sizes:
            often[size] = often.get(size, 0) + 1
        rows = min(int(stock.counts[size]) // times for size, times in often.items())
        patterns.append(_Pattern(sizes, rows))
        stock.take(patterns[-1])


def _fullest_row(stock: _Stock, candidates: np.ndarray) -> list[int]:
    """Builds a row under each tilt of the weights and gives the sizes of the fullest."""
    weights = stock.weights()
    lengths = stock.inputs[candidates], stock.targets[candidates]
    fullest: list[int] = []
    least_empty = np.inf
    for tilt in _TILTS:
        tilted = weights[0] * np.exp(tilt), weights[1] * np.exp(-tilt)
        sizes, room = _fill(stock, candidates, lengths, tilted)
        empty = sum(
            w * left / full for w, left, full in zip(weights, room, stock.room, strict=True)
        )
        if empty < least_empty:
            fullest, least_empty = sizes, empty
        if empty < _FULL_ENOUGH:
            break
    return fullest


def _fill(
    stock: _Stock,
    candidates: np.ndarray,
    lengths: tuple[np.ndarray, np.ndarray],
    weights: tuple[float, float],
) -> tuple[list[int], tuple[int, int]]:
    """Fills one row with the dot-product rule.

    Args:
        stock: what is left.
        candidates: numbers of the sizes to choose from, in ascending order of inputs.
        lengths: inputs and targets lengths of the candidates.
        weights: what a full row's inputs and targets are worth.

    Returns:
        The sizes taken and the room left in each dimension.
    """
    inputs, targets = lengths
    inputs_room, targets_room = stock.room
    taken: list[int] = []
    while len(candidates):
        score = inputs * (weights[0] * inputs_room / stock.room[0] ** 2)
        score += targets * (weights[1] * targets_room / stock.room[1] ** 2)
        best = int(score.argmax())
        size = int(candidates[best])
        taken.append(size)
        inputs_room -= int(inputs[best])
        targets_room -= int(targets[best])
        # In ascending order, what still fits by its inputs is a slice.
        end = int(inputs.searchsorted(inputs_room, side="right"))
        fits = targets[:end] <= targets_room
        if best < end and taken.count(size) >= stock.counts[size]:
            fits[best] = False
        if fits.all():
            candidates, inputs, targets = candidates[:end], inputs[:end], targets[:end]
        else:
            kept = fits.nonzero()[0]
            candidates, inputs, targets = candidates[kept], inputs[kept], targets[kept]
    return taken, (inputs_room, targets_room)


def _rows_of_examples(size_of_example: np.ndarray, patterns: list[_Pattern]) -> np.ndarray:
    """Gives the places of each size to the examples of that size, both in their own order."""
    first_row = 0
    place_sizes: list[np.ndarray] = []
    place_rows: list[np.ndarray] = []
    for pattern in patterns:
        place_sizes.append(np.tile(pattern.sizes, pattern.rows))
        rows = np.arange(first_row, first_row + pattern.rows)
        place_rows.append(np.repeat(rows, len(pattern.sizes)))
        first_row += pattern.rows
    places = np.argsort(np.concatenate(place_sizes), kind="stable")
    examples = np.argsort(size_of_example, kind="stable")
    rows_of_examples = np.empty(len(size_of_example), np.int64)
    rows_of_examples[examples] = np.concatenate(place_rows)[places]
    return rows_of_examples
