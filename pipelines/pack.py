"""A mixture of rendered tasks to a packed dataset: sampled, tokenised, shuffled, packed."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import instrux
from instrux.beam.pack import PackedShards, PackPlan, RenderedFile, report_name
from instrux.beam.rows_done import total_done
from instrux.beam.runners import is_local, pipeline_options, run_pipeline, shares_this_machine
from instrux.data.excluded import Excluded, kept_by_file, read_excluded, told_excluded
from instrux.data.files import as_path, remove_partial_files, write_atomically
from instrux.data.left_out import LeftOutTask, leave_out, told
from instrux.data.manifest import library_versions
from instrux.data.pack_blocks import Tokenizer
from instrux.data.pack_shard import ShardReport
from instrux.data.packed_manifest import (
    COMPLETED_NAME,
    MANIFEST_NAME,
    PackedTask,
    PackManifest,
    PackSettings,
    read_manifest,
)
from instrux.data.packed_rows import RowLayout
from instrux.data.packing_bounds import lower_bound
from instrux.data.rendered import RenderedSplit, RenderManifest, rendered_manifests
from instrux.data.sampling import TaskSample, draw
from instrux.errors import InputError
from instrux.progress import Progress, tell

_TEXT_IN_MEMORY = 1 << 30  # bytes of text packed at once where the runner keeps all in memory


@dataclass(frozen=True)
class PackResult:
    """What a pack did.

    Attributes:
        folder: the packed dataset.
        manifest: what it holds.
        skipped: whether it was complete already.
    """

    folder: Path
    manifest: PackManifest
    skipped: bool


def pack(
    settings: PackSettings,
    *,
    data_dir: str | Path,
    rates: Mapping[str, float],
    datasets: Mapping[str, str] | None = None,
    beam_args: Sequence[str] = (),
) -> PackResult:
    """Packs a mixture into `settings.folder(data_dir)`; what is complete is skipped.

    A dataset of the same settings that was packed at other rates, or from tasks that were
    rendered anew since, is replaced.

    Args:
        settings: what to pack, and how.
        data_dir: the folder that holds `rendered/` and gets `packed/`.
        rates: the mixing rate of every task; only their proportions matter.
        datasets: the dataset of every task, which `settings.leave_out` may name.
        beam_args: Beam's own options.

    Raises:
        InputError: a rate, a rendered split, the vocabulary, an option or a folder is wrong.
    """
    options = pipeline_options(beam_args)
    rates, left_out = _without_left_out(settings, data_dir, rates, datasets)
    splits, manifests = _rendered(settings, data_dir, rates)
    excluded = read_excluded(settings.exclude)
    records = {task: kept_by_file(split, excluded.of(task)) for task, split in splits.items()}
    available = _available(settings, manifests, records)
    samples = draw(rates, available, num_examples=settings.num_examples, seed=settings.seed)
    folder = as_path(settings.folder(data_dir))
    sources = [(task, float(rates[task]), manifests[task].fingerprint) for task in rates]
    if (complete := _complete(folder, sources, left_out)) is not None:
        tell(f"pack {settings.mixture}: complete, skipped")
        return PackResult(folder, complete, skipped=True)
    plan = _plan(settings, folder, splits, samples, records, excluded)
    try:
        _make_ready(folder)
        _run(plan, options, _passes(plan, manifests, local=is_local(options)))
        dropped = {task: manifests[task].examples - available[task] for task in rates}
        manifest = _manifest(settings, plan, sources, _reports(plan), left_out, dropped)
        write_atomically(folder / MANIFEST_NAME, [manifest.to_json().encode()])
        (folder / COMPLETED_NAME).touch()
        for path in list(folder.glob(report_name("*"))):
            path.unlink()
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be used ({error.strerror or error})"
        ) from error
    return PackResult(folder, manifest, skipped=False)


def _without_left_out(
    settings: PackSettings,
    data_dir: str | Path,
    rates: Mapping[str, float],
    datasets: Mapping[str, str] | None,
) -> tuple[Mapping[str, float], tuple[LeftOutTask, ...]]:
    """Takes out the tasks that the settings leave out, and tells it."""

    def is_missing(task: str) -> bool:
        split = RenderedSplit(data_dir, task, settings.split)
        return not split.exists() or not split.manifest().examples

    if not (settings.leave_out or settings.leave_out_missing):
        return rates, ()
    try:
        kept, left_out = leave_out(
            rates,
            patterns=settings.leave_out,
            datasets=datasets,
            is_missing=is_missing if settings.leave_out_missing else None,
        )
    except InputError as error:
        raise InputError(f"pack {settings.mixture}: {error}") from error
    if left_out:
        tell(f"pack {settings.mixture}: {told(left_out, len(rates))}")
    return kept, left_out


def _rendered(
    settings: PackSettings, data_dir: str | Path, rates: Mapping[str, float]
) -> tuple[dict[str, RenderedSplit], dict[str, RenderManifest]]:
    splits = {task: RenderedSplit(data_dir, task, settings.split) for task in rates}
    try:
        manifests = rendered_manifests(splits)
    except InputError as error:
        raise InputError(f"pack {settings.mixture}: {error}") from error
    for task, manifest in manifests.items():
        if not manifest.examples:
            raise InputError(
                f"pack {settings.mixture}: task {task} has no example in split {settings.split!r}; "
                "leave it out of the mixture (leave_out, or leave_out_missing)"
            )
    return splits, manifests


def _available(
    settings: PackSettings,
    manifests: Mapping[str, RenderManifest],
    records: Mapping[str, Sequence[int]],
) -> dict[str, int]:
    """Counts what is left of each task, and tells what lists of rows exclude."""
    available = {task: sum(counts) for task, counts in records.items()}
    for task, count in available.items():
        if not count:
            raise InputError(
                f"pack {settings.mixture}: all {manifests[task].examples:,} examples of task {task} "
                "are excluded; leave it out of the mixture (leave_out)"
            )
    if settings.exclude:
        tell(
            f"pack {settings.mixture}: "
            + told_excluded(
                settings.exclude,
                {task: manifests[task].examples - count for task, count in available.items()},
            )
        )
    return available


def _complete(
    folder: Path, sources: list[tuple[str, float, str]], left_out: tuple[LeftOutTask, ...]
) -> PackManifest | None:
    """Gives the manifest of a dataset that needs no packing, else None; tells why it is stale."""
    try:
        manifest = read_manifest(folder)
    except InputError:
        return None
    name = manifest.settings["mixture"]
    packed = [(task.name, task.rate, task.source_digest) for task in manifest.tasks]
    if packed != sources or manifest.left_out != left_out:
        rates_differ = packed == sources or (
            [source[:2] for source in packed] != [source[:2] for source in sources]
        )
        what = "tasks or rates" if rates_differ else "the rendered examples"
        tell(f"pack {name}: {what} changed since {folder.name} was packed, packing again")
        return None
    for shard in manifest.shards:
        path = folder / shard.name
        if not path.exists() or path.stat().st_size != shard.size:
            tell(f"pack {name}: {path} is missing or cut, packing again")
            return None
    return manifest


def _plan(
    settings: PackSettings,
    folder: Path,
    splits: Mapping[str, RenderedSplit],
    samples: Mapping[str, TaskSample],
    records: Mapping[str, Sequence[int]],
    excluded: Excluded,
) -> PackPlan:
    vocabulary = settings.vocabulary.load()
    files: list[RenderedFile] = []
    for number, (task, split) in enumerate(splits.items()):
        if not samples[task].taken:
            continue
        first = 0
        for path, count in zip(split.shard_paths(), records[task], strict=True):
            files.append(RenderedFile(str(path), number, first))
            first += count
    return PackPlan(
        mixture=settings.mixture,
        folder=str(folder),
        files=tuple(files),
        samples=tuple(samples.values()),
        tokenizer=Tokenizer(
            vocabulary, settings.inputs_length, settings.targets_length, settings.inputs_eos
        ),
        layout=RowLayout(
            settings.inputs_length, settings.targets_length, vocabulary.vocab_size, len(samples)
        ),
        seed=settings.seed,
        num_shards=settings.shard_count,
        excluded=tuple(excluded.of(task) for task in splits),
        one_example_a_row=settings.one_example_a_row,
    )


def _make_ready(folder: Path) -> None:
    """Removes what an earlier run left, so that nothing looks complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (COMPLETED_NAME, MANIFEST_NAME, "rows.array_record-*", report_name("*")):
        for path in list(folder.glob(name)):
            path.unlink(missing_ok=True)
    remove_partial_files(folder)


