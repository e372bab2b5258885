"""The table of FLAN's datasets (arXiv 2109.01652): clusters, splits, sizes, as facts in a CSV file.

`flan_datasets.csv` holds the released registry (google-research/FLAN, `flan/task_splits.py` and the
tasks' own files): 69 datasets that are trained on, one that is evaluated only, and the two ParaCrawl
pairs that the paper's figure lists and the registry lacks. Names are those of TensorFlow Datasets;
where a version was withdrawn, `tfds` has the one that TensorFlow Datasets 4.9.10 installs. The
columns `paper_cluster` and `paper_dataset` group them as the paper does: 62 datasets in 12 clusters,
where the registry counts 17 and takes rounds and versions of a dataset apart.
"""

import csv
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from instrux.data.sources import RowRangesSource, TfdsSource
from instrux.errors import InputError, did_you_mean
from instrux.prompts.flan_templates import template_key
from tasks.flan_keys import TemplateKey, template_keys

MAX_RATE = 3_000
"""Rows of one dataset that count towards its share of a training mixture (section 2.1)."""
NUM_TEMPLATES = 10
_FILE = Path(__file__).with_name("flan_datasets.csv")

Member = Literal["released", "evaluation", "optional"]


@dataclass(frozen=True)
class FlanDataset:
    """A dataset of FLAN's table.

    Attributes:
        name: its name in the registry, such as `anli_r1`.
        cluster: its task cluster there.
        member: `released`: one of the 69; `evaluation`: has no rows to train on; `optional`: in the
            paper's figure only.
        tfds_released: its name in TensorFlow Datasets, with the version of 2021; empty if none.
        tfds: the same as it is today.
        manual: whether TensorFlow Datasets asks for files that a person has to download.
        ranges: split -> the rows of TensorFlow Datasets' splits, such as `train[:30000]`.
        train_examples: rows of `train`, before any filter; None if there are none.
        metrics: names of the metrics that it is scored by.
        paper_cluster: its cluster in the paper; empty if it is not in the figure.
        paper_dataset: the dataset that it belongs to there, such as `ANLI`.
    """

    name: str
    cluster: str
    member: Member
    tfds_released: str
    tfds: str
    manual: bool
    ranges: tuple[tuple[str, str], ...]
    train_examples: int | None
    metrics: tuple[str, ...]
    paper_cluster: str
    paper_dataset: str

    @property
    def task_name(self) -> str:
        """What the names of its tasks start with."""
        return self.name

    @property
    def key(self) -> TemplateKey:
        """What is known of its templates."""
        return template_keys()[template_key(self.name)]

    @property
    def rate(self) -> int:
        """Its rate in training mixtures: its rows, at most 3,000."""
        return min(self.train_examples or 0, MAX_RATE)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits."""
        return tuple(split for split, _ in self.ranges)

    @property
    def is_classification(self) -> bool:
        """Whether examples have answer options, so that these can be ranked."""
        return bool(self.key.options_field)

    @property
    def forward_templates(self) -> int:
        """How many of its ten templates ask for the usual answer; they come first."""
        return NUM_TEMPLATES - self.key.turned_around

    @property
    def tfds_name(self) -> str:
        """Name in TensorFlow Datasets, without configuration and version."""
        return self.tfds.partition(":")[0].partition("/")[0]

    @property
    def tfds_config(self) -> str | None:
        """Configuration in TensorFlow Datasets, or None."""
        return self.tfds.partition(":")[0].partition("/")[2] or None

    @property
    def tfds_version(self) -> str:
        """The versions that will do: all of the present major one, as `2.*.*`."""
        return self.tfds.partition(":")[2].partition(".")[0] + ".*.*"

    def source(self) -> RowRangesSource:
        """Gives the source of its rows, with the caps and the rows held out for validation."""
        name, config = self.tfds_name, self.tfds_config
        rows = TfdsSource(name, config, version=self.tfds_version)
        return RowRangesSource(name, config, source=rows, ranges=dict(self.ranges))


@functools.cache
def all_datasets() -> dict[str, FlanDataset]:
    """Gives all 72 rows of the table by name."""
    with _FILE.open(encoding="utf-8", newline="") as lines:
        return {row["dataset"]: _dataset(row) for row in csv.DictReader(lines)}


@functools.cache
def released() -> tuple[FlanDataset, ...]:
    """Gives the 69 datasets that the released registry mixes, in its order."""
    return tuple(each for each in all_datasets().values() if each.member == "released")


@functools.cache
def clusters() -> dict[str, tuple[FlanDataset, ...]]:
    """Gives the 17 clusters of the released registry; a cluster's place is its number in names."""
    return _grouped(released(), "cluster")


@functools.cache
def paper_clusters(*, optional: bool = False) -> dict[str, tuple[FlanDataset, ...]]:
    """Gives the paper's 12 clusters, 62 datasets in all.

    Rounds and versions of a dataset (ANLI, SQuAD) are tasks of their own. Of the translation
    datasets that the figure lists, the two that the registry lacks are taken with `optional`; WMT14
    EN/FR stands for them otherwise, as the heading counts eight where the figure lists nine.
    """
    without = {"wmt14_enfr"} if optional else set()
    members = ("released", "evaluation", "optional") if optional else ("released", "evaluation")
    chosen = [
        each
        for each in all_datasets().values()
        if each.paper_cluster and each.member in members and each.name not in without
    ]
    return _grouped(chosen, "paper_cluster")


def dataset(name: str) -> FlanDataset:
    """Gives a dataset by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in all_datasets():
        raise InputError(f"no FLAN dataset {name!r}.{did_you_mean(name, all_datasets())}")
    return all_datasets()[name]


def _grouped(
    datasets: Iterable[FlanDataset], by: Literal["cluster", "paper_cluster"]
) -> dict[str, tuple[FlanDataset, ...]]:
    groups: dict[str, list[FlanDataset]] = {}
    for each in datasets:
        groups.setdefault(getattr(each, by), []).append(each)
    return {name: tuple(members) for name, members in groups.items()}


def _dataset(row: dict[str, str]) -> FlanDataset:
    return FlanDataset(
        name=row["dataset"],
        cluster=row["cluster"],
        member=row["member"],  # type: ignore[arg-type]
        tfds_released=row["tfds_released"],
        tfds=row["tfds"],
        manual=row["manual"] == "1",
        ranges=tuple((s, row[s]) for s in ("train", "validation", "test") if row[s]),
        train_examples=int(row["train_examples"]) if row["train_examples"] else None,
        metrics=tuple(row["metrics"].split()),
        paper_cluster=row["paper_cluster"],
        paper_dataset=row["paper_dataset"],
    )
