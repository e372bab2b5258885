"""The table of Natural Instructions tasks: names and splits as published.

`natural_instructions_tasks.csv` has the 1,613 names of the official split lists (the paper counts
1,616) with the split of each in both tracks: 757 + 119 + 737 (train, test, excluded) in English,
and 1,271 + 35 + 307 across languages. The lists of the two tracks are of different ages and name
35 tasks differently: `other_name` is the English track's name for them. Categories stand where a
task file was at hand, which they are for all test tasks.

Everything else about a task is in its file, which a user fetches; `release_facts` reads it.
"""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from instrux.errors import InputError, did_you_mean

_TABLE = Path(__file__).with_name("natural_instructions_tasks.csv")

TRACKS = ("default", "xlingual")
SPLITS = ("train", "test", "excluded")


@dataclass(frozen=True)
class NaturalInstructionsTask:
    """A row of the table.

    Attributes:
        name: the file's stem.
        other_name: the stem that the file has in other releases, or "".
        default: its split in the English track.
        xlingual: its split in the cross-lingual track.
        category: the kind of task, or "".
    """

    name: str
    other_name: str
    default: str
    xlingual: str
    category: str

    def split(self, track: str) -> str:
        """Its split in a track."""
        return self.default if track == "default" else self.xlingual

    @property
    def is_test(self) -> bool:
        """Whether it is a test task of either track."""
        return "test" in (self.default, self.xlingual)


@functools.cache
def table() -> tuple[NaturalInstructionsTask, ...]:
    """Gives all rows, in order of the tasks' numbers."""
    with _TABLE.open(encoding="utf-8", newline="") as lines:
        return tuple(_row(row) for row in csv.DictReader(lines))


@functools.cache
def by_name() -> Mapping[str, NaturalInstructionsTask]:
    """Gives the rows by name, under both names where there are two."""
    rows = {row.name: row for row in table()}
    return {row.other_name: row for row in table() if row.other_name} | rows


def split_of(track: str, split: str) -> list[NaturalInstructionsTask]:
    """Gives the tasks of a split in a track.

    Raises:
        InputError: there is no such track or split.
    """
    for value, known in ((track, TRACKS), (split, SPLITS)):
        if value not in known:
            raise InputError(
                f"Natural Instructions has {known}, no {value!r}.{did_you_mean(value, known)}"
            )
    return [row for row in table() if row.split(track) == split]


def _row(row: Mapping[str, str]) -> NaturalInstructionsTask:
    if row["default"] not in SPLITS or row["xlingual"] not in SPLITS:
        raise ValueError(f"{_TABLE.name}: {dict(row)} has an unknown split")
    return NaturalInstructionsTask(**row)
