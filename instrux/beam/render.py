"""Rows to rendered examples: each row is read once and goes through all its templates."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam

from instrux.beam.blobs import BlobBuffers, FileKey
from instrux.beam.dead_letters import BAD_ROW, RENDER_ERROR, dead_letter
from instrux.beam.plan import ReadUnit, RenderPlan, SplitJob
from instrux.beam.report import RowReport
from instrux.beam.rows_done import RowsDone
from instrux.beam.spill import SpillFile
from instrux.data.prompted_task import Skipped, with_field_names
from instrux.data.rendered import shard_name
from instrux.data.sources_base import (
    BadRowHandler,
    RowShard,
    RowSource,
    SourceError,
    example_id_prefix,
)
from instrux.data.tfrecord import frame
from instrux.errors import InputError


def shard_of(example_id: str, num_shards: int) -> int:
    """The shard that an example goes to: a stable hash of its id."""
    if num_shards == 1:
        return 0
    digest = hashlib.blake2b(example_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % num_shards


class UnitRenderer:
    """Renders the rows of one unit for its jobs, into buffers and reports."""

    def __init__(self, unit: ReadUnit, jobs: Mapping[int, SplitJob]) -> None:
        self._unit = unit
        self._jobs = [(index, jobs[index]) for index in unit.jobs]
        self._files = {
            index: [shard_name(job.split, n, job.num_shards) for n in range(job.num_shards)]
            for index, job in self._jobs
        }
        self._fields_known: dict[tuple[str, ...], list[tuple[int, list[str]]]] = {}
        self.reports = {index: RowReport() for index, _ in self._jobs}
        self.buffers = BlobBuffers()

    def render(self) -> Iterator[int]:
        """Renders row after row and gives the number of renders done since the last time."""
        shard, source = self._unit.shard, self._unit.source
        prefix = example_id_prefix(source.dataset, source.config, shard.split)

        def keep_bad_row(row: int, error: InputError) -> None:
            for index, job in self._jobs:
                self._fail(index, job, row, f"{prefix}{row}", BAD_ROW, str(error))

        for row, values in _read(source, shard, keep_bad_row):
            self._render_row(row, f"{prefix}{row}", with_field_names(values))
            yield len(self._jobs)

    def _render_row(self, row: int, example_id: str, values: Mapping[str, Any]) -> None:
        self._count_missing_fields(values)
        shards: dict[int, int] = {}
        for index, job in self._jobs:
            report = self.reports[index]
            try:
                rendered = job.task.render(values, example_id)
                if isinstance(rendered, Skipped):
                    report.dropped[rendered.reason] += 1
                    report.rows += 1
                    continue
                record = frame(rendered.to_bytes())
            except Exception as error:
                # Rows and templates are anybody's: whatever they raise, the row is kept as a dead
                # letter and the job goes on.
                self._fail(index, job, row, example_id, RENDER_ERROR, worded(error))
                continue
            number = shards.get(job.num_shards)
            if number is None:
                number = shards[job.num_shards] = shard_of(example_id, job.num_shards)
            self.buffers.add((index, self._files[index][number]), row, record)
            report.rows += 1
            report.examples += 1

    def _count_missing_fields(self, values: Mapping[str, Any]) -> None:
        names = tuple(values)
        missing = self._fields_known.get(names)
        if missing is None:
            missing = self._fields_known[names] = self._missing_fields(names)
        for index, fields in missing:
            self.reports[index].missing_fields.update(fields)

    def _missing_fields(self, names: tuple[str, ...]) -> list[tuple[int, list[str]]]:
        missing = []
        for index, job in self._jobs:
            self.reports[index].row_fields = self.reports[index].row_fields or names
            if absent := [field for field in job.template_fields if field not in names]:
                missing.append((index, absent))
        return missing

    def _fail(
        self, index: int, job: SplitJob, row: int, example_id: str, reason: str, detail: str
    ) -> None:
        template = job.task.template.name
        letter = dead_letter(example_id=example_id, template=template, reason=reason, detail=detail)
        self.buffers.add((index, job.dead_letters_name), row, letter)
        report = self.reports[index]
        report.rows += 1
        report.failed[reason] += 1
        report.first_failure = report.first_failure or letter.decode().strip()


def _read(source: RowSource, shard: RowShard, on_bad_row: BadRowHandler) -> Iterator:
    """Reads a shard; what goes wrong with it is the source's fault and is named so."""
    try:
        yield from source.read(shard, on_bad_row=on_bad_row)
    except InputError as error:
        raise SourceError(str(error)) from error


def worded(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


class _RenderUnit(beam.DoFn):
    """Position of a unit -> (file, blob) and (report, counts)."""

    def __init__(self, plan: RenderPlan, progress_folder: str, spill_folder: str) -> None:
        self._jobs = dict(enumerate(plan.jobs))
        self._units = plan.units
        self._progress_folder = progress_folder
        self._spill_folder = spill_folder

    def process(self, element: int) -> Iterator[tuple[FileKey, bytes]]:
        """Renders one unit."""
        renderer = UnitRenderer(self._units[element], self._jobs)
        blobs = self._blobs(renderer)
        if self._spill_folder:
            blobs = _spilled(blobs, SpillFile(self._spill_folder))
        yield from blobs
        for index, report in renderer.reports.items():
            _count(report)
            yield (index, ""), report.to_bytes()

    def _blobs(self, renderer: UnitRenderer) -> Iterator[tuple[FileKey, bytes]]:
        rows_done = RowsDone(self._progress_folder)
        for renders in renderer.render():
            rows_done.add(renders)
            if renderer.buffers.is_full:
                yield from renderer.buffers.drain()
        yield from renderer.buffers.drain()
        rows_done.close()


def _spilled(
    blobs: Iterator[tuple[FileKey, bytes]], file: SpillFile
) -> Iterator[tuple[FileKey, bytes]]:
    """Puts blobs into a file and gives references to them."""
    with contextlib.closing(file):
        for key, blob in blobs:
            yield key, file.put(blob)


def _count(report: RowReport) -> None:
    """Adds a report to Beam's own counters, for whoever watches the runner."""
    counts = {"rows": report.rows, "examples": report.examples}
    counts |= {f"dropped-{reason}": n for reason, n in report.dropped.items()}
    counts |= {f"failed-{reason}": n for reason, n in report.failed.items()}
    counts |= {"missing-field": sum(report.missing_fields.values())}
    for name, count in counts.items():
        beam.metrics.Metrics.counter("render", name).inc(count)


@dataclasses.dataclass
class RenderedBlobs(beam.PTransform):
    """Positions of units -> (job, file) and the bytes that belong in it; one pass over the rows.

    Reports of what was counted come out under the file name "".

    Attributes:
        plan: the units and the jobs.
        progress_folder: a folder on this machine where workers note their progress, or "".
        spill_folder: a folder on this machine where the blobs are put and referred to, or "".
    """

    plan: RenderPlan
    progress_folder: str = ""
    spill_folder: str = ""

    def expand(self, pcoll):
        """Positions of units -> keyed blobs."""
        return pcoll | "RenderUnit" >> beam.ParDo(
            _RenderUnit(self.plan, self.progress_folder, self.spill_folder)
        ).with_output_types(tuple[tuple[int, str], bytes])