def _passes(plan: PackPlan, manifests: Mapping[str, RenderManifest], *, local: bool) -> list[range]:
    """Divides the shards into passes over the text, each small enough for memory if it must be."""
    text = sum(
        manifest.manifest.counts.get("bytes", 0) * sample.taken / sample.available
        for manifest, sample in zip(manifests.values(), plan.samples, strict=True)
    )
    count = max(1, math.ceil(text / _TEXT_IN_MEMORY)) if local else 1
    at_once = math.ceil(plan.num_shards / count)
    starts = range(0, plan.num_shards, at_once)
    return [range(start, min(start + at_once, plan.num_shards)) for start in starts]


def _run(plan: PackPlan, options, passes: list[range]) -> None:
    total = sum(sample.taken for sample in plan.samples)
    shown = Progress(f"pack {plan.mixture}", total=total, unit="examples")
    watched = shares_this_machine(options)
    with tempfile.TemporaryDirectory(prefix="instrux-pack-") as progress_folder:
        for shards in passes:
            run_pipeline(
                lambda pipeline, shards=shards: (
                    pipeline | PackedShards(plan, shards, progress_folder if watched else "")
                ),
                options,
                watch=(lambda: shown.update(total_done(progress_folder))) if watched else None,
            )
    shown.done = total
    shown.finish()


