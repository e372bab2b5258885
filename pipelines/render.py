"""Raw rows to rendered TFRecords: each dataset is read once, for all its templates and splits."""

import dataclasses
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from instrux.beam.finish import FinishSettings
from instrux.beam.plan import SourceReader, SplitJob, make_plans, split_job
from instrux.beam.reach import refuse_local_paths
from instrux.beam.runners import is_local, pipeline_options
from instrux.beam.schema_check import schema_problem
from instrux.data.manifest import COMPLETED, read_manifest
from instrux.data.prompted_task import PromptedTask
from instrux.errors import InputError, did_you_mean
from instrux.progress import Progress, tell
from pipelines import failed_sources
from pipelines.failed_sources import FailedSource
from pipelines.run_plans import PlanRunner

_BYTES_A_PLAN = 2 << 30  # rendered before the next datasets are begun, on a local runner
_SKIPPED_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class RenderResult:
    """What a render did.

    Attributes:
        rendered: (task, split) of what was made.
        skipped: (task, split) of what was complete already.
        examples: examples written.
        rows: rows times templates, rendered or not.
        failed: how many of those went to the dead letters.
        seconds: wall-clock time.
        failed_sources: splits of datasets that could not be read and were left out.
    """

    rendered: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    examples: int
    rows: int
    failed: int
    seconds: float
    failed_sources: tuple[FailedSource, ...] = ()


def render(
    *,
    tasks: Sequence[PromptedTask],
    data_dir: str | Path,
    splits: Sequence[str] | None = None,
    beam_args: Sequence[str] = (),
    num_shards: int | None = None,
    max_bad_share: float = 0.01,
    allow_missing_fields: bool = False,
    seed: int | None = None,
    skip_failing_sources: bool = False,
) -> RenderResult:
    """Renders tasks into `<data_dir>/rendered/<task>/`; what is complete is skipped.

    Args:
        tasks: what to render.
        data_dir: the folder that takes `rendered/`.
        splits: the tasks' splits to render; None is all. A task without one of them is rendered
            in those it has.
        beam_args: Beam's own options, as `--direct_num_workers=4` or `--runner=DaskRunner`.
        num_shards: files per split; None chooses by the number of rows.
        max_bad_share: the largest share of a split's rows that may fail, from 0 to 1.
        allow_missing_fields: whether a template may name a field that no row of a split has.
        seed: of the templates' random choices, instead of the tasks' own.
        skip_failing_sources: whether splits of datasets that cannot be read are left out, told at
            the end and listed in `rendered/failed_sources.json`. Otherwise one is an error before
            anything is rendered.

    Raises:
        InputError: a task, a dataset, a row, a template, an option or a folder is wrong. Splits
            that are in order are complete all the same.
    """
    started = time.time()
    options = pipeline_options(beam_args)
    refuse_local_paths(options, [data_dir], what="data_dir")
    _check_numbers(num_shards, max_bad_share)
    reader = SourceReader()
    wanted = _wanted(_with_seed(tasks, seed), splits)
    try:
        jobs, failed = _jobs(wanted, reader, str(data_dir), num_shards, allow_missing_fields)
        failed_sources.record(data_dir, failed)
        if failed and not skip_failing_sources:
            raise failed_sources.refusal(data_dir, failed, others=bool(jobs))
        if not jobs:
            failed_sources.tell_failed(data_dir, failed)
            raise failed_sources.refusal(data_dir, failed, others=False)
        is_done = [job.is_done() for job in jobs]
        for job, whole in zip(jobs, is_done, strict=True):
            if whole:
                job.refresh_metadata()
        done = [job for job, whole in zip(jobs, is_done, strict=True) if whole]
        missing = [job for job, whole in zip(jobs, is_done, strict=True) if not whole]
        _tell_skipped(done)
        settings = FinishSettings(
            max_bad_share=max_bad_share,
            allow_missing_fields=allow_missing_fields,
            arguments={
                "splits": list(splits) if splits is not None else None,
                "num_shards": num_shards,
                "max_bad_share": max_bad_share,
                "allow_missing_fields": allow_missing_fields,
                "seed": seed,
                "beam_args": list(beam_args),
            },
            started=started,
        )
        _refuse_local_rows(missing, reader, options)
        _make_ready(missing)
        runner = PlanRunner(
            reader=reader,
            settings=settings,
            options=options,
            bytes_at_once=_BYTES_A_PLAN if is_local(options) else None,
            shown=Progress("render", total=sum(job.rows for job in missing), unit="examples"),
        )
        interrupted: list[FailedSource] | None = [] if skip_failing_sources else None
        try:
            _run(missing, runner, interrupted)
        finally:
            if interrupted:
                failed = [*failed, *interrupted]
                left_out = {task for each in interrupted for task in each.tasks}
                failed_sources.record(data_dir, failed)
                jobs = [job for job in jobs if job.task.name not in left_out or job.is_done()]
                missing = [job for job in missing if job.is_done()]
            _mark_completed(jobs)
            failed_sources.tell_failed(data_dir, failed)
    except OSError as error:
        raise InputError(
            f"{error.filename or data_dir}: cannot be used ({error.strerror or error})."
        ) from error
    return _result(done, missing, time.time() - started, failed)


