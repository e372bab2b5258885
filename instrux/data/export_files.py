"""Rows for people who train elsewhere: JSON lines or Parquet, made piece by piece."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal, TypeVar

from instrux.data.examples import RenderedExample
from instrux.errors import InputError, did_you_mean

Format = Literal["jsonl", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "parquet")
TEXT_FIELDS = ("task", "dataset", "template", "inputs", "targets", "example_id")
LIST_FIELDS = ("answer_choices", "references")
FIELDS = (
    "task",
    "dataset",
    "template",
    "inputs",
    "targets",
    "answer_choices",
    "references",
    "example_id",
)
"""The fields of every row. Those of `LIST_FIELDS` are lists of text, or null where a template has
no answer choices and no references; the others are text."""

_ROWS_PER_GROUP = 2_000  # rows held at once, and a Parquet row group

Row = Mapping[str, Any]
Item = TypeVar("Item")


def row_of(example: RenderedExample, *, task: str, dataset: str) -> dict[str, Any]:
    """Gives a rendered example as a row with all `FIELDS`."""
    choices, references = example.answer_choices, example.references
    return {
        "task": task,
        "dataset": dataset,
        "template": example.template,
        "inputs": example.inputs,
        "targets": example.targets,
        "answer_choices": None if choices is None else list(choices),
        "references": None if references is None else list(references),
        "example_id": example.example_id,
    }


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Gives items in lists of `size`, the last of which may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def check_format(name: str) -> Format:
    """Gives the format of that name.

    Raises:
        InputError: there is none.
    """
    for known in FORMATS:
        if name == known:
            return known
    raise InputError(
        f"export: no format {name!r}; there are {' and '.join(FORMATS)}."
        + did_you_mean(name, FORMATS)
    )


def file_chunks(rows: Iterable[Row], format: Format) -> Iterator[bytes]:
    """Gives the bytes of one file, a few thousand rows at a time."""
    return _parquet_chunks(rows) if format == "parquet" else _json_chunks(rows)


def to_json_line(row: Row) -> bytes:
    """Gives a row as one line of JSON, the end of line included."""
    # Half a surrogate pair cannot be written as UTF-8; `RenderedExample` never gives one.
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()


def _json_chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    for some in in_batches(rows, _ROWS_PER_GROUP):
        yield b"".join(map(to_json_line, some))


def _parquet_chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    schema = pa.schema([(name, pa.list_(text) if name in LIST_FIELDS else text) for name in FIELDS])
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for some in in_batches(rows, _ROWS_PER_GROUP):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """A file that hands on what is written to it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0
        self.closed = False

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        """Gives what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
