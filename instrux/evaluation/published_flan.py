"""Published figures of FLAN (arXiv 2109.01652), each with how sure it is; unconfirmed ones are left out.

The tags: `src` was read in public text that quotes the paper; `chk1` is recalled, and the mean of its
row reproduces an average that was read. What is recalled only, or agrees with recollections only, is
not in the tables: LaMDA-PT's column, most scores of the template that is best on the dev rows, most
few-shot scores, and the rows of commonsense, coreference, sentiment and structure to text.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Tag = Literal["src", "chk1"]
TAGS = {
    "src": "read in public text that quotes the paper",
    "chk1": "recalled; the mean of its row reproduces an average that was read",
}
CLUSTER = "cluster"
"""Stands for the dataset where a figure is a mean over a cluster."""
_FILE = Path(__file__).with_name("published_flan.csv")
_ABLATIONS = Path(__file__).with_name("published_flan_ablations.csv")


@dataclass(frozen=True)
class PublishedFlan:
    """One figure of the paper's tables of results.

    Attributes:
        dataset: its label in results (`super_glue/rte`), or `CLUSTER`.
        name: what the paper calls it.
        cluster: its cluster in the paper.
        metric: what was measured: `accuracy`, `squad_exact_match`, `answer_f1`, `bleu`.
        model: whose it is.
        statistic: `zero-shot` and `few-shot` of GPT-3; of FLAN the zero-shot `mean` over templates,
            `best dev` (the template that is best on the dev rows), `few-shot best dev`.
        value: percent.
        tag: how sure it is; one of `TAGS`.
        note: what to know of it, or "".
    """

    dataset: str
    name: str
    cluster: str
    metric: str
    model: str
    statistic: str
    value: float
    tag: Tag
    note: str


@dataclass(frozen=True)
class PublishedAblation:
    """One figure of the paper's ablations.

    Attributes:
        ablation: `clusters` or `instructions`.
        setting: where it stands: the number of clusters, or how the model was trained and asked.
        scope: what it is the mean of.
        value: percent.
        tag: how sure it is.
    """

    ablation: str
    setting: str
    scope: str
    value: float
    tag: Tag


@functools.cache
def published_flan() -> tuple[PublishedFlan, ...]:
    """Gives the figures of the tables of results, in the order of the file."""
    with _FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(
            PublishedFlan(**{**row, "value": float(row["value"])})  # type: ignore[arg-type]
            for row in csv.DictReader(lines)
        )


@functools.cache
def published_ablations() -> tuple[PublishedAblation, ...]:
    """Gives the figures of the ablations, in the order of the file."""
    with _ABLATIONS.open(encoding="utf-8", newline="") as lines:
        return tuple(
            PublishedAblation(**{**row, "value": float(row["value"])})  # type: ignore[arg-type]
            for row in csv.DictReader(lines)
        )