def _check_numbers(num_shards: int | None, max_bad_share: float) -> None:
    if num_shards is not None and not 1 <= num_shards < 100_000:
        raise InputError(f"num_shards is {num_shards}: it must be from 1 to 99999.")
    if not 0 <= max_bad_share <= 1:
        raise InputError(f"max_bad_share is {max_bad_share}: it is a share, from 0 to 1.")


def _with_seed(tasks: Iterable[PromptedTask], seed: int | None) -> list[PromptedTask]:
    seeded = [task if seed is None else dataclasses.replace(task, seed=seed) for task in tasks]
    return [task.resolve() for task in seeded]


def _wanted(
    tasks: Sequence[PromptedTask], splits: Sequence[str] | None
) -> list[tuple[PromptedTask, str]]:
    """The (task, split) pairs asked for, in order."""
    if not tasks:
        raise InputError("No task to render: name at least one.")
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"Task {twice[0]!r} is named twice.")
    known = {split for task in tasks for split in task.splits}
    for split in splits if splits is not None else ():
        if split not in known:
            raise InputError(
                f"No task has a split {split!r}; there are {sorted(known)}."
                + did_you_mean(split, known)
            )
    return [
        (task, split)
        for task in tasks
        for split in task.splits
        if splits is None or split in splits
    ]


def _jobs(
    wanted: Sequence[tuple[PromptedTask, str]],
    reader: SourceReader,
    data_dir: str,
    num_shards: int | None,
    allow_missing_fields: bool,
) -> tuple[list[SplitJob], list[FailedSource]]:
    """Works out every split that can be read, and why the others cannot."""
    by_rows: dict[tuple[str, str], list[tuple[PromptedTask, str]]] = {}
    for task, split in wanted:
        by_rows.setdefault((task.source.key(), task.splits[split]), []).append((task, split))
    jobs: list[SplitJob] = []
    failed: list[FailedSource] = []
    for group in by_rows.values():
        try:
            found = [
                split_job(task, split, data_dir=data_dir, num_shards=num_shards, reader=reader)
                for task, split in group
            ]
            problem = "" if allow_missing_fields else schema_problem(found)
        except InputError as error:
            failed.append(FailedSource.of(group, "unreadable", str(error)))
            continue
        if problem:
            failed.append(FailedSource.of(group, "schema", problem))
        else:
            jobs += found
    order = {(task.name, split): number for number, (task, split) in enumerate(wanted)}
    return sorted(jobs, key=lambda job: order[job.task.name, job.split]), failed


def _refuse_local_rows(jobs: Sequence[SplitJob], reader: SourceReader, options: Any) -> None:
    for job in jobs:
        source, split = job.task.source, job.task.splits[job.split]
        paths = [shard.path for shard in reader.shards(source, split)]
        refuse_local_paths(options, paths, what=f"Dataset {source.label!r}, rows in")


def _tell_skipped(done: Sequence[SplitJob]) -> None:
    for job in done[:_SKIPPED_SHOWN]:
        tell(f"render {job.task.name}, {job.split}: complete, skipped")
    if len(done) > _SKIPPED_SHOWN:
        tell(f"render: {len(done) - _SKIPPED_SHOWN} more splits: complete, skipped")


