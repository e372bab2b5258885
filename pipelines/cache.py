"""Tasks to SeqIO's own cache: whatever reads SeqIO tasks reads it with `use_cached=True`.

A task that is rendered is cached from its rendered files, without TensorFlow on the workers. Any
other SeqIO task goes through SeqIO's own transforms.
"""

import functools
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seqio
from seqio import beam_utils

from instrux.beam.cache import CachedFiles, CacheFile, CacheFileReport, report_name
from instrux.beam.reach import refuse_local_paths
from instrux.beam.rows_done import total_done
from instrux.beam.runners import pipeline_options, run_pipeline, shares_this_machine
from instrux.data import registration
from instrux.data.cached_examples import CacheEncoder, CacheStats
from instrux.data.files import as_path, write_json_atomically
from instrux.data.left_out import leave_out, some_names, told_without_rates
from instrux.data.manifest import (
    COMPLETED,
    CompletedFolder,
    FileRecord,
    Manifest,
    file_record,
    library_versions,
)
from instrux.data.rendered import RenderedSplit, rendered_manifests
from instrux.data.seqio_source import PromptedTaskSource
from instrux.data.tfrecord import read_records
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.progress import Progress, tell
from pipelines.mixture import has_nothing

_MIN_SHARDS = 16
_SKIPPED_SHOWN = 5


@dataclass(frozen=True)
class CacheResult:
    """What was cached.

    Attributes:
        folder: give it to `seqio.add_global_cache_dirs`.
        cached: (task, split) of what was made.
        skipped: (task, split) of what was complete already.
    """

    folder: Path
    cached: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _SplitToCache:
    """One split of one task.

    Attributes:
        task: the SeqIO task.
        split: its split.
        folder: the task's folder in the cache.
        rendered: its rendered split; None where SeqIO itself must read the task.
    """

    task: seqio.Task
    split: str
    folder: Path
    rendered: RenderedSplit | None

    @property
    def completed(self) -> CompletedFolder:
        return CompletedFolder(self.folder, manifest=f"manifest.{self.split}.json")

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """All that the bytes depend on."""
        if self.rendered is None:
            features = self.task.output_features.items()
            vocabularies = {name: str(feature.vocabulary) for name, feature in features}
            return {"vocabularies": vocabularies, "source": repr(self.task.source)}
        digests = {name: spec.digest() for name, spec in _specs(self.task).items()}
        extra_ids = {name: spec.extra_ids for name, spec in _specs(self.task).items()}
        fingerprint = self.rendered.manifest().fingerprint
        return {"vocabularies": digests, "extra_ids": extra_ids, "source": fingerprint}

    @property
    def name(self) -> str:
        """Of its task and the split, for messages."""
        return f"{self.task.name}, {self.split}"

    def is_missing(self) -> bool:
        """Is there nothing to cache it from?"""
        return self.rendered is not None and has_nothing(self.rendered)

    def is_done(self) -> bool:
        return self.completed.has_all_files(self.settings)

    def write_json(self, info: dict[str, Any], stats: dict[str, int]) -> None:
        """Writes what SeqIO reads before the records."""
        write_json_atomically(self.json_paths[0], info)
        write_json_atomically(self.json_paths[1], stats)

    @property
    def json_paths(self) -> tuple[Path, Path]:
        """What SeqIO reads before the records: information, statistics."""
        folder = str(self.folder)
        return (
            as_path(seqio.get_cached_info_path(folder, self.split)),
            as_path(seqio.get_cached_stats_path(folder, self.split)),
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """What it was made from, for `instrux show`."""
        rendered = None if self.rendered is None else self.rendered.task_name
        return {"task": self.task.name, "split": self.split, "rendered": rendered}


def cache(
    *,
    tasks: Sequence[str],
    data_dir: str | Path,
    splits: Sequence[str] | None = None,
    leave_out_missing: bool = False,
    beam_args: Sequence[str] = (),
    module_imports: Sequence[str] = (),
) -> CacheResult:
    """Caches tasks into `<data_dir>/cache/<task>/`; what is complete is skipped.

    Args:
        tasks: names of registered tasks or mixtures, or globs over tasks.
        data_dir: the folder that holds `rendered/` and gets `cache/`.
        splits: splits to cache; for rendered tasks None is those that are rendered.
        leave_out_missing: whether tasks are left out that are not rendered, or have no example in
            the splits.
        beam_args: Beam's own options.
        module_imports: modules that register the tasks, for workers that must ask SeqIO.

    Raises:
        InputError: no such task or split, a split is not rendered, or a folder is wrong.
    """
    options = pipeline_options(beam_args)
    refuse_local_paths(options, [data_dir], what="data_dir")
    folder = as_path(data_dir) / "cache"
    wanted = _wanted(tasks, splits, data_dir, leave_out_missing=leave_out_missing)
    done = [each for each in wanted if each.is_done()]
    missing = [each for each in wanted if not each.is_done()]
    _tell_skipped(done)
    try:
        for each in missing:
            each.completed.start(also=(f"{each.split}.tfrecord-*", report_name(f"{each.split}.*")))
        _cache_rendered([each for each in missing if each.rendered is not None], options)
        foreign = [each for each in missing if each.rendered is None]
        _cache_with_seqio(foreign, options, module_imports)
        for each in wanted:
            (each.folder / COMPLETED).touch()
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be used ({error.strerror or error})"
        ) from error
    names = [tuple((each.task.name, each.split) for each in some) for some in (missing, done)]
    return CacheResult(folder, cached=names[0], skipped=names[1])


