"""Rendered examples to packed shards: read and tokenise, gather by shard, pack and write.

Which examples a mixture takes, how often, and which shard each copy goes to are functions of the
example's place in its task, so every worker decides for what it reads.
"""

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator
from itertools import compress, islice
from pathlib import Path

import apache_beam as beam
import numpy as np

from instrux.beam.rows_done import RowsDone
from instrux.data.examples import RenderedExample
from instrux.data.excluded import kept
from instrux.data.files import as_path, write_atomically
from instrux.data.pack_blocks import Tokenizer, draw_copies
from instrux.data.pack_shard import pack_shard, shard_report
from instrux.data.packed_manifest import PackedShard
from instrux.data.packed_rows import RowLayout
from instrux.data.sampling import TaskSample
from instrux.data.tfrecord import read_records
from instrux.errors import InputError

_EXAMPLES_AT_ONCE = 4096
_WRITE_BLOCK_BYTES = 1 << 20

WRITER_OPTIONS = "group_size:1,zstd:1"
"""A record is read at random, so each is compressed alone. At 512 and 128 tokens that takes a
third of the bytes, and zstd's level 1 saves as much as its default in less time."""


@dataclasses.dataclass(frozen=True)
class RenderedFile:
    """One file of a rendered split.

    Attributes:
        path: where it is.
        task: number of its task.
        first: place of its first example among those of the task that are not excluded.
    """

    path: str
    task: int
    first: int


@dataclasses.dataclass(frozen=True)
class PackPlan:
    """What a pack job is to do. Plain data, and all that a worker gets.

    Attributes:
        mixture: the mixture's name, for counters.
        folder: where shards go.
        files: what is read.
        samples: by task number, what is taken.
        tokenizer: makes tokens of text.
        layout: of the rows.
        seed: of all shuffling.
        num_shards: how many shards there are in all.
        excluded: by task number, hashes of the example ids that are not packed; uint64.
        one_example_a_row: whether every example has a row of its own.
    """

    mixture: str
    folder: str
    files: tuple[RenderedFile, ...]
    samples: tuple[TaskSample, ...]
    tokenizer: Tokenizer
    layout: RowLayout
    seed: int
    num_shards: int
    excluded: tuple[np.ndarray, ...]
    one_example_a_row: bool = False

    def shard_name(self, shard: int) -> str:
        """A shard's file name: `rows.array_record-00003-of-00010`."""
        return f"rows.array_record-{shard:05d}-of-{self.num_shards:05d}"


def report_name(shard_name: str) -> str:
    """The name of the file that tells what a shard holds, there until the manifest is."""
    return f"report.{shard_name}.json"


def tokenised_blocks(
    plan: PackPlan, file: RenderedFile, shards: range
) -> Iterator[tuple[int, bytes]]:
    """Reads one file and gives its copies as (shard, `ExampleBlock` as bytes)."""
    records = _kept_records(file, plan.excluded[file.task])
    position = file.first
    while chunk := list(islice(records, _EXAMPLES_AT_ONCE)):
        positions = np.arange(position, position + len(chunk))
        position += len(chunk)
        copies = draw_copies(
            plan.samples[file.task], positions, task=file.task, num_shards=plan.num_shards
        ).of_shards(shards)
        if not len(copies.source):
            continue
        examples = [RenderedExample.from_bytes(chunk[i]) for i in np.unique(copies.source)]
        block = copies.with_tokens(
            plan.tokenizer.block(
                [example.inputs for example in examples],
                [example.targets for example in examples],
            )
        )
        for shard in np.unique(copies.shard):
            yield int(shard), block.take(np.flatnonzero(copies.shard == shard)).to_bytes()


def _kept_records(file: RenderedFile, excluded: np.ndarray) -> Iterator[bytes]:
    records = read_records(file.path)
    if not len(excluded):
        yield from records
        return
    while chunk := list(islice(records, _EXAMPLES_AT_ONCE)):
        yield from compress(chunk, kept(map(RenderedExample.from_bytes, chunk), excluded))


