"""TFRecord files, written and read without TensorFlow.

A record is its length (8 bytes, little-endian), a checksum of the length, the bytes, and a
checksum of the bytes; both checksums are masked CRC-32C, as TensorFlow's format asks.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

import google_crc32c

from instrux.data.files import as_path
from instrux.errors import InputError

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_LARGEST_RECORD = 1 << 31  # a longer one is a damaged length


class TFRecordError(InputError):
    """A TFRecord file is cut off or damaged.

    Attributes:
        path: the file.
        offset: the byte at which the bad record starts.
    """

    def __init__(self, path: str, offset: int, problem: str) -> None:
        self.path = path
        self.offset = offset
        self.problem = problem
        super().__init__(
            f"{path}: {problem} in the record at byte {offset}; "
            "delete the file and run the stage that wrote it again."
        )

    def __reduce__(self):
        return type(self), (self.path, self.offset, self.problem)


def masked_crc32c(data: bytes) -> int:
    """The checksum that TFRecord stores: CRC-32C, rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=1 << 14)
def _header(length: int) -> bytes:
    packed = _LENGTH.pack(length)
    return packed + _CHECKSUM.pack(masked_crc32c(packed))


def frame(record: bytes) -> bytes:
    """One record as it stands in a file."""
    return b"".join((_header(len(record)), record, _CHECKSUM.pack(masked_crc32c(record))))


def write_records(path: str | Path, records: Iterable[bytes]) -> int:
    """Writes the records to `path`, over what was there, and gives their number."""
    count = 0
    with as_path(path).open("wb") as file:
        for record in records:
            file.write(frame(record))
            count += 1
    return count


def read_records(path: str | Path) -> Iterator[bytes]:
    """Reads the records of a file in order.

    Raises:
        TFRecordError: the file ends inside a record, or a checksum does not match.
    """
    for _, record in read_placed_records(path):
        yield record


def read_placed_records(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Reads the records of a file in order, each with the byte at which it starts.

    Raises:
        TFRecordError: as `read_records`.
    """
    with as_path(path).open("rb") as file:
        yield from _records(file, str(path), 0)


def read_record_at(file: IO[bytes], path: str, offset: int) -> bytes:
    """Reads the record that starts at a byte of an open file.

    Raises:
        TFRecordError: none starts there, or it is damaged.
    """
    file.seek(offset)
    for _, record in _records(file, path, offset):
        return record
    raise TFRecordError(path, offset, "the file ends")


def _records(file: IO[bytes], path: str, offset: int) -> Iterator[tuple[int, bytes]]:
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise TFRecordError(path, offset, "the file ends")
        length, length_checksum = _HEADER.unpack(header)
        if masked_crc32c(header[:8]) != length_checksum or length > _LARGEST_RECORD:
            raise TFRecordError(path, offset, "the length is damaged (or this is no TFRecord file)")
        record = file.read(length)
        footer = file.read(_CHECKSUM.size)
        if len(record) < length or len(footer) < _CHECKSUM.size:
            raise TFRecordError(path, offset, "the file ends")
        if masked_crc32c(record) != _CHECKSUM.unpack(footer)[0]:
            raise TFRecordError(path, offset, "the checksum does not match")
        yield offset, record
        offset += _HEADER.size + length + _CHECKSUM.size
