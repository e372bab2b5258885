"""A mixture of rendered tasks to what there is to know before training on it."""

import heapq
import itertools
import json
import math
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from instrux.beam.audit import AuditedFiles, NearDuplicateLines
from instrux.beam.audit_plan import AuditPlan, lists_of, report_name
from instrux.beam.pack import RenderedFile
from instrux.beam.reach import refuse_local_paths
from instrux.beam.rows_done import total_done
from instrux.beam.runners import is_local, pipeline_options, run_pipeline, shares_this_machine
from instrux.data import audit_pairs, audit_stats
from instrux.data.audit_overlap import HeldOutBuilder
from instrux.data.audit_results import AuditResults, Found, HeldOutSet, make_results
from instrux.data.audit_settings import AuditSettings, AuditTask
from instrux.data.files import as_path, write_atomically
from instrux.data.left_out import LeftOutTask
from instrux.data.manifest import CompletedFolder, FileRecord, Manifest, library_versions
from instrux.data.rendered import RenderedSplit, RenderManifest
from instrux.errors import InputError
from instrux.evaluation.audit_report import audit_page
from instrux.progress import Progress, progress, tell
from pipelines.mixture import manifests_of, refuse_foreign, tasks_used

RESULTS_NAME = "results.json"
REPORT_NAME = "report.html"
_LEFTOVERS = ("part.*", "pairs.*", "report.*.json", "held_out.*.npz")
_BYTES_AT_ONCE = 512 << 20  # of blocks, where the runner keeps all in memory
_BYTES_A_BUCKET = 32 << 20
_LEAST_BUCKETS = 16
_ROWS_A_LIST_PART = 1_000_000
_SAMPLES = 20  # lines of each list on the page


@dataclass(frozen=True)
class AuditResult:
    """What an audit did.

    Attributes:
        folder: where results, report and lists lie.
        results: what it found, as in `results.json`.
        skipped: whether it was complete already.
    """

    folder: Path
    results: Mapping[str, Any]
    skipped: bool


@dataclass(frozen=True)
class _Sources:
    """What is read.

    Attributes:
        tasks: the mixture's tasks, those left out excepted.
        splits: rendered task -> split; twins share one.
        manifests: rendered task -> manifest.
        held_out: the held-out splits that are rendered.
        missing: held-out tasks of which no split is rendered.
        left_out: tasks of the mixture that are left out.
    """

    tasks: tuple[AuditTask, ...]
    splits: Mapping[str, RenderedSplit]
    manifests: Mapping[str, RenderManifest]
    held_out: tuple[RenderedSplit, ...]
    missing: tuple[str, ...]
    left_out: tuple[LeftOutTask, ...]

    @property
    def rows(self) -> int:
        """Examples in all."""
        return sum(manifest.examples for manifest in self.manifests.values())


def audit(
    settings: AuditSettings,
    *,
    data_dir: str | Path,
    tasks: Sequence[AuditTask],
    held_out: Sequence[str] = (),
    out: str | Path | None = None,
    beam_args: Sequence[str] = (),
) -> AuditResult:
    """Audits a mixture into `settings.folder(data_dir)`; what is complete is skipped.

    Args:
        settings: what to audit, and how.
        data_dir: the folder that holds `rendered/` and gets `audit/`.
        tasks: the mixture's tasks.
        held_out: rendered tasks that the mixture is evaluated on; those that are not rendered
            are told and left out.
        out: the folder to write; None is `settings.folder(data_dir)`.
        beam_args: Beam's own options.

    Raises:
        InputError: a task is not rendered, or a setting, an option or a folder is wrong.
    """
    started = time.time()
    options = pipeline_options(beam_args)
    refuse_local_paths(options, [data_dir, *([out] if out else [])], what="data_dir")
    sources = _sources(settings, data_dir, tasks, held_out)
    folder = as_path(out) if out is not None else settings.folder(data_dir)
    output = CompletedFolder(folder)
    identity = _identity(settings, sources)
    if output.is_complete(identity):
        tell(f"audit {settings.mixture}: complete, skipped")
        return AuditResult(folder, json.loads((folder / RESULTS_NAME).read_text()), skipped=True)
    try:
        refuse_foreign(output, REPORT_NAME, "audit")
        output.start(also=_LEFTOVERS)
        held_out_set, held_out_path = _held_out(settings, sources, folder)
        plan = _plan(settings, folder, sources, held_out_path)
        passes = _run(plan, options, sources)
        reports = [_report(folder, number) for number in range(passes)]
        lists = [_merge(folder, name) for name in lists_of(settings)]
        results = make_results(settings, sources.tasks, _found(reports, plan, lists), held_out_set)
        files = [*lists, *_write_pages(folder, results)]
        arguments = asdict(settings) | {"data_dir": str(data_dir)}
        output.complete(_manifest(arguments, identity, sources, results, files, started))
        _remove_leftovers(folder)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be used ({error.strerror or error})"
        ) from error
    return AuditResult(folder, results.content, skipped=False)


