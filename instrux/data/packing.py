"""Packs examples into rows of fixed length, inputs and targets jointly.

An example takes room in two dimensions, and must stay whole in one row: two-dimensional vector
bin packing. The whole shard is at hand, so rows are built one at a time, each from all examples
that are left. A row starts with the example whose size, weighted, is largest, and goes on with
the one that points most in the direction of the room that is left (the dot-product rule for
vector packing: Panigrahy, Talwar, Uyeda and Wieder, "Heuristics for Vector Bin Packing", 2011).
The weights make the dimension dear of which more rows are still needed.

The rule alone takes the largest example that fits, even one that uses up the targets of a row whose
inputs are half empty. So what uses more targets than its share of the inputs' room pays for it: as
much as the inputs cost that will find no targets. Each row is tried under several rules, with and
without that price, and the fullest is kept.

Work is done on sizes, not on examples: those of equal size are interchangeable, and a pattern
that fills a row is used as often as the sizes that are left allow. Of the sizes with the same
targets only the largest that still fits can point furthest, so a step looks at one size for each
length of targets, however many there are.
"""

import math
from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

_SCARCITY_POWER = 4
"""How much more the dimension weighs of which more rows are still needed. Chosen with the rules on
real examples (docs/packing.md): wider tilts fill the first rows better and leave the last ones
what fits nowhere."""


@dataclass(frozen=True)
class _Rule:
    """How examples are scored when a row is filled.

    Attributes:
        tilt: the logarithm of how much more inputs weigh than by scarcity, and targets less.
        price: what it costs to use targets out of proportion, by the product of both scarcities.
    """

    tilt: float
    price: float

    def under(self, scarcity: tuple[float, float]) -> tuple[tuple[float, float], float]:
        """What a full row's inputs and targets are worth, and the price (0 for next to nothing)."""
        price = self.price * scarcity[0] * scarcity[1]
        weights = scarcity[0] * math.exp(self.tilt), scarcity[1] * math.exp(-self.tilt)
        return weights, price if price >= _LEAST_PRICE else 0.0


_RULES = (
    _Rule(tilt=0.0, price=0.67),
    _Rule(tilt=0.0, price=0.0),
    _Rule(tilt=0.4, price=0.67),
)
"""Under which a row is tried, in this order."""

_LEAST_PRICE = 0.05
"""Where one dimension is hardly short the price changes nothing, and costs time."""

_FULL_ENOUGH = 1e-3
"""A row that leaves less than this share of its weighted room empty is not tried again."""

_AT_ONCE = 16_384
"""Examples that are packed against each other: the work grows with the sizes there are, and rows
hardly become fuller beyond (docs/packing.md)."""

_NONE = -math.inf
"""Stands for the largest inputs where no size is left; multiplied by nothing but what is above 0."""

_LEAST_WEIGHT = 1e-300


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
        targets_lengths: decoder tokens of each example, `[examples]`, at most `targets_length`; 0
            of all where there is one dimension.
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
    _check(targets_lengths, 0, targets_length, "targets")
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
    sizes = inputs * (room[1] + 1) + targets
    return _rows_of_examples(sizes, _build_rows(_Stock(sizes, room)))


@dataclass(frozen=True)
class _Pattern:
    """Sizes that fill a row together, and how many rows are filled so.

    Attributes:
        often: how often each size occurs in the row.
        rows: how many rows.
    """

    often: dict[int, int]
    rows: int


class _Stock:
    """The sizes that are not packed yet. A size is `inputs * (room of targets + 1) + targets`.

    Attributes:
        room: encoder and decoder positions a row.
        counts: how many examples are left of each size.
        largest: float64 `[inputs room + 1, targets room + 1]`; at `[room, -1 - targets]` the
            largest inputs up to `room` that are left with these targets, `_NONE` if none are.
            Lengths of targets descend, so that those that fit are at the end.
        targets: float64 `[targets room + 1]`, the lengths of targets in that order.
        rows_needed: what is left, in rows, counted in inputs and counted in targets.
    """

    def __init__(self, sizes: np.ndarray, room: tuple[int, int]) -> None:
        self.room = room
        numbers, counts = np.unique(sizes, return_counts=True)
        inputs, targets = np.divmod(numbers, room[1] + 1)
        self.counts = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        self.rows_needed = [float(inputs @ counts) / room[0], float(targets @ counts) / room[1]]
        self.targets = np.arange(room[1], -1, -1, dtype=np.float64)
        self.largest = np.full((room[0] + 1, room[1] + 1), _NONE)
        self.largest[inputs, room[1] - targets] = inputs
        np.maximum.accumulate(self.largest, axis=0, out=self.largest)
        self._inputs_of: list[list[int]] = [[] for _ in range(room[1] + 1)]
        for length, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            self._inputs_of[target].append(length)

    def scarcity(self) -> tuple[float, float]:
        """What a full row's inputs and targets are worth by what is left; they sum to 1."""
        inputs, targets = (needed**_SCARCITY_POWER for needed in self.rows_needed)
        whole = inputs + targets
        return inputs / whole, targets / whole

    def take(self, pattern: _Pattern) -> None:
        """Takes the examples of a pattern's rows away."""
        used = [0, 0]
        for size, times in pattern.often.items():
            inputs, targets = divmod(size, self.room[1] + 1)
            used[0] += times * inputs
            used[1] += times * targets
            self.counts[size] -= times * pattern.rows
            if not self.counts[size]:
                del self.counts[size]
                self.hide(inputs, targets)
        for dimension in (0, 1):
            taken = pattern.rows * float(used[dimension]) / self.room[dimension]
            # Rounding must not make it zero in both dimensions while something is left.
            self.rows_needed[dimension] = max(self.rows_needed[dimension] - taken, 1e-9)

    def hide(self, inputs: int, targets: int) -> None:
        """Makes a size one that is not there."""
        lengths = self._inputs_of[targets]
        place = bisect_left(lengths, inputs)
        del lengths[place]
        end = lengths[place] if place < len(lengths) else self.room[0] + 1
        below = lengths[place - 1] if place else _NONE
        self.largest[inputs:end, self.room[1] - targets] = below

    def show(self, inputs: int, targets: int) -> None:
        """Takes `hide` back."""
        lengths = self._inputs_of[targets]
        place = bisect_left(lengths, inputs)
        end = lengths[place] if place < len(lengths) else self.room[0] + 1
        insort(lengths, inputs)
        self.largest[inputs:end, self.room[1] - targets] = inputs


