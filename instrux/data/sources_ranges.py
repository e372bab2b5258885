"""Splits cut out of another source's splits by row numbers: caps, and rows held out for validation."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from instrux.data.sources_base import BadRowHandler, Row, RowShard, RowSource
from instrux.errors import InputError

_RANGE = re.compile(r"(?P<split>[\w.-]+)(?:\[(?P<start>-?\d+)?:(?P<stop>-?\d+)?\])?")


@dataclasses.dataclass(frozen=True)
class RowRange:
    """Consecutive rows of a split, written as TensorFlow Datasets does: `train[:30000]`.

    Attributes:
        split: the split that is cut.
        start: first row; negative counts from the end; None is the beginning.
        stop: row after the last, likewise; None is the end.
    """

    split: str
    start: int | None = None
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> "RowRange":
        """Reads `train`, `train[:200]`, `train[-600:-500]`.

        Raises:
            InputError: it is not of that form.
        """
        match = _RANGE.fullmatch(text.strip())
        if match is None:
            raise InputError(f"rows {text!r}: write a split and row numbers, as 'train[:30000]'")
        start, stop = (
            None if match[name] is None else int(match[name]) for name in ("start", "stop")
        )
        return cls(match["split"], start, stop)

    def bounds(self, num_rows: int) -> tuple[int, int]:
        """Gives the first row and the row after the last, in a split of `num_rows`."""
        first, last, _ = slice(self.start, self.stop).indices(num_rows)
        return first, max(first, last)

    @property
    def from_the_end(self) -> bool:
        """Whether its start is counted from the end."""
        return self.start is not None and self.start < 0


@dataclasses.dataclass(frozen=True)
class CutShard(RowShard):
    """A part of another source's shard.

    Attributes:
        whole: the shard that is read.
    """

    whole: RowShard | None = None


@dataclasses.dataclass(frozen=True)
class RowRangesSource(RowSource):
    """Rows of another source, cut into splits by row numbers.

    Rows keep their numbers, so that ids tell where they come from. Ranges never overlap: where a
    split has fewer rows than a cap asks for, the range ends where one that is counted from the end
    begins (`train[:30000]` beside `train[-200:]`, in a split of 1,000 rows, has 800).

    Attributes:
        source: whose rows they are.
        ranges: split -> rows of the source, as `RowRange` reads them.
    """

    source: RowSource = dataclasses.field(kw_only=True)
    ranges: Mapping[str, str] = dataclasses.field(kw_only=True)

    def splits(self) -> list[str]:
        """Names of the splits whose rows the source has."""
        there = set(self.source.splits())
        return [split for split in self.ranges if self._range(split).split in there]

    def shards(self, split: str) -> list[RowShard]:
        """The source's shards as far as they lie in the range.

        Raises:
            InputError: there is no such split, or no row of it.
        """
        self.require_split(split, list(self.ranges))
        wholes = self.source.shards(self._range(split).split)
        first, last = self._bounds(split, sum(shard.num_rows for shard in wholes))
        return [
            _cut(shard, split, max(first, shard.first_row), min(last, _end(shard)))
            for shard in wholes
            if shard.first_row < last and first < _end(shard)
        ]

    def read(
        self, shard: RowShard, *, on_bad_row: BadRowHandler | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Reads a shard's rows as (number in the source's split, row)."""
        assert isinstance(shard, CutShard) and shard.whole is not None
        end = _end(shard)

        def keep_if_inside(number: int, error: InputError) -> None:
            if on_bad_row is not None and shard.first_row <= number < end:
                on_bad_row(number, error)

        handler = None if on_bad_row is None else keep_if_inside
        for number, row in self.source.read(shard.whole, on_bad_row=handler):
            if number >= end:
                return
            if number >= shard.first_row:
                yield number, row

    def fingerprint(self, split: str) -> str:
        """The fingerprint of the source's split, and the rows."""
        self.require_split(split, list(self.ranges))
        others = sorted(self.ranges[other] for other in self.ranges if other != split)
        whole = self.source.fingerprint(self._range(split).split)
        return f"{whole} rows:{self.ranges[split]} beside:{','.join(others)}"

    def columns(self, split: str) -> tuple[str, ...] | None:
        """The source's columns."""
        return self.source.columns(self._range(split).split)

    def location(self, split: str) -> str:
        """Where the source's split lies."""
        return self.source.location(self._range(split).split)

    def _range(self, split: str) -> RowRange:
        return _parsed(self.ranges[split])

    def _bounds(self, split: str, num_rows: int) -> tuple[int, int]:
        wanted = self._range(split)
        first, last = wanted.bounds(num_rows)
        if not wanted.from_the_end:
            for other in map(_parsed, self.ranges.values()):
                if other.split == wanted.split and other.from_the_end:
                    last = min(last, other.bounds(num_rows)[0])
        if first >= last:
            raise InputError(
                f"Dataset {self.label!r}, split {split!r}: {self.ranges[split]} has no rows; "
                f"split {wanted.split!r} has {num_rows}."
            )
        return first, last


@lru_cache(maxsize=1024)
def _parsed(text: str) -> RowRange:
    return RowRange.parse(text)


def _end(shard: RowShard) -> int:
    return shard.first_row + shard.num_rows


def _cut(shard: RowShard, split: str, first: int, last: int) -> CutShard:
    """Gives the rows from `first` to before `last` of a shard."""
    return CutShard(
        split=split,
        first_row=first,
        num_rows=last - first,
        path=shard.path,
        start=shard.start,
        end=shard.end,
        format=shard.format,
        whole=shard,
    )
