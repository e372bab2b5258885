"""The licence of a dataset, as somebody who should know names it; never a judgement of ours.

T0's datasets have the tags of their cards (`t0_hub.csv`). `licences.csv` has the others, and those of
which T0's card says `unknown`, each with the source that names it, or with where it was looked for in
vain; `natural_instructions_licences.csv` what the files of Natural Instructions state of
themselves, where they were at hand. TensorFlow Datasets' metadata (4.9) name none for FLAN's sets.
"""

import csv
import functools
from pathlib import Path

from tasks import t0_hub

UNKNOWN = "unknown"

_FOLDER = Path(__file__).parent
_NATURAL_INSTRUCTIONS = "natural_instructions"


def licence(dataset: str, config: str | None = None) -> str | None:
    """Gives a tag as the Hugging Face hub words them, `other`, or `unknown`.

    Args:
        dataset: a source's name of it.
        config: its configuration, for Natural Instructions the task.

    Returns:
        None where nothing is recorded of the dataset.
    """
    if dataset == _NATURAL_INSTRUCTIONS and config in _of_tasks():
        return _of_tasks()[config]
    of_t0 = t0_hub.licence(dataset, config)
    if of_t0 not in (None, UNKNOWN):
        return of_t0
    named = _named()
    found = named.get((dataset, config)) or named.get((dataset, None))
    return found or of_t0 or _of_card(dataset)


def _of_card(dataset: str) -> str | None:
    """The tag of a dataset's card, which all its configurations share (`glue`, `super_glue`)."""
    tags = {row.licence for name, row in _t0_rows() if name == dataset and row.subset is not None}
    return tags.pop() if len(tags) == 1 else None


@functools.cache
def _t0_rows() -> list[tuple[str, t0_hub.HubRow]]:
    return [(key[0], row) for key, row in t0_hub.hub_rows().items()]


@functools.cache
def _named() -> dict[tuple[str, str | None], str]:
    return {
        (row["dataset"], row["config"] or None): row["licence"] for row in _rows("licences.csv")
    }


@functools.cache
def _of_tasks() -> dict[str, str]:
    rows = _rows(f"{_NATURAL_INSTRUCTIONS}_licences.csv")
    return {row["task"]: row["licence"] for row in rows}


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
