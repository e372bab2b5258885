"""FLAN in small: the same tasks over some hundred rows each, of a mirror in the hub's schema.

Where TensorFlow Datasets cannot download, and to watch FLAN at work in minutes. `flan_sample.csv`
says for 27 datasets of 12 clusters which rows of which dataset of the Hugging Face hub stand for
TensorFlow Datasets': folders `<mirror>/<hub>/<hub_config, or "default">/<split>.jsonl` of what
INSTRUX_MIRROR names. A mirror that lacks training rows gives part of its test rows in their place
(`train` = `validation[:-200]`), never the same row twice. Edit the table to fit another mirror.

Names are those of `tasks.flan` with `sample_` before them, registered when first asked for:
`sample_rte_10templates`, `sample_rte_type_3_scoring_eval`, `sample_rte_dataset_name`.
"""

import csv
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from instrux.data import registration
from instrux.data.flan_hub_rows import hub_source
from instrux.data.sources import RowRangesSource
from tasks import flan
from tasks.flan_table import FlanDataset, dataset

_FILE = Path(__file__).with_name("flan_sample.csv")


@dataclass(frozen=True, kw_only=True)
class SampleDataset(FlanDataset):
    """A dataset of FLAN's table whose rows come from a mirror in the hub's schema.

    Attributes:
        hub: its name on the hub, which is its folder's in the mirror.
        hub_config: its configuration there, or None.
    """

    hub: str
    hub_config: str | None

    @property
    def task_name(self) -> str:
        """What the names of its tasks start with."""
        return f"sample_{self.name}"

    def source(self) -> RowRangesSource:
        """Gives the source of its rows; they keep their numbers in the hub's split."""
        name = (self.tfds_name, self.tfds_config)
        rows = hub_source(self.name, name, (self.hub, self.hub_config))
        return RowRangesSource(*name, source=rows, ranges=dict(self.ranges))


@functools.cache
def sample_datasets() -> dict[str, SampleDataset]:
    """Gives all rows of the table by name, in the registry's order of clusters."""
    with _FILE.open(encoding="utf-8", newline="") as lines:
        return {row["dataset"]: _sample(row) for row in csv.DictReader(lines)}


@functools.cache
def sample_clusters() -> dict[str, tuple[SampleDataset, ...]]:
    """Gives the clusters that have rows, by the registry's names."""
    groups: dict[str, list[SampleDataset]] = {}
    for each in sample_datasets().values():
        groups.setdefault(each.cluster, []).append(each)
    return {name: tuple(group) for name, group in groups.items()}


def _sample(row: dict[str, str]) -> SampleDataset:
    of = dataset(row["dataset"])
    return SampleDataset(
        name=of.name,
        cluster=of.cluster,
        member=of.member,
        tfds_released=of.tfds_released,
        tfds=of.tfds,
        manual=False,
        ranges=tuple((split, row[split]) for split in ("train", "validation", "test")),
        train_examples=int(row["train_examples"]),
        metrics=of.metrics,
        paper_cluster=of.paper_cluster,
        paper_dataset=of.paper_dataset,
        hub=row["hub"],
        hub_config=row["hub_config"] or None,
    )


def _register() -> None:
    names = "|".join(sorted(map(re.escape, sample_datasets()), key=len, reverse=True))
    registration.add_name_family(
        "sample_DATASET_type_{i}, sample_DATASET_{n}templates, ... (FLAN on a mirror's rows)",
        flan.task_pattern(names, prefix="sample_"),
        lambda match: flan.add_matched(match, sample_datasets()[match["dataset"]]),
        kind="tasks",
        names=lambda: flan.names_of(sample_datasets().values()),
    )


_register()
