"""What every source of raw rows has in common."""

import abc
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from instrux.errors import InputError, did_you_mean

Row = Mapping[str, Any]
BadRowHandler = Callable[[int, InputError], None]


class SourceError(InputError):
    """The rows of a dataset cannot be read: no fault of a template, a folder or an option."""


@dataclasses.dataclass(frozen=True)
class RowShard:
    """A run of consecutive rows of a split, the unit of reading in parallel. Plain data.

    Attributes:
        split: the source's split.
        first_row: number of its first row in the split, from 0.
        num_rows: how many rows it holds.
        path: the file that holds them, or "" where there is none.
        start: where it starts in the file; the unit is the source's own (bytes, row groups).
        end: where it ends, exclusive.
        format: how the file is read: `jsonl`, `parquet`, `csv`; "" where there is no file.
    """

    split: str
    first_row: int
    num_rows: int
    path: str = ""
    start: int = 0
    end: int = 0
    format: str = ""


@dataclasses.dataclass(frozen=True)
class RowSource(abc.ABC):
    """Rows of one dataset, read in parallel, each known by its split and number.

    A source is a frozen dataclass of plain data: it is pickled and sent to workers. Making one
    touches neither disk nor network.

    Attributes:
        dataset: name, as in `super_glue`.
        config: the dataset's configuration (subset), as in `rte`, or None.
    """

    dataset: str
    config: str | None = None

    @abc.abstractmethod
    def splits(self) -> list[str]:
        """Names of the splits there are."""

    @abc.abstractmethod
    def shards(self, split: str) -> list[RowShard]:
        """The split cut into runs of consecutive rows, in order.

        Raises:
            InputError: there is no such split, or it cannot be read.
        """

    @abc.abstractmethod
    def read(
        self, shard: RowShard, *, on_bad_row: BadRowHandler | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Reads a shard's rows as (number in the split, row).

        Args:
            shard: one of `shards(split)`.
            on_bad_row: called with the number and the error of a row that cannot be read, which
                is then left out. Without it the error is raised.

        Raises:
            InputError: a row cannot be read; names the file and the line.
        """

    @abc.abstractmethod
    def fingerprint(self, split: str) -> str:
        """A digest of the split's content: the same rows give the same one."""

    def columns(self, split: str) -> tuple[str, ...] | None:
        """Names of the fields that every row of the split has.

        None where only reading every row would tell, as with JSON lines.
        """
        del split
        return None

    def location(self, split: str) -> str:
        """Where the split lies, for messages: a file, or "" where there is none."""
        del split
        return ""

    @property
    def label(self) -> str:
        """The name people know it by: `super_glue/rte`, or `imdb`."""
        return f"{self.dataset}/{self.config}" if self.config else self.dataset

    def rows(self, split: str) -> Iterator[tuple[int, Row]]:
        """Reads a whole split in order, for looking at it and for tests."""
        for shard in self.shards(split):
            yield from self.read(shard)

    def example_id(self, split: str, row: int) -> str:
        """The row's name, the same in every run: `dataset/config/split/row`."""
        return f"{example_id_prefix(self.dataset, self.config, split)}{row}"

    def key(self) -> str:
        """Text that is equal for equal sources; sources are grouped by it."""
        fields = {name: getattr(self, name) for name in _field_names(type(self))}
        return f"{type(self).__name__} {json.dumps(fields, sort_keys=True, default=str)}"

    def require_split(self, split: str, known: list[str]) -> None:
        """Raises an `InputError` that names the splits there are, if `split` is not one."""
        if split not in known:
            raise InputError(
                f"Dataset {self.label!r} has no split {split!r}; it has {known}."
                + did_you_mean(split, known)
            )


def example_id_prefix(dataset: str, config: str | None, split: str) -> str:
    """An example id up to the row's number."""
    return f"{dataset}/{config or 'default'}/{split}/"


def require_mapping(row: object, where: str) -> Row:
    """The row itself if it is an object with names for its fields.

    Raises:
        InputError: it is a list, a number or anything else; the message starts with `where`.
    """
    if isinstance(row, dict):
        return row
    raise InputError(
        f"{where}: a row must be a JSON object with named fields, and this is {_worded(row)}."
    )


def _worded(value: object) -> str:
    kinds = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), f"a {type(value).__name__}")


def _field_names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]
