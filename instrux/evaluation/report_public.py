"""The report's section on InstructGPT's public sets: a user's models beside the paper's table 14.

`published_instructgpt.csv` holds that table (arXiv 2203.02155) for GPT-3 and the supervised models;
`scale` turns our percent into the paper's units. Its row of Reddit TL;DR is printed the same as that of
CNN/DM and is left out, as one of them is a slip.
"""

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instrux.evaluation.compare import Arm
from instrux.evaluation.output_scores import read_output_scores
from instrux.evaluation.runs import EvaluatedRun

_FILE = Path(__file__).with_name("published_instructgpt.csv")
MODELS = ("gpt_xl", "gpt_6b", "gpt_175b", "sft_xl", "sft_6b", "sft_175b")
MODEL_NAMES = ("GPT 1.3B", "GPT 6B", "GPT 175B", "SFT 1.3B", "SFT 6B", "SFT 175B")
_JUDGED = ("true", "true and informative")


@dataclass(frozen=True)
class PublishedRow:
    """One row of table 14.

    Attributes:
        task: the task of the same set and prompt.
        statistic: a metric of its result, or a scorer of its answers.
        scale: the paper's unit over ours.
        values: of `MODELS`, in the paper's unit.
    """

    task: str
    statistic: str
    scale: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class PublicRow:
    """One row of the section.

    Attributes:
        name: the set and the prompt.
        statistic: what is given.
        cells: a number for each arm, "" where it has none, then the paper's.
    """

    name: str
    statistic: str
    cells: tuple[str, ...]


@functools.cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Gives the table, in its order."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            PublishedRow(
                row["task"],
                row["statistic"],
                float(row["scale"]),
                tuple(float(row[model]) for model in MODELS),
            )
            for row in csv.DictReader(file)
        )


def public_rows(arms: Sequence[Arm]) -> list[PublicRow]:
    """Gives the rows that some arm has a number for; an arm's is the mean over its runs."""
    found = [[_found(run) for run in arm.runs] for arm in arms]
    rows = []
    for published in published_rows():
        key = published.task, published.statistic
        own = [[each[key] for each in runs if key in each] for runs in found]
        if not any(own):
            continue
        decimals = 2 if published.values[0] > 1 else 3
        numbers = [float(np.mean(values)) * published.scale if values else None for values in own]
        cells = ["" if n is None else f"{n:.{decimals}f}" for n in (*numbers, *published.values)]
        name = published.task.removeprefix("public_").replace("_", " ")
        rows.append(PublicRow(name, published.statistic.replace("_", " "), tuple(cells)))
    return rows


def _found(run: EvaluatedRun) -> dict[tuple[str, str], float]:
    """(task, statistic) -> percent for metrics, 0 to 1 for scorers; a judge's is its share of yes."""
    numbers = {
        (result.task, metric): value
        for result in run.results.tasks
        if result.task.startswith("public_")
        for metric, value in result.metrics.items()
        if value is not None and np.isfinite(value)
    }
    for each in read_output_scores(run.folder):
        numbers[each.task, each.scorer] = each.share if each.scorer in _JUDGED else each.mean
    return numbers
