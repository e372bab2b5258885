"""Four kinds of instruction data on one budget, and what is held out from all four.

    compare_flan_train, compare_tiny_flan_train                  FLAN
    compare_t0_train, compare_tiny_t0_train                      T0
    compare_tk_instruct_train, compare_tiny_tk_instruct_train    Tk-Instruct
    (demonstrations: `sft_{NAME}` of what `instrux demonstrations` prepared)
    compare_base_train                running text, without instructions, for a base model
    compare_eval, compare_tiny_eval   held-out task types in the wording of each system, open prompts

registered when first asked for. `tiny` stands for the rows of a local mirror (`tasks.flan_sample`,
`mixtures.p3_sample`, `mixtures.tk_instruct_sample`).

Held out are natural language inference, coreference and choices of cause or effect: no mixture has a
dataset of `HELD_OUT`, nor another of these task types. T0's mixture has none by T0's own rule; from
FLAN's the clusters of `FLAN_CLUSTERS_LEFT_OUT` are gone, and from Tk-Instruct's the training tasks
whose source `TK_INSTRUCT_LEFT_OUT` names (its own held-out categories are gone anyway). Paraphrase,
which FLAN leaves out where it holds out inference, is trained on by FLAN and T0 alike.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping

from instrux.data import registration
from instrux.data.plain_templates import ContinuationTemplate
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import HuggingFaceSource
from mixtures import p3_sample, tk_instruct_sample
from mixtures.flan import train_rates
from tasks import flan, flan_sample, natural_instructions, open_prompts, t0
from tasks.flan import FlanTaskName
from tasks.flan_table import FlanDataset
from tasks.flan_table import clusters as flan_clusters
from tasks.natural_instructions import registered_name
from tasks.natural_instructions_table import table as natural_instructions_table

HELD_OUT = ("anli", "cb", "copa", "rte", "winogrande")
"""Datasets that all are evaluated on, in the prompts of T0 and of FLAN."""

FLAN_CLUSTERS_LEFT_OUT = ("common_sense", "coreference", "entailment")
TK_INSTRUCT_LEFT_OUT = re.compile(
    r"nli(?!ne)|_rte_|copa|wino|mwsc|_wsc|swag|super_?glue|commitment|scitail|hans_|causal"
)
"""Training tasks of Tk-Instruct that are made of a held-out dataset, or of one of its kind."""

TK_INSTRUCT_TEST = (
    "task133_winowhy_reason_plausibility_detection",
    "task190_snli_classification",
    "task199_mnli_classification",
    "task391_causal_relationship",
    "task392_inverse_causal_relationship",
    "task1152_bard_analogical_reasoning_causation",
)
"""Test tasks of Tk-Instruct of the held-out types; their datasets are in no mixture."""

T0_PROMPTS = 3
FLAN_TEMPLATES = 3
TINY_OPTIONS = "instruct_pos_1_input:len600"
"""One positive example; rendered with the vocabulary `bytes`, 600 bytes are some 150 pieces."""

BASE_TEXTS: Mapping[tuple[str, str | None], str] = {
    ("ag_news", None): "text",
    ("amazon_polarity", None): "content",
    ("imdb", None): "text",
    ("quoref", None): "context",
    ("ropes", None): "background",
    ("adversarial_qa", "dbidaf"): "context",
}
"""Datasets of T0 that are no held-out ones, and the field whose text a base model reads."""


# --- Training --------------------------------------------------------------------------------------


def flan_datasets(clusters: Mapping[str, tuple[FlanDataset, ...]]) -> list[FlanDataset]:
    """Gives FLAN's datasets without the held-out clusters."""
    return [
        each
        for name, members in clusters.items()
        if name not in FLAN_CLUSTERS_LEFT_OUT
        for each in members
    ]


def tk_instruct_tasks(names: Iterable[str]) -> list[str]:
    """Gives the names that share no source with what is held out."""
    return [name for name in names if not TK_INSTRUCT_LEFT_OUT.search(name)]


def _flan() -> Mapping[str, int]:
    return train_rates(flan_datasets(flan_clusters()), "10templates")


def _tiny_flan() -> Mapping[str, int]:
    return train_rates(flan_datasets(flan_sample.sample_clusters()), "10templates")


def _t0() -> Mapping[str, float]:
    return registration.mixture_rates("t0_train")


def _tiny_t0() -> Mapping[str, float]:
    return registration.mixture_rates("p3_sample_train")


