"""Local mirrors of public datasets, looked into before any network.

The environment variable INSTRUX_MIRROR names one or more folders (separated as in PATH). In each
a dataset is `<dataset>/<config, or "default">/<split>.jsonl`, or `.jsonl.gz`, `.parquet`, `.csv`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from instrux.data.sources_base import RowShard
from instrux.data.sources_files import file_columns, file_shards, files_fingerprint
from instrux.errors import InputError

VARIABLE = "INSTRUX_MIRROR"
_FORMATS = {".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".parquet": "parquet", ".csv": "csv"}


def mirrored_files(
    dataset: str, config: str | None, official_names: Mapping[str, str] | None = None
) -> dict[str, Path]:
    """The files of a dataset, split -> path, in the first mirror that has any; {} if none has.

    Args:
        dataset: its name, which is its folder's.
        config: its configuration.
        official_names: names under which the dataset's makers hand out its files -> their splits.
    """
    for mirror in _folders():
        folder = Path(mirror).expanduser() / dataset / (config or "default")
        if found := _split_files(folder, official_names or {}):
            return found
    return {}


def mirrored_file(names: Sequence[str], *, home: str) -> Path:
    """Finds a file by one of its names in the first mirror that has it.

    Args:
        names: paths below a mirror, the likelier first.
        home: words where the file is published.

    Raises:
        InputError: no mirror has it.
    """
    folders = _folders()
    for folder in folders:
        for name in names:
            path = Path(folder).expanduser() / name
            if path.is_file():
                return path
    raise InputError(
        f"{names[0]}: in none of the folders that {VARIABLE} names"
        f" ({os.pathsep.join(folders) or 'none'}); it is {home}"
    )


def where(dataset: str, config: str | None) -> str:
    """Words where a copy of a dataset goes: `into the folder <mirror>/trec/default, ...`."""
    folder = f"<mirror>/{dataset}/{config or 'default'}"
    folders = _folders()
    if not folders:
        return f"into the folder {folder}, with the environment variable {VARIABLE}=<mirror>"
    told = " and ".join(folders)
    return f"into the folder {folder}, where <mirror> is what {VARIABLE} names ({told})"


def _folders() -> list[str]:
    return [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]


def mirrored_shards(path: Path, split: str) -> list[RowShard]:
    """The shards of a mirrored split."""
    return file_shards(_format(path), os.path.abspath(path), split, 0)


def mirrored_columns(path: Path) -> tuple[str, ...] | None:
    """The columns of a mirrored split; None where each row names its own fields."""
    return file_columns(_format(path), str(path))


def mirrored_fingerprint(path: Path) -> str:
    """A digest of a mirrored split's content."""
    return files_fingerprint([str(path)])


def _split_files(folder: Path, official_names: Mapping[str, str]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {
        official_names.get(path.name, path.name.removesuffix(_suffix(path))): path
        for path in sorted(folder.iterdir())
        if _suffix(path) and path.is_file()
    }


def _suffix(path: Path) -> str:
    return next((suffix for suffix in _FORMATS if path.name.endswith(suffix)), "")


def _format(path: Path) -> str:
    return _FORMATS[_suffix(path)]
