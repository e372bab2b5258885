"""Rows in files: JSON lines, Parquet and CSV."""

import csv
import dataclasses
import glob
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

from instrux.data.files import as_path
from instrux.data.sources_base import (
    BadRowHandler,
    Row,
    RowShard,
    RowSource,
    require_mapping,
)
from instrux.errors import InputError

_BYTES_PER_SHARD = 8 << 20
_BLOCK = 4 << 20


@dataclasses.dataclass(frozen=True)
class FileSource(RowSource):
    """Rows in files of one format.

    Attributes:
        files: split -> its file or files, in order; a name may be a glob, whose files are then
            taken in order of name.
    """

    files: Mapping[str, str | Sequence[str]] = dataclasses.field(default_factory=dict)
    format: ClassVar[str]

    def splits(self) -> list[str]:
        """Names of the splits there are."""
        return list(self.files)

    def paths(self, split: str) -> list[str]:
        """The files of a split, globs resolved.

        Raises:
            InputError: there is no such split, or a file is missing.
        """
        self.require_split(split, self.splits())
        given = self.files[split]
        names = [given] if isinstance(given, str | os.PathLike) else list(given)
        return [path for name in names for path in _resolved(os.fspath(name), self.label, split)]

    def shards(self, split: str) -> list[RowShard]:
        """The split cut into runs of consecutive rows, in order."""
        shards: list[RowShard] = []
        for path in self.paths(split):
            first_row = shards[-1].first_row + shards[-1].num_rows if shards else 0
            shards += file_shards(self.format, path, split, first_row)
        return shards

    def read(
        self, shard: RowShard, *, on_bad_row: BadRowHandler | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Reads a shard's rows as (number in the split, row)."""
        return read_file_shard(shard, on_bad_row)

    def columns(self, split: str) -> tuple[str, ...] | None:
        """The columns of the split's first file; None for JSON lines, where each row has its own."""
        return None if self.format == "jsonl" else file_columns(self.format, self.paths(split)[0])

    def location(self, split: str) -> str:
        """The split's first file."""
        return self.paths(split)[0]

    def fingerprint(self, split: str) -> str:
        """A digest of the bytes of the split's files."""
        return files_fingerprint(self.paths(split))


@dataclasses.dataclass(frozen=True)
class JsonLinesSource(FileSource):
    """Rows as JSON objects, one a line; a name that ends in `.gz` is decompressed.

    A row's number is its line's, from 0; empty lines are passed over and keep their number.
    """

    format = "jsonl"


@dataclasses.dataclass(frozen=True)
class ParquetSource(FileSource):
    """Rows of Parquet files, read a row group at a time."""

    format = "parquet"


@dataclasses.dataclass(frozen=True)
class CsvSource(FileSource):
    """Rows of CSV files with a header line; `.tsv` is split at tabs. Every value is text."""

    format = "csv"


def file_shards(format: str, path: str, split: str, first_row: int) -> list[RowShard]:
    """Cuts one file into shards, the first of which starts at row `first_row` of the split."""
    cut = {"jsonl": _jsonl_pieces, "parquet": _parquet_pieces, "csv": _csv_pieces}[format]
    shards = []
    for start, end, num_rows in cut(path):
        shards.append(RowShard(split, first_row, num_rows, path, start, end, format))
        first_row += num_rows
    return shards


def read_file_shard(shard: RowShard, on_bad_row: BadRowHandler | None) -> Iterator[tuple[int, Row]]:
    """Reads a shard that `file_shards` made."""
    readers = {"jsonl": _read_jsonl, "parquet": _read_parquet, "csv": _read_csv}
    return readers[shard.format](shard, on_bad_row)


def file_columns(format: str, path: str) -> tuple[str, ...] | None:
    """The columns of a Parquet or CSV file; None for JSON lines, whose rows name their own."""
    if format == "parquet":
        with _parquet_file(path) as file:
            return tuple(file.schema_arrow.names)
    if format == "csv":
        return tuple(next(_csv_rows(path), ()))
    return None


def files_fingerprint(paths: Sequence[str]) -> str:
    """A digest of the bytes of some files, in order; their names do not count."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(bytes.fromhex(_scan(path).sha256))
    return f"sha256:{digest.hexdigest()}"


def _resolved(name: str, label: str, split: str) -> list[str]:
    if "://" not in name:
        name = os.path.abspath(os.path.expanduser(name))
        found = sorted(glob.glob(name)) if glob.has_magic(name) else [name]
    else:
        path = as_path(name)
        found = sorted(map(str, path.parent.glob(path.name))) if glob.has_magic(name) else [name]
    if not found or not as_path(found[0]).is_file():
        raise InputError(f"{name}: no such file, for split {split!r} of dataset {label!r}.")
    return found


# --- One pass over a file: its lines and its digest ----------------------------------------------


class _Scan(NamedTuple):
    sha256: str
    pieces: tuple[tuple[int, int, int], ...]  # (first byte, end, lines), cut at line ends


def _scan(path: str) -> _Scan:
    """Reads a file once for its digest and for where its lines are."""
    local = as_path(path)
    stat = local.stat()
    stamp = (getattr(stat, "st_size", None), getattr(stat, "st_mtime_ns", None))
    return _scan_once(path, stamp)


@lru_cache(maxsize=4096)
def _scan_once(path: str, stamp: tuple[int | None, int | None]) -> _Scan:
    del stamp  # in the cache's key only: a changed file is read again
    digest = hashlib.sha256()
    with as_path(path).open("rb") as file:
        raw = _Hashed(file, digest)
        lines: Any = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw  # type: ignore[arg-type]
        try:
            pieces = _cut_at_lines(lines)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: cannot be decompressed ({error}).") from error
    if path.endswith(".gz"):  # gzip is read from its start: one piece
        pieces = [(0, pieces[-1][1], sum(piece[2] for piece in pieces))] if pieces else []
    return _Scan(digest.hexdigest(), tuple(pieces))


class _Hashed:
    """A file that digests what is read from it."""

    def __init__(self, file: IO[bytes], digest: Any) -> None:
        self._file = file
        self._digest = digest

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._digest.update(block)
        return block


def _cut_at_lines(file: Any) -> list[tuple[int, int, int]]:
    pieces = []
    start = offset = lines = 0
    last = b"\n"
    while block := file.read(_BLOCK):
        lines += block.count(b"\n")
        last = block[-1:]
        end = block.rfind(b"\n") + 1
        if end and offset + end - start >= _BYTES_PER_SHARD:
            pieces.append((start, offset + end, lines))
            start, lines = offset + end, 0
        offset += len(block)
    if offset > start:
        pieces.append((start, offset, lines + (last != b"\n")))
    return pieces


# --- JSON lines ----------------------------------------------------------------------------------


def _jsonl_pieces(path: str) -> Sequence[tuple[int, int, int]]:
    return _scan(path).pieces


def _read_jsonl(shard: RowShard, on_bad_row: BadRowHandler | None) -> Iterator[tuple[int, Row]]:
    with _opened(shard.path) as file:
        lines: Any = gzip.GzipFile(fileobj=file) if shard.path.endswith(".gz") else file
        if shard.start:
            lines.seek(shard.start)
        line_of_first = None
        for row in range(shard.first_row, shard.first_row + shard.num_rows):
            line = lines.readline()
            if not line.strip():
                continue
            try:
                yield row, _parse_json_row(line)
            except _BadJson as problem:
                if line_of_first is None:
                    line_of_first = _lines_before(shard)
                number = line_of_first + row - shard.first_row + 1
                error = InputError(f"{shard.path}, line {number}: {problem}")
                if on_bad_row is None:
                    raise error from None
                on_bad_row(row, error)


def _opened(path: str) -> IO[bytes]:
    try:
        return as_path(path).open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


class _BadJson(Exception):
    """Says what is wrong with a line."""


def _parse_json_row(line: bytes) -> Row:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise _BadJson(f"not UTF-8 text (byte {error.start} of the line).") from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 4,301 digits
        raise _BadJson(f"not valid JSON ({error}).") from error
    if type(row) is dict:
        return row
    try:
        return require_mapping(row, "")
    except InputError as error:
        raise _BadJson(str(error).removeprefix(": ")) from error


def _lines_before(shard: RowShard) -> int:
    """The number of lines of the file that stand before the shard (a split may have many files)."""
    return sum(lines for start, _, lines in _scan(shard.path).pieces if start < shard.start)


# --- Parquet -------------------------------------------------------------------------------------


def _parquet_file(path: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path if "://" not in path else as_path(path).open("rb"))
    except (pa.ArrowInvalid, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"{path}: not a readable Parquet file ({first_line}).") from error


def _parquet_pieces(path: str) -> list[tuple[int, int, int]]:
    with _parquet_file(path) as file:
        groups = range(file.metadata.num_row_groups)
        sizes = [file.metadata.row_group(group).num_rows for group in groups]
    return [(group, group + 1, rows) for group, rows in zip(groups, sizes, strict=True) if rows]


def _read_parquet(shard: RowShard, on_bad_row: BadRowHandler | None) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa

    del on_bad_row  # a damaged file has no readable rows to go on with
    row = shard.first_row
    with _parquet_file(shard.path) as file:
        groups = list(range(shard.start, shard.end))
        try:
            for batch in file.iter_batches(batch_size=1024, row_groups=groups):
                for values in batch.to_pylist():
                    yield row, values
                    row += 1
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{shard.path}: damaged Parquet file ({error}).") from error


# --- CSV -----------------------------------------------------------------------------------------


def _csv_reader(path: str, file: IO[bytes]) -> Any:
    opened: Any = gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file
    text = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
    tabs = Path(path.removesuffix(".gz")).suffix == ".tsv"
    return csv.reader(text, delimiter="\t" if tabs else ",", strict=True)


def _csv_rows(path: str) -> Iterator[list[str]]:
    """The records of a file with their header first; empty lines left out."""
    with _opened(path) as file:
        reader = _csv_reader(path, file)
        try:
            for values in reader:
                if values:
                    yield values
        except (csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            raise InputError(f"{path}, line {reader.line_num}: not valid CSV ({error}).") from error


def _csv_pieces(path: str) -> list[tuple[int, int, int]]:
    # Quoted fields may hold line ends, so that only a parser knows where rows begin.
    num_rows = sum(1 for _ in _csv_rows(path)) - 1
    return [(0, 0, num_rows)] if num_rows > 0 else []


def _read_csv(shard: RowShard, on_bad_row: BadRowHandler | None) -> Iterator[tuple[int, Row]]:
    rows = _csv_rows(shard.path)
    header = next(rows)
    for row, values in enumerate(rows, start=shard.first_row):
        if len(values) == len(header):
            yield row, dict(zip(header, values, strict=True))
            continue
        error = InputError(
            f"{shard.path}, row {row - shard.first_row + 1} after the header: {len(values)} values "
            f"for the {len(header)} columns {header}."
        )
        if on_bad_row is None:
            raise error
        on_bad_row(row, error)
