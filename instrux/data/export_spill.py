"""Rows on their way to a shuffled order, by way of files, so that memory holds one shard's at most."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instrux.data.export_files import Row, to_json_line

_BYTES_BUFFERED = 64 << 20


class Spill:
    """Takes rows in any order and gives each shard's in the order of their places.

    Attributes:
        folder: an empty folder for a file a shard; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._buffers: dict[int, list[bytes]] = {}
        self._buffered = 0

    def add(self, shard: int, place: int, row: Row) -> None:
        """Takes a row that is to stand at a place of a shard."""
        line = f"{place}\t".encode() + to_json_line(row)
        self._buffers.setdefault(shard, []).append(line)
        self._buffered += len(line)
        if self._buffered >= _BYTES_BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Writes what is in memory."""
        for shard, lines in self._buffers.items():
            with (self.folder / str(shard)).open("ab") as file:
                file.writelines(lines)
        self._buffers, self._buffered = {}, 0

    def rows(self, shard: int) -> Iterator[dict[str, Any]]:
        """Gives a shard's rows in the order of their places, once."""
        path = self.folder / str(shard)
        with path.open("rb") as file:
            lines = sorted(map(_placed, file))
        path.unlink()
        for _, text in lines:
            yield json.loads(text)


def _placed(line: bytes) -> tuple[int, bytes]:
    place, _, text = line.partition(b"\t")
    return int(place), text
