"""Rendered rows looked up one by one, by where they lie."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import IO

from instrux.data.audit_pairs import place
from instrux.data.examples import RenderedExample
from instrux.data.files import as_path
from instrux.data.tfrecord import read_record_at

_OPEN_FILES = 64


class RenderedRows:
    """Reads rows of rendered files in any order; keeps some files open.

    Attributes:
        paths: the files, by their numbers.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._open: OrderedDict[int, IO[bytes]] = OrderedDict()

    def read(self, ref: int) -> RenderedExample:
        """Reads the row of that name (`audit_pairs.reference`)."""
        number, offset = place(ref)
        return RenderedExample.from_bytes(
            read_record_at(self._file(number), self.paths[number], offset)
        )

    def _file(self, number: int) -> IO[bytes]:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        if len(self._open) == _OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        file = self._open[number] = as_path(self.paths[number]).open("rb")
        return file

    def close(self) -> None:
        """Closes all files."""
        for file in self._open.values():
            file.close()
        self._open.clear()
