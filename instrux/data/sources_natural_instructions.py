"""Rows of Natural Instructions: the instances of one task, with the task around each."""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.natural_instructions_files import DATASET, find_task_file
from instrux.data.sampling import permuted
from instrux.data.sources_base import BadRowHandler, Row, RowShard, RowSource
from instrux.errors import InputError
from instrux.prompts.natural_instructions import Example, Task, load_task

NUM_TEST_INSTANCES = 100
"""The first so many instances of a file are its test instances, for good (arXiv 2204.07705)."""

SPLITS = ("train", "validation", "test", "supervised")


@dataclasses.dataclass(frozen=True)
class NaturalInstructionsSource(RowSource):
    """The instances of one task; a row's number is its place in the task's file.

    The split `test` is the first 100 instances, which were put there balanced by label and are
    never drawn again. `train` is drawn from all instances of a (training) task without
    replacement, as a function of (seed, task), and a smaller draw is part of a larger one;
    `validation` is what comes next in the same draw. `supervised` is drawn from what is not
    tested, for the upper bound that trains on test tasks.

    Attributes:
        place: a checkout, an archive or a task file; as `natural_instructions_files.places` says
            if "".
        other_names: other names that the file may have.
        max_train_instances: how many are drawn for `train`; None is all.
        max_validation_instances: how many for `validation`.
        max_supervised_instances: how many for `supervised`.
        epochs: how often `train` and `supervised` have every instance, each time under a number
            of its own (`place + epoch * instances in the file`), so that what a template draws
            (a reference, an encoding) is drawn anew.
        seed: of the draws; the released trainer's is 42.
    """

    place: str = ""
    other_names: tuple[str, ...] = ()
    max_train_instances: int | None = 100
    max_validation_instances: int = 20
    max_supervised_instances: int | None = 1000
    epochs: int = 1
    seed: int = 42

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"{self.label}: epochs is {self.epochs}; give 1 or more")
        for name in (
            "max_train_instances",
            "max_validation_instances",
            "max_supervised_instances",
        ):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"{self.label}: {name} is {value}; give 0 or more, or None")

    @property
    def task(self) -> str:
        """The task's name."""
        if self.config is None:
            raise InputError("a source of Natural Instructions names its task in `config`")
        return self.config

    def splits(self) -> list[str]:
        """Names of the splits there are."""
        return list(SPLITS)

    def positions(self, split: str, num_entries: int) -> list[int]:
        """Which places of a file with `num_entries` instances a split has, in order."""
        self.require_split(split, self.splits())
        if split == "test":
            return list(range(min(NUM_TEST_INSTANCES, num_entries)))
        if split == "supervised":
            rest = num_entries - NUM_TEST_INSTANCES
            drawn = self._drawn(split, rest, 0, self.max_supervised_instances)
            return [NUM_TEST_INSTANCES + place for place in drawn]
        first = 0 if split == "train" else _at_most(self.max_train_instances, num_entries)
        wanted = self.max_train_instances if split == "train" else self.max_validation_instances
        return self._drawn("instances", num_entries, first, wanted)

    def shards(self, split: str) -> list[RowShard]:
        """One shard: a task has some thousand instances in one file.

        Raises:
            InputError: the file is not there, or is no task.
        """
        path = self._path()
        positions = self.positions(split, _task(path).num_entries)
        rows = len(positions) * self._epochs(split)
        return [RowShard(split, 0, rows, path=str(path), format="natural_instructions")]

    def read(
        self, shard: RowShard, *, on_bad_row: BadRowHandler | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Reads the instances as (number, row); see `instance_row`."""
        task = _task(Path(shard.path))
        shared = task_fields(task)
        bad = dict(task.bad_instances)
        positions = self.positions(shard.split, task.num_entries)
        for epoch, position in itertools.product(range(self._epochs(shard.split)), positions):
            number = position + epoch * task.num_entries
            if position not in bad:
                yield number, shared | instance_row(task, position)
                continue
            error = InputError(f"{shard.path}: {bad[position]}.")
            if on_bad_row is None:
                raise error
            on_bad_row(number, error)

    def fingerprint(self, split: str) -> str:
        """A digest of the file, and of which instances the split has."""
        path = self._path()
        positions = self.positions(split, _task(path).num_entries)
        digest = hashlib.sha256(path.read_bytes())
        digest.update(f"{split} {positions} {self._epochs(split)}".encode())
        return f"sha256:{digest.hexdigest()}"

    def location(self, split: str) -> str:
        """The task's file."""
        del split
        return str(self._path())

    def _epochs(self, split: str) -> int:
        return self.epochs if split in ("train", "supervised") else 1

    def _path(self) -> Path:
        return find_task_file([self.task, *self.other_names], self.place)

    def _drawn(self, what: str, size: int, first: int, wanted: int | None) -> list[int]:
        """Places `first` to `first + wanted` of a permutation of `range(size)`, sorted."""
        last = size if wanted is None else min(size, first + wanted)
        if last <= first:
            return []
        places = permuted(np.arange(first, last), size, DATASET, what, self.seed, self.task)
        return sorted(places.tolist())


def task_fields(task: Task) -> dict[str, Any]:
    """The fields that all rows of a task share, under the file's own names."""
    return {
        "Task": task.name,
        "Definition": list(task.definitions),
        "Positive Examples": [_example(example) for example in task.positive_examples],
        "Negative Examples": [_example(example) for example in task.negative_examples],
        "Categories": list(task.categories),
        "Input_language": list(task.input_languages),
        "Output_language": list(task.output_languages),
    }


def instance_row(task: Task, position: int) -> dict[str, Any]:
    """The fields of one row that tell it from the others: `id`, `position` and `Instance`."""
    instance = task.instance(position)
    return {
        "id": instance.id,
        "position": position,
        "Instance": {
            "id": instance.id,
            "input": instance.input,
            "output": list(instance.references),
        },
    }


def _example(example: Example) -> dict[str, str]:
    fields = {"input": example.input, "output": example.output}
    if example.explanation is not None:
        fields["explanation"] = example.explanation
    return fields


def _at_most(limit: int | None, count: int) -> int:
    return count if limit is None else min(limit, count)


def _task(path: Path) -> Task:
    stat = path.stat()
    return _task_once(str(path), (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=2)  # asked for its size, its digest and its rows, one task after another
def _task_once(path: str, stamp: tuple[int, int]) -> Task:
    del stamp  # in the cache's key only: a changed file is read again
    return load_task(path)
