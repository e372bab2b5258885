"""Manifests: what made a stage's output, and whether that output is whole.

A stage writes into a folder in this order: its files, each under a temporary name and then
renamed; the manifest, which lists them; an empty `COMPLETED`. Whatever moment it dies at, the
folder does not look complete, and the next start removes what was left and begins again.
"""

import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from instrux.data.files import (
    as_path,
    remove_partial_files,
    size_and_digest,
    write_atomically,
    write_json_atomically,
)
from instrux.data.seal import seal_holds, sealed
from instrux.data.typed_json import require_types
from instrux.errors import InputError

__all__ = [
    "COMPLETED",
    "CompletedFolder",
    "FileRecord",
    "Manifest",
    "file_record",
    "library_versions",
    "same_settings",
    "write_atomically",
    "write_json_atomically",
]

COMPLETED = "COMPLETED"


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """One file of a stage's output.

    Attributes:
        name: the file's name in its folder.
        bytes: its size.
        sha256: its digest, as hex digits.
        records: how many records it holds.
    """

    name: str
    bytes: int
    sha256: str
    records: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What made a stage's output.

    Attributes:
        stage: `render`, `cache`, `vocab`, `export`, `audit`.
        settings: all that determines the output's bytes; a change of them asks for a new run.
        files: the output files, in order of name.
        counts: what was counted, such as rows read and examples written.
        dropped: reason -> number of records left out for it.
        versions: package -> version that made it.
        arguments: what the command was called with, for the reader's information.
        metadata: what later stages need to know of the output without any registry.
        seconds: wall-clock time that the stage took.
    """

    stage: str
    settings: Mapping[str, Any]
    files: Sequence[FileRecord]
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain data for a JSON file, with a digest of itself."""
        return sealed(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Manifest":
        """From the plain data of `to_json`.

        Raises:
            TypeError, KeyError, AttributeError: it is something else.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        fields = {key: item for key, item in value.items() if key in known}
        files = tuple(FileRecord(**file) for file in value["files"])
        manifest = cls(**{**fields, "files": files})
        require_types(manifest)
        return manifest


class CompletedFolder:
    """A folder that a stage fills, and that is either complete or to be made again.

    Attributes:
        folder: the folder.
        manifest_path: its manifest; several manifests may share a folder (one a split).
        completed_path: the empty file written last.
    """

    def __init__(self, folder: str | os.PathLike[str], *, manifest: str = "manifest.json") -> None:
        self.folder = as_path(folder)
        self.manifest_path = self.folder / manifest
        self.completed_path = self.folder / COMPLETED

    def manifest(self) -> Manifest:
        """Reads the manifest.

        Raises:
            InputError: there is none, or it is not one.
        """
        return read_manifest(self.manifest_path)

    def is_complete(self, settings: Mapping[str, Any] | None = None) -> bool:
        """Whether the output is there, whole, and made with `settings` (where given)."""
        return self.completed_path.exists() and self.has_all_files(settings)

    def has_all_files(self, settings: Mapping[str, Any] | None = None) -> bool:
        """As `is_complete`, whether or not `COMPLETED` has been written yet."""
        try:
            manifest = self.manifest()
        except InputError:
            return False
        if settings is not None and not same_settings(manifest.settings, settings):
            return False
        return not self.damaged_files(manifest)

    def damaged_files(self, manifest: Manifest) -> list[str]:
        """Names of the files that are missing or have another size than the manifest says."""
        return [
            file.name for file in manifest.files if _size(self.folder / file.name) != file.bytes
        ]

    def start(self, *, also: Sequence[str] = ()) -> None:
        """Makes the folder ready for a run: nothing in it looks complete any more.

        Removes `COMPLETED`, the manifest, the files it lists, leftovers of killed writers, and
        whatever matches the globs of `also`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.completed_path.unlink(missing_ok=True)
        try:
            names = [Path(file.name).name for file in self.manifest().files]
        except InputError:
            names = []
        self.manifest_path.unlink(missing_ok=True)
        listed = [self.folder / name for name in names if name]
        for path in [*listed, *(path for glob in also for path in self.folder.glob(glob))]:
            path.unlink(missing_ok=True)
        remove_partial_files(self.folder)

    def complete(self, manifest: Manifest) -> None:
        """Writes the manifest, then `COMPLETED`."""
        write_json_atomically(self.manifest_path, manifest.to_json())
        self.completed_path.touch()


def file_record(path: Path, *, records: int = 0) -> FileRecord:
    """Reads a file that is there already, for a manifest."""
    size, digest = size_and_digest(path)
    return FileRecord(path.name, size, digest, records)


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Reads a manifest file.

    Raises:
        InputError: there is none, it is not one, or it is not as it was written.
    """
    path = as_path(path)
    try:
        content = json.loads(path.read_text())
        if seal_holds(content) is False:
            raise ValueError("a byte of it changed")
        return Manifest.from_json(content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such manifest; run the stage that writes it.") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not a manifest, or damaged; delete it and run the stage again."
        ) from error


def same_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two settings are equal once written to JSON and read back."""
    return json.loads(json.dumps(one)) == json.loads(json.dumps(other))


def library_versions(*packages: str) -> dict[str, str]:
    """The versions of Python, Instrux and the packages named, for a manifest."""
    versions = {package: _version(package) for package in ("instrux", *packages)}
    return {"python": platform.python_version(), **versions}


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _size(path: Path) -> int | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size if hasattr(stat, "st_size") else stat.length  # type: ignore[attr-defined]