def _tk_instruct() -> Mapping[str, int]:
    train = [row.name for row in natural_instructions_table() if row.default == "train"]
    return {registered_name(name): 1 for name in tk_instruct_tasks(train)}


def _tiny_tk_instruct() -> Mapping[str, int]:
    names = map(registered_name, tk_instruct_tasks(tk_instruct_sample.TRAIN))
    return {registration.find_name(f"{name}:{TINY_OPTIONS}"): 1 for name in names}


def _base() -> Mapping[str, int]:
    return {_add_base_text(*dataset, field=field): 1 for dataset, field in BASE_TEXTS.items()}


def _add_base_text(dataset: str, config: str | None, *, field: str) -> str:
    task = PromptedTask(
        name=f"compare_base_{dataset}",
        source=HuggingFaceSource(dataset, config),
        template=ContinuationTemplate(field),
        splits={"train": "train"},
        metrics=("rougeL",),
        cluster="running text",
    )
    return registration.add_prompted_task(task, score_eval=False)[0]


# --- Evaluation ------------------------------------------------------------------------------------


def _t0_prompts() -> list[str]:
    """The first prompts, for its own task and with choices, of each held-out dataset."""
    by_dataset: dict[str, list[str]] = {}
    for task in t0.tasks():
        own = task.template.original_task and task.template.has_answer_choices
        label = task.dataset.subset if task.dataset.dataset == "super_glue" else None
        label = label or task.dataset.dataset
        wanted = label in HELD_OUT and task.round in (None, "r1")
        if own and wanted and task.dataset.subset in (None, label, "winogrande_xl"):
            by_dataset.setdefault(label, []).append(task.name)
    return [name for names in by_dataset.values() for name in names[:T0_PROMPTS]]


def _flan_prompts(clusters: Mapping[str, tuple[FlanDataset, ...]]) -> list[str]:
    """The first templates, ranked, of each held-out dataset, over T0's rows of it."""
    held_out = [
        each
        for members in clusters.values()
        for each in members
        if each.name in HELD_OUT or each.name == "anli_r1"
    ]
    return [
        _as_validation(flan.add_ranked(FlanTaskName(each, f"type_{index}")))
        for each in held_out
        for index in range(min(FLAN_TEMPLATES, each.forward_templates))
    ]


def _natural_instructions(options: str) -> list[str]:
    names = [
        registered_name(name) + (f":{options}" if options else "") for name in TK_INSTRUCT_TEST
    ]
    return [_as_validation(name) for name in names]


def _as_validation(name: str) -> str:
    """Registers a task whose `validation` is its `test`, as an evaluation has one split."""
    task = registration.prompted_task(registration.find_name(name))
    name = f"{task.name}_on_test_rows"
    moved = dataclasses.replace(task, name=name, splits={"validation": task.splits["test"]})
    if name.startswith(natural_instructions.PREFIX):
        return natural_instructions.add(moved)
    return registration.add_prompted_task(moved, score_eval=False)[0]


def _eval() -> Mapping[str, int]:
    return _evaluated(_flan_prompts(flan_clusters()), _natural_instructions(""))


def _tiny_eval() -> Mapping[str, int]:
    prompts = _flan_prompts(flan_sample.sample_clusters())
    return _evaluated(prompts, _natural_instructions(TINY_OPTIONS))


def _evaluated(*groups: list[str]) -> Mapping[str, int]:
    open_names = [task.name for task in open_prompts.TASKS]
    return {name: 1 for group in (_t0_prompts(), *groups, open_names) for name in group}


_MIXTURES: Mapping[str, Callable[[], Mapping[str, float]]] = {
    "compare_flan_train": _flan,
    "compare_tiny_flan_train": _tiny_flan,
    "compare_t0_train": _t0,
    "compare_tiny_t0_train": _tiny_t0,
    "compare_tk_instruct_train": _tk_instruct,
    "compare_tiny_tk_instruct_train": _tiny_tk_instruct,
    "compare_base_train": _base,
    "compare_eval": _eval,
    "compare_tiny_eval": _tiny_eval,
}


def _register() -> None:
    for name, rates in _MIXTURES.items():
        registration.add_name_family(
            name,
            re.escape(name),
            lambda match, rates=rates: registration.add_mixture(match[0], rates()),
        )


_register()
_ = p3_sample  # registers what `compare_tiny_t0_train` is made of
