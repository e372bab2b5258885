"""Safetensors files, read and written a tensor at a time.

The format: eight bytes of length, a JSON header with dtype, shape and byte range of every tensor,
then the tensors' bytes. The `safetensors` package maps a file into memory to read it and wants
all tensors at once to write it; here neither grows with the model.
"""

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from instrux.interop.parameters import FLOAT_DTYPES, CheckpointFormatError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_MOST_HEADER_BYTES = 100_000_000  # the format's own limit
_BLOCK = 16 << 20
_NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
_CODES = {name: code for code, name in _NAMES.items()}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes lie.

    Attributes:
        name: its name.
        file: the safetensors file.
        dtype: its dtype.
        shape: its shape.
        start: offset of its first byte in the file.
    """

    name: str
    file: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """Reads it whole.

        Raises:
            CheckpointFormatError: the file has become shorter.
        """
        array = np.empty(self.shape, self.dtype)
        with self.file.open("rb") as file:
            file.seek(self.start)
            if file.readinto(array.reshape(-1).view(np.uint8).data) != self.size:
                raise CheckpointFormatError(f"{self.file}: {self.name} is cut short.")
        return array

    def same_bytes(self, other: "StoredTensor") -> bool:
        """Whether two tensors are the same bit for bit."""
        if (self.shape, self.dtype) != (other.shape, other.dtype):
            return False
        with self.file.open("rb") as mine, other.file.open("rb") as theirs:
            mine.seek(self.start)
            theirs.seek(other.start)
            for done in range(0, self.size, _BLOCK):
                length = min(_BLOCK, self.size - done)
                if mine.read(length) != theirs.read(length):
                    return False
        return True


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Finds the tensors of a folder's safetensors file, or of its several ones by their index.

    Raises:
        CheckpointFormatError: a file is absent or malformed, or does not hold what the index says.
    """
    if not (folder / INDEX).is_file():
        return tensors_of_file(folder / SINGLE)
    index = _json((folder / INDEX).read_bytes(), folder / INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise CheckpointFormatError(f"{folder / INDEX}: holds no weight_map.")
    for name in set(weight_map.values()):
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise CheckpointFormatError(
                f"{folder / INDEX}: refers to {str(name)!r}, which is no file beside it; refused."
            )
    headers = {file: tensors_of_file(folder / file) for file in sorted(set(weight_map.values()))}
    for tensor, file in weight_map.items():
        if tensor not in headers[file]:
            raise CheckpointFormatError(
                f"{folder / file}: {tensor} is absent, though {INDEX} says that it is there."
            )
    return {tensor: headers[file][tensor] for tensor, file in weight_map.items()}


def tensors_of_file(file: Path) -> dict[str, StoredTensor]:
    """Finds the tensors of one safetensors file.

    Raises:
        CheckpointFormatError: it is absent or malformed.
    """
    try:
        with file.open("rb") as opened:
            total = os.fstat(opened.fileno()).st_size
            length = int.from_bytes(opened.read(8), "little")
            if length > min(_MOST_HEADER_BYTES, total - 8):
                raise CheckpointFormatError(
                    f"{file}: not a safetensors file, or cut short; copy it again."
                )
            header = _json(opened.read(length), file)
    except OSError as error:
        raise CheckpointFormatError(f"{file}: {error.strerror or error}.") from error
    header.pop("__metadata__", None)
    return {
        name: _stored(name, entry, file, base=8 + length, total=total)
        for name, entry in header.items()
    }


def _stored(name: str, entry: Any, file: Path, *, base: int, total: int) -> StoredTensor:
    try:
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        code = entry["dtype"]
        if not all(type(size) is int and size >= 0 for size in (*shape, begin, end)):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointFormatError(
            f"{file}: the header's entry of {name} is malformed."
        ) from error
    if code not in _NAMES:
        raise CheckpointFormatError(
            f"{file}: {name} has dtype {str(code)[:20]}; {', '.join(_NAMES)} are read."
        )
    stored = StoredTensor(name, file, FLOAT_DTYPES[_NAMES[code]], shape, base + begin)
    if end - begin != stored.size or base + end > total:
        raise CheckpointFormatError(
            f"{file}: {name} of shape {list(shape)} does not fit its place; the file is damaged or"
            " cut short."
        )
    return stored


def _json(text: bytes, file: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointFormatError(f"{file}: its JSON is malformed.") from error
    if not isinstance(value, dict):
        raise CheckpointFormatError(f"{file}: its JSON is no object.")
    return value


class SafetensorsWriter:
    """Writes the files of a folder: every tensor's place is known first, so they may come in any order."""

    def __init__(
        self,
        folder: Path,
        tensors: Sequence[tuple[str, tuple[int, ...]]],
        *,
        dtype: str,
        shard_bytes: int,
        single: str = SINGLE,
    ) -> None:
        """Shares the tensors out over files, and makes these in their full size.

        Args:
            folder: where to write.
            tensors: name and shape of each, in the order they lie in.
            dtype: one of `WRITTEN_DTYPES`.
            shard_bytes: size from which a further file is begun.
            single: name of the file where there is one.
        """
        self._folder = folder
        self._itemsize = FLOAT_DTYPES[dtype].itemsize
        shards = _shards(tensors, self._itemsize, shard_bytes)
        self._total = self._left = sum(math.prod(shape) for _, shape in tensors) * self._itemsize
        self._weight_map: dict[str, str] = {}
        self._places: dict[str, tuple[BinaryIO, int, tuple[int, ...]]] = {}
        self._files: list[BinaryIO] = []
        for number, shard in enumerate(shards, start=1):
            several = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            self._start_file(several if len(shards) > 1 else single, shard, dtype)

    def _start_file(
        self, name: str, tensors: Sequence[tuple[str, tuple[int, ...]]], dtype: str
    ) -> None:
        file = (self._folder / name).open("wb")
        self._files.append(file)
        header = _made_header(tensors, dtype)
        start = file.write(struct.pack("<Q", len(header)) + header)
        for tensor, shape in tensors:
            self._weight_map[tensor] = name
            self._places[tensor] = (file, start, shape)
            start += math.prod(shape) * self._itemsize
        file.truncate(start)

    def write(self, name: str, tensor: np.ndarray, *, first_column: int | None = None) -> None:
        """Writes a tensor, in the dtype of the files.

        Args:
            name: its name.
            tensor: all of it; or with `first_column`, those columns (indices of the last axis) from
                there on.
            first_column: where these columns begin.
        """
        file, start, shape = self._places[name]
        self._left -= tensor.nbytes
        if first_column is None:
            assert tensor.shape == shape
            file.seek(start)
            file.write(_bytes_of(tensor))
            return
        for row, columns in enumerate(tensor.reshape(-1, tensor.shape[-1])):
            file.seek(start + (row * shape[-1] + first_column) * self._itemsize)
            file.write(_bytes_of(columns))

    def close(self) -> None:
        """Closes the files, and writes the index if there are several."""
        for file in self._files:
            file.close()
        assert self._left == 0
        if len(self._files) > 1:
            index = {"metadata": {"total_size": self._total}, "weight_map": self._weight_map}
            text = json.dumps(index, indent=2, sort_keys=True) + "\n"
            (self._folder / INDEX).write_text(text, encoding="utf-8")


def _bytes_of(tensor: np.ndarray) -> memoryview:
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data


def _shards(
    tensors: Sequence[tuple[str, tuple[int, ...]]], itemsize: int, shard_bytes: int
) -> list[list[tuple[str, tuple[int, ...]]]]:
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    filled = 0
    for name, shape in tensors:
        size = math.prod(shape) * itemsize
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, shape))
        filled += size
    return shards


def _made_header(tensors: Sequence[tuple[str, tuple[int, ...]]], dtype: str) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in tensors:
        end = offset + math.prod(shape) * FLOAT_DTYPES[dtype].itemsize
        header[name] = {
            "dtype": _CODES[dtype],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)
