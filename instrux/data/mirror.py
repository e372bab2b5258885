"""Local mirrors of public datasets, looked into before any network.

The environment variable INSTRUX_MIRROR names one or more folders (separated as in PATH). In each
a dataset is `<dataset>/<config, or "default">/<split>.jsonl`, or `.jsonl.gz`, `.parquet`, `.csv`.
"""

import os
from pathlib import Path

from instrux.data.sources_base import RowShard
from instrux.data.sources_files import file_shards, files_fingerprint

VARIABLE = "INSTRUX_MIRROR"
_FORMATS = {".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".parquet": "parquet", ".csv": "csv"}


def mirrored_files(dataset: str, config: str | None) -> dict[str, Path]:
    """The files of a dataset, split -> path, in the first mirror that has any; {} if none has."""
    for mirror in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        folder = Path(mirror).expanduser() / dataset / (config or "default")
        if found := _split_files(folder):
            return found
    return {}


def mirrored_shards(path: Path, split: str) -> list[RowShard]:
    """The shards of a mirrored split."""
    return file_shards(_format(path), os.path.abspath(path), split, 0)


def mirrored_fingerprint(path: Path) -> str:
    """A digest of a mirrored split's content."""
    return files_fingerprint([str(path)])


def _split_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {
        path.name.removesuffix(_suffix(path)): path
        for path in sorted(folder.iterdir())
        if _suffix(path) and path.is_file()
    }


def _suffix(path: Path) -> str:
    return next((suffix for suffix in _FORMATS if path.name.endswith(suffix)), "")


def _format(path: Path) -> str:
    return _FORMATS[_suffix(path)]