def write_packed_shard(plan: PackPlan, shard: int, blocks: Iterable[bytes]) -> int:
    """Packs one shard and writes it, then its report. Doing it twice changes nothing.

    Returns:
        Number of rows.

    Raises:
        InputError: the folder cannot be written to.
    """
    rows, examples = pack_shard(
        blocks,
        plan.layout,
        seed=plan.seed,
        shard=shard,
        one_example_a_row=plan.one_example_a_row,
    )
    name = plan.shard_name(shard)
    folder = as_path(plan.folder)
    try:
        size, digest = _write_array_record(folder / name, rows)
        written = PackedShard(name=name, rows=len(rows), size=size, sha256=digest)
        report = shard_report(examples, plan.layout, written)
        write_atomically(folder / report_name(name), [report.to_json().encode()])
    except OSError as error:
        raise InputError(
            f"{folder / name}: cannot be written ({error.strerror or error})"
        ) from error
    return len(rows)


def _write_array_record(path: Path, rows: np.ndarray) -> tuple[int, str]:
    from array_record.python.array_record_module import ArrayRecordWriter

    # The writer knows local files only: it writes one here, and the bytes go where they belong.
    with tempfile.TemporaryDirectory(prefix="instrux-pack-") as folder:
        local = Path(folder) / path.name
        try:
            writer = ArrayRecordWriter(str(local), WRITER_OPTIONS)
            for row in rows:
                writer.write(row.tobytes())
            writer.close()
        except RuntimeError as error:  # its C++ tells a full disk so
            raise InputError(
                f"{local}: cannot be written ({str(error).splitlines()[0]}); free that disk, or let"
                " TMPDIR name a folder on another"
            ) from error
        with local.open("rb") as file:
            return write_atomically(path, iter(lambda: file.read(_WRITE_BLOCK_BYTES), b""))


class _TokeniseFile(beam.DoFn):
    """Position of a file in the plan -> (shard, block)."""

    def __init__(self, plan: PackPlan, shards: range, progress_folder: str) -> None:
        self._plan = plan
        self._shards = shards
        self._progress_folder = progress_folder

    def process(self, element: int) -> Iterator[tuple[int, bytes]]:
        """Tokenises one file."""
        done = RowsDone(self._progress_folder)
        for shard, block in tokenised_blocks(self._plan, self._plan.files[element], self._shards):
            # A block starts with the number of its examples.
            done.add(int.from_bytes(block[:8], "little"))
            yield shard, block
        done.close()
        beam.metrics.Metrics.counter("pack", "examples").inc(done.done)


class _PackShard(beam.DoFn):
    """(shard, blocks) -> shard, once its file is there."""

    def __init__(self, plan: PackPlan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[int]:
        """Packs one shard."""
        shard, blocks = element
        rows = write_packed_shard(self._plan, shard, blocks)
        beam.metrics.Metrics.counter("pack", "rows").inc(rows)
        yield shard


@dataclasses.dataclass
class PackedShards(beam.PTransform):
    """Writes some of a plan's shards and their reports; gives the numbers of those written.

    Attributes:
        plan: what is packed.
        shards: which shards to write; the others' examples are left out.
        progress_folder: a folder on this machine where workers note their progress, or "".
    """

    plan: PackPlan
    shards: range
    progress_folder: str = ""

    def expand(self, pipeline):
        """Start of a pipeline -> numbers of shards."""
        tokenise = _TokeniseFile(self.plan, self.shards, self.progress_folder)
        return (
            pipeline
            | "Files" >> beam.Create(range(len(self.plan.files)))
            | "Spread" >> beam.Reshuffle()
            | "Tokenise" >> beam.ParDo(tokenise).with_output_types(tuple[int, bytes])
            | "GatherShard" >> beam.GroupByKey()
            | "PackShard" >> beam.ParDo(_PackShard(self.plan))
        )
