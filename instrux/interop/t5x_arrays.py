"""Arrays of a T5X checkpoint: zarr folders beside its msgpack file, or bytes within the file.

Nothing that the file says is handed on to a reader: of a reference only the folder's name is
taken, and it has to be a folder of the checkpoint; shapes and dtypes are checked before memory is
asked for.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from instrux.interop.msgpack_index import Span, parse_array_header
from instrux.interop.parameters import FLOAT_DTYPES, CheckpointFormatError

_LARGEST_TENSOR = 1 << 36
_ARRAY_CODE, _SCALAR_CODE = 1, 3  # Flax's extension types
_HEADER_BYTES = 512
_CHUNKED = "__msgpack_chunked_array__"
_CHUNK_BYTES = 64 << 20
_INTEGERS = {name: np.dtype(name) for name in ("int32", "int64", "uint32", "uint16")}


@dataclass(frozen=True)
class InlineArray:
    """An array whose bytes lie in the msgpack file, in one piece or several.

    Attributes:
        name: its name in the checkpoint.
        file: the msgpack file.
        shape: its shape.
        dtype: its dtype.
        parts: (offset, bytes) of its pieces in order.
    """

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    parts: tuple[tuple[int, int], ...]

    def read(self) -> np.ndarray:
        """Reads it whole."""
        array = np.empty(self.shape, self.dtype)
        view = array.reshape(-1).view(np.uint8).data
        with self.file.open("rb") as file:
            for start, size in self.parts:
                file.seek(start)
                if file.readinto(view[:size]) != size:
                    raise CheckpointFormatError(
                        f"{self.file}: {self.name} is cut short; copy the checkpoint again."
                    )
                view = view[size:]
        return array


@dataclass(frozen=True)
class ZarrArray:
    """An array in a zarr folder.

    Attributes:
        name: its name in the checkpoint.
        folder: the zarr folder, or one of several arrays.
        shape: its shape.
        store: tensorstore's description of where it is; None for the folder itself.
    """

    name: str
    folder: Path
    shape: tuple[int, ...]
    store: Mapping[str, Any] | None = None

    def read(self, index: int | None = None, *, axis: int = 0) -> np.ndarray:
        """Reads it whole, or one index of an axis.

        Raises:
            CheckpointFormatError: the folder is absent, incomplete or damaged.
        """
        where: list[Any] = [slice(None)] * len(self.shape)
        if index is not None:
            where[axis] = index
        with self._telling_damage():
            array = self._open()[tuple(where)].read().result()
        # T5X's second version stored the bits of bfloat16 as integers.
        return array.view(FLOAT_DTYPES["bfloat16"]) if array.dtype == np.uint16 else array

    def has_slices(self, axis: int) -> bool:
        """Whether every index of an axis has chunks of its own, so that it is read alone."""
        with self._telling_damage():
            return self._open().chunk_layout.read_chunk.shape[axis] == 1

    def _open(self) -> Any:
        spec = {
            "driver": "zarr",
            "kvstore": self.store or {"driver": "file", "path": f"{self.folder}/"},
            "fill_missing_data_reads": False,
        }
        stored = tensorstore.open(spec, open=True, read=True).result()
        self._check(stored)
        return stored

    @contextlib.contextmanager
    def _telling_damage(self) -> Iterator[None]:
        try:
            yield
        except CheckpointFormatError:
            raise
        except (ValueError, OSError) as error:
            raise CheckpointFormatError(
                f"{self.folder}: {self.name} cannot be read ({_first_line(error)}); copy the"
                " checkpoint again."
            ) from error

    def _check(self, stored: Any) -> None:
        if tuple(stored.shape) != self.shape:
            raise CheckpointFormatError(
                f"{self.folder}: {self.name} has shape {list(stored.shape)} there and"
                f" {list(self.shape)} in the checkpoint's index; copy the checkpoint again."
            )
        dtype = _dtype(stored.dtype.name, f"{self.folder}: {self.name}")
        largest = max(
            math.prod(stored.shape), math.prod(stored.chunk_layout.read_chunk.shape or ())
        )
        _check_size(largest * dtype.itemsize, f"{self.folder}: {self.name}")


StoredArray = InlineArray | ZarrArray


def stored_arrays(tree: Mapping[str, Any], file: Path) -> dict[str, StoredArray]:
    """Finds the arrays of a part of a checkpoint's tree.

    Args:
        tree: as `read_index` gives it.
        file: the msgpack file.

    Returns:
        Path joined by `/` -> array; None and empty nodes are left out.

    Raises:
        CheckpointFormatError: a leaf is no array, or a reference leads out of the folder.
    """
    found: dict[str, StoredArray] = {}

    def visit(node: Any, name: str) -> None:
        if isinstance(node, Mapping) and "driver" in node:
            found[name] = _reference(node, name, file)
        elif isinstance(node, Mapping) and _CHUNKED in node:
            found[name] = _chunked(node, name, file)
        elif isinstance(node, Mapping):
            for key, child in node.items():
                visit(child, f"{name}/{key}" if name else key)
        elif isinstance(node, Span):
            found[name] = _inline(node, name, file)
        elif node is not None:
            raise CheckpointFormatError(
                f"{file}: {name or 'the tree'} is {str(node)[:60]!r} and no array; this is no"
                " checkpoint of T5X's own format, nor one that it saved through Orbax."
            )

    visit(tree, "")
    return found


def _reference(spec: Mapping[str, Any], name: str, file: Path) -> ZarrArray:
    store, metadata = spec.get("kvstore"), spec.get("metadata")
    path = store.get("path") if isinstance(store, Mapping) else None
    path = spec.get("path") if path is None else path  # where tensorstore before 0.1.14 has it
    shape = _shape(metadata.get("shape") if isinstance(metadata, Mapping) else None)
    if spec["driver"] != "zarr" or not isinstance(path, str) or shape is None:
        raise CheckpointFormatError(
            f"{file}: {name} is no reference to a zarr array that T5X would write."
        )
    folder_name = path.rstrip("/")
    folder = file.parent / folder_name
    if (
        folder_name in ("", ".", "..")
        or "\0" in folder_name
        or Path(folder_name).name != folder_name
        or folder.resolve().parent != file.parent.resolve()
    ):
        raise CheckpointFormatError(
            f"{file}: {name} refers to {path!r}, which is no folder beside this file; refused."
        )
    return ZarrArray(name, folder, shape)


def _inline(span: Span, name: str, file: Path) -> InlineArray:
    where = f"{file}: {name}"
    with file.open("rb") as opened:
        opened.seek(span.start)
        header = opened.read(min(span.size, _HEADER_BYTES))
    try:
        if span.code not in (_ARRAY_CODE, _SCALAR_CODE):
            raise ValueError(f"extension {span.code}")
        value, length = parse_array_header(header)
        stored_shape, dtype_name, data = value
        shape = _shape(stored_shape)
        if length != span.size or shape is None or not isinstance(data, Span):
            raise ValueError("its header")
    except (ValueError, TypeError) as error:
        raise CheckpointFormatError(f"{where} is no array of Flax ({error}).") from error
    dtype = _dtype(dtype_name, where)
    if math.prod(shape) * dtype.itemsize != data.size:
        raise CheckpointFormatError(
            f"{where} holds {data.size} bytes for the shape {shape} of {dtype_name}."
        )
    return InlineArray(name, file, shape, dtype, ((span.start + data.start, data.size),))


def _chunked(node: Mapping[str, Any], name: str, file: Path) -> InlineArray:
    """An array that Flax cut into pieces, because msgpack's values end at 4 GiB."""
    shape, chunks = _shape(_numbered(node.get("shape"))), _numbered(node.get("chunks"))
    if shape is None or not all(isinstance(chunk, Span) for chunk in chunks):
        raise CheckpointFormatError(f"{file}: {name} is no array of Flax.")
    pieces = [_inline(chunk, name, file) for chunk in chunks]
    dtypes = {piece.dtype for piece in pieces}
    total = sum(math.prod(piece.shape) for piece in pieces)
    if len(dtypes) != 1 or total != math.prod(shape):
        raise CheckpointFormatError(f"{file}: the pieces of {name} do not make {list(shape)}.")
    parts = tuple(part for piece in pieces for part in piece.parts)
    return InlineArray(name, file, shape, dtypes.pop(), parts)


