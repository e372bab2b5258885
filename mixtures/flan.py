"""FLAN's mixtures (arXiv 2109.01652; names of the released code), registered when first asked for.

A name is that of a split, what its tasks are, the number of exemplars, and `_train`, `_eval` or
`_scoring_eval`:

    flan_all_overlap_10templates_train                  all 69 datasets
    flan_inter_cluster_split_{0..16}_10templates_train  without one cluster, and those close to it
    flan_intra_cluster_split_{0..9}_10templates_train   without one dataset of each cluster
    flan_superglue_split_{n}templates_train             without SuperGLUE
    flan_superglue_split_10templates_{5,10..55}train_tasks_train
    flan_diversity_split{1..7}_{n}templates[_15task_limit]_train    the first clusters
    flan_inter_split_{n}templates_{1..4}tpc_train       k tasks of each of seven clusters
    flan_paper62[_paracrawl]_10templates_train          the 62 datasets that the paper counts
    flan_paper62[_paracrawl]_without_{cluster}_10templates_train    without one of its 12 clusters

n is 1, 2, 4, 7 or 10; in place of `{n}templates` there may be `no_template` or `dataset_name`, and
in training mixtures `prefix_lm`, texts to be gone on with. The
suffixes `_one_shot` to `_multi_shot` stand before `_train`, but before the templates where the
number of training tasks follows them, as in the released names. `:as_released` and `:dialogue` at the
end hold for all tasks of a mixture (`tasks.flan`).

Rates of training mixtures are a dataset's rows, at most 3,000 (section 2.1). Evaluation mixtures hold
a task for each template that asks for the usual answer: `_eval` for answers that are generated,
`_scoring_eval` for those that are ranked. Their rates are not capped, and nothing uses them.
"""

import functools
import re
from collections.abc import Callable, Iterable

from instrux.data import registration
from instrux.data.name_families import NameFamily, name_families, spelled
from instrux.errors import InputError
from instrux.prompts.flan_templates import TEMPLATE_COUNTS
from mixtures import flan_splits
from mixtures.flan_splits import FlanSplit
from tasks import flan
from tasks.flan import FORM_PATTERN, KIND_PATTERN, SHOT_PATTERN, FlanTaskName, form_of
from tasks.flan_table import FlanDataset, paper_clusters

USE_PATTERN = f"_(?P<use>train|eval|scoring_eval){FORM_PATTERN}"
TAIL_PATTERN = rf"_(?P<kind>{KIND_PATTERN}){SHOT_PATTERN}{USE_PATTERN}"
COUNT_PATTERN = f"(?P<kind>(?:{'|'.join(map(str, TEMPLATE_COUNTS))})templates)"
_PAPER = r"flan_paper62(?P<paracrawl>_paracrawl)?"


def train_rates(
    datasets: Iterable[FlanDataset], kind: str, shots: str = "", **form: bool
) -> dict[str, int]:
    """Gives the tasks of a training mixture and their rates, and registers the tasks.

    Args:
        datasets: what is trained on.
        kind: `10templates` or another of `KIND_PATTERN`.
        shots: `one` to `multi`; empty for zero-shot.
        form: `as_released` and `dialogue`, as in `FlanTaskName`.
    """
    return {
        flan.add(FlanTaskName(each, kind, shots=shots, **form)): each.rate
        for each in datasets
        if each.train_examples is not None
    }


def eval_rates(
    datasets: Iterable[FlanDataset],
    kind: str,
    shots: str = "",
    *,
    ranked: bool = False,
    **form: bool,
) -> dict[str, int]:
    """Gives the tasks of an evaluation mixture, and registers them.

    Args:
        datasets: what is evaluated; few-shot leaves out those without training rows.
        kind: for `no_template` and `dataset_name` one task a dataset; else one for each forward
            template, all of them whatever the number that was trained on.
        shots: as in `train_rates`.
        ranked: whether tasks are for rank classification; datasets without options are left out.
        form: as in `train_rates`.
    """
    add = flan.add_ranked if ranked else flan.add
    rates = {}
    for each in datasets:
        if (shots and each.train_examples is None) or (ranked and not each.is_classification):
            continue
        bare = not kind.endswith("templates")
        kinds = [kind] if bare else [f"type_{index}" for index in range(each.forward_templates)]
        for each_kind in kinds:
            rates[add(FlanTaskName(each, each_kind, shots=shots, **form))] = (
                each.train_examples or 1
            )
    return rates


