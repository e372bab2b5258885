"""A msgpack file as an index: its tree, with every large value left where it lies.

T5X keeps small arrays, and in its first years whole models, in one msgpack file. Reading it with
a msgpack library would hold the whole file's values in memory; this reader walks the file once
and notes where an array's bytes are. It makes dictionaries, lists, strings, numbers, booleans,
None, and `Span`s for binary data and extensions; it runs no code of the file, and refuses what is
deeper, wider or longer than the file can hold.
"""

import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

from instrux.interop.parameters import CheckpointFormatError

_MAX_DEPTH = 64
_MAX_NODES = 5_000_000
_MAX_TEXT = 1 << 20

_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_BINARY = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_EXTENSION = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_TEXT = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_ARRAY = {0xDC: ">H", 0xDD: ">I"}
_MAP = {0xDE: ">H", 0xDF: ">I"}


class Span(NamedTuple):
    """Bytes of the file that were not read.

    Attributes:
        code: the extension's type, or None for plain binary data.
        start: offset of the first byte.
        size: number of bytes.
    """

    code: int | None
    start: int
    size: int


def read_index(path: Path) -> Any:
    """Gives the tree of a msgpack file.

    Raises:
        CheckpointFormatError: the file cannot be read, or is not one msgpack value.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise CheckpointFormatError(f"{path}: the file is empty; copy it again.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                reader = _Reader(content)
                tree = reader.value(depth=0)
                if reader.position != len(content):
                    raise _MalformedError(f"{len(content) - reader.position} bytes follow its end")
                return tree
    except OSError as error:
        raise CheckpointFormatError(f"{path}: {error.strerror or error}.") from error
    except _MalformedError as error:
        raise CheckpointFormatError(
            f"{path}: not a msgpack file of T5X ({error}); copy the checkpoint again."
        ) from error


def parse_array_header(header: bytes) -> tuple[Any, int]:
    """Reads the msgpack list `[shape, dtype name, bytes]` that an array's extension holds.

    Args:
        header: the extension's content, or as much of its start as reaches the bytes.

    Returns:
        The list, with a `Span` for the bytes relative to the extension's start (`header` need
        not hold them), and the length that the extension has to have.

    Raises:
        ValueError: it is something else.
    """
    reader = _Reader(header, may_be_cut=True)
    return reader.value(depth=0), reader.position


class _MalformedError(ValueError):
    """Bytes that are no msgpack."""


class _Reader:
    """Walks over bytes, value by value."""

    def __init__(self, content: Any, *, may_be_cut: bool = False) -> None:
        self._content = content
        self._may_be_cut = may_be_cut
        self._nodes = 0
        self.position = 0

    def value(self, depth: int) -> Any:
        """Reads the value at the present position, and moves behind it."""
        self._nodes += 1
        if depth > _MAX_DEPTH:
            raise _MalformedError(f"it is nested deeper than {_MAX_DEPTH} levels")
        if self._nodes > _MAX_NODES:
            raise _MalformedError(f"it holds more than {_MAX_NODES:,} values")
        tag = self._number(">B")
        if tag <= 0x7F:
            return tag
        if tag >= 0xE0:
            return tag - 0x100
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _NUMBERS:
            return self._number(_NUMBERS[tag])
        if tag in _BINARY:
            return self._span(None, self._number(_BINARY[tag]))
        if 0xD4 <= tag <= 0xD8 or tag in _EXTENSION:
            size = self._number(_EXTENSION[tag]) if tag in _EXTENSION else 1 << (tag - 0xD4)
            return self._span(self._number(">b"), size)
        return self._container(tag, depth)

    def _container(self, tag: int, depth: int) -> Any:
        if 0xA0 <= tag <= 0xBF or tag in _TEXT:
            return self._text(self._number(_TEXT[tag]) if tag in _TEXT else tag & 0x1F)
        if 0x90 <= tag <= 0x9F or tag in _ARRAY:
            length = self._number(_ARRAY[tag]) if tag in _ARRAY else tag & 0x0F
            return [self.value(depth + 1) for _ in range(self._checked(length))]
        if 0x80 <= tag <= 0x8F or tag in _MAP:
            length = self._number(_MAP[tag]) if tag in _MAP else tag & 0x0F
            return self._map(self._checked(2 * length) // 2, depth)
        raise _MalformedError(f"byte {tag:#x} at {self.position - 1} begins no value")

    def _map(self, length: int, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for _ in range(length):
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise _MalformedError(f"a key before byte {self.position} is not text")
            if key in entries:
                raise _MalformedError(f"the key {key!r} is there twice")
            entries[key] = self.value(depth + 1)
        return entries

    def _checked(self, length: int) -> int:
        # Every entry takes a byte at least, so a length beyond that is a lie.
        if length > len(self._content) - self.position:
            raise _MalformedError(f"{length:,} entries are announced at {self.position}")
        return length

    def _text(self, size: int) -> str:
        if size > _MAX_TEXT:
            raise _MalformedError(f"a text of {size:,} bytes is announced at {self.position}")
        start = self._advance(size)
        try:
            return bytes(self._content[start : start + size]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise _MalformedError(f"the text at {start} is not UTF-8") from error

    def _span(self, code: int | None, size: int) -> Span:
        return Span(code, self._advance(size, may_be_cut=self._may_be_cut), size)

    def _number(self, form: str) -> Any:
        size = struct.calcsize(form)
        start = self._advance(size)
        return struct.unpack_from(form, self._content, start)[0]

    def _advance(self, size: int, *, may_be_cut: bool = False) -> int:
        start = self.position
        if start + size > len(self._content) and not may_be_cut:
            raise _MalformedError(f"it ends at byte {len(self._content)}, within a value")
        self.position = start + size
        return start
