"""Rows that a Python function computes."""

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from instrux.data.sources_base import (
    BadRowHandler,
    Row,
    RowShard,
    RowSource,
    require_mapping,
)
from instrux.errors import InputError, did_you_mean

_ROWS_PER_SHARD = 10_000


@dataclasses.dataclass(frozen=True)
class PythonSource(RowSource):
    """Rows from a function that can be imported on a worker.

    Attributes:
        function: `module:function`. It is called with a split and gives that split's rows, the
            same ones in the same order every time.
        split_names: the splits it knows.
        arguments: keyword arguments that it is called with besides, plain data.
    """

    function: str = ""
    split_names: tuple[str, ...] = ("train",)
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def splits(self) -> list[str]:
        """Names of the splits there are."""
        return list(self.split_names)

    def shards(self, split: str) -> list[RowShard]:
        """The split cut into runs of rows; the rows are computed once to count them."""
        self.require_split(split, self.splits())
        total = sum(1 for _ in self._compute(split))
        return [
            RowShard(split, first, min(_ROWS_PER_SHARD, total - first))
            for first in range(0, total, _ROWS_PER_SHARD)
        ]

    def read(
        self, shard: RowShard, *, on_bad_row: BadRowHandler | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Reads a shard's rows as (number in the split, row)."""
        end = shard.first_row + shard.num_rows
        for number, row in enumerate(self._compute(shard.split)):
            if number >= end:
                return
            if number < shard.first_row:
                continue
            try:
                yield number, require_mapping(row, f"{self.function}, row {number}")
            except InputError as error:
                if on_bad_row is None:
                    raise
                on_bad_row(number, error)

    def fingerprint(self, split: str) -> str:
        """A digest of the rows as JSON."""
        digest = hashlib.sha256()
        for row in self._compute(split):
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
            digest.update(b"\n")
        return f"sha256:{digest.hexdigest()}"

    def _compute(self, split: str) -> Iterator[Row]:
        return iter(load_function(self.function)(split, **self.arguments))


def load_function(name: str) -> Any:
    """Imports `module:function`.

    Raises:
        InputError: the name is not of that form, or there is no such module or function.
    """
    module_name, separator, function_name = name.partition(":")
    if not separator or not function_name:
        raise InputError(f"A function is named as 'module:function', and {name!r} is not.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"{name!r}: cannot import it ({error}).") from error
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise InputError(
            f"{name!r}: module {module_name!r} has no {function_name!r}."
            + did_you_mean(function_name, dir(module))
        ) from None
