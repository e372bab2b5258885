"""Rows of the Flan Collection's chain-of-thought files, for a `PythonSource`.

The files lie in a checkout of google-research/FLAN, `flan/v2/cot_data/<set>_train.tsv`. They have one
part; its last rows are held out here as `validation`, as FLAN does with datasets that have none.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from instrux.data import mirror
from instrux.data.sources_python import PythonSource
from instrux.errors import InputError, did_you_mean
from instrux.prompts.flan_2022 import COT_SETS, COT_SETS_OF_LOWER_QUALITY, parse_cot_line

SPLITS = ("train", "validation")
HELD_OUT_ROWS = 200
_MAX_LINE = 2**20


def cot_source(dataset: str, folder: str | None = None) -> PythonSource:
    """Gives the source of one set.

    Args:
        dataset: such as `gsm8k`.
        folder: where `gsm8k_train.tsv` lies; None looks for it in the folders that INSTRUX_MIRROR
            names when rows are read, and in their folders `flan_cot`.

    Raises:
        InputError: the Flan Collection has no such set.
    """
    known = (*COT_SETS, *COT_SETS_OF_LOWER_QUALITY)
    if dataset not in known:
        raise InputError(f"no chain-of-thought set {dataset!r}.{did_you_mean(dataset, known)}")
    if folder is None:
        return PythonSource(
            f"cot_{dataset}",
            function=f"{__name__}:mirrored_rows",
            split_names=SPLITS,
            arguments={"dataset": dataset},
        )
    return PythonSource(
        f"cot_{dataset}",
        function=f"{__name__}:rows",
        split_names=SPLITS,
        arguments={"path": str(Path(folder) / f"{dataset}_train.tsv")},
    )


def rows(split: str, *, path: str, held_out: int = HELD_OUT_ROWS) -> Iterator[dict[str, str]]:
    """Reads the rows of a file: `question`, `answer` and `rationale`.

    Args:
        split: `train`, all but the last rows, or `validation`, these.
        path: the file.
        held_out: rows of `validation`.

    Raises:
        InputError: there is no such split, the file cannot be read, or a line is wrong.
    """
    if split not in SPLITS:
        raise InputError(f"{path}: no split {split!r}; it has {', '.join(SPLITS)}")
    total = sum(1 for _ in _lines(path))
    if total <= held_out:
        raise InputError(f"{path}: {total} rows, of which {held_out} are held out; none are left")
    first_held_out = total - held_out
    for number, line in enumerate(_lines(path)):
        if (number < first_held_out) == (split == "train"):
            yield parse_cot_line(line, f"{path}:{number + 1}").fields


def mirrored_rows(split: str, *, dataset: str) -> Iterator[dict[str, str]]:
    """Reads the rows of a set from the first mirror that has its file; see `rows`.

    Raises:
        InputError: no mirror has it, or as `rows` does.
    """
    name = f"{dataset}_train.tsv"
    folders = [each for each in os.environ.get(mirror.VARIABLE, "").split(os.pathsep) if each]
    for folder in folders:
        for path in (
            Path(folder).expanduser() / "flan_cot" / name,
            Path(folder).expanduser() / name,
        ):
            if path.is_file():
                return rows(split, path=str(path))
    raise InputError(
        f"cot_{dataset}: no {name} in the folders that {mirror.VARIABLE} names"
        f" ({os.pathsep.join(folders) or 'none'}); it lies in flan/v2/cot_data of google-research/FLAN"
    )


def _lines(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            while line := file.readline(_MAX_LINE):
                if len(line) == _MAX_LINE:
                    raise InputError(f"{path}: a line of over {_MAX_LINE:,} characters")
                if line.strip():
                    yield line
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; give the folder flan/v2/cot_data of google-research/FLAN"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error}") from error
