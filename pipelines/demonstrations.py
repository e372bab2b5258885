"""Files of demonstrations to a rendered task with splits, as InstructGPT prepared its own."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instrux.beam import demonstrations as transforms
from instrux.beam.demonstrations import DemonstrationPlan, PreparedDemonstrations
from instrux.beam.reach import refuse_local_paths
from instrux.beam.runners import pipeline_options, run_pipeline
from instrux.beam.write import write_file
from instrux.data.demonstration_counts import DemonstrationCounts
from instrux.data.demonstration_files import (
    FOLDER,
    InputShard,
    input_fingerprint,
    input_shards,
)
from instrux.data.demonstration_settings import DemonstrationSettings
from instrux.data.demonstrations import SPLITS
from instrux.data.files import as_path, write_json_atomically
from instrux.data.manifest import CompletedFolder, FileRecord, Manifest, library_versions
from instrux.data.rendered import RenderedSplit, shard_name
from instrux.errors import InputError
from instrux.progress import duration, tell

_ROWS_A_SHARD = 50_000
METRICS = ("rougeL",)
CLUSTER = "demonstrations"


@dataclasses.dataclass(frozen=True)
class DemonstrationsResult:
    """What was prepared.

    Attributes:
        task: the rendered task's name.
        folder: where JSON lines, reports and the manifest lie.
        manifest: the manifest, with the tables in its metadata.
        skipped: whether it was complete already.
    """

    task: str
    folder: Path
    manifest: Manifest
    skipped: bool

    def to_json(self) -> dict[str, Any]:
        """As plain data for programs."""
        return {
            "task": self.task,
            "folder": str(self.folder),
            "skipped": self.skipped,
            "counts": dict(self.manifest.counts),
            "dropped": dict(self.manifest.dropped),
            **self.manifest.metadata,
        }


def demonstrations(
    settings: DemonstrationSettings,
    *,
    data_dir: str | Path,
    beam_args: Sequence[str] = (),
    max_bad_share: float = 0.01,
) -> DemonstrationsResult:
    """Prepares demonstrations into `<data_dir>/rendered/demonstrations_<name>/`.

    Beside the rendered splits, `<data_dir>/demonstrations/<name>/` gets the same as JSON lines of
    our own format, `dead_letters.jsonl` (rows that could not be read), `left_out.jsonl` (ids and
    reasons), `personal_data.jsonl` (what was removed, without telling it) and the manifest. What
    is complete with the same settings and files is skipped.

    Raises:
        InputError: an input, an option or a folder is wrong, or more rows than allowed could
            not be read.
    """
    started = time.time()
    if not 0 <= max_bad_share <= 1:
        raise InputError(f"max_bad_share is {max_bad_share}: it is a share, from 0 to 1.")
    options = pipeline_options(beam_args)
    refuse_local_paths(options, [data_dir], what="data_dir")
    fingerprints = tuple(map(input_fingerprint, settings.inputs))
    identity = settings.identity(fingerprints)
    output = CompletedFolder(as_path(data_dir) / FOLDER / settings.name)
    try:
        if output.is_complete(identity) and _all_rendered(data_dir, settings.task, output):
            tell(f"demonstrations {settings.name}: complete, skipped")
            return DemonstrationsResult(settings.task, output.folder, output.manifest(), True)
        plan = _plan(settings, output.folder, data_dir)
        shards = [each.shard.path for each in plan.shards]
        refuse_local_paths(options, shards, what="Demonstrations, rows in")
        settings.finder()  # a package that is missing is told before any work
        _make_ready(output, plan)
        run_pipeline(lambda pipeline: pipeline | PreparedDemonstrations(plan), options)
        files, counts = _report(output.folder)
        _check(settings, counts, output.folder, max_bad_share)
        arguments = {
            "inputs": [f"{given.format}={given.path}" for given in settings.inputs],
            "beam_args": list(beam_args),
            "max_bad_share": max_bad_share,
        }
        seconds = round(time.time() - started, 3)
        made = _Made(plan, identity, files, counts, arguments, seconds)
        _complete_rendered(made, data_dir)
        manifest = made.manifest(files[1])
        output.complete(manifest)
        (output.folder / transforms.REPORT).unlink()
    except OSError as error:
        raise InputError(
            f"{error.filename or data_dir}: cannot be used ({error.strerror or error})."
        ) from error
    kept = sum(counts.kept(split) for split in SPLITS)
    tell(f"demonstrations {settings.name}: {kept:,} in {duration(time.time() - started)}")
    return DemonstrationsResult(settings.task, output.folder, manifest, False)


@dataclasses.dataclass(frozen=True)
class _Made:
    """A finished job, from which its manifests are written."""

    plan: DemonstrationPlan
    identity: Mapping[str, Any]
    files: tuple[list[FileRecord], list[FileRecord]]
    counts: DemonstrationCounts
    arguments: Mapping[str, Any]
    seconds: float

    def manifest(self, files: Sequence[FileRecord], **changed: Any) -> Manifest:
        """The manifest of some files; the whole job's unless fields are given."""
        counts = self.counts
        fields: dict[str, Any] = {
            "settings": self.identity,
            "counts": {
                "rows": sum(counts.rows.values()),
                "examples": sum(counts.kept(split) for split in SPLITS),
                "failed": sum(counts.dead.values()),
                "bytes": sum(file.bytes for file in files),
            },
            "dropped": _flat(counts.dropped) | _flat(counts.dead),
            "metadata": {
                "licence": self.plan.settings.licences,
                "tables": counts.tables(),
                "rows": _flat(counts.rows),
                "personal_data": _flat(counts.removed),
            },
        }
        return Manifest(
            stage="demonstrations",
            files=tuple(files),
            versions=library_versions("apache-beam"),
            arguments=self.arguments,
            seconds=self.seconds,
            **(fields | changed),
        )


