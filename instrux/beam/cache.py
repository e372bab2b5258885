"""Rendered TFRecords to SeqIO's cache: file by file, tokenised, in the same order.

A rendered split is sharded by a stable hash already, so each of its files becomes one file of the
cache and nothing has to be gathered. One transform serves any number of tasks: SeqIO's own job
has some twenty for each split of each task, which no runner plans for thousands of tasks.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import islice

import apache_beam as beam

from instrux.beam.rows_done import RowsDone
from instrux.data.cached_examples import CacheEncoder, CacheStats
from instrux.data.examples import RenderedExample
from instrux.data.files import as_path, write_atomically
from instrux.data.manifest import FileRecord
from instrux.data.tfrecord import frame, read_records
from instrux.errors import InputError

_EXAMPLES_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class CacheFile:
    """One file to make.

    Attributes:
        source: the rendered file.
        folder: where the cached one goes.
        name: its name there.
        encoder: what makes its records.
    """

    source: str
    folder: str
    name: str
    encoder: CacheEncoder


@dataclasses.dataclass(frozen=True)
class CacheFileReport:
    """What was written.

    Attributes:
        file: name, size, digest and number of records.
        stats: what SeqIO's statistics count.
    """

    file: FileRecord
    stats: CacheStats

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "CacheFileReport":
        """Reads what `to_json` wrote."""
        content = json.loads(text)
        return cls(FileRecord(**content["file"]), CacheStats(**content["stats"]))


def report_name(name: str) -> str:
    """The name of a cached file's report, there until the split's manifest is."""
    return f"report.{name}.json"


def write_cached_file(file: CacheFile) -> CacheStats:
    """Writes one file of a cache, then its report. Doing it twice changes nothing.

    Raises:
        InputError: the rendered file is damaged, or the folder cannot be written to.
    """
    stats = CacheStats.none()
    folder = as_path(file.folder)

    def frames() -> Iterator[bytes]:
        records = read_records(file.source)
        while chunk := list(islice(records, _EXAMPLES_AT_ONCE)):
            examples = [RenderedExample.from_bytes(record) for record in chunk]
            for record in file.encoder.records(examples, stats):
                yield frame(record)

    try:
        size, digest = write_atomically(folder / file.name, frames())
        written = FileRecord(file.name, size, digest, stats.examples)
        report = CacheFileReport(written, stats).to_json()
        write_atomically(folder / report_name(file.name), [report.encode()])
    except OSError as error:
        raise InputError(
            f"{folder / file.name}: cannot be written ({error.strerror or error})"
        ) from error
    return stats


class _WriteCachedFile(beam.DoFn):
    """Position of a file -> position, once the file is there."""

    def __init__(self, files: Sequence[CacheFile], progress_folder: str) -> None:
        self._files = files
        self._progress_folder = progress_folder

    def process(self, element: int) -> Iterator[int]:
        """Writes one file."""
        stats = write_cached_file(self._files[element])
        done = RowsDone(self._progress_folder)
        done.add(stats.examples)
        done.close()
        beam.metrics.Metrics.counter("cache", "examples").inc(stats.examples)
        yield element


@dataclasses.dataclass
class CachedFiles(beam.PTransform):
    """Writes files of a cache and their reports; gives the positions of those written.

    Attributes:
        files: what to write.
        progress_folder: a folder on this machine where workers note their progress, or "".
    """

    files: Sequence[CacheFile]
    progress_folder: str = ""

    def expand(self, pipeline):
        """Start of a pipeline -> positions of files."""
        return (
            pipeline
            | "Files" >> beam.Create(range(len(self.files)))
            | "Spread" >> beam.Reshuffle()
            | "CacheFile" >> beam.ParDo(_WriteCachedFile(self.files, self.progress_folder))
        )
