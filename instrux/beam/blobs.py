"""Flat bytes between stages: many records in one element, and a key that says where they go.

Beam spends tens of microseconds on each element that it groups, so records that go to the same
file travel together. A blob starts with its place in the file; blobs of a file never overlap, so
putting them in order puts all records in order.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FileKey = tuple[int, str]
"""Position of the job in the plan, and a file's name; "" is the job's own report."""

_HEADER = struct.Struct(">QQ")


class Blob(NamedTuple):
    """Some consecutive records of a file.

    Attributes:
        place: where it belongs among the file's blobs (the number of its first row).
        records: how many records it holds.
        body: their bytes as they stand in the file.
    """

    place: int
    records: int
    body: bytes

    def to_bytes(self) -> bytes:
        """As one element."""
        return _HEADER.pack(self.place, self.records) + self.body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Blob":
        """From one element."""
        place, records = _HEADER.unpack_from(data)
        return cls(place, records, data[_HEADER.size :])


class BlobBuffers:
    """Gathers records by file and gives them out as blobs when they grow large.

    Attributes:
        bytes_at_once: how many bytes are held before all are given out.
    """

    def __init__(self, bytes_at_once: int = 8 << 20) -> None:
        self.bytes_at_once = bytes_at_once
        self._held: dict[FileKey, tuple[int, list[bytes]]] = {}
        self._bytes = 0

    def add(self, key: FileKey, place: int, record: bytes) -> None:
        """Takes a record; places must not decrease."""
        held = self._held.get(key)
        if held is None:
            self._held[key] = (place, [record])
        else:
            held[1].append(record)
        self._bytes += len(record)

    @property
    def is_full(self) -> bool:
        """Whether it is time to `drain`."""
        return self._bytes >= self.bytes_at_once

    def drain(self) -> Iterator[tuple[FileKey, bytes]]:
        """Gives out and forgets all that is held."""
        held, self._held, self._bytes = self._held, {}, 0
        for key, (place, records) in held.items():
            yield key, Blob(place, len(records), b"".join(records)).to_bytes()


def in_order(blobs: Iterable[bytes]) -> list[bytes]:
    """Sorts the blobs of one file."""
    # The place is the first eight bytes, most significant first: bytes sort as numbers do.
    return sorted(blobs)


def bodies(blobs: Iterable[bytes]) -> Iterator[memoryview]:
    """The bytes of each blob without its header."""
    for blob in blobs:
        yield memoryview(blob)[_HEADER.size :]


def count_records(blobs: Iterable[bytes]) -> int:
    """How many records some blobs hold together."""
    return sum(_HEADER.unpack_from(blob)[1] for blob in blobs)
