"""The Flan Collection's questions with a chain of thought (arXiv 2301.13688), as tasks.

    cot_{SET}_zero_shot              ten templates in turn: reasons, then the answer
    cot_{SET}_inverted_zero_shot     turned around: the question is asked for, or the reasons alone
    cot_{SET}_five_shot, cot_{SET}_inverted_five_shot   after five exemplars
    cot_{SET}_no_template            the bare question, for the ablation of instructions

for gsm8k, strategyqa, creak, qasc, esnli, ecqa, sensemaking, aqua and qed, registered when first
asked for. Their files (`gsm8k_train.tsv`) are taken from the folders that INSTRUX_MIRROR names.
"""

import dataclasses
from typing import Any

from instrux.data import registration
from instrux.data.flan_cot_rows import HELD_OUT_ROWS, SPLITS, cot_source
from instrux.data.flan_few_shot_task import FewShotFlanTask, FewShotPrompts
from instrux.data.flan_task import FlanTask
from instrux.data.name_families import spelled
from instrux.data.vocabularies import VocabularySpec
from instrux.prompts.flan_2022 import COT_SETS, COT_SETS_OF_LOWER_QUALITY
from instrux.prompts.flan_bare import bare_template
from instrux.prompts.flan_few_shot import MIXED_TEMPLATES_2022, SHOTS
from instrux.prompts.flan_prompts import FlanPrompts, FlanPromptsReference
from tasks.flan import register
from tasks.flan_keys import COT_PROMPTS

ROWS = {
    "gsm8k": 7_473,
    "strategyqa": 2_061,
    "creak": 6_915,
    "qasc": 1_084,
    "esnli": 36_174,
    "ecqa": 7_112,
    "sensemaking": 6_070,
    "aqua": 2_728,
    "qed": 5_154,
}
"""Lines of each set's file (google-research/FLAN, `flan/v2/cot_data`)."""
SETS = (*COT_SETS, *COT_SETS_OF_LOWER_QUALITY)
_METRICS = ("rougeL",)
_CLUSTER = "chain_of_thought"


def train_rows(dataset: str) -> int:
    """Gives the rows of a set that are trained on."""
    return ROWS[dataset] - HELD_OUT_ROWS


def cot_task(dataset: str, form: str) -> FlanTask:
    """Gives a task as plain data; reads nothing.

    Args:
        dataset: one of `SETS`.
        form: `zero_shot`, `five_shot`, either with `inverted_` before it, or `no_template`.
    """
    inverted = form.startswith("inverted_")
    name = f"cot_{dataset}_inverted" if inverted else f"cot_{dataset}"
    prompts = FlanPromptsReference(COT_PROMPTS, name)
    declared: dict[str, Any] = {
        "source": cot_source(dataset),
        "splits": {split: split for split in SPLITS},
        "metrics": _METRICS,
        "cluster": _CLUSTER,
        "train_examples": train_rows(dataset),
        "original_task": not inverted,
    }
    task_name = f"cot_{dataset}_{form}"
    if form == "no_template":
        return FlanTask(task_name, template=_bare(name), **declared)
    if form.endswith("zero_shot"):
        return FlanTask(task_name, template=prompts, **declared)
    few_shot = FewShotPrompts(
        prompts,
        SHOTS["five"],
        VocabularySpec.default(),
        form=MIXED_TEMPLATES_2022,
        drawn_layouts=True,
    )
    return FewShotFlanTask(task_name, template=few_shot, **declared)


def add(dataset: str, form: str) -> str:
    """Registers a task, and gives its name."""
    return register(cot_task(dataset, form), score_eval=False)


def _bare(name: str) -> FlanPrompts:
    """The question alone; the answer comes after its reasons, as with a template."""
    template = bare_template(["question"], "rationale")
    with_answer = dataclasses.replace(template, jinja=template.jinja + "\n{{answer}}")
    return FlanPrompts(name, (with_answer,))


def _register() -> None:
    registration.add_name_family(
        "cot_{SET}[_inverted]_{zero,five}_shot, cot_{SET}_no_template",
        rf"cot_(?P<set>{'|'.join(SETS)})_(?P<form>(?:inverted_)?(?:zero|five)_shot|no_template)",
        lambda match: add(match["set"], match["form"]),
        kind="tasks",
        names=lambda: spelled(
            "cot_{SET}_{zero_shot,five_shot,inverted_zero_shot,inverted_five_shot,no_template}",
            {"SET": SETS},
        ),
    )


_register()
