"""`lineage.json`: what made a folder that has no manifest of its own: a run, an evaluation, a report."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from instrux.data.files import size_and_digest, write_json_atomically
from instrux.data.manifest import library_versions
from instrux.data.seal import seal_of, sealed

FILE_NAME = "lineage.json"
SCHEMA = "instrux.lineage/1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Something that an artefact was made from.

    Attributes:
        kind: `rendered`, `packed`, `run`, `evaluation`, `dataset`, `template`, `vocabulary`, …
        name: what people call it.
        fingerprint: what it was when it was read; "" where that is not recorded.
        path: where it lay; "" where it is no folder or file of ours.
        split: of a rendered task, else "".
        files: relative to `path`, the files whose names and content `fingerprint` is the digest of; ()
            where the fingerprint is another's, such as a manifest's.
    """

    kind: str
    name: str
    fingerprint: str = ""
    path: str = ""
    split: str = ""
    files: tuple[str, ...] = ()


def content_digest(folder: Path, names: Iterable[str]) -> str:
    """Gives one digest of some files of a folder: their names, and the digest of each one's content.

    Raises:
        OSError: one of them cannot be read.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{size_and_digest(folder / name)[1]}\n".encode())
    return digest.hexdigest()


def source_of_files(kind: str, name: str, *, folder: Path, names: Iterable[str]) -> Source:
    """A source that is known by the content of its files, which are read for it.

    Args:
        kind: as `Source.kind`.
        name: what people call it.
        folder: where the files lie.
        names: of the files, relative to the folder.
    """
    names = tuple(sorted(names))
    return Source(
        kind=kind,
        name=name,
        fingerprint=content_digest(folder, names),
        path=str(folder),
        files=names,
    )


def beside(file: Path) -> Path:
    """Where the lineage of a single file lies."""
    return file.with_name(f"{file.name}.{FILE_NAME}")


def file_source(path: str | Path) -> Source:
    """A file of a user's as a source; it is read for its digest.

    Raises:
        OSError: it cannot be read.
    """
    path = Path(path)
    return source_of_files("file", str(path), folder=path.parent, names=[path.name])


def evaluation_source(name: str, folder: Path) -> Source:
    """An evaluation's step folder as a source, known by its own lineage."""
    fingerprint = seal_of(folder / FILE_NAME)
    return Source(kind="evaluation", name=name, fingerprint=fingerprint, path=str(folder))


def write_lineage(
    path: Path,
    kind: str,
    *,
    files: Iterable[Path],
    sources: Sequence[Source],
    arguments: Mapping[str, Any],
    packages: Sequence[str],
    counts: Mapping[str, int] | None = None,
) -> bool:
    """Writes what made a folder; False where the file says the same already.

    Args:
        path: the file to write.
        kind: `run`, `evaluation`, `report` and others that `instrux.data.artefacts` knows.
        files: what belongs to it, under the file's own folder.
        sources: what it was made from.
        arguments: what the command was called with.
        packages: whose versions matter.
        counts: what was counted.
    """
    listed = []
    for file in sorted(files):
        size, digest = size_and_digest(file)
        name = file.relative_to(path.parent).as_posix()
        listed.append({"name": name, "bytes": size, "sha256": digest, "records": None})
    content = sealed(
        {
            "schema": SCHEMA,
            "kind": kind,
            "files": listed,
            "sources": [_as_json(source) for source in sources],
            "arguments": json.loads(json.dumps(dict(arguments), default=str)),
            "counts": dict(counts or {}),
            "versions": library_versions(*packages),
        }
    )
    try:
        if json.loads(path.read_text(encoding="utf-8")) == content:
            return False
    except (OSError, ValueError):
        pass
    write_json_atomically(path, content)
    return True


def _as_json(source: Source) -> dict[str, Any]:
    fields = dataclasses.asdict(source)
    files = fields.pop("files")
    return {**fields, "files": list(files)} if files else fields
