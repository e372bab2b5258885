"""From prompts to datasets, clusters and groups: medians, quartiles, best, intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instrux.evaluation import bootstrap
from instrux.evaluation.bootstrap import DatasetCredits
from instrux.evaluation.results import Summary, TaskResult

TaskCredits = Mapping[str, Sequence[tuple[str, float]]]
"""Task name -> its (example id, credit) pairs."""


@dataclass(frozen=True)
class Cell:
    """The prompts of one dataset that share a group and a headline metric.

    Attributes:
        results: one a prompt.
        credits: theirs, example by example.
    """

    results: tuple[TaskResult, ...]
    credits: DatasetCredits

    @property
    def dataset(self) -> str:
        """Label of the dataset."""
        return self.results[0].dataset

    @property
    def cluster(self) -> str:
        """Name of the task cluster."""
        return self.results[0].cluster

    @property
    def group(self) -> str:
        """Name of the group."""
        return self.results[0].group

    @property
    def metric(self) -> str:
        """Name of the headline metric."""
        return self.results[0].metric

    @property
    def scores(self) -> np.ndarray:
        """Float64 [prompts], percent."""
        return np.asarray([result.score for result in self.results])

    @property
    def baseline(self) -> float:
        """Mean over prompts of what no understanding gets."""
        return float(np.mean([result.baseline for result in self.results]))


def cells(results: Iterable[TaskResult], credits: TaskCredits) -> list[Cell]:
    """Sorts tasks into cells, in the order in which the tasks come."""
    found: dict[tuple[str, str, str], list[TaskResult]] = {}
    for result in results:
        if result.num_examples:
            found.setdefault((result.dataset, result.group, result.metric), []).append(result)
    return [
        Cell(
            tuple(members),
            bootstrap.dataset_credits(dataset, [(r.task, credits[r.task]) for r in members]),
        )
        for (dataset, _, _), members in found.items()
    ]


def summaries(all_cells: Sequence[Cell], *, seed: int = 0) -> list[Summary]:
    """Summaries by dataset, by cluster, by group and over all; always within one metric.

    Clusters are summarised within each group, since held-out and training prompts do not mix.
    """
    replicates = {
        id(cell): bootstrap.median_replicates([cell.credits], seed=seed)[0] for cell in all_cells
    }

    def summary(scope: str, name: str, group: str, members: Sequence[Cell]) -> Summary:
        drawn = np.mean([replicates[id(cell)] for cell in members], axis=0)
        return _summary(scope, name, group, members, drawn)

    made = [summary("dataset", cell.dataset, cell.group, [cell]) for cell in all_cells]
    for (cluster, group, _), members in _by(all_cells, "cluster", "group").items():
        if cluster:
            made.append(summary("cluster", cluster, group, members))
    for (group, _), members in _by(all_cells, "group").items():
        made.append(summary("group", group, group, members))
    for members in _by(all_cells).values():
        made.append(summary("all", "", "", members))
    return made


def _by(all_cells: Sequence[Cell], *keys: str) -> dict[tuple[str, ...], list[Cell]]:
    found: dict[tuple[str, ...], list[Cell]] = {}
    for cell in all_cells:
        found.setdefault(tuple(getattr(cell, key) for key in (*keys, "metric")), []).append(cell)
    return found


def _summary(
    scope: str, name: str, group: str, members: Sequence[Cell], replicates: np.ndarray
) -> Summary:
    scores = np.concatenate([cell.scores for cell in members])
    lower, median, upper = np.percentile(scores, [25, 50, 75])  # linear interpolation
    return Summary(
        scope=scope,
        name=name,
        group=group,
        metric=members[0].metric,
        score=mean_of_medians(members),
        interval=bootstrap.percentile_interval(replicates),
        mean=float(scores.mean()),
        median=float(median),
        lower_quartile=float(lower),
        upper_quartile=float(upper),
        interquartile_range=float(upper - lower),
        best=float(scores.max()),
        worst=float(scores.min()),
        baseline=float(np.mean([cell.baseline for cell in members])),
        num_datasets=len({cell.dataset for cell in members}),
        num_prompts=len(scores),
        num_examples=len({(c.dataset, i) for c in members for i in c.credits.example_ids}),
    )


def mean_of_medians(members: Sequence[Cell]) -> float:
    """Mean over datasets of the median over the prompts of each."""
    return float(np.mean([np.median(cell.scores) for cell in members]))


def dataset_labels(first_example_ids: Mapping[str, str]) -> dict[str, str]:
    """Labels datasets by the ids of their examples (`dataset/config/split/row`).

    The label is `dataset/config` without a `default` config; the split is added where the tasks
    read several splits of one dataset, as ANLI's rounds are.

    Args:
        first_example_ids: task -> the id of one of its examples.
    """
    sources = {task: tuple(i.rsplit("/", 2)[:2]) for task, i in first_example_ids.items()}
    splits: dict[str, set[str]] = {}
    for name, *rest in sources.values():
        splits.setdefault(name, set()).add("".join(rest))
    return {
        task: _label(name, "".join(rest), several=len(splits[name]) > 1)
        for task, (name, *rest) in sources.items()
    }


def _label(name: str, split: str, *, several: bool) -> str:
    name = name.removesuffix("/default")
    return f"{name}/{split}" if several and split else name
