"""Rendered splits on disk: `<data_dir>/rendered/<task>/<split>.tfrecord-SSSSS-of-NNNNN`."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from instrux.data.examples import RenderedExample
from instrux.data.files import as_path
from instrux.data.manifest import CompletedFolder, Manifest, read_manifest
from instrux.data.tfrecord import read_records
from instrux.errors import InputError, did_you_mean


def shard_name(split: str, shard: int, num_shards: int) -> str:
    """A shard's file name: `train.tfrecord-00003-of-00010`."""
    return f"{split}.tfrecord-{shard:05d}-of-{num_shards:05d}"


@dataclasses.dataclass(frozen=True)
class RenderManifest:
    """What is known of a rendered split, read from its manifest.

    Attributes:
        task: the task's name.
        split: the task's split.
        examples: number of examples written.
        rows: number of rows read.
        dataset: the dataset's name.
        config: its configuration, or None.
        template: the template's name.
        cluster: the kind of task.
        metrics: names of the metrics to report.
        answer_choices: the choices, where every example has the same ones, else None.
        original_task: whether the template asks what the dataset was made to ask.
        train_examples: size of the train split, for mixing rates, or None.
        manifest: all of it.
    """

    task: str
    split: str
    examples: int
    rows: int
    dataset: str
    config: str | None
    template: str
    cluster: str
    metrics: tuple[str, ...]
    answer_choices: tuple[str, ...] | None
    original_task: bool
    train_examples: int | None
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """A digest of the split's bytes, for the settings of stages that read it."""
        import hashlib

        digests = "".join(file.sha256 for file in self.manifest.files)
        return f"sha256:{hashlib.sha256(digests.encode()).hexdigest()}"

    @property
    def dropped(self) -> Mapping[str, int]:
        """Reason -> number of rows left out for it."""
        return self.manifest.dropped


@dataclasses.dataclass(frozen=True)
class RenderedSplit:
    """One split of one rendered task.

    Attributes:
        data_dir: the folder that holds `rendered/`.
        task_name: the task.
        split: its split.
    """

    data_dir: str | os.PathLike[str]
    task_name: str
    split: str

    @property
    def folder(self) -> Path:
        """The task's folder."""
        return as_path(self.data_dir) / "rendered" / self.task_name

    def completed(self) -> CompletedFolder:
        """The folder as its manifest protocol sees it."""
        return CompletedFolder(self.folder, manifest=f"manifest.{self.split}.json")

    def exists(self) -> bool:
        """Whether the split is there and whole."""
        return self.completed().is_complete()

    def manifest(self) -> RenderManifest:
        """Reads the manifest.

        Raises:
            InputError: the split has not been rendered, or not to its end.
        """
        completed = self.completed()
        if not completed.completed_path.exists() or not completed.manifest_path.exists():
            raise InputError(self._absent())
        manifest = completed.manifest()
        try:
            return _render_manifest(self.task_name, self.split, manifest)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{completed.manifest_path}: not the manifest of a rendered split; "
                "delete it and run `instrux render` again."
            ) from error

    @property
    def count(self) -> int:
        """Number of examples."""
        return self.manifest().examples

    def shard_paths(self) -> list[Path]:
        """The split's files, in order.

        Raises:
            InputError: the split is not rendered, or a file is missing or of another size.
        """
        completed = self.completed()
        manifest = self.manifest().manifest
        if damaged := completed.damaged_files(manifest):
            raise InputError(
                f"{self.folder / damaged[0]}: missing, or not the size that the manifest says; "
                f"run `instrux render --task {self.task_name}` again."
            )
        return [self.folder / file.name for file in manifest.files]

    def read(self) -> Iterator[RenderedExample]:
        """Reads the examples in the order of their files."""
        for path in self.shard_paths():
            for record in read_records(path):
                yield RenderedExample.from_bytes(record)

    def _absent(self) -> str:
        rendered = as_path(self.data_dir) / "rendered"
        known = [path.name for path in rendered.iterdir()] if rendered.is_dir() else []
        hint = "" if self.task_name in known else did_you_mean(self.task_name, known)
        return (
            f"Split {self.split!r} of task {self.task_name!r} is not rendered in {self.data_dir}; "
            f"run `instrux render --task {self.task_name} --data_dir {self.data_dir}`.{hint}"
        )


def stated_licence(data_dir: str | Path, task: str) -> str | None:
    """The licence that a rendered task states of itself, as demonstrations do; None where none does."""
    folder = RenderedSplit(data_dir, task, "").folder
    for path in sorted(folder.glob("manifest.*.json")):
        try:
            stated = read_manifest(path).metadata.get("licence")
        except InputError:
            continue
        if isinstance(stated, str):
            return stated
    return None


def rendered_manifests(splits: Mapping[str, RenderedSplit]) -> dict[str, RenderManifest]:
    """Reads the manifests of several splits, by the same names.

    Raises:
        InputError: one is not rendered; names the first and tells how many others.
    """
    manifests: dict[str, RenderManifest] = {}
    problems: list[str] = []
    for name, split in splits.items():
        try:
            manifests[name] = split.manifest()
        except InputError as error:
            problems.append(str(error))
    if problems:
        others = f" (and {len(problems) - 1} more tasks)" if len(problems) > 1 else ""
        raise InputError(f"{problems[0]}{others} To go on without: --leave_out_missing.")
    return manifests


def rendered_task_names(data_dir: str | os.PathLike[str]) -> list[str]:
    """The tasks that are rendered in a folder, whole, in order of name."""
    rendered = as_path(data_dir) / "rendered"
    if not rendered.is_dir():
        return []
    return sorted(path.name for path in rendered.iterdir() if (path / "COMPLETED").exists())


def _render_manifest(task: str, split: str, manifest: Manifest) -> RenderManifest:
    about: Mapping[str, Any] = manifest.metadata
    choices = about["answer_choices"]
    return RenderManifest(
        task=task,
        split=split,
        examples=manifest.counts["examples"],
        rows=manifest.counts["rows"],
        dataset=about["dataset"],
        config=about["config"],
        template=about["template"],
        cluster=about["cluster"],
        metrics=tuple(about["metrics"]),
        answer_choices=tuple(choices) if choices is not None else None,
        original_task=about["original_task"],
        train_examples=about["train_examples"],
        manifest=manifest,
    )
