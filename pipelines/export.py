"""A mixture of rendered tasks as JSON lines or Parquet, with a dataset card, for use elsewhere."""

import dataclasses
import itertools
import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import instrux
from instrux.data.examples import RenderedExample
from instrux.data.excluded import kept, read_excluded
from instrux.data.export_card import Card, CardTask, HeldOutData
from instrux.data.export_files import file_chunks, in_batches, row_of
from instrux.data.export_settings import ExportSettings, ExportTask
from instrux.data.export_spill import Spill
from instrux.data.files import as_path, write_atomically
from instrux.data.left_out import LeftOutTask
from instrux.data.manifest import CompletedFolder, FileRecord, Manifest, library_versions
from instrux.data.rendered import RenderedSplit, RenderManifest
from instrux.data.sampling import TaskSample, draw, permuted
from instrux.errors import InputError
from instrux.progress import Progress, tell
from pipelines.mixture import (
    KeptRows,
    manifests_of,
    refuse_emptied,
    refuse_foreign,
    splits_of,
    tasks_used,
    tell_excluded,
)

__all__ = ["ExportResult", "ExportSettings", "ExportTask", "export"]

EXPORT_FORMAT = 1  # raise it when the same settings would give other rows
CARD_NAME = "README.md"

_BATCH = 1_000
_SPILL_PREFIX = ".export-"


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Attributes:
        folder: where the files are.
        rows: rows written.
        left_out: tasks of the mixture that are not in it.
        skipped: whether it was complete already.
    """

    folder: Path
    rows: int
    left_out: tuple[LeftOutTask, ...]
    skipped: bool


@dataclasses.dataclass(frozen=True)
class _Part:
    """One task with what was rendered of it, and what of that is taken.

    Attributes:
        task: the task.
        split: its rendered split.
        manifest: the split's manifest.
        available: examples that no list excludes.
        excluded: hashes of the example ids that lists exclude; uint64.
        sample: what is taken of the available ones; None takes each once.
    """

    task: ExportTask
    split: RenderedSplit
    manifest: RenderManifest
    available: int
    excluded: np.ndarray
    sample: TaskSample | None

    @property
    def rows(self) -> int:
        return self.available if self.sample is None else self.sample.taken

    def read(self) -> Iterator[RenderedExample]:
        """Reads the examples that no list excludes."""
        if not len(self.excluded):
            yield from self.split.read()
            return
        for batch in in_batches(self.split.read(), _BATCH):
            yield from itertools.compress(batch, kept(batch, self.excluded))


def export(
    settings: ExportSettings,
    *,
    data_dir: str | Path,
    tasks: Sequence[ExportTask],
    held_out: Sequence[HeldOutData] = (),
    out: str | Path | None = None,
) -> ExportResult:
    """Writes a mixture's rows, a manifest and a dataset card; what is complete is skipped.

    Files are named `<split>-SSSSS-of-NNNNN.<format>`; `datasets.load_dataset(folder)` reads them.
    Memory holds one file's rows at most.

    Args:
        settings: what to export, and how.
        data_dir: the folder that holds `rendered/`.
        tasks: the mixture's tasks.
        held_out: what the mixture is evaluated on, for the card.
        out: the folder to write; None is `settings.folder(data_dir)`.

    Raises:
        InputError: a task is not rendered, or a setting or the folder is wrong.
    """
    started = time.time()
    parts, left_out = _parts(settings, data_dir, tasks)
    folder = as_path(out) if out is not None else settings.folder(data_dir)
    output = CompletedFolder(folder)
    identity = _identity(settings, parts, left_out, held_out)
    if output.is_complete(identity):
        tell(f"export {settings.mixture}: complete, skipped")
        return ExportResult(folder, output.manifest().counts["rows"], left_out, skipped=True)
    try:
        refuse_foreign(output, CARD_NAME, "export")
        output.start(also=(f"{settings.split}-*.{settings.format}", CARD_NAME))
        for spill in list(folder.glob(f"{_SPILL_PREFIX}*")):
            shutil.rmtree(spill, ignore_errors=True)
        files, text_bytes = _write(settings, parts, folder)
        card = _card(settings, parts, left_out, held_out, files, text_bytes)
        size, digest = write_atomically(folder / CARD_NAME, [card.to_markdown().encode()])
        files.append(FileRecord(CARD_NAME, size, digest, 0))
        arguments = dataclasses.asdict(settings) | {"data_dir": str(data_dir)}
        output.complete(_manifest(arguments, identity, parts, left_out, files, started))
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be used ({error.strerror or error})"
        ) from error
    return ExportResult(folder, sum(part.rows for part in parts), left_out, skipped=False)


# --- What is exported ----------------------------------------------------------------------------


def _parts(
    settings: ExportSettings, data_dir: str | Path, tasks: Sequence[ExportTask]
) -> tuple[list[_Part], tuple[LeftOutTask, ...]]:
    splits = splits_of(settings, data_dir, tasks)
    lists = read_excluded(settings.exclude)
    kept_rows = KeptRows(lists, splits, {task.name: task.rendered for task in tasks})
    may_empty = kept_rows if settings.leave_out_emptied else None
    tasks, left_out = tasks_used("export", settings, data_dir, tasks, kept=may_empty)
    manifests = manifests_of("export", settings, {task.name: splits[task.name] for task in tasks})
    for task in tasks:
        refuse_emptied("export", settings, kept_rows, task.name)
    available = {name: kept_rows.of(name) for name in manifests}
    dropped = {name: manifests[name].examples - count for name, count in available.items()}
    tell_excluded("export", settings, settings.exclude, dropped)
    samples: dict[str, TaskSample] = {}
    if settings.num_examples is not None:
        samples = draw(
            {task.name: task.rate for task in tasks},
            available,
            num_examples=settings.num_examples,
            seed=settings.seed,
        )
    return [
        _Part(
            task,
            splits[task.name],
            manifests[task.name],
            available[task.name],
            lists.of(task.rendered),
            samples.get(task.name),
        )
        for task in tasks
    ], left_out


def _identity(
    settings: ExportSettings,
    parts: Sequence[_Part],
    left_out: Sequence[LeftOutTask],
    held_out: Sequence[HeldOutData],
) -> dict[str, Any]:
    """All that determines the files and the card; lists of rows count by their content."""
    lists = {"exclude": read_excluded(settings.exclude).digest} if settings.exclude else {}
    own = dataclasses.asdict(settings)
    del own["exclude"]
    if not settings.leave_out_emptied:  # the identity that it had before there was a choice
        del own["leave_out_emptied"]
    return {
        "format_version": EXPORT_FORMAT,
        **own,
        **lists,
        "tasks": [[*dataclasses.astuple(part.task), part.manifest.fingerprint] for part in parts],
        "left_out": [dataclasses.asdict(task) for task in left_out],
        "held_out": [dataclasses.asdict(each) for each in held_out],
    }


# --- Writing -------------------------------------------------------------------------------------


def _write(
    settings: ExportSettings, parts: Sequence[_Part], folder: Path
) -> tuple[list[FileRecord], int]:
    """Writes all shards; gives their records and the bytes of their text."""
    total = sum(part.rows for part in parts)
    if not total:
        raise InputError(f"export {settings.mixture}: no task has an example in this split")
    shown = Progress(f"export {settings.mixture}", total=total, unit="examples")
    count = math.ceil(total / settings.shard_size)
    measured = _Measured()
    files = []
    done = 0
    for number, rows in enumerate(_shards(settings, parts, folder, total)):
        name = f"{settings.split}-{number:05d}-of-{count:05d}.{settings.format}"
        first = measured.rows
        chunks = file_chunks(measured(rows), settings.format)
        size, digest = write_atomically(folder / name, chunks)
        done = measured.rows
        files.append(FileRecord(name, size, digest, done - first))
        shown.update(done)
    shown.done = done
    shown.finish(f"{sum(file.bytes for file in files) / 1e6:,.1f} MB in {len(files)} files")
    return files, measured.text_bytes


class _Measured:
    """Counts rows, and the bytes of their text, as they pass."""

    def __init__(self) -> None:
        self.rows = 0
        self.text_bytes = 0

    def __call__(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self.rows += 1
            for value in row.values():
                texts = [value] if isinstance(value, str) else value or ()
                self.text_bytes += sum(len(text.encode()) for text in texts)
            yield row


def _shards(
    settings: ExportSettings, parts: Sequence[_Part], folder: Path, total: int
) -> Iterator[Iterable[dict[str, Any]]]:
    """Gives the rows of one file after the other."""
    if settings.num_examples is not None:
        yield from _shuffled_shards(settings, parts, folder, total)
        return
    rows = (
        row_of(example, task=part.task.name, dataset=part.task.dataset)
        for part in parts
        for example in part.read()
    )
    for first in range(0, total, settings.shard_size):
        yield itertools.islice(rows, min(settings.shard_size, total - first))


def _shuffled_shards(
    settings: ExportSettings, parts: Sequence[_Part], folder: Path, total: int
) -> Iterator[Iterable[dict[str, Any]]]:
    """Sends every row to its place in a permutation of all, by way of a file a shard."""
    local = folder if "://" not in str(folder) else None
    with tempfile.TemporaryDirectory(prefix=_SPILL_PREFIX, dir=local) as spill_folder:
        spill = Spill(Path(spill_folder))
        sampled = _sampled(parts)
        for first in range(0, total, _BATCH):
            rows = list(itertools.islice(sampled, _BATCH))
            places = permuted(
                np.arange(first, first + len(rows)), total, "export", settings.seed
            ).tolist()
            for place, row in zip(places, rows, strict=True):
                spill.add(place // settings.shard_size, place, row)
        spill.flush()
        for number in range(math.ceil(total / settings.shard_size)):
            yield spill.rows(number)


def _sampled(parts: Sequence[_Part]) -> Iterator[dict[str, Any]]:
    """Gives every example of every task as often as it is drawn."""
    for part in parts:
        assert part.sample is not None
        if not part.sample.taken:
            continue
        position = 0
        for examples in in_batches(part.read(), _BATCH):
            positions = np.arange(position, position + len(examples))
            position += len(examples)
            repeats = part.sample.repeats(positions).tolist()
            for example, times in zip(examples, repeats, strict=True):
                if times:
                    row = row_of(example, task=part.task.name, dataset=part.task.dataset)
                    yield from itertools.repeat(row, times)


# --- What is said of it --------------------------------------------------------------------------


def _card(
    settings: ExportSettings,
    parts: Sequence[_Part],
    left_out: tuple[LeftOutTask, ...],
    held_out: Sequence[HeldOutData],
    files: Sequence[FileRecord],
    text_bytes: int,
) -> Card:
    rates = math.fsum(part.task.rate for part in parts)
    sampled = ""
    if settings.num_examples is not None:
        sampled = (
            f"{settings.num_examples:,} examples were drawn in proportion to the rates (seed "
            f"{settings.seed}) and shuffled; a task with fewer examples than its share gives each "
            "of them more than once."
        )
    return Card(
        mixture=settings.mixture,
        split=settings.split,
        format=settings.format,
        tasks=[
            CardTask(
                name=part.task.name,
                dataset=part.task.dataset,
                cluster=part.manifest.cluster,
                rows=part.rows,
                available=part.available,
                rate=part.task.rate,
                probability=part.task.rate / rates,
                licence=part.task.licence or "unknown",
            )
            for part in parts
        ],
        rows=sum(part.rows for part in parts),
        file_bytes=sum(file.bytes for file in files),
        text_bytes=text_bytes,
        left_out=left_out,
        held_out=held_out,
        sampled=sampled,
        excluded=_excluded(parts),
        made_by=f"Instrux {instrux.__version__}",
    )


def _excluded(parts: Sequence[_Part]) -> int:
    return sum(part.manifest.examples - part.available for part in parts)


def _manifest(
    arguments: dict[str, Any],
    identity: dict[str, Any],
    parts: Sequence[_Part],
    left_out: Sequence[LeftOutTask],
    files: Sequence[FileRecord],
    started: float,
) -> Manifest:
    return Manifest(
        stage="export",
        settings=identity,
        files=tuple(files),
        counts={
            "rows": sum(part.rows for part in parts),
            "tasks": len(parts),
            "tasks_left_out": len(left_out),
        },
        dropped={"excluded": excluded} if (excluded := _excluded(parts)) else {},
        versions=library_versions("pyarrow"),
        arguments=arguments,
        metadata={
            "tasks": {
                part.task.name: {"rows": part.rows, "examples": part.available} for part in parts
            },
            "left_out": [dataclasses.asdict(task) for task in left_out],
        },
        seconds=round(time.time() - started, 3),
    )
