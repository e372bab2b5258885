"""Published figures of T0 and its like, to stand beside a user's own, each with its source.

`published_t0.csv` holds one figure a row. A figure is *confirmed* if its source was read: a model
card, or a sentence of the paper quoted in public. The others are recollections of the paper's
tables: they are listed for orientation, never drawn, and never set beside a user's scores.
"""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("published_t0.csv")
COLUMNS = ("model", "dataset", "statistic", "value", "confirmed", "source", "note")


@dataclass(frozen=True)
class PublishedFigure:
    """One published number.

    Attributes:
        model: whose it is.
        dataset: label of the dataset, as in results (`anli/dev_r1`; `anli` is the mean over its
            rounds, `wino_bias/type1` the gap between two subsets).
        statistic: `mean` or `median` over prompts, or what else it is in words.
        value: percent.
        confirmed: whether its source was read.
        source: where it stands.
        note: what to know of it, or "".
    """

    model: str
    dataset: str
    statistic: str
    value: float
    confirmed: bool
    source: str
    note: str


@functools.cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """Gives all rows of the table, in its order."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            PublishedFigure(
                model=row["model"],
                dataset=row["dataset"],
                statistic=row["statistic"],
                value=float(row["value"]),
                confirmed=row["confirmed"] == "yes",
                source=row["source"],
                note=row["note"],
            )
            for row in csv.DictReader(file)
        )


@dataclass(frozen=True)
class HeldOutDataset:
    """One of the data(sub)sets that T0 is evaluated on.

    Attributes:
        label: its label in results.
        name: what the paper's figure calls it.
        kind: its task type.
    """

    label: str
    name: str
    kind: str


T0_HELD_OUT: Mapping[str, HeldOutDataset] = {
    dataset.label: dataset
    for dataset in (
        HeldOutDataset("anli/dev_r1", "ANLI R1", "inference"),
        HeldOutDataset("anli/dev_r2", "ANLI R2", "inference"),
        HeldOutDataset("anli/dev_r3", "ANLI R3", "inference"),
        HeldOutDataset("super_glue/cb", "CB", "inference"),
        HeldOutDataset("super_glue/rte", "RTE", "inference"),
        HeldOutDataset("super_glue/wsc.fixed", "WSC", "coreference"),
        HeldOutDataset("winogrande/winogrande_xl", "Winogrande", "coreference"),
        HeldOutDataset("super_glue/copa", "COPA", "completion"),
        HeldOutDataset("hellaswag", "HellaSwag", "completion"),
        HeldOutDataset("story_cloze/2016", "StoryCloze", "completion"),
        HeldOutDataset("super_glue/wic", "WiC", "word sense"),
    )
}
"""T0's held-out datasets (arXiv 2110.08207; its mixture `t0_eval_score_eval`), in the order in
which they are drawn."""