def _wanted(
    tasks: Sequence[str],
    splits: Sequence[str] | None,
    data_dir: str | Path,
    *,
    leave_out_missing: bool,
) -> list[_SplitToCache]:
    """The splits of tasks to cache, all of them there to be read."""
    folder = as_path(data_dir) / "cache"
    wanted = [
        _SplitToCache(task, split, folder / seqio.get_task_dir_from_name(task.name), rendered)
        for task in map(seqio.TaskRegistry.get, registration.resolve_names(tasks))
        for split, rendered in _splits(task, splits, data_dir, may_be_missing=leave_out_missing)
    ]
    if leave_out_missing:
        wanted = _without_missing(wanted)
    rendered_manifests({each.name: each.rendered for each in wanted if each.rendered is not None})
    return wanted


def _without_missing(wanted: Sequence[_SplitToCache]) -> list[_SplitToCache]:
    """Takes out what is not rendered, and tells it."""
    there = {task: False for task in dict.fromkeys(each.task.name for each in wanted)}
    for each in wanted:
        there[each.task.name] |= not each.is_missing()
    used, left_out = leave_out(dict.fromkeys(there, 1.0), is_missing=lambda task: not there[task])
    if left_out:
        tell(f"cache: {told_without_rates(left_out, len(there))}")
    of_used = [each for each in wanted if each.task.name in used]
    if splits := [each.name for each in of_used if each.is_missing()]:
        tell(f"cache: LEFT OUT what is not rendered of other tasks: {some_names(splits)}")
    return [each for each in of_used if not each.is_missing()]


def _splits(
    task: seqio.Task, splits: Sequence[str] | None, data_dir: str | Path, *, may_be_missing: bool
) -> list[tuple[str, RenderedSplit | None]]:
    """The splits of a task to cache, each with its rendered files if it has them."""
    if not task.supports_caching:
        raise InputError(
            f"task {task.name}: it has no CacheDatasetPlaceholder among its preprocessors, so it "
            "cannot be cached; leave it out"
        )
    wanted = [split for split in task.splits if splits is None or split in splits]
    if not wanted and may_be_missing and _is_prompted(task):
        wanted = list(splits or ())
    if not wanted:
        raise InputError(
            f"task {task.name}: it has no split {' or '.join(map(repr, splits or ()))}; "
            f"it has {', '.join(map(repr, task.splits))}"
        )
    if not _is_prompted(task):
        return [(split, None) for split in wanted]
    base = registration.prompted_task(task.name).name
    rendered = {split: RenderedSplit(data_dir, base, split) for split in wanted}
    if splits is None:
        present = {split: each for split, each in rendered.items() if each.exists()}
        rendered = present if present else rendered
    return list(rendered.items())


def _is_prompted(task: seqio.Task) -> bool:
    """Whether a task's cache follows from its rendered files alone."""
    before_cache = [
        step
        for step in task.preprocessors[: task._cache_step_idx]  # what seqio's own cache job runs
        if step is not seqio.preprocessors.tokenize
    ]
    return (
        isinstance(task.source, PromptedTaskSource)
        and not before_cache
        and set(_specs(task)) == {"inputs", "targets"}
    )


def _specs(task: seqio.Task) -> dict[str, VocabularySpec]:
    """The vocabularies of a task's features, those that need no TensorFlow."""
    specs = {
        name: VocabularySpec.from_seqio(feature.vocabulary)
        for name, feature in task.output_features.items()
    }
    return {name: spec for name, spec in specs.items() if spec is not None}


def _tell_skipped(done: Sequence[_SplitToCache]) -> None:
    for each in done[:_SKIPPED_SHOWN]:
        tell(f"cache {each.name}: complete, skipped")
    if len(done) > _SKIPPED_SHOWN:
        tell(f"cache: {len(done) - _SKIPPED_SHOWN} more splits: complete, skipped")


# --- From rendered files -----------------------------------------------------------------------


