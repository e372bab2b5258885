"""Rows to render: of a dataset in a mirror folder, or pasted as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.mirror import mirrored_files, mirrored_shards
from instrux.data.sources_files import read_file_shard
from instrux.errors import InputError


@dataclass(frozen=True)
class MirroredRow:
    """A row of a mirrored dataset.

    Attributes:
        splits: the splits there are; () where no mirror has the dataset.
        split: the one it is of.
        number: its number in the split, from 0.
        total: rows of the split.
        text: the row as indented JSON.
    """

    splits: tuple[str, ...] = ()
    split: str = ""
    number: int = 0
    total: int = 0
    text: str = ""


def mirrored_row(dataset: str, subset: str | None, split: str, number: int) -> MirroredRow:
    """Reads a row, or the nearest there is; reads no network.

    Raises:
        InputError: the file cannot be read.
    """
    files = mirrored_files(dataset, subset)
    if not files:
        return MirroredRow()
    split = split if split in files else _first_split(files)
    shards = mirrored_shards(files[split], split)
    total = sum(shard.num_rows for shard in shards)
    number = max(0, min(number, total - 1))
    for shard in shards:
        if shard.first_row <= number < shard.first_row + shard.num_rows:
            for place, row in read_file_shard(shard, lambda at, error: None):
                if place >= number:
                    return MirroredRow(tuple(files), split, place, total, as_text(row))
    return MirroredRow(tuple(files), split, 0, total)


def _first_split(files: Mapping[str, Path]) -> str:
    return next((name for name in ("validation", "train") if name in files), next(iter(files)))


def as_text(row: Mapping[str, Any]) -> str:
    """A row as indented JSON; what JSON does not know becomes text."""
    return json.dumps(dict(row), ensure_ascii=False, indent=1, default=str)


def parsed_row(text: str) -> dict[str, Any]:
    """A row that was pasted.

    Raises:
        InputError: it is not one JSON object.
    """
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the row is not JSON ({error}); paste one object, {{...}}") from error
    if not isinstance(row, dict):
        raise InputError("the row is not an object; paste one object, {...}")
    return row