def _check(lengths: np.ndarray, low: int, high: int, name: str) -> None:
    if lengths.min() < low or lengths.max() > high:
        raise ValueError(
            f"{name} lengths go from {lengths.min()} to {lengths.max()}, outside {low} to {high}"
        )


def _build_rows(stock: _Stock) -> list[_Pattern]:
    patterns: list[_Pattern] = []
    while stock.counts:
        often = _fullest_row(stock)
        rows = min(stock.counts[size] // times for size, times in often.items())
        patterns.append(_Pattern(often, rows))
        stock.take(patterns[-1])
    return patterns


def _fullest_row(stock: _Stock) -> dict[int, int]:
    """Builds a row under each rule that differs; gives how often sizes are in the fullest."""
    scarcity = stock.scarcity()
    fullest: dict[int, int] = {}
    least_empty = math.inf
    for weights, price in dict.fromkeys(rule.under(scarcity) for rule in _RULES):
        often, room = _fill(stock, weights, price)
        empty = scarcity[0] * room[0] / stock.room[0] + scarcity[1] * room[1] / stock.room[1]
        if empty < least_empty:
            fullest, least_empty = often, empty
        if empty < _FULL_ENOUGH:
            break
    return fullest


def _fill(
    stock: _Stock, weights: tuple[float, float], price: float
) -> tuple[dict[int, int], tuple[int, int]]:
    """Fills one row with the dot-product rule.

    Args:
        stock: what is left; it is the same afterwards.
        weights: what a full row's inputs and targets are worth.
        price: what is paid for targets used out of proportion.

    Returns:
        How often each size is taken, and the room left in each dimension.
    """
    inputs_room, targets_room = stock.room
    often: dict[int, int] = {}
    hidden: list[tuple[int, int]] = []
    while targets_room:  # every example has a target
        first = stock.room[1] - targets_room
        column = stock.largest[inputs_room, first:]
        left = inputs_room / stock.room[0], targets_room / stock.room[1]
        best = _best(
            column, stock.targets[first:], room=stock.room, left=left, weights=weights, price=price
        )
        largest = column.item(best)
        if largest == _NONE:
            break
        inputs, targets = int(largest), targets_room - best
        size = inputs * (stock.room[1] + 1) + targets
        often[size] = often.get(size, 0) + 1
        inputs_room -= inputs
        targets_room -= targets
        if inputs <= inputs_room and targets <= targets_room and often[size] == stock.counts[size]:
            stock.hide(inputs, targets)
            hidden.append((inputs, targets))
    for inputs, targets in hidden:
        stock.show(inputs, targets)
    return often, (inputs_room, targets_room)


def _best(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    room: tuple[int, int],
    left: tuple[float, float],
    weights: tuple[float, float],
    price: float,
) -> int:
    """Gives the place of the size that points furthest in the direction of a row's room.

    With `i` and `t` for a size's shares of a row, and `I` and `T` for the shares that are `left`,
    it scores `w_i I i + w_t T t - price * max(0, I t - T i)`. What is paid for is 0 where a size has
    at most as many targets to its inputs as the room has. More inputs never score less.

    Args:
        inputs: float64 `[sizes]`, or `_NONE` where there is no size.
        targets: float64 `[sizes]`, descending: the most of them are taken where scores are equal.
        room: encoder and decoder positions a row.
        left: the share of them that is empty.
        weights: what a full row's inputs and targets are worth.
        price: what is paid for targets used out of proportion.
    """
    an_input = weights[0] * left[0] / room[0] or _LEAST_WEIGHT
    a_target = weights[1] * left[1] / room[1]
    scores = inputs * an_input
    scores += targets * a_target
    best = int(scores.argmax())
    if not price:
        return best
    an_input += price * left[1] / room[0]
    a_target -= price * left[0] / room[1]
    if inputs.item(best) * an_input + targets.item(best) * a_target >= scores.item(best):
        return best  # pays nothing, so that no other comes before it
    paid = inputs * an_input
    paid += targets * a_target
    return int(np.minimum(scores, paid, out=scores).argmax())


def _rows_of_examples(sizes: np.ndarray, patterns: list[_Pattern]) -> np.ndarray:
    """Gives the places of each size to the examples of that size, both in their own order."""
    place_sizes: list[int] = []
    places_of_row: list[int] = []
    for pattern in patterns:
        row = [size for size, times in pattern.often.items() for _ in range(times)]
        place_sizes += row * pattern.rows
        places_of_row += [len(row)] * pattern.rows
    place_rows = np.repeat(np.arange(len(places_of_row)), places_of_row)
    rows_of_examples = np.empty(len(sizes), np.int64)
    rows_of_examples[np.argsort(sizes, kind="stable")] = place_rows[
        np.argsort(np.array(place_sizes), kind="stable")
    ]
    return rows_of_examples
