"""T0 in small: its training mixture over the rows of a local mirror, and its held-out tasks.

    p3_sample_train             T0's training tasks whose datasets have rows in the mirror
    p3_sample_eval_score_eval   rank classification over task types that were never trained on

A mirror that holds some hundred rows of each of twenty of T0's datasets is enough to watch
zero-shot generalisation being trained and measured (gin/recipes/p3_sample.gin). The tasks are
T0's own (`mixtures.t0`); only the rates differ. T0 draws a task in proportion to the number of
its training examples, and caps datasets of more than 500,000; here it is the number of rows that
the mirror has. Those numbers are declared below, as registration reads no data: edit them to fit
a mirror of another size, or register a mixture of your own like this one.
"""

from collections.abc import Mapping

from instrux.data import registration
from tasks import t0

Dataset = tuple[str, str | None]

TRAIN_ROWS: Mapping[Dataset, int] = {
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
    ("wiki_hop", "original"): 200,
    ("wiki_qa", None): 200,
}
"""Rows of the split `train` for each dataset that trains T0 and is in the mirror.

TREC is in the mirror too and is not here: its rows have the fields and label order that the Hub
gave it in 2022, under which T0's templates print no label at all (PromptSource issue 844).
"""

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

_NOT_IN_THE_MIRROR = ("hellaswag_complete_first_then",)
"""Tasks whose template prints a field that the mirror's rows lack (`ctx_b`)."""


def train_tasks() -> list[t0.T0Task]:
    """Gives T0's training tasks over the datasets of `TRAIN_ROWS`."""
    return [
        task
        for task in t0.tasks()
        if task.dataset.train_group == "BASE" and _key(task) in TRAIN_ROWS
    ]


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


def _key(task: t0.T0Task) -> Dataset:
    return task.dataset.dataset, task.dataset.subset


def _register() -> None:
    registration.add_mixture(
        "p3_sample_train", {task.name: TRAIN_ROWS[_key(task)] for task in train_tasks()}
    )
    twins = [task.score_eval_name for task in eval_tasks()]
    registration.add_mixture(
        "p3_sample_eval_score_eval", {name: 1 for name in twins if name is not None}
    )


_register()
