"""Rows that are the same or nearly: flat arrays on their way to whoever compares them.

A row is named by where it lies: the number of its file and the byte at which its record starts.
Rows in the order of these names are in the order of the mixture's tasks, then of their files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from instrux.data.sampling import mixed_bits

_OFFSET_BITS = 40  # files of up to a terabyte, 16 million of them

TEXT = np.dtype([("inputs", "<u8"), ("both", "<u8"), ("ref", "<u8")])
"""A row's hash of its inputs, and of inputs and targets together."""

BAND = np.dtype([("key", "<u8"), ("row", "<u8"), ("ref", "<u8")])
"""The key of one band of a row; `row` is a hash of its example id."""

PAIR = np.dtype([("later", "<u8"), ("earlier", "<u8")])
"""Two rows to compare."""


def reference(file: int, offsets: np.ndarray) -> np.ndarray:
    """Names the rows at these bytes of a file, uint64."""
    return (np.uint64(file) << np.uint64(_OFFSET_BITS)) | offsets.astype(np.uint64)


def place(ref: int) -> tuple[int, int]:
    """Gives the file's number and the byte that a name stands for."""
    return ref >> _OFFSET_BITS, ref & ((1 << _OFFSET_BITS) - 1)


def by_bucket(
    block: np.ndarray, keys: np.ndarray, buckets: int, kept: range
) -> Iterator[tuple[int, bytes]]:
    """Divides a block by a hash of the keys; gives those parts that fall into `kept`."""
    bucket = (mixed_bits(keys, 0) % np.uint64(buckets)).astype(np.int64)
    order = np.argsort(bucket, kind="stable")
    bucket, block = bucket[order], block[order]
    names, starts = np.unique(bucket, return_index=True)
    ends = np.append(starts, len(block))[1:]
    for number, start, end in zip(names.tolist(), starts, ends, strict=False):
        if number in kept:
            yield number, block[start:end].tobytes()


def joined(blocks: Iterable[bytes], kind: np.dtype) -> np.ndarray:
    """Puts blocks together, in an order that does not depend on theirs."""
    return in_order(np.concatenate([np.frombuffer(block, kind) for block in blocks]))


def in_order(rows: np.ndarray) -> np.ndarray:
    """Sorts by the fields in turn; several times as fast as numpy's sort of such arrays."""
    assert rows.dtype.names is not None
    return rows[np.lexsort([rows[name] for name in reversed(rows.dtype.names)])]


def different(rows: np.ndarray) -> np.ndarray:
    """Sorts, and gives each once."""
    rows = in_order(rows)
    new = np.ones(len(rows), bool)
    assert rows.dtype.names is not None
    if len(rows):
        new[1:] = False
        for name in rows.dtype.names:
            new[1:] |= rows[name][1:] != rows[name][:-1]
    return rows[new]


@dataclass(frozen=True)
class SameTexts:
    """Rows of one bucket that repeat an earlier row.

    Attributes:
        repeats: `PAIR`s: every row with an earlier one of the same inputs and targets, and the
            first such row; in order.
        other_targets: uint64, rows whose inputs an earlier row has with other targets; in order.
    """

    repeats: np.ndarray
    other_targets: np.ndarray


def same_texts(rows: np.ndarray) -> SameTexts:
    """Finds equal rows among `TEXT`s that are sorted."""
    new_inputs = np.ones(len(rows), bool)
    new_inputs[1:] = rows["inputs"][1:] != rows["inputs"][:-1]
    new_text = new_inputs.copy()
    new_text[1:] |= rows["both"][1:] != rows["both"][:-1]
    first = np.maximum.accumulate(np.where(new_text, np.arange(len(rows)), 0))
    repeats = np.zeros(int((~new_text).sum()), PAIR)
    repeats["later"] = rows["ref"][~new_text]
    repeats["earlier"] = rows["ref"][first[~new_text]]
    # Of several targets to the same inputs, that of the earliest row is the one to differ from.
    group = np.cumsum(new_inputs) - 1
    by_place = np.lexsort((rows["ref"], group))
    leaders = np.flatnonzero(np.diff(group[by_place], prepend=-1))
    leading = rows["both"][by_place[leaders]][group]
    others = np.sort(rows["ref"][rows["both"] != leading])
    return SameTexts(in_order(repeats), others)


@dataclass(frozen=True)
class Candidates:
    """Rows that fell together in a band.

    Attributes:
        pairs: `PAIR`s, different, of rows with different example ids.
        not_compared: pairs that were left out because too many rows fell together.
    """

    pairs: np.ndarray
    not_compared: int


def candidates(rows: np.ndarray, *, most: int) -> Candidates:
    """Pairs the `BAND`s of equal keys, which are sorted.

    One row under two templates makes no pair: it is alike by design.

    Args:
        rows: the bands.
        most: where more rows than this fall together, each is compared with this many that follow.
    """
    starts = np.flatnonzero(np.diff(rows["key"], prepend=rows["key"][:1] ^ np.uint64(1)))
    sizes = np.diff(np.append(starts, len(rows)))
    pairs: list[np.ndarray] = []
    compared = 0
    for distance in range(1, min(int(sizes.max(initial=0)), most + 1)):
        one, other = rows[:-distance], rows[distance:]
        together = one["key"] == other["key"]
        two_rows = together & (one["row"] != other["row"])
        compared += int(together.sum())
        found = np.empty(int(two_rows.sum()), PAIR)
        found["later"] = np.maximum(one["ref"], other["ref"])[two_rows]
        found["earlier"] = np.minimum(one["ref"], other["ref"])[two_rows]
        pairs.append(found)
    possible = int((sizes * (sizes - 1) // 2).sum())
    every = np.concatenate(pairs) if pairs else np.zeros(0, PAIR)
    return Candidates(different(every), possible - compared)
