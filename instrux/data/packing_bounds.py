"""How few rows a set of examples can be packed into, at best.

The bound is the largest sum of weights of the examples, over many ways to weigh them so that the
examples of one row never weigh more than 1 together. One way has two thresholds, at most half a
row each, and a function:

- an example shorter than a threshold in its dimension weighs 0;
- else, one that leaves less than a threshold free weighs 1: whatever shares its row weighs 0;
- the others weigh `f(length / row)` in one dimension, where `f` is dual feasible: numbers that
  sum to at most 1 have images that sum to at most 1.

With the identity as `f` and one threshold at 0 this is the bound of Martello and Toth (1990) for
bin packing; the other `f` are the rounding functions of Fekete and Schepers (2001). The second
threshold sees what neither dimension alone does: targets that fill a row keep its inputs empty.
"""

import math
from collections.abc import Iterator

import numpy as np

_ROUNDINGS = 12
_TOLERANCE = 1e-6


def length_counts(
    inputs_lengths: np.ndarray,
    targets_lengths: np.ndarray,
    *,
    inputs_length: int,
    targets_length: int,
) -> np.ndarray:
    """Counts the examples of each size: int64 `[inputs_length + 1, targets_length + 1]`."""
    size = np.asarray(inputs_lengths, np.int64) * (targets_length + 1) + targets_lengths
    counts = np.bincount(size, minlength=(inputs_length + 1) * (targets_length + 1))
    return counts.reshape(inputs_length + 1, targets_length + 1)


def lower_bound(counts: np.ndarray) -> int:
    """Gives a number of rows below which no packing of the examples can go.

    Args:
        counts: how many examples there are of each size, `[inputs_length + 1, targets_length + 1]`
            (as `length_counts` gives); the lengths of a row are read from its shape.
    """
    inputs_length, targets_length = counts.shape[0] - 1, counts.shape[1] - 1
    thresholds = np.ix_(range(inputs_length // 2 + 1), range(targets_length // 2 + 1))
    examples = _RectangleSums(counts)
    inputs_top, targets_top = inputs_length - thresholds[0], targets_length - thresholds[1]
    not_short = examples.sums(thresholds, (inputs_length, targets_length))
    alone = not_short - examples.sums(thresholds, (inputs_top, targets_top))
    best = 0.0
    for weights in _middle_weights(inputs_length, targets_length):
        middle = _RectangleSums(counts * weights).sums(thresholds, (inputs_top, targets_top))
        best = max(best, float((alone + middle).max()))
    return math.ceil(best - _TOLERANCE * max(1.0, best))


def _middle_weights(inputs_length: int, targets_length: int) -> Iterator[np.ndarray]:
    """Gives weights by size, each broadcasting to `[inputs_length + 1, targets_length + 1]`."""
    for rounding in range(_ROUNDINGS):
        yield _dual_feasible(inputs_length, rounding)[:, None]
        yield _dual_feasible(targets_length, rounding)[None, :]


def _dual_feasible(length: int, rounding: int) -> np.ndarray:
    """Gives Fekete and Schepers' `u(k)` of `0 / length` to `length / length`; k = 0: identity."""
    lengths = np.arange(length + 1)
    if rounding == 0:
        return lengths / length
    scaled = lengths * (rounding + 1)
    return np.where(scaled % length == 0, lengths / length, scaled // length / rounding)


class _RectangleSums:
    """Sums over any rectangle of a table, by sums over those that start in the corner."""

    def __init__(self, table: np.ndarray) -> None:
        corner = table.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
        self._corner = np.pad(corner, ((1, 0), (1, 0)))

    def sums(self, low: tuple, high: tuple) -> np.ndarray:
        """Sums from `low` to `high`, both inclusive, pairs of indices that broadcast."""
        corner, after = self._corner, (high[0] + 1, high[1] + 1)
        return (
            corner[after[0], after[1]]
            - corner[low[0], after[1]]
            - corner[after[0], low[1]]
            + corner[low[0], low[1]]
        )
