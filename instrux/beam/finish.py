"""The last step of a render job: judge each split, and write its manifest or why it has none."""

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from instrux.beam.plan import RenderPlan, SplitJob, no_rows
from instrux.beam.report import RowReport, add_up
from instrux.beam.write import write_file
from instrux.data.files import write_json_atomically
from instrux.data.manifest import FileRecord, Manifest, library_versions
from instrux.data.rendered import shard_name
from instrux.errors import InputError


@dataclasses.dataclass(frozen=True)
class FinishSettings:
    """What the judging needs to know.

    Attributes:
        max_bad_share: the largest share of a split's rows that may fail, from 0 to 1.
        allow_missing_fields: whether a template may name a field that no row has.
        arguments: what the command was called with, for the manifest.
        started: when the job started, in seconds since 1970.
    """

    max_bad_share: float
    allow_missing_fields: bool
    arguments: Mapping[str, Any]
    started: float


def problem_of(job: SplitJob, report: RowReport, settings: FinishSettings) -> str:
    """Why a split must not be used, in one line; "" if it may."""
    name = f"Task {job.task.name!r}, split {job.split!r}"
    if report.rows == 0:
        return no_rows(job.task.source, job.task.splits[job.split])
    failed = sum(report.failed.values())
    if failed > settings.max_bad_share * report.rows:
        return (
            f"{name}: {failed:,} of {report.rows:,} rows ({failed / report.rows:.1%}) could not be "
            f"rendered, more than the {settings.max_bad_share:.1%} allowed; they are listed in "
            f"{job.output.folder / job.dead_letters_name}, one of them is {report.first_failure}"
        )
    never = [
        field
        for field, rows in report.missing_fields.items()
        if rows == report.rows - report.failed["bad_row"]
    ]
    if never and not settings.allow_missing_fields:
        template = job.task.template.name
        return (
            f"{name}: template {template!r} names the field {never[0]!r}, which no row has; the "
            f"rows of {job.task.source.label} have {list(report.row_fields)}. Mend the template, "
            "or allow missing fields to have it render as nothing."
        )
    return ""


def finish_split(
    job: SplitJob,
    report: RowReport,
    files: Mapping[str, FileRecord],
    settings: FinishSettings,
) -> str:
    """Writes the manifest of a split whose files are all there; gives "" or what is wrong."""
    names = [shard_name(job.split, number, job.num_shards) for number in range(job.num_shards)]
    shards = [
        # No example fell into it: the file must be there all the same.
        files[name] if name in files else write_file(job.output.folder / name, [])
        for name in names
    ]
    if problem := problem_of(job, report, settings):
        write_json_atomically(job.output.folder / job.failure_name, {"problem": problem})
        return problem
    dead = [files[job.dead_letters_name]] if job.dead_letters_name in files else []
    manifest = Manifest(
        stage="render",
        settings=job.settings,
        files=tuple(shards),
        counts={
            "rows": report.rows,
            "examples": report.examples,
            "failed": sum(report.failed.values()),
            "bytes": sum(shard.bytes for shard in shards),
        },
        dropped={**report.dropped, **report.failed},
        versions=library_versions("apache-beam", "jinja2"),
        arguments=settings.arguments,
        metadata={
            **job.metadata(),
            "missing_fields": dict(report.missing_fields),
            "dead_letters": dead[0].name if dead else None,
            "dead_letters_file": dataclasses.asdict(dead[0]) if dead else None,
        },
        seconds=round(time.time() - settings.started, 3),
    )
    write_json_atomically(job.output.completed().manifest_path, manifest.to_json())
    return ""


class _FinishSplit(beam.DoFn):
    """(job, files and reports) -> (job, what is wrong or "")."""

    def __init__(self, plan: RenderPlan, settings: FinishSettings) -> None:
        self._jobs = plan.jobs
        self._settings = settings

    def process(
        self, element: tuple[int, Iterable[tuple[str, bytes]]]
    ) -> Iterator[tuple[int, str]]:
        """Judges one split."""
        index, parts = element
        files, reports = {}, []
        for name, data in parts:
            if name:
                files[name] = FileRecord(**json.loads(data))
            else:
                reports.append(RowReport.from_bytes(data))
        job = self._jobs[index]
        try:
            yield index, finish_split(job, add_up(reports), files, self._settings)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{job.output.folder}: cannot be written ({reason}).") from error


@dataclasses.dataclass
class FinishedSplits(beam.PTransform):
    """(job, files and reports) -> (job, what is wrong with its split or "").

    Attributes:
        plan: the jobs.
        settings: what the judging needs to know.
    """

    plan: RenderPlan
    settings: FinishSettings

    def expand(self, pcoll):
        """Files and reports -> verdicts; manifests are written on the way."""
        return (
            pcoll
            | "GatherSplit" >> beam.GroupByKey()
            | "FinishSplit" >> beam.ParDo(_FinishSplit(self.plan, self.settings))
        )