def _reports(plan: PackPlan) -> list[ShardReport]:
    folder = as_path(plan.folder)
    paths = [folder / report_name(plan.shard_name(shard)) for shard in range(plan.num_shards)]
    # A shard that no example was drawn for has no file.
    reports = [ShardReport.from_json(path.read_text()) for path in paths if path.exists()]
    packed = sum(counts[0] for report in reports for counts in report.task_counts.values())
    wanted = sum(sample.taken for sample in plan.samples)
    if packed != wanted:
        raise InputError(
            f"{folder}: the job ended with {packed:,} of {wanted:,} examples packed; is that a "
            "folder that the workers write to?"
        )
    return reports


def _manifest(
    settings: PackSettings,
    plan: PackPlan,
    sources: list[tuple[str, float, str]],
    reports: list[ShardReport],
    left_out: tuple[LeftOutTask, ...],
    dropped: Mapping[str, int],
) -> PackManifest:
    rates = math.fsum(rate for _, rate, _ in sources)
    counts = np.zeros((len(sources), 5), np.int64)
    lengths = np.zeros((settings.inputs_length + 1, settings.targets_length + 1), np.int64)
    for report in reports:
        for task, values in report.task_counts.items():
            counts[task] += values
        sizes = np.array(report.sizes, np.int64)
        lengths[sizes[:, 0], sizes[:, 1]] += sizes[:, 2]
    rows = sum(report.shard.rows for report in reports)
    examples, inputs_tokens, targets_tokens = (int(total) for total in counts.sum(axis=0)[:3])
    tasks = [
        PackedTask(
            name=name,
            rate=rate,
            share_asked=rate / rates,
            share=int(count[0]) / examples,
            examples=int(count[0]),
            available=sample.available,
            inputs_tokens=int(count[1]),
            targets_tokens=int(count[2]),
            inputs_truncated=int(count[3]),
            targets_truncated=int(count[4]),
            source_digest=digest,
            excluded=dropped[name],
        )
        for (name, rate, digest), count, sample in zip(sources, counts, plan.samples, strict=True)
    ]
    return PackManifest(
        settings=settings.identity(),
        vocabulary_path=settings.vocabulary.path,
        vocab_size=plan.layout.vocab_size,
        tasks=tuple(tasks),
        shards=tuple(report.shard for report in reports),
        rows=rows,
        examples=examples,
        inputs_efficiency=inputs_tokens / (rows * settings.inputs_length),
        targets_efficiency=targets_tokens / (rows * settings.targets_length),
        rows_lower_bound=lower_bound(lengths),
        instrux_version=instrux.__version__,
        left_out=left_out,
        versions=library_versions("apache-beam", "numpy", "sentencepiece"),
    )
