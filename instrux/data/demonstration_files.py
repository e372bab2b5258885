"""Files of demonstrations, read in pieces by any number of workers, and prepared sets read back."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instrux.data import mirror
from instrux.data.demonstration_formats import DemonstrationInput
from instrux.data.files import as_path
from instrux.data.manifest import read_manifest
from instrux.data.sources_base import BadRowHandler, Row, RowShard, require_mapping
from instrux.data.sources_files import CsvSource, file_shards, files_fingerprint, read_file_shard
from instrux.errors import InputError

_LARGEST_JSON = 2**31
FOLDER = "demonstrations"


@dataclasses.dataclass(frozen=True)
class InputShard:
    """A piece of an input.

    Attributes:
        number: the input's place among all.
        shard: the piece.
    """

    number: int
    shard: RowShard


def input_paths(given: DemonstrationInput) -> list[str]:
    """The files of an input, in order of name.

    Raises:
        InputError: there is none.
    """
    return CsvSource(given.format, files={"rows": given.path}).paths("rows")


def input_shards(number: int, given: DemonstrationInput) -> list[InputShard]:
    """An input cut into pieces.

    Raises:
        InputError: a file cannot be read.
    """
    shards: list[InputShard] = []
    for path in input_paths(given):
        first = shards[-1].shard.first_row + shards[-1].shard.num_rows if shards else 0
        kind = _kind(path)
        if kind == "json":
            made = [RowShard("rows", first, len(_json_list(path)), path, format=kind)]
        else:
            made = file_shards(kind, path, "rows", first)
        shards += [InputShard(number, shard) for shard in made]
    return shards


def read_input_shard(
    shard: RowShard, on_bad_row: BadRowHandler | None
) -> Iterator[tuple[int, Row]]:
    """Reads a piece as (row number in the input, row)."""
    if shard.format != "json":
        yield from read_file_shard(shard, on_bad_row)
        return
    for number, row in enumerate(_json_list(shard.path), start=shard.first_row):
        try:
            yield number, require_mapping(row, f"{shard.path}, entry {number - shard.first_row}")
        except InputError as error:
            if on_bad_row is None:
                raise
            on_bad_row(number, error)


def input_fingerprint(given: DemonstrationInput) -> str:
    """A digest of an input's bytes."""
    return files_fingerprint(input_paths(given))


def prepared_path(data_dir: str | os.PathLike[str], name: str, split: str) -> Path:
    """Where a prepared split lies as JSON lines of our own format."""
    return as_path(data_dir) / FOLDER / name / f"{split}.jsonl"


def mirrored_rows(split: str, *, name: str) -> Iterator[dict[str, Any]]:
    """Reads a prepared split from the first folder of INSTRUX_MIRROR that has it.

    Prompts come with the separator that the set was prepared with.

    Raises:
        InputError: none has it, or a line is no JSON.
    """
    given = os.environ.get(mirror.VARIABLE, "")
    for folder in filter(None, given.split(os.pathsep)):
        path = prepared_path(Path(folder).expanduser(), name, split)
        if path.is_file():
            separator = read_manifest(path.parent / "manifest.json").settings["separator"]
            with path.open(encoding="utf-8") as lines:
                for row in map(json.loads, lines):
                    yield row | {"prompt": row["prompt"] + separator}
            return
    raise InputError(
        f"demonstrations {name!r}: no {FOLDER}/{name}/{split}.jsonl in the folders that "
        f"{mirror.VARIABLE} names ({given or 'none'}); name the DATA_DIR that "
        "`instrux demonstrations` wrote to."
    )


def _kind(path: str) -> str:
    name = Path(path).name.removesuffix(".gz")
    for suffix, kind in (
        (".json", "json"),
        (".parquet", "parquet"),
        (".csv", "csv"),
        (".tsv", "csv"),
    ):
        if name.endswith(suffix):
            return kind
    return "jsonl"


def _json_list(path: str) -> list[Any]:
    """The entries of a file that is one JSON list.

    Raises:
        InputError: it is none, or larger than 2 GiB.
    """
    file = as_path(path)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if len(text) > _LARGEST_JSON:
        raise InputError(f"{path}: a JSON list of over 2 GiB; write it as JSON lines.")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not valid JSON ({type(error).__name__}); JSON lines end in .jsonl."
        ) from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: one JSON list of rows is needed; JSON lines end in .jsonl.")
    return entries