def _make_ready(jobs: Iterable[SplitJob]) -> None:
    """Removes what earlier runs left of these splits."""
    for job in jobs:
        job.output.completed().start(
            also=(f"{job.split}.tfrecord-*", job.dead_letters_name, job.failure_name)
        )


def _run(
    jobs: Sequence[SplitJob], runner: PlanRunner, interrupted: list[FailedSource] | None
) -> None:
    """Runs the jobs, and adds to `interrupted` (where given) the sources that failed midway."""
    problems: list[str] = []
    for plan in make_plans(jobs, runner.reader, bytes_at_once=runner.bytes_at_once):
        given_up: set[tuple[str, str]] = set()
        if interrupted is None:
            runner.run(plan)
        else:
            found = runner.run_apart(plan)
            interrupted += found
            given_up = {(task, each.split) for each in found for task in each.tasks}
        runner.finished += plan.renders
        problems += [
            problem
            for job in plan.jobs
            if (job.task.name, job.task.splits[job.split]) not in given_up
            and (problem := _problem(job))
        ]
    if problems:
        others = f" (and {len(problems) - 1} more splits)" if len(problems) > 1 else ""
        raise InputError(problems[0] + others)
    if made := [job for job in jobs if job.is_done()]:
        _finish_progress(runner.shown, made)


def _problem(job: SplitJob) -> str:
    """Why a split that was run has no manifest; "" if it has one."""
    if job.is_done():
        return ""
    try:
        return json.loads((job.output.folder / job.failure_name).read_text())["problem"]
    except FileNotFoundError:
        return (
            f"Task {job.task.name!r}, split {job.split!r}: the job ended and left no manifest in "
            f"{job.output.folder}; is that folder one that the workers write to?"
        )


def _mark_completed(jobs: Iterable[SplitJob]) -> None:
    """Writes `COMPLETED` for the tasks of which every split asked for is whole."""
    whole: dict[Path, bool] = {}
    for job in jobs:
        whole[job.output.folder] = whole.get(job.output.folder, True) and job.is_done()
    for folder, is_whole in whole.items():
        if is_whole:
            (folder / COMPLETED).touch()


def _finish_progress(shown: Progress, jobs: Sequence[SplitJob]) -> None:
    manifests = [job.output.completed().manifest() for job in jobs]
    shown.done = sum(manifest.counts["examples"] for manifest in manifests)
    details = [f"{sum(m.counts['bytes'] for m in manifests) / 1e6:,.1f} MB"]
    left_out: dict[str, int] = {}
    for manifest in manifests:
        for reason, count in manifest.dropped.items():
            left_out[reason] = left_out.get(reason, 0) + count
    details += [f"{count:,} {reason}" for reason, count in sorted(left_out.items())]
    shown.finish(", ".join(details))
    _tell_oddities(jobs)


def _tell_oddities(jobs: Sequence[SplitJob]) -> None:
    """Tells of splits that are complete and yet hardly what their user meant."""
    for job in jobs:
        manifest = job.output.completed().manifest()
        name, rows = f"render {job.task.name}, {job.split}", manifest.counts["rows"]
        for field, lacking in manifest.metadata["missing_fields"].items():
            tell(
                f"{name}: {lacking:,} of {rows:,} rows have no field {field!r} (missing_field); "
                "it was rendered as nothing"
            )
        if manifest.counts["examples"] == 0:
            reasons = [f"{count:,} {reason}" for reason, count in manifest.dropped.items()]
            tell(f"{name}: no example; {', '.join(reasons)}")


def _result(
    done: Sequence[SplitJob],
    made: Sequence[SplitJob],
    seconds: float,
    failed: Sequence[FailedSource],
) -> RenderResult:
    manifests = [read_manifest(job.output.completed().manifest_path) for job in made]
    return RenderResult(
        rendered=tuple((job.task.name, job.split) for job in made),
        skipped=tuple((job.task.name, job.split) for job in done),
        examples=sum(manifest.counts["examples"] for manifest in manifests),
        rows=sum(manifest.counts["rows"] for manifest in manifests),
        failed=sum(manifest.counts["failed"] for manifest in manifests),
        seconds=seconds,
        failed_sources=tuple(failed),
    )
