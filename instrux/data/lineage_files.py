"""`lineage.json`: what made a folder that has no manifest of its own: a run, an evaluation, a report."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from instrux.data.files import size_and_digest, write_json_atomically
from instrux.data.manifest import library_versions
from instrux.data.seal import sealed

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
    """

    kind: str
    name: str
    fingerprint: str = ""
    path: str = ""
    split: str = ""


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
        kind: `run`, `evaluation` or `report`.
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
            "sources": [dataclasses.asdict(source) for source in sources],
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
