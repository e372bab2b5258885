"""What a render job is to do, worked out on the machine that starts it.

A job is a list of `SplitJob` (one split of one task, one manifest) and a list of `ReadUnit` (a run
of rows, read once for all the jobs that want it). Both are plain data that travel to workers.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from instrux.beam.template_fields import template_fields
from instrux.data.files import write_json_atomically
from instrux.data.manifest import same_settings
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources_base import RowShard, RowSource
from instrux.errors import InputError

RENDER_FORMAT = 1  # raise it when the same settings would give other bytes
ROWS_PER_SHARD = 25_000
_BYTES_BESIDE_TEXT = 150  # of an example: its id, the template's name, and what frames a record


@dataclasses.dataclass(frozen=True)
class SplitJob:
    """One split of one task, to be rendered.

    Attributes:
        task: the task, its template resolved.
        split: the task's split.
        rows: how many rows the source's split has.
        num_shards: into how many files it is written.
        settings: all that determines the bytes.
        template_fields: names that the template takes from a row; () where that is not known.
        data_dir: the folder that holds `rendered/`.
    """

    task: PromptedTask
    split: str
    rows: int
    num_shards: int
    settings: Mapping[str, Any]
    template_fields: tuple[str, ...]
    data_dir: str

    @property
    def output(self) -> RenderedSplit:
        """Where it is written."""
        return RenderedSplit(self.data_dir, self.task.name, self.split)

    @property
    def dead_letters_name(self) -> str:
        """Name of the file that takes the rows that could not be rendered."""
        return f"dead_letters.{self.split}.jsonl"

    @property
    def failure_name(self) -> str:
        """Name of the file that says why the split has no manifest."""
        return f"failed.{self.split}.json"

    def metadata(self) -> dict[str, Any]:
        """What later stages need to know of the task without any registry."""
        task, template = self.task, self.task.template
        fixed = getattr(template, "fixed_answer_choices", None)
        return {
            "dataset": task.source.dataset,
            "config": task.source.config,
            "source": task.source.key(),
            "template": template.name,
            "template_release": task.template_release or None,
            "template_digest": _digest(plain(template)),
            "cluster": task.cluster,
            "metrics": list(task.metrics),
            "answer_choices": list(fixed) if fixed is not None else None,
            "original_task": task.original_task,
            "train_examples": task.train_examples,
        }

    def is_done(self) -> bool:
        """Whether its output is whole and was made with these settings."""
        return self.output.completed().has_all_files(self.settings)

    def refresh_metadata(self) -> None:
        """Brings the manifest of a finished split up to date.

        The tables around a task may change without changing a byte of its text.
        """
        completed = self.output.completed()
        manifest = completed.manifest()
        metadata = {**manifest.metadata, **self.metadata()}
        if not same_settings(manifest.metadata, metadata):
            fresh = dataclasses.replace(manifest, metadata=metadata)
            write_json_atomically(completed.manifest_path, fresh.to_json())


@dataclasses.dataclass(frozen=True)
class ReadUnit:
    """Rows to be read once, and the jobs that want them.

    Attributes:
        source: where the rows come from.
        shard: which rows.
        jobs: positions of the jobs in the plan's list.
    """

    source: RowSource
    shard: RowShard
    jobs: tuple[int, ...]

    @property
    def renders(self) -> int:
        """How many times a template will be applied."""
        return self.shard.num_rows * len(self.jobs)


@dataclasses.dataclass(frozen=True)
class RenderPlan:
    """Jobs and the units of reading that serve them, those with the most to render first."""

    jobs: tuple[SplitJob, ...]
    units: tuple[ReadUnit, ...]

    @cached_property
    def renders(self) -> int:
        """How many times a template will be applied."""
        return sum(job.rows for job in self.jobs)

    @cached_property
    def bytes(self) -> int:
        """About how many bytes it will render."""
        read = sum(_bytes_of_rows([unit.shard]) * len(unit.jobs) for unit in self.units)
        return read + _BYTES_BESIDE_TEXT * self.renders


class SourceReader:
    """Asks each source once for the shards and the fingerprint of a split."""

    def __init__(self) -> None:
        self._shards: dict[tuple[str, str], list[RowShard]] = {}
        self._fingerprints: dict[tuple[str, str], str] = {}

    def shards(self, source: RowSource, split: str) -> list[RowShard]:
        """The shards of a split.

        Raises:
            InputError: the split cannot be read, or has no rows.
        """
        key = source.key(), split
        if key not in self._shards:
            shards = source.shards(split)
            if not any(shard.num_rows for shard in shards):
                raise InputError(no_rows(source, split))
            self._shards[key] = shards
        return self._shards[key]

    def fingerprint(self, source: RowSource, split: str) -> str:
        """The fingerprint of a split."""
        key = source.key(), split
        if key not in self._fingerprints:
            self._fingerprints[key] = source.fingerprint(split)
        return self._fingerprints[key]


def no_rows(source: RowSource, split: str) -> str:
    """Says that a split is empty, and where it lies."""
    where = source.location(split)
    return f"Split {split!r} of dataset {source.label!r} has no rows" + (
        f": see {where}." if where else "."
    )


def split_job(
    task: PromptedTask, split: str, *, data_dir: str, num_shards: int | None, reader: SourceReader
) -> SplitJob:
    """Works out one split of a task whose template is resolved."""
    source_split = task.splits[split]
    rows = sum(shard.num_rows for shard in reader.shards(task.source, source_split))
    shards = num_shards if num_shards is not None else -(-rows // ROWS_PER_SHARD)
    settings = {
        "format": RENDER_FORMAT,
        "dataset": task.source.dataset,
        "config": task.source.config,
        "source_split": source_split,
        "fingerprint": reader.fingerprint(task.source, source_split),
        "template": plain(task.template),
        "seed": task.seed,
        "truncate": task.truncate,
        "strip": task.strip,
        "num_shards": shards,
    }
    return SplitJob(
        task=task,
        split=split,
        rows=rows,
        num_shards=shards,
        settings=settings,
        template_fields=template_fields(task.template),
        data_dir=data_dir,
    )


def make_plans(
    jobs: Iterable[SplitJob], reader: SourceReader, *, bytes_at_once: int | None = None
) -> Iterator[RenderPlan]:
    """Groups jobs that read the same rows; each plan renders about `bytes_at_once` at most.

    A dataset whose renders are larger than that is read once for every plan it is spread over.

    Args:
        jobs: what is to be rendered.
        reader: knows the shards of the jobs' sources.
        bytes_at_once: about how much one plan may render; None is all in one plan.
    """
    by_rows: dict[tuple[str, str], list[SplitJob]] = {}
    for job in jobs:
        by_rows.setdefault((job.task.source.key(), job.task.splits[job.split]), []).append(job)
    gathered: list[list[SplitJob]] = []
    size = 0
    for group in by_rows.values():
        each = _bytes_of_rows(reader.shards(group[0].task.source, _source_split(group[0])))
        while group:
            fitting = len(group) if bytes_at_once is None else (bytes_at_once - size) // each
            if fitting <= 0 and gathered:
                yield _plan(gathered, reader)
                gathered, size = [], 0
                continue
            taken, group = group[: max(1, fitting)], group[max(1, fitting) :]
            gathered.append(taken)
            size += each * len(taken)
    if gathered:
        yield _plan(gathered, reader)


def _plan(groups: Sequence[Sequence[SplitJob]], reader: SourceReader) -> RenderPlan:
    jobs: list[SplitJob] = []
    units = []
    for group in groups:
        positions = tuple(range(len(jobs), len(jobs) + len(group)))
        jobs += group
        source = group[0].task.source
        for shard in reader.shards(source, _source_split(group[0])):
            units.append(ReadUnit(source, shard, positions))
    # Beam's runner on this machine deals them out to its workers in turn, once and for all.
    units.sort(key=lambda unit: unit.renders, reverse=True)
    return RenderPlan(tuple(jobs), tuple(units))


def _source_split(job: SplitJob) -> str:
    return job.task.splits[job.split]


def _bytes_of_rows(shards: Sequence[RowShard]) -> int:
    """A guess at the bytes that one template makes of these rows: as many as are read."""
    in_lines = [shard.end - shard.start for shard in shards if shard.format == "jsonl"]
    guess = sum(in_lines) if in_lines else 1024 * sum(shard.num_rows for shard in shards)
    return max(1, guess)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A template (or any value) as JSON data that names its class, for settings.

    Fields that two equal templates may differ in (`compare=False`) are left out: they change no
    rendered text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.compare
        }
        return {"class": type(value).__name__, **fields}
    return json.loads(json.dumps(value, default=str))