# --- What is read ------------------------------------------------------------------------------


def _sources(
    settings: AuditSettings,
    data_dir: str | Path,
    tasks: Sequence[AuditTask],
    held_out: Sequence[str],
) -> _Sources:
    used, left_out = tasks_used("audit", settings, data_dir, tasks)
    splits = {t.rendered: RenderedSplit(data_dir, t.rendered, settings.split) for t in used}
    manifests = manifests_of("audit", settings, splits)
    found: list[RenderedSplit] = []
    missing: list[str] = []
    for name in dict.fromkeys(held_out):
        every = [RenderedSplit(data_dir, name, split) for split in settings.held_out_splits]
        rendered = [split for split in every if split.exists()]
        found += rendered
        missing += [] if rendered else [name]
    if missing:
        tell(
            f"audit {settings.mixture}: {len(missing)} of {len(set(held_out))} held-out tasks are "
            f"not rendered, so no overlap with them is known: {', '.join(missing[:5])}"
            + (" …" if len(missing) > 5 else "")
        )
    return _Sources(tuple(used), splits, manifests, tuple(found), tuple(missing), left_out)


def _identity(settings: AuditSettings, sources: _Sources) -> dict[str, Any]:
    """All that determines the results."""
    return {
        **settings.identity(),
        "tasks": [
            [*asdict(task).values(), sources.manifests[task.rendered].fingerprint]
            for task in sources.tasks
        ],
        "held_out": [
            [each.task_name, each.split, each.manifest().fingerprint] for each in sources.held_out
        ],
        "held_out_missing": list(sources.missing),
        "left_out": [asdict(task) for task in sources.left_out],
    }


def _held_out(settings: AuditSettings, sources: _Sources, folder: Path) -> tuple[HeldOutSet, str]:
    """Gathers the n-grams of the held-out rows into a file for the workers; gives its path or ""."""
    builder = HeldOutBuilder(settings.overlap_sizes)
    examples = {split: split.count for split in sources.held_out}
    if sources.held_out and settings.overlap_sizes:
        total = sum(examples.values())
        with progress("audit, held-out rows", total=total, unit="examples") as shown:
            for split in sources.held_out:
                builder.add(split.read())
                shown.update(shown.done + examples[split])
    index = builder.index(most_rows=settings.overlap_most_rows)
    path = ""
    if index.row_ids:
        # Workers keep what they read by its name, so that no other content may ever have it.
        path = str(folder / f"held_out.{uuid.uuid4().hex}.npz")
        index.write(path)
    held_out = HeldOutSet(
        tasks=tuple(f"{each.task_name}, {each.split}" for each in sources.held_out),
        missing=sources.missing,
        row_ids=index.row_ids,
        ngrams={grams.n: len(grams.hashes) for grams in index.grams},
        ignored={grams.n: grams.ignored for grams in index.grams},
    )
    return held_out, path


# --- The job -----------------------------------------------------------------------------------


def _plan(settings: AuditSettings, folder: Path, sources: _Sources, held_out: str) -> AuditPlan:
    files = []
    for number, split in enumerate(sources.splits.values()):
        # The number of a file names its rows, so that the order of files is the order of tasks.
        files += [RenderedFile(str(path), number, 0) for path in split.shard_paths()]
    size = sources.rows * _bytes_a_row(settings)
    return AuditPlan(
        settings=settings,
        folder=str(folder),
        files=tuple(files),
        tasks=tuple(sources.splits),
        vocabulary=settings.vocabulary.load(),
        held_out=held_out,
        buckets=max(_LEAST_BUCKETS, math.ceil(size / _BYTES_A_BUCKET)),
        list_parts=max(1, math.ceil(sources.rows / _ROWS_A_LIST_PART)),
    )


def _bytes_a_row(settings: AuditSettings) -> int:
    bands = settings.bands if settings.near_duplicates else 0
    return audit_pairs.TEXT.itemsize + bands * audit_pairs.BAND.itemsize


def _passes(plan: AuditPlan, rows: int, *, local: bool) -> list[range]:
    """Divides the buckets into passes over the text, each small enough for memory if it must be."""
    size = rows * _bytes_a_row(plan.settings)
    count = max(1, math.ceil(size / _BYTES_AT_ONCE)) if local else 1
    at_once = math.ceil(plan.buckets / count)
    starts = range(0, plan.buckets, at_once)
    return [range(start, min(start + at_once, plan.buckets)) for start in starts]


