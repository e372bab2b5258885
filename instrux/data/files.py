"""Paths on this machine and in object stores, and files that appear whole or not at all."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PARTIAL = ".partial"
_BLOCK_BYTES = 1 << 20


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path as an object; for `gs://` and its like, one that speaks the same language.

    Object stores go through `etils.epath`, which needs the extra `gcp` (or gcsfs).
    """
    if "://" in os.fspath(path):
        from etils import epath

        return epath.Path(path)  # type: ignore[return-value]
    return Path(path)


def write_atomically(
    path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]
) -> tuple[int, str]:
    """Writes a file under a temporary name in the same folder and renames it into place.

    A reader sees the old file or the new one, never half of it. Writing the same file twice,
    even at the same time, leaves one whole copy.

    Returns:
        The file's size in bytes and its SHA-256, as hex digits.
    """
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}{_PARTIAL}"
    digest = hashlib.sha256()
    size = 0
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return size, digest.hexdigest()


def size_and_digest(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Reads a file and gives its size in bytes and its SHA-256, as hex digits."""
    digest = hashlib.sha256()
    size = 0
    with as_path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def write_json_atomically(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
    """Writes `value` as indented JSON with sorted keys; the file appears whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, [text.encode()])


def remove_partial_files(folder: str | os.PathLike[str], *, prefix: str = "") -> int:
    """Removes what killed writers left in a folder, and gives the number of files removed.

    Args:
        folder: the folder; it need not exist.
        prefix: removes only leftovers of files whose names start so.
    """
    folder = as_path(folder)
    leftovers = list(folder.glob(f".{prefix}*{_PARTIAL}")) if folder.is_dir() else []
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)
