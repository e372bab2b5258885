"""FLAN in small: its mixtures and ablations over the rows of a local mirror (`tasks.flan_sample`).

    flan_sample_10templates_train                    all 27 datasets
    flan_sample_without_{cluster}_10templates_train  without one cluster, and those close to it
    flan_sample_clusters{1..4}_{n}templates_train    the first clusters, as in flan_diversity_split
    flan_sample_inter_{n}templates_{1..4}tpc_train   k tasks of each of these four clusters

registered when first asked for, and with `_eval` or `_scoring_eval` in place of `_train`. In place of
`{n}templates` there may be `no_template` or `dataset_name`, and few-shot suffixes stand before
`_train`, as in `mixtures.flan`. The last two hold out NLI, commonsense and closed-book QA, as the
paper's ablations do; of its seven training clusters four have rows in the mirror.
"""

import functools
import re
from collections.abc import Callable

from instrux.data import registration
from instrux.data.name_families import spelled
from instrux.errors import InputError
from mixtures import flan_splits
from mixtures.flan import COUNT_PATTERN, TAIL_PATTERN, USE_PATTERN, VALUES, add_split
from mixtures.flan_splits import FlanSplit
from tasks.flan import SHOT_PATTERN
from tasks.flan_sample import sample_clusters, sample_datasets

TRAINING_CLUSTERS = tuple(
    name for name in flan_splits.ABLATION_CLUSTERS if name in sample_clusters()
)
"""Clusters in the order in which the ablation adds them."""


def overlap() -> FlanSplit:
    """Trains on all, and evaluates the same."""
    everything = tuple(sample_datasets().values())
    return FlanSplit(everything, everything)


def clusters(number: int, *, most_of_each: int | None = None) -> FlanSplit:
    """Trains on the first clusters of the ablation, and holds out its three test clusters.

    Args:
        number: of clusters.
        most_of_each: tasks of a cluster at most; all if None.

    Raises:
        InputError: there are not so many.
    """
    if not 1 <= number <= len(TRAINING_CLUSTERS):
        raise InputError(f"flan_sample_clusters{number}: give 1 to {len(TRAINING_CLUSTERS)}")
    groups = sample_clusters()
    chosen = [groups[name][:most_of_each] for name in TRAINING_CLUSTERS[:number]]
    test = [each for name in flan_splits.ABLATION_TEST_CLUSTERS for each in groups[name]]
    return FlanSplit(tuple(each for group in chosen for each in group), tuple(test))


def tasks_per_cluster(number: int) -> FlanSplit:
    """Trains on the first tasks of each training cluster; a smaller cluster gives all.

    Raises:
        InputError: it is not 1 to 4.
    """
    if not 1 <= number <= 4:
        raise InputError(f"{number} tasks per cluster: give 1 to 4")
    return clusters(len(TRAINING_CLUSTERS), most_of_each=number)


_FAMILIES: dict[str, tuple[str, Callable[[re.Match[str]], FlanSplit]]] = {
    "flan_sample_{kind}_{train,eval}": (
        rf"flan_sample{TAIL_PATTERN}",
        lambda match: overlap(),
    ),
    "flan_sample_without_{cluster}_{kind}_{train,eval}": (
        rf"flan_sample_without_(?P<cluster>{'|'.join(sample_clusters())}){TAIL_PATTERN}",
        lambda match: flan_splits.leave_one_cluster_out(match["cluster"], sample_clusters()),
    ),
    "flan_sample_clusters{1..4}_{n}templates_{train,eval}": (
        rf"flan_sample_clusters(?P<number>\d+){TAIL_PATTERN}",
        lambda match: clusters(int(match["number"])),
    ),
    "flan_sample_inter_{n}templates_{1..4}tpc_{train,eval}": (
        rf"flan_sample_inter_{COUNT_PATTERN}_(?P<number>\d+)tpc{SHOT_PATTERN}{USE_PATTERN}",
        lambda match: tasks_per_cluster(int(match["number"])),
    ),
}


def _register() -> None:
    values = VALUES | {"cluster": tuple(sample_clusters())}
    for spelling, (pattern, rule) in _FAMILIES.items():
        registration.add_name_family(
            spelling,
            pattern,
            lambda match, rule=rule: add_split(match, rule(match)),
            names=functools.partial(spelled, spelling, values),
        )


_register()
