"""Rows that are left out on purpose: lists of task and example id, such as an audit writes.

A list is JSON lines, each with `task` (a rendered task; `*` or none for all tasks) and `example_id`;
what else a line has is of no concern here. Rows are kept as 64-bit hashes, eight bytes each.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instrux.data.audit_words import text_hash
from instrux.data.examples import RenderedExample
from instrux.data.files import as_path, size_and_digest
from instrux.data.rendered import RenderedSplit
from instrux.data.tfrecord import read_records
from instrux.errors import InputError

ANY_TASK = "*"


@dataclass(frozen=True)
class Excluded:
    """The rows of some lists.

    Attributes:
        rows: task, or `*` -> uint64, sorted hashes of example ids.
        digest: of all rows, whatever their order and the lists they stand in.
    """

    rows: Mapping[str, np.ndarray]
    digest: str

    @property
    def count(self) -> int:
        """Number of different lines."""
        return sum(map(len, self.rows.values()))

    def of(self, task: str) -> np.ndarray:
        """Gives the hashes of what is left out of a task, uint64, sorted."""
        every = [self.rows[name] for name in (task, ANY_TASK) if name in self.rows]
        return np.unique(np.concatenate(every)) if every else np.zeros(0, np.uint64)


def read_excluded(paths: Sequence[str]) -> Excluded:
    """Reads lists of rows; a list that is read again unchanged is not parsed again.

    Raises:
        InputError: a list cannot be read; names the file and the line.
    """
    return _excluded(tuple((path, _content_digest(path)) for path in paths))


@functools.lru_cache(maxsize=4)
def _excluded(lists: tuple[tuple[str, str], ...]) -> Excluded:
    found: dict[str, list[int]] = {}
    for path, _ in lists:
        for task, example_id in _lines(path):
            found.setdefault(task, []).append(text_hash(example_id))
    rows = {task: np.unique(np.array(found[task], np.uint64)) for task in sorted(found)}
    digest = hashlib.sha256()
    for task, hashes in rows.items():
        digest.update(f"{task} {len(hashes)}\n".encode())
        digest.update(hashes.astype("<u8").tobytes())
    return Excluded(rows, digest.hexdigest())


def _content_digest(path: str) -> str:
    try:
        return size_and_digest(path)[1]
    except OSError as error:
        raise InputError(
            f"exclude {path}: {error.strerror or error}; give a list of rows, such as "
            "`instrux audit` writes"
        ) from error


def _lines(path: str) -> Iterator[tuple[str, str]]:
    with as_path(path).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
                task, example_id = fields.get("task", ANY_TASK), fields["example_id"]
                if not (isinstance(task, str) and isinstance(example_id, str)):
                    raise TypeError("task and example_id must be text")
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise InputError(
                    f"exclude {path}, line {number}: not a row ({type(error).__name__}: {error}); "
                    'a line is {"task": "NAME", "example_id": "ID"}'
                ) from error
            yield task, example_id


def kept(examples: Iterable[RenderedExample], excluded: np.ndarray) -> list[bool]:
    """Tells of each example whether it stays.

    Args:
        examples: of one task.
        excluded: `Excluded.of` that task.
    """
    hashes = np.array([text_hash(example.example_id) for example in examples], np.uint64)
    return (~np.isin(hashes, excluded)).tolist()


def kept_by_file(split: RenderedSplit, excluded: np.ndarray) -> list[int]:
    """Counts the examples that stay in each file of a split; reads it if any is left out.

    Raises:
        InputError: the split is not rendered, or a file is damaged.
    """
    if not len(excluded):
        return [file.records for file in split.manifest().manifest.files]
    return [
        sum(kept(map(RenderedExample.from_bytes, read_records(path)), excluded))
        for path in split.shard_paths()
    ]


def told_excluded(paths: Sequence[str], dropped: Mapping[str, int]) -> str:
    """Words what lists exclude, in one line.

    Args:
        paths: the lists.
        dropped: task -> examples of it that they exclude.
    """
    tasks = sum(count > 0 for count in dropped.values())
    return (
        f"EXCLUDED {sum(dropped.values()):,} examples of {tasks} of {len(dropped)} tasks, "
        f"listed in {', '.join(paths)}"
    )