def _run(plan: AuditPlan, options: Any, sources: _Sources) -> int:
    """Runs all passes; gives how many wrote a report."""
    passes = _passes(plan, sources.rows, local=is_local(options))
    shown = Progress(
        f"audit {plan.settings.mixture}", total=sources.rows * len(passes), unit="examples"
    )
    watched = shares_this_machine(options)
    with tempfile.TemporaryDirectory(prefix="instrux-audit-") as progress_folder:
        watch = (lambda: shown.update(total_done(progress_folder))) if watched else None
        for number, buckets in enumerate(passes):
            transform = AuditedFiles(plan, number, buckets, progress_folder if watched else "")
            run_pipeline(lambda pipeline, t=transform: pipeline | t, options, watch=watch)
    shown.done = sources.rows * len(passes)
    shown.finish()
    if not plan.settings.near_duplicates:
        return len(passes)
    tell(f"audit {plan.settings.mixture}: comparing rows that may be near duplicates")
    run_pipeline(lambda pipeline: pipeline | NearDuplicateLines(plan, len(passes)), options)
    return len(passes) + 1


# --- What came of it ---------------------------------------------------------------------------


def _merge(folder: Path, name: str) -> FileRecord:
    """Merges the parts of a list into one file, in the order of the rows."""
    records = 0

    def lines() -> Iterator[bytes]:
        nonlocal records
        with ExitStack() as stack:
            parts = [
                stack.enter_context(path.open("rb"))
                for path in sorted(folder.glob(f"part.{name}.*"))
            ]
            for line in heapq.merge(*parts):
                records += 1
                yield line.partition(b"\t")[2]

    size, digest = write_atomically(folder / f"{name}.jsonl", lines())
    return FileRecord(f"{name}.jsonl", size, digest, records)


def _found(
    reports: Sequence[dict[str, Any]], plan: AuditPlan, lists: Sequence[FileRecord]
) -> Found:
    """Adds up what the passes counted."""
    counts: Counter[tuple] = Counter()
    stats, touched = {}, {}
    for report in reports:
        for content in report["counts"]:
            counts.update({tuple(key): count for key, count in content})
        stats |= {task: audit_stats.from_json(content) for task, content in report["stats"]}
        touched |= dict(report["touched"])
    return Found(
        tasks=plan.tasks,
        stats={plan.tasks[number]: each for number, each in stats.items()},
        counts=counts,
        touched={int(n): tuple(rows) for n, rows in touched.items()},
        listed={file.name.removesuffix(".jsonl"): file.records for file in lists},
    )


def _report(folder: Path, number: int) -> dict[str, Any]:
    """What a pass wrote that it counted, once it is sure that all its files are here."""
    path = folder / report_name(number)
    report = json.loads(path.read_text()) if path.exists() else {"written": [path.name]}
    absent = [name for name in report["written"] if not (folder / name).exists()]
    if absent:
        raise InputError(
            f"{folder / absent[0]}: the job ended and it is not there; is that a folder that the "
            "workers write to?"
        )
    return report


def _samples(folder: Path, name: str) -> list[dict[str, Any]]:
    """The first lines of a list."""
    with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in itertools.islice(lines, _SAMPLES)]


def _write_pages(folder: Path, results: AuditResults) -> list[FileRecord]:
    samples = {name: _samples(folder, name) for name in results.listed}
    page = audit_page(results.content, samples)
    text = json.dumps(results.content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    written = []
    for name, content in (
        (RESULTS_NAME, text.encode(errors="replace")),
        (REPORT_NAME, page.encode(errors="replace")),
    ):
        size, digest = write_atomically(folder / name, [content])
        written.append(FileRecord(name, size, digest, 0))
    return written


def _manifest(
    arguments: dict[str, Any],
    identity: dict[str, Any],
    sources: _Sources,
    results: AuditResults,
    files: Sequence[FileRecord],
    started: float,
) -> Manifest:
    return Manifest(
        stage="audit",
        settings=identity,
        files=tuple(files),
        counts={"examples": sources.rows, "tasks": len(sources.tasks), **results.listed},
        versions=library_versions("apache-beam", "numpy", "sentencepiece"),
        arguments=arguments,
        seconds=round(time.time() - started, 3),
    )


def _remove_leftovers(folder: Path) -> None:
    for glob in _LEFTOVERS:
        for path in list(folder.glob(glob)):
            path.unlink()