def add_split(match: re.Match[str], split: FlanSplit) -> str:
    """Registers the mixture that a name asks for, and gives its name.

    Args:
        match: has the groups of `TAIL_PATTERN`.
        split: what the mixture trains on and evaluates.

    Raises:
        InputError: there is no such form of these datasets.
    """
    kind, shots, use = match["kind"], match["shots"] or "", match["use"]
    if shots and not kind.endswith("templates"):
        raise InputError(
            f"{match[0]}: there are no few-shot forms of {kind}; leave {shots}_shot out"
        )
    if kind == "prefix_lm" and use != "train":
        raise InputError(f"{match[0]}: texts to be gone on with are trained on only; end in _train")
    if use == "train":
        rates = train_rates(split.train, kind, shots, **form_of(match))
    else:
        ranked = use == "scoring_eval"
        rates = eval_rates(split.test, kind, shots, ranked=ranked, **form_of(match))
    if not rates:
        raise InputError(
            f"{match[0]}: no dataset of it can be {'ranked' if use == 'scoring_eval' else 'used'}"
        )
    return registration.add_mixture(match[0], rates)


def _paper(match: re.Match[str]) -> FlanSplit:
    return flan_splits.paper62(match["cluster"], optional=bool(match["paracrawl"]))


VALUES = {
    "n": TEMPLATE_COUNTS,
    "kind": (f"{max(TEMPLATE_COUNTS)}templates", "no_template", "dataset_name"),
    "cluster": tuple(paper_clusters()),
    "tasks": flan_splits.TRAIN_TASK_COUNTS,
}
"""What the words in the spellings of families stand for in lists."""
_FAMILIES: dict[str, tuple[str, Callable[[re.Match[str]], FlanSplit]]] = {
    "flan_all_overlap_{kind}_{train,eval}": (
        rf"flan_all_overlap{TAIL_PATTERN}",
        lambda match: flan_splits.overlap(),
    ),
    "flan_inter_cluster_split_{0..16}_{kind}_{train,eval}": (
        rf"flan_inter_cluster_split_(?P<index>\d+){TAIL_PATTERN}",
        lambda match: flan_splits.inter_cluster(int(match["index"])),
    ),
    "flan_intra_cluster_split_{0..9}_{kind}_{train,eval}": (
        rf"flan_intra_cluster_split_(?P<index>\d+){TAIL_PATTERN}",
        lambda match: flan_splits.intra_cluster(int(match["index"])),
    ),
    "flan_superglue_split_{n}templates_{train,eval}": (
        rf"flan_superglue_split{TAIL_PATTERN}",
        lambda match: flan_splits.superglue(),
    ),
    "flan_superglue_split_10templates_{tasks}train_tasks_{train,eval}": (
        rf"flan_superglue_split{SHOT_PATTERN}_(?P<kind>10templates)_(?P<tasks>\d+)train_tasks{USE_PATTERN}",
        lambda match: flan_splits.superglue(int(match["tasks"])),
    ),
    "flan_diversity_split{1..7}_{n}templates[_15task_limit]_{train,eval}": (
        rf"flan_diversity_split(?P<number>\d+)_{COUNT_PATTERN}(?P<limit>_15task_limit)?{SHOT_PATTERN}{USE_PATTERN}",
        lambda match: flan_splits.diversity(int(match["number"]), limited=bool(match["limit"])),
    ),
    "flan_inter_split_{n}templates_{1..4}tpc_{train,eval}": (
        rf"flan_inter_split_{COUNT_PATTERN}_(?P<number>\d+)tpc{SHOT_PATTERN}{USE_PATTERN}",
        lambda match: flan_splits.tasks_per_cluster(int(match["number"])),
    ),
    "flan_paper62[_paracrawl][_without_{cluster}]_{kind}_{train,eval}": (
        rf"{_PAPER}(?:_without_(?P<cluster>{'|'.join(paper_clusters())}))?{TAIL_PATTERN}",
        _paper,
    ),
}


def families() -> tuple[NameFamily, ...]:
    """Gives the families of names that this module declares."""
    return tuple(each for each in name_families() if each.spelling in _FAMILIES)


def _register() -> None:
    for spelling, (pattern, rule) in _FAMILIES.items():
        registration.add_name_family(
            spelling,
            pattern,
            lambda match, rule=rule: add_split(match, rule(match)),
            names=functools.partial(spelled, spelling, VALUES),
        )


_register()
