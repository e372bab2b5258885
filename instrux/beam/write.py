"""Blobs to files, the same bytes on any runner.

Beam's own file sinks give no order within a shard, and their last step fails under DaskRunner
(2.77). Here a GroupByKey gathers what belongs to one file, and one call sorts it, writes it under
a temporary name, and renames it. Doing that twice changes nothing, so a runner may retry.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam

from instrux.beam.blobs import FileKey, bodies, count_records, in_order
from instrux.beam.spill import spilled_bodies
from instrux.data.files import as_path, write_atomically
from instrux.data.manifest import FileRecord
from instrux.errors import InputError


def write_file(path: str | Path, blobs: Iterable[bytes], *, spill_folder: str = "") -> FileRecord:
    """Writes the blobs of one file in order.

    Args:
        path: the file.
        blobs: what it is to hold; where a spill folder is given, references to blobs in there.
        spill_folder: where `SpillFile`s are, or "".

    Raises:
        InputError: the file cannot be written: no space, no permission, no such folder.
    """
    ordered = in_order(blobs)
    path = as_path(path)
    try:
        content = spilled_bodies(ordered, spill_folder) if spill_folder else bodies(ordered)
        size, digest = write_atomically(path, content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return FileRecord(path.name, size, digest, count_records(ordered))


class _WriteFile(beam.DoFn):
    """((job, file name), blobs) -> (job, FileRecord as JSON); what has no name passes through."""

    def __init__(self, folders: Sequence[str], spill_folder: str) -> None:
        self._folders = folders
        self._spill_folder = spill_folder

    def process(
        self, element: tuple[FileKey, Iterable[bytes]]
    ) -> Iterator[tuple[int, tuple[str, bytes]]]:
        """Writes one file."""
        (index, name), blobs = element
        if not name:
            for blob in blobs:
                yield index, ("", blob)
            return
        path = as_path(self._folders[index]) / name
        record = write_file(path, blobs, spill_folder=self._spill_folder)
        yield index, (name, json.dumps(dataclasses.asdict(record)).encode())


@dataclasses.dataclass
class WrittenFiles(beam.PTransform):
    """((job, file name), blob) -> (job, (file name, FileRecord as JSON)).

    Elements whose file name is "" are no files: they pass through as they are.

    Attributes:
        folders: job -> the folder of its files.
        spill_folder: where the blobs are that come as references, or "" if they come themselves.
    """

    folders: Sequence[str]
    spill_folder: str = ""

    def expand(self, pcoll):
        """Keyed blobs -> records of the files written."""
        return (
            pcoll
            | "GatherFile" >> beam.GroupByKey()
            | "WriteFile"
            >> beam.ParDo(_WriteFile(self.folders, self.spill_folder)).with_output_types(
                tuple[int, tuple[str, bytes]]
            )
        )
