"""T0 in small: its mixtures over the rows of a local mirror, and its held-out tasks.

    p3_sample_train                  T0's training tasks whose datasets have rows in the mirror
    p3_sample+_train                 and those of T0+
    p3_sample++_train                and those of T0++
    p3_sample_train_one_og_prompt    of T0's: the first original-task prompt of each dataset (p = 1)
    p3_sample_train_all_og_prompts   of T0's: all original-task prompts (p = 5.7)
    p3_sample_train_score_eval       choice of a checkpoint: other rows of trained datasets
    p3_sample_eval_score_eval        rank classification over task types that were never trained on
    p3_sample_bias_score_eval        CrowS-Pairs, by ranking
    p3_sample_bias_generation        WinoBias, by generation

and for the ablation on the number of prompts, where some prompts must be new to every model:

    p3_sample_prompts_train                  T0's, without two prompts of each of six datasets
    p3_sample_prompts_train_p1_seed{0,1,2}   one drawn original-task prompt a dataset, of the rest
    p3_sample_prompts_heldout_score_eval     those two prompts, on other rows of these datasets

A mirror that holds some hundred rows of each of twenty of T0's datasets is enough to watch
zero-shot generalisation being trained and measured (gin/recipes/p3_sample.gin, gin/recipes/t0).
The tasks are T0's own (`mixtures.t0`); only the rates differ. T0 draws a task in proportion to the
number of its training examples, and caps datasets of more than 500,000; here it is the number of
rows that the mirror has. Those numbers are declared below, as registration reads no data: edit
them to fit a mirror of another size, or register a mixture of your own like this one.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

from instrux.data import registration
from instrux.prompts import seeded_rng
from mixtures.t0 import trained_on
from tasks import t0

Dataset = tuple[str, str | None]

TRAIN_ROWS: Mapping[Dataset, int] = {
    # T0
    ("adversarial_qa", "dbert"): 200,
    ("adversarial_qa", "dbidaf"): 200,
    ("ag_news", None): 200,
    ("amazon_polarity", None): 200,
    ("common_gen", None): 200,
    ("cos_e", "v1.11"): 1000,
    ("cosmos_qa", None): 200,
    ("dream", None): 800,
    ("duorc", "SelfRC"): 200,
    ("glue", "mrpc"): 200,
    ("glue", "qqp"): 200,
    ("imdb", None): 200,
    ("kilt_tasks", "hotpotqa"): 200,
    ("paws", "labeled_final"): 200,
    ("quarel", None): 200,
    ("quoref", None): 200,
    ("ropes", None): 200,
    ("rotten_tomatoes", None): 1000,
    ("trec", None): 1500,
    ("wiki_hop", "original"): 200,
    ("wiki_qa", None): 200,
    # T0+
    ("web_questions", None): 2834,
    # T0++
    ("super_glue", "boolq"): 32,
    ("super_glue", "copa"): 32,
    ("super_glue", "multirc"): 154,
    ("super_glue", "record"): 32,
    ("super_glue", "wic"): 32,
    ("super_glue", "wsc.fixed"): 32,
}
"""Rows of the split `train` for each dataset that trains T0, T0+ or T0++ and is in the mirror."""

SELECTION: tuple[Dataset, ...] = (
    ("cos_e", "v1.11"),
    ("cosmos_qa", None),
    ("rotten_tomatoes", None),
)
"""Datasets that T0 chooses a checkpoint on and whose split `validation` is in the mirror."""

HELD_OUT: tuple[Dataset, ...] = (
    ("anli", None),
    ("hellaswag", None),
    ("super_glue", "cb"),
    ("super_glue", "copa"),
    ("super_glue", "rte"),
    ("super_glue", "wic"),
    ("super_glue", "wsc.fixed"),
    ("winogrande", "winogrande_xl"),
)
"""T0's held-out evaluation (its four task types) without StoryCloze, which needs a signed form."""

HELD_OUT_PROMPTS: Mapping[Dataset, str] = {
    ("ag_news", None): "test",
    ("cos_e", "v1.11"): "validation",
    ("cosmos_qa", None): "validation",
    ("glue", "mrpc"): "test",
    ("rotten_tomatoes", None): "validation",
    ("trec", None): "test",
}
"""Datasets two of whose prompts the ablation holds out, and the split with labelled other rows."""

PROMPTS_HELD_OUT = 2
DRAWS = (0, 1, 2)

_NOT_IN_THE_MIRROR = ("hellaswag_complete_first_then",)
"""Tasks whose template prints a field that the mirror's rows lack (`ctx_b`)."""


