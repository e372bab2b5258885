"""What `instrux fetch` got, and from where: for `instrux show` and `instrux verify`."""

import contextlib
import json
from pathlib import Path
from typing import Any

from instrux.data.lineage_files import FILE_NAME, Source, beside, write_lineage


def record(path: Path, release: str, *, arguments: dict[str, Any], digest: str = "") -> None:
    """Writes the lineage of a fetched folder or file, unless a folder has one.

    A cache folder that is shared and cannot be written to stays without.

    Args:
        path: what was fetched.
        release: its name and version.
        arguments: what the command was called with; None is left out.
        digest: of the archive or file as it was published; "" where none is pinned.
    """
    lineage = path / FILE_NAME if path.is_dir() else beside(path)
    if path.is_dir() and lineage.exists():
        return
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    with contextlib.suppress(OSError):
        write_lineage(
            lineage,
            "fetched",
            files=files,
            sources=[Source(kind="release", name=release, fingerprint=digest)],
            arguments={name: value for name, value in arguments.items() if value is not None},
            packages=(),
        )


def archive_digest(record_file: Path) -> str:
    """The digest that a release of Natural Instructions keeps of its archive; "" where it does not."""
    try:
        return str(json.loads(record_file.read_text(encoding="utf-8")).get("sha256", ""))
    except (OSError, ValueError, AttributeError):
        return ""