def _numbered(node: Any) -> list[Any]:
    if not isinstance(node, Mapping):
        return []
    return [node[str(index)] for index in range(len(node)) if str(index) in node]


def _shape(value: Any) -> tuple[int, ...] | None:
    """A shape as a tuple; None for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > 8:
        return None
    if not all(type(size) is int and 0 <= size < 1 << 32 for size in value):
        return None
    return tuple(value)


def _dtype(name: Any, where: str) -> np.dtype:
    known = {**FLOAT_DTYPES, **_INTEGERS}
    if not isinstance(name, str) or name not in known:
        raise CheckpointFormatError(
            f"{where} has dtype {str(name)[:40]!r}; known: {', '.join(known)}."
        )
    return known[name]


def _check_size(size: int, where: str) -> None:
    if size > _LARGEST_TENSOR:
        raise CheckpointFormatError(f"{where} would take {size:,} bytes; that is no tensor of T5.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


class ZarrWriter:
    """Writes one zarr array of a T5X checkpoint, whole or a slice at a time."""

    def __init__(
        self, folder: Path, name: str, *, shape: tuple[int, ...], dtype: str, slice_axis: int | None
    ) -> None:
        """Creates the folder `name` below `folder`.

        Args:
            folder: the checkpoint's folder.
            name: the array's name, joined by dots.
            shape: the whole array's shape.
            dtype: one of `WRITTEN_DTYPES`.
            slice_axis: the axis along which `write` is given slices; None for the whole.
        """
        chunks = _chunk_shape(shape, FLOAT_DTYPES[dtype].itemsize, slice_axis)
        self.reference = {
            "driver": "zarr",
            "dtype": dtype,
            "kvstore": {"driver": "file", "path": f"{name}/"},
            "metadata": {
                "shape": list(shape),
                "chunks": chunks,
                "compressor": {"id": "gzip", "level": 1},
                "dtype": "bfloat16" if dtype == "bfloat16" else FLOAT_DTYPES[dtype].str,
            },
        }
        """What the msgpack file says of it."""
        spec = self.reference | {"kvstore": {"driver": "file", "path": f"{folder / name}/"}}
        self._stored = tensorstore.open(spec, create=True).result()
        self._axis = slice_axis

    def write(self, tensor: np.ndarray, index: int | None = None) -> None:
        """Writes all of it, or slice `index` along the axis of slices."""
        target = self._stored
        if index is not None:
            where: list[Any] = [slice(None)] * target.rank
            where[self._axis or 0] = index
            target = target[tuple(where)]
        target.write(tensor, can_reference_source_data_indefinitely=True).result()


def _chunk_shape(shape: tuple[int, ...], itemsize: int, slice_axis: int | None) -> list[int]:
    """Divisors of the shape whose product is at most 64 MiB; 1 along the axis of slices."""
    chunks = list(shape)
    if slice_axis is not None:
        chunks[slice_axis] = 1
    while math.prod(chunks) * itemsize > _CHUNK_BYTES:
        axis = max(range(len(chunks)), key=lambda a: chunks[a])
        chunks[axis] = next(d for d in range(chunks[axis] - 1, 0, -1) if shape[axis] % d == 0)
    return chunks