def _plan(settings: DemonstrationSettings, folder: Path, data_dir: str | Path) -> DemonstrationPlan:
    shards: list[InputShard] = []
    for number, given in enumerate(settings.inputs):
        shards += input_shards(number, given)
    rows = sum(piece.shard.num_rows for piece in shards)
    if not rows:
        raise InputError(f"demonstrations {settings.name}: the inputs hold no row.")
    return DemonstrationPlan(
        settings=settings,
        vocabulary=settings.vocabulary.load(),
        shards=tuple(shards),
        folders=(str(RenderedSplit(data_dir, settings.task, "train").folder), str(folder)),
        num_shards=settings.num_shards or -(-rows // _ROWS_A_SHARD),
    )


def _all_rendered(data_dir: str | Path, task: str, output: CompletedFolder) -> bool:
    sizes = output.manifest().metadata["tables"]["sizes"]
    return all(RenderedSplit(data_dir, task, split).exists() for split in sizes)


def _make_ready(output: CompletedFolder, plan: DemonstrationPlan) -> None:
    """Removes what an earlier run left, so that nothing looks complete."""
    output.start(also=("*.jsonl", transforms.REPORT))
    for split in SPLITS:
        rendered = CompletedFolder(plan.folders[0], manifest=f"manifest.{split}.json")
        rendered.start(also=(f"{split}.tfrecord-*",))


def _report(folder: Path) -> tuple[tuple[list[FileRecord], list[FileRecord]], DemonstrationCounts]:
    """The files written, of the rendered task and of the rest, and the counts."""
    try:
        content = json.loads((folder / transforms.REPORT).read_text())
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: the job ended and left no report; is that a folder that the workers write to?"
        ) from error
    files: tuple[list[FileRecord], list[FileRecord]] = ([], [])
    for place, record in content["files"]:
        files[place].append(FileRecord(**record))
    return files, DemonstrationCounts.from_bytes(json.dumps(content["counts"]).encode())


def _check(
    settings: DemonstrationSettings,
    counts: DemonstrationCounts,
    folder: Path,
    max_bad_share: float,
) -> None:
    rows, dead = sum(counts.rows.values()), sum(counts.dead.values())
    letters = folder / transforms.DEAD_LETTERS
    if dead > max_bad_share * rows:
        first = json.loads(letters.read_text().splitlines()[0])
        raise InputError(
            f"demonstrations {settings.name}: {dead:,} of {rows:,} rows ({dead / rows:.1%}) could "
            f"not be read, more than the {max_bad_share:.1%} allowed; they are listed in {letters}, "
            f"one of them is {first['example_id']}: {first['detail']}"
        )
    if not counts.kept("train"):
        raise InputError(
            f"demonstrations {settings.name}: no demonstration is left for training; left out: "
            f"{_flat(counts.dropped) or 'none'}."
        )


def _complete_rendered(made: _Made, data_dir: str | Path) -> None:
    """Writes the manifests of the rendered splits that have an example."""
    by_name = {file.name: file for file in made.files[0]}
    task, counts = made.plan.settings.task, made.counts
    folder = RenderedSplit(data_dir, task, "train").folder
    for split in SPLITS:
        if not counts.kept(split):
            continue
        names = [shard_name(split, n, made.plan.num_shards) for n in range(made.plan.num_shards)]
        # No example fell into it: the file must be there all the same.
        files = [by_name.get(name) or write_file(folder / name, []) for name in names]
        kept = counts.kept(split)
        manifest = made.manifest(
            files,
            counts={
                "rows": kept,
                "examples": kept,
                "failed": 0,
                "bytes": sum(f.bytes for f in files),
            },
            dropped={},
            metadata={
                "dataset": task,
                "config": None,
                "licence": made.plan.settings.licences,
                "template": transforms.TEMPLATE,
                "cluster": CLUSTER,
                "metrics": list(METRICS),
                "answer_choices": None,
                "original_task": True,
                "train_examples": counts.kept("train"),
                "missing_fields": {},
                "dead_letters": None,
            },
        )
        write_json_atomically(folder / f"manifest.{split}.json", manifest.to_json())
    (folder / "COMPLETED").touch()


def _flat(counter: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    return {"/".join(key): count for key, count in sorted(counter.items()) if count}
