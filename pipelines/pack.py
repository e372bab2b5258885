"""A mixture of rendered tasks to a packed dataset: sampled, tokenised, shuffled, packed."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import instrux
from instrux.beam.pack import PackedShards, PackPlan, RenderedFile, report_name
from instrux.beam.reach import refuse_local_paths
from instrux.beam.rows_done import total_done
from instrux.beam.runners import is_local, pipeline_options, run_pipeline, shares_this_machine
from instrux.data.excluded import Excluded, read_excluded
from instrux.data.files import as_path, remove_partial_files, write_atomically
from instrux.data.left_out import LeftOutTask
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
from instrux.data.rendered import RenderedSplit, RenderManifest
from instrux.data.sampling import TaskSample, draw
from instrux.errors import InputError
from instrux.progress import Progress, tell
from pipelines.mixture import (
    KeptRows,
    manifests_of,
    refuse_emptied,
    tell_excluded,
    without_left_out,
)

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
    refuse_local_paths(options, [data_dir], what="data_dir")
    sources = _sources(settings, data_dir, rates, datasets)
    samples = draw(
        sources.rates, sources.available, num_examples=settings.num_examples, seed=settings.seed
    )
    folder = as_path(settings.folder(data_dir))
    if (complete := _complete(folder, sources)) is not None:
        tell(f"pack {settings.mixture}: complete, skipped")
        return PackResult(folder, complete, skipped=True)
    plan = _plan(settings, folder, sources, samples)
    try:
        _make_ready(folder)
        _run(plan, options, _passes(plan, sources.manifests, local=is_local(options)))
        manifest = _manifest(settings, plan, sources, _reports(plan))
        write_atomically(folder / MANIFEST_NAME, [manifest.to_json().encode()])
        (folder / COMPLETED_NAME).touch()
        for path in list(folder.glob(report_name("*"))):
            path.unlink()
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be used ({error.strerror or error})"
        ) from error
    return PackResult(folder, manifest, skipped=False)


@dataclass(frozen=True)
class _Sources:
    """What is read.

    Attributes:
        rates: task -> rate, those left out excepted.
        splits: task -> rendered split.
        manifests: task -> the split's manifest.
        records: task -> examples that no list excludes, by file.
        excluded: the rows that lists exclude.
        left_out: tasks of the mixture that are left out.
    """

    rates: Mapping[str, float]
    splits: Mapping[str, RenderedSplit]
    manifests: Mapping[str, RenderManifest]
    records: Mapping[str, Sequence[int]]
    excluded: Excluded
    left_out: tuple[LeftOutTask, ...]

    @property
    def available(self) -> dict[str, int]:
        """Examples that no list excludes."""
        return {task: sum(counts) for task, counts in self.records.items()}

    @property
    def dropped(self) -> dict[str, int]:
        """Examples that a list excludes."""
        return {task: self.manifests[task].examples - n for task, n in self.available.items()}

    @property
    def identity(self) -> list[tuple[str, float, str]]:
        """Name, rate and digest of every task."""
        return [
            (task, float(self.rates[task]), manifest.fingerprint)
            for task, manifest in self.manifests.items()
        ]


def _sources(
    settings: PackSettings,
    data_dir: str | Path,
    rates: Mapping[str, float],
    datasets: Mapping[str, str] | None,
) -> _Sources:
    splits = {task: RenderedSplit(data_dir, task, settings.split) for task in rates}
    excluded = read_excluded(settings.exclude)
    kept = KeptRows(excluded, splits, {task: task for task in rates})
    may_empty = kept if settings.leave_out_emptied else None
    rates, left_out = without_left_out(
        "pack", settings, splits, rates, datasets=datasets, kept=may_empty
    )
    splits = {task: splits[task] for task in rates}
    manifests = manifests_of("pack", settings, splits)
    for task, manifest in manifests.items():
        if not manifest.examples:
            raise InputError(
                f"pack {settings.mixture}: task {task} has no example in split {settings.split!r}; "
                "leave it out of the mixture (leave_out, or leave_out_missing)"
            )
        refuse_emptied("pack", settings, kept, task)
    records = {task: kept.by_file(task) for task in splits}
    sources = _Sources(rates, splits, manifests, records, excluded, left_out)
    tell_excluded("pack", settings, settings.exclude, sources.dropped)
    return sources


def _complete(folder: Path, sources: _Sources) -> PackManifest | None:
    """Gives the manifest of a dataset that needs no packing, else None; tells why it is stale."""
    try:
        manifest = read_manifest(folder)
    except InputError:
        return None
    name = manifest.settings["mixture"]
    packed = [(task.name, task.rate, task.source_digest) for task in manifest.tasks]
    wanted = sources.identity
    if packed != wanted or manifest.left_out != sources.left_out:
        rates_differ = packed == wanted or (
            [source[:2] for source in packed] != [source[:2] for source in wanted]
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
    sources: _Sources,
    samples: Mapping[str, TaskSample],
) -> PackPlan:
    vocabulary = settings.vocabulary.load()
    files: list[RenderedFile] = []
    for number, (task, split) in enumerate(sources.splits.items()):
        if not samples[task].taken:
            continue
        first = 0
        for path, count in zip(split.shard_paths(), sources.records[task], strict=True):
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
            settings.inputs_length,
            settings.targets_length,
            vocabulary.vocab_size,
            len(samples),
            settings.joined,
        ),
        seed=settings.seed,
        num_shards=settings.shard_count,
        excluded=tuple(sources.excluded.of(task) for task in sources.splits),
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
    sources: _Sources,
    reports: list[ShardReport],
) -> PackManifest:
    rates = math.fsum(sources.rates.values())
    counts = np.zeros((len(sources.rates), 5), np.int64)
    layout = plan.layout
    lengths = np.zeros([room + 1 for room in layout.room], np.int64)
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
            excluded=sources.dropped[name],
        )
        for (name, rate, digest), count, sample in zip(
            sources.identity, counts, plan.samples, strict=True
        )
    ]
    return PackManifest(
        settings=settings.identity(),
        vocabulary_path=settings.vocabulary.path,
        vocab_size=plan.layout.vocab_size,
        tasks=tuple(tasks),
        shards=tuple(report.shard for report in reports),
        rows=rows,
        examples=examples,
        inputs_efficiency=inputs_tokens / (rows * layout.open_to[0]),
        targets_efficiency=targets_tokens / (rows * layout.open_to[1]),
        rows_lower_bound=lower_bound(lengths),
        instrux_version=instrux.__version__,
        left_out=sources.left_out,
        versions=library_versions("apache-beam", "numpy", "sentencepiece"),
    )