def train_tasks(*groups: str) -> list[t0.T0Task]:
    """Gives the tasks of T0's training groups over the datasets of `TRAIN_ROWS`."""
    return [task for task in trained_on(*(groups or ("BASE",))) if _key(task) in TRAIN_ROWS]


def eval_tasks() -> list[t0.T0Task]:
    """Gives the original-task prompts of the held-out datasets."""
    return [
        task
        for task in t0.tasks()
        if task.dataset.eval_group == "BASE"
        and _key(task) in HELD_OUT
        and task.template.original_task
        and task.name not in _NOT_IN_THE_MIRROR
    ]


def selection_tasks() -> list[t0.T0Task]:
    """Gives the original-task prompts with answer choices of the datasets of `SELECTION`."""
    return [task for task in _original(train_tasks()) if _key(task) in SELECTION and _ranked(task)]


def held_out_prompts() -> list[t0.T0Task]:
    """Gives two drawn original-task prompts with answer choices of each of six datasets."""
    ranked = [task for task in _original(train_tasks()) if _ranked(task)]
    return [
        task
        for dataset, tasks in itertools.groupby(ranked, key=_key)
        if dataset in HELD_OUT_PROMPTS
        for task in _drawn(tasks, "held out", seed=0)[:PROMPTS_HELD_OUT]
    ]


def one_drawn_prompt(tasks: Iterable[t0.T0Task], *, seed: int) -> list[t0.T0Task]:
    """Gives one original-task prompt of each dataset that has one."""
    by_dataset = itertools.groupby(_original(tasks), key=_key)
    return [_drawn(group, "one prompt", seed=seed)[0] for _, group in by_dataset]


def _of_dataset(name: str) -> list[t0.T0Task]:
    return [task for task in t0.tasks() if task.dataset.dataset == name]


def _drawn(tasks: Iterable[t0.T0Task], what: str, *, seed: int) -> list[t0.T0Task]:
    return sorted(tasks, key=lambda task: seeded_rng(seed, task.name, what).random())


def _original(tasks: Iterable[t0.T0Task]) -> list[t0.T0Task]:
    return [task for task in tasks if task.template.original_task]


def _ranked(task: t0.T0Task) -> bool:
    return task.template.has_answer_choices


def _key(task: t0.T0Task) -> Dataset:
    return task.dataset.dataset, task.dataset.subset


def _rates(tasks: Iterable[t0.T0Task]) -> Mapping[str, int]:
    return {task.name: TRAIN_ROWS[_key(task)] for task in tasks}


def _twins(tasks: Iterable[t0.T0Task]) -> Mapping[str, int]:
    return {name: 1 for task in tasks if (name := task.score_eval_name) is not None}


def _on_other_rows(task: t0.T0Task) -> str:
    """Registers a task whose `validation` is the split of `HELD_OUT_PROMPTS`; gives its twin."""
    split = HELD_OUT_PROMPTS[_key(task)]
    if split == "validation":
        assert task.score_eval_name is not None
        return task.score_eval_name
    moved = dataclasses.replace(
        task.prompted_task(), name=f"{task.name}_on_{split}_rows", splits={"validation": split}
    )
    return registration.add_prompted_task(moved)[-1]


def _register() -> None:
    base = train_tasks()
    held_out = held_out_prompts()
    rest = [task for task in base if task not in held_out]
    firsts = itertools.groupby(_original(base), key=_key)
    mixtures = {
        "p3_sample_train": _rates(base),
        "p3_sample+_train": _rates(train_tasks("BASE", "GPT_EVAL")),
        "p3_sample++_train": _rates(train_tasks("BASE", "GPT_EVAL", "SGLUE")),
        "p3_sample_train_one_og_prompt": _rates(next(group) for _, group in firsts),
        "p3_sample_train_all_og_prompts": _rates(_original(base)),
        "p3_sample_train_score_eval": _twins(selection_tasks()),
        "p3_sample_eval_score_eval": _twins(eval_tasks()),
        "p3_sample_bias_score_eval": _twins(_of_dataset("crows_pairs")),
        "p3_sample_bias_generation": {task.name: 1 for task in _of_dataset("wino_bias")},
        "p3_sample_prompts_train": _rates(rest),
        "p3_sample_prompts_heldout_score_eval": {_on_other_rows(task): 1 for task in held_out},
    }
    for seed in DRAWS:
        drawn = one_drawn_prompt(rest, seed=seed)
        mixtures[f"p3_sample_prompts_train_p1_seed{seed}"] = _rates(drawn)
    for name, rates in mixtures.items():
        registration.add_mixture(name, rates)


_register()