def _cache_rendered(wanted: Sequence[_SplitToCache], options: Any) -> None:
    if not wanted:
        return
    started = time.time()
    files = [_files(each) for each in wanted]
    total = sum(each.rendered.count for each in wanted if each.rendered is not None)
    shown = Progress("cache", total=total, unit="rendered examples")
    with tempfile.TemporaryDirectory(prefix="instrux-cache-") as progress_folder:
        watched = shares_this_machine(options)
        every_file = [file for some in files for file in some]
        transform = CachedFiles(every_file, progress_folder if watched else "")
        watch = (lambda: shown.update(total_done(progress_folder))) if watched else None
        run_pipeline(lambda pipeline: pipeline | transform, options, watch=watch)
    for each, some in zip(wanted, files, strict=True):
        _finish(each, some, time.time() - started)
    shown.done = total
    shown.finish()


def _files(each: _SplitToCache) -> list[CacheFile]:
    assert each.rendered is not None
    specs = _specs(each.task)
    source = each.task.source
    encoder = CacheEncoder(
        specs["inputs"].load(),
        specs["targets"].load(),
        rank_choices=isinstance(source, PromptedTaskSource) and source.rank_choices,
    )
    # Rendered files are named as SeqIO names cached ones.
    return [
        CacheFile(str(path), str(each.folder), path.name, encoder)
        for path in each.rendered.shard_paths()
    ]


def _finish(each: _SplitToCache, files: Sequence[CacheFile], seconds: float) -> None:
    """Writes a split's info, statistics and manifest from the reports of its files."""
    stats = CacheStats.none()
    reports = []
    for file in files:
        path = each.folder / report_name(file.name)
        reports.append(CacheFileReport.from_json(path.read_text()))
        stats.add(reports[-1].stats)
    each.write_json(
        {
            "num_shards": len(files),
            "features": files[0].encoder.features,
            "seqio_version": seqio.__version__,
        },
        stats.to_seqio(),
    )
    manifest = Manifest(
        stage="cache",
        settings=each.settings,
        files=(*(report.file for report in reports), *map(file_record, each.json_paths)),
        counts=stats.to_seqio(),
        metadata=each.metadata,
        versions=library_versions("seqio", "sentencepiece"),
        seconds=round(seconds, 3),
    )
    write_json_atomically(each.completed.manifest_path, manifest.to_json())
    for file in files:
        (each.folder / report_name(file.name)).unlink()


# --- Through SeqIO -----------------------------------------------------------------------------


def _cache_with_seqio(
    wanted: Sequence[_SplitToCache], options: Any, module_imports: Sequence[str]
) -> None:
    for each in wanted:
        tell(f"cache {each.name}: through SeqIO, since it is not a prompted task")
        run_pipeline(
            functools.partial(_seqio_transforms, each, module_imports=module_imports), options
        )
        manifest = Manifest(
            stage="cache",
            settings=each.settings,
            files=_written_files(each),
            counts=_written_stats(each),
            metadata=each.metadata,
            versions=library_versions("seqio"),
        )
        write_json_atomically(each.completed.manifest_path, manifest.to_json())


def _written_stats(each: _SplitToCache) -> dict[str, int]:
    """Reads the statistics that SeqIO's job wrote."""
    path = as_path(seqio.get_cached_stats_path(str(each.folder), each.split))
    return json.loads(path.read_text())


def _written_files(each: _SplitToCache) -> tuple[FileRecord, ...]:
    """Reads back what SeqIO's job wrote."""
    shards = sorted(each.folder.glob(f"{each.split}.tfrecord-*"))
    counted = [file_record(path, records=sum(1 for _ in read_records(path))) for path in shards]
    return (*counted, *map(file_record, each.json_paths))


def _seqio_transforms(each: _SplitToCache, pipeline: Any, *, module_imports: Sequence[str]) -> None:
    import apache_beam as beam

    source = beam_utils.PreprocessTask(
        each.task, each.split, modules_to_import=tuple(module_imports)
    )
    num_shards = max(len(source.shards), _MIN_SHARDS)
    folder = str(each.folder)
    examples = pipeline | "Preprocess" >> source | "Shuffle" >> beam.Reshuffle()
    _ = examples | "Write" >> beam_utils.WriteExampleTfRecord(
        seqio.get_cached_tfrecord_prefix(folder, each.split), num_shards=num_shards
    )
    _ = (
        examples
        | "Info" >> beam_utils.GetInfo(num_shards)
        | "WriteInfo" >> beam_utils.WriteJson(seqio.get_cached_info_path(folder, each.split))
    )
    _ = (
        examples
        | "Stats" >> beam_utils.GetStats(each.task.output_features)
        | "WriteStats" >> beam_utils.WriteJson(seqio.get_cached_stats_path(folder, each.split))
    )
