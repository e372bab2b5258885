"""Which datasets FLAN's mixtures train on and which they hold out (arXiv 2109.01652; released code).

A split's name is that of its mixtures without what stands for templates, shots and train or eval.
"""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from instrux.errors import InputError
from instrux.prompts import seeded_rng
from tasks.flan_table import FlanDataset, all_datasets, clusters, paper_clusters, released

SUPERGLUE = ("bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")
TRAIN_TASK_COUNTS = tuple(range(5, 60, 5))
"""Numbers of training tasks in the SuperGLUE ablation."""
ABLATION_CLUSTERS = (
    "summarization",
    "translation",
    "reading_comprehension",
    "sentiment",
    "structure_to_text",
    "coreference",
    "conversational_qa",
)
"""Clusters in the order in which the paper's ablation adds them."""
ABLATION_TEST_CLUSTERS = ("entailment", "common_sense", "open_domain_qa")
TASK_LIMIT = 15
INTRA_CLUSTER_SPLITS = 10
_SUPERGLUE_SEED = 42

# Test cluster -> further clusters that are not trained on, in the registry's names and the paper's.
_ALSO_LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "reading_comprehension": (
        "read_comp_and_common_sense",
        "reading_comprehension_with_commonsense",
    ),
    "common_sense": ("read_comp_and_common_sense",),
    "commonsense": ("reading_comprehension_with_commonsense",),
    "read_comp_and_common_sense": ("reading_comprehension", "common_sense"),
    "reading_comprehension_with_commonsense": ("reading_comprehension", "commonsense"),
    "entailment": ("paraphrase",),
    "natural_language_inference": ("paraphrase",),
    "paraphrase": ("entailment", "natural_language_inference"),
}
# Versions of a dataset, which are held out together.
_RELATED = ("squad_", "arc_", "anli_", "mnli_", "opinion_abstracts_")


@dataclass(frozen=True)
class FlanSplit:
    """Datasets to train on, and those that are evaluated.

    Attributes:
        train: in the table's order, or that of the rule.
        test: likewise.
    """

    train: tuple[FlanDataset, ...]
    test: tuple[FlanDataset, ...]


def leave_one_cluster_out(
    cluster: str, groups: Mapping[str, Sequence[FlanDataset]] | None = None
) -> FlanSplit:
    """Holds a cluster out, and leaves those out that are close to it (section 2.2, footnote).

    Args:
        cluster: the one that is evaluated.
        groups: clusters by name; those of the released registry if None.

    Raises:
        InputError: there is no such cluster.
    """
    groups = clusters() if groups is None else groups
    if cluster not in groups:
        raise InputError(f"no FLAN cluster {cluster!r}; there are {', '.join(groups)}")
    left_out = {cluster, *_ALSO_LEFT_OUT.get(cluster, ())}
    train = [each for name, group in groups.items() if name not in left_out for each in group]
    return FlanSplit(_trainable(train), tuple(groups[cluster]))


def inter_cluster(index: int) -> FlanSplit:
    """Holds out the cluster of a number; see `leave_one_cluster_out`.

    Raises:
        InputError: there is no such number.
    """
    names = list(clusters())
    if not 0 <= index < len(names):
        raise InputError(f"flan_inter_cluster_split_{index}: give 0 to {len(names) - 1}")
    return leave_one_cluster_out(names[index])


def intra_cluster(index: int) -> FlanSplit:
    """Holds out one dataset of every cluster that has several, versions of it together.

    Which one, a permutation of each cluster says, ours, as the released order is numpy's.

    Raises:
        InputError: there is no such number.
    """
    if not 0 <= index < INTRA_CLUSTER_SPLITS:
        raise InputError(f"flan_intra_cluster_split_{index}: give 0 to {INTRA_CLUSTER_SPLITS - 1}")
    test = []
    for name, group in clusters().items():
        if len(group) > 1:
            units = _related_together(group)
            seeded_rng(0, name, "flan-intra-cluster").shuffle(units)
            test += units[index % len(units)]
    return FlanSplit(_without(released(), test), tuple(test))


def overlap() -> FlanSplit:
    """Trains on all 69, and evaluates the same."""
    return FlanSplit(released(), released())


def superglue(train_tasks: int | None = None) -> FlanSplit:
    """Holds out SuperGLUE's eight, whatever their clusters.

    Args:
        train_tasks: how many of the other 61 to train on, drawn; more are those of fewer and some
            more. None is all.

    Raises:
        InputError: it is none of the ablation's numbers.
    """
    test = tuple(all_datasets()[name] for name in SUPERGLUE)
    train = _without(released(), test)
    if train_tasks is None:
        return FlanSplit(train, test)
    if train_tasks not in TRAIN_TASK_COUNTS:
        raise InputError(
            f"{train_tasks} training tasks: give one of {', '.join(map(str, TRAIN_TASK_COUNTS))}"
        )
    drawn = list(train)
    random.Random(_SUPERGLUE_SEED).shuffle(drawn)
    return FlanSplit(tuple(drawn[:train_tasks]), test)


def diversity(number: int, *, limited: bool = False) -> FlanSplit:
    """Trains on the first clusters of the ablation (section 4.1).

    Args:
        number: of clusters, 1 to 7.
        limited: whether 15 tasks at most are taken, one of each cluster in turn.

    Raises:
        InputError: there are not so many clusters.
    """
    if not 1 <= number <= len(ABLATION_CLUSTERS):
        raise InputError(f"flan_diversity_split{number}: give 1 to {len(ABLATION_CLUSTERS)}")
    groups = [clusters()[name] for name in ABLATION_CLUSTERS[:number]]
    train = [each for group in groups for each in group]
    if limited:
        train = _in_turn(groups)[:TASK_LIMIT]
    return FlanSplit(tuple(train), _ablation_test())


def tasks_per_cluster(number: int) -> FlanSplit:
    """Trains on the first tasks of each of the ablation's seven clusters.

    Args:
        number: of tasks of a cluster, 1 to 4; a smaller cluster gives all.

    Raises:
        InputError: it is another number.
    """
    if not 1 <= number <= 4:
        raise InputError(f"{number} tasks per cluster: give 1 to 4")
    groups = [clusters()[name][:number] for name in ABLATION_CLUSTERS]
    return FlanSplit(tuple(each for group in groups for each in group), _ablation_test())


def paper62(cluster: str | None = None, *, optional: bool = False) -> FlanSplit:
    """Gives the paper's 62 datasets, all of them or without one of its 12 clusters.

    Args:
        cluster: the one that is held out; None trains on all and evaluates all.
        optional: as in `tasks.flan_table.paper_clusters`.

    Raises:
        InputError: there is no such cluster.
    """
    groups = paper_clusters(optional=optional)
    if cluster is not None:
        return leave_one_cluster_out(cluster, groups)
    everything = tuple(each for group in groups.values() for each in group)
    return FlanSplit(_trainable(everything), everything)


def _trainable(datasets: Iterable[FlanDataset]) -> tuple[FlanDataset, ...]:
    return tuple(each for each in datasets if each.train_examples is not None)


def _without(
    datasets: Iterable[FlanDataset], others: Iterable[FlanDataset]
) -> tuple[FlanDataset, ...]:
    left_out = {each.name for each in others}
    return tuple(each for each in datasets if each.name not in left_out)


def _ablation_test() -> tuple[FlanDataset, ...]:
    return tuple(each for name in ABLATION_TEST_CLUSTERS for each in clusters()[name])


def _in_turn(groups: Sequence[Sequence[FlanDataset]]) -> list[FlanDataset]:
    rounds = itertools.zip_longest(*groups)
    return [each for turn in rounds for each in turn if each is not None]


def _related_together(group: Iterable[FlanDataset]) -> list[list[FlanDataset]]:
    units: dict[str, list[FlanDataset]] = {}
    for each in group:
        shared = next((start for start in _RELATED if each.name.startswith(start)), each.name)
        units.setdefault(shared, []).append(each)
    return list(units.values())
