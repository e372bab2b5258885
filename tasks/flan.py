"""FLAN's tasks (arXiv 2109.01652): a dataset of TensorFlow Datasets with ten templates, as one task.

Registered when this module is imported, for the 69 datasets of the released registry and for WSC273:

    X_10templates                  all templates in turn, for training

and when they are first asked for, X being a dataset (those two pairs of ParaCrawl that the paper
alone has, too), i a template from 0 to 9, n one of 1, 2, 4, 7, 10:

    X_{n}templates, X_all_prompts  the first n templates, all of them
    X_type_{i}                     one template, for evaluation
    X_type_{i}_scoring_eval        the same by rank classification, where there are options
    X_type_{i}_score_eval_no_options, X_type_{i}_score_flan_no_options
                                   ranked without showing the options; both are the same, as in
                                   the released code
    X_no_template, X_dataset_name  the bare input, and with the dataset's name in brackets (the
                                   paper's ablation of instructions)
    X_prefix_lm                    the inputs' text, to be gone on with: what a model may be trained
                                   on before it is tuned
    continuations_X_type_{i}       for a model that was not tuned; also with _scoring_eval

Each takes `_one_shot`, `_two_shot`, `_three_shot`, `_five_shot`, `_ten_shot` or `_multi_shot` (16)
at its end, and behind that `:as_released` (the released code's known defects of text, see
`instrux.prompts.flan_defects`) and `:dialogue` (its wrapper `0 … X 1 FLAN` around the inputs). The forms of 2022 (arXiv 2301.13688) are in `tasks.flan_2022`.

Registering reads two small tables, no template, no rows and no TensorFlow Datasets.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from instrux.data import registration
from instrux.data.flan_few_shot_task import FewShotFlanTask, FewShotPrompts
from instrux.data.flan_task import FlanTask
from instrux.data.task_names import SCORE_EVAL_SUFFIX
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts.flan import FLAN_DIALOGUE, NO_WRAPPER, FlanForm
from instrux.prompts.flan_defects import EVERY_TEXT_DEFECT
from instrux.prompts.flan_few_shot import (
    LAYOUT_CONTINUATIONS,
    MULTI_SHOT_2021,
    SHOTS,
    FewShotForm,
)
from instrux.prompts.flan_prompts import FlanPrompts, FlanPromptsReference
from instrux.prompts.flan_templates import TEMPLATE_COUNTS, template_key
from instrux.prompts.template import Template
from tasks.flan_keys import CONTINUATIONS, PROMPTS, bare_templates, prefix_templates
from tasks.flan_table import NUM_TEMPLATES, FlanDataset, all_datasets, dataset
from tasks.text_metrics import TextMetrics

_POOL_SHARE = 0.1
_MOST_OF_A_SMALL_SET = 0.75  # of 32 rows it leaves 16 exemplars and some queries
DATASET_PATTERN = "|".join(sorted(map(re.escape, all_datasets()), key=len, reverse=True))
"""Matches the name of a dataset; the longest first, as some names are the start of others."""
SHOT_PATTERN = "(?:_(?P<shots>" + "|".join(SHOTS) + ")_shot)?"
"""Matches the suffix of few-shot tasks and mixtures."""
FORM_PATTERN = "(?P<form>(?::as_released|:dialogue)*)"
"""Matches how near to the released code's text a task is."""
KIND_PATTERN = (
    f"(?P<first>{'|'.join(map(str, TEMPLATE_COUNTS))})templates|no_template|dataset_name|prefix_lm"
)
"""Matches what training tasks differ in: the number of templates, or none."""


@dataclass(frozen=True)
class FlanTaskName:
    """What the name of a task says.

    Attributes:
        dataset: its dataset.
        kind: `10templates`, `type_3`, `no_template`, `dataset_name` or `prefix_lm`.
        no_options: whether options are not shown.
        continuation: whether it is for a model that was not tuned.
        shots: `one` to `multi`; empty for zero-shot.
        as_released: whether the released code's known defects of text are there.
        dialogue: whether inputs stand in the released code's dialogue.
    """

    dataset: FlanDataset
    kind: str
    no_options: bool = False
    continuation: bool = False
    shots: str = ""
    as_released: bool = False
    dialogue: bool = False

    @property
    def name(self) -> str:
        """The registered spelling."""
        parts = [
            "continuations_" if self.continuation else "",
            f"{self.dataset.task_name}_{self.kind}",
            "_no_options" if self.no_options else "",
            f"_{self.shots}_shot" if self.shots else "",
            ":as_released" if self.as_released else "",
            ":dialogue" if self.dialogue else "",
        ]
        return "".join(parts)

    @property
    def template(self) -> int | None:
        """The one template that is used, or None."""
        return int(self.kind.removeprefix("type_")) if self.kind.startswith("type_") else None

    @property
    def is_ranked(self) -> bool:
        """Whether the task has a twin for rank classification."""
        turned = self.template is not None and self.template >= self.dataset.forward_templates
        turned |= self.kind == "prefix_lm"
        return self.dataset.is_classification and (self.continuation or not turned)

    def task(self) -> FlanTask:
        """Gives the task as plain data.

        Raises:
            InputError: there is no such template, or no training rows for exemplars; or a dialogue
                is asked for where there is one already, or none is meant to be.
        """
        if self.dialogue and (self.shots or self.continuation):
            raise InputError(f"{self.name}: only zero-shot prompts take `:dialogue`; leave it out")
        form = MULTI_SHOT_2021
        if self.continuation:
            form = dataclasses.replace(form, layout=LAYOUT_CONTINUATIONS)
        return flan_task(
            self.name,
            self.dataset,
            self._prompts(),
            shots=SHOTS[self.shots] if self.shots else 0,
            few_shot_form=form,
        )

    def _prompts(self) -> FlanPrompts | FlanPromptsReference:
        name, kind = self.dataset.name, self.kind
        if self.continuation:
            return self._continuation()
        wrapper = FLAN_DIALOGUE if self.dialogue else NO_WRAPPER
        if not kind.startswith("type_") and not kind.endswith("templates"):
            form = FlanForm(wrapper=wrapper)
            return FlanPrompts(name, self._bare(), form, as_released=self._defects)
        form = FlanForm("none" if self.no_options else "fixed", wrapper)
        if self.template is None and (count := self._count) < NUM_TEMPLATES:
            form = dataclasses.replace(form, templates=count)
        return FlanPromptsReference(
            PROMPTS, name, form, only=self.template, as_released=self._defects
        )

    def _bare(self) -> tuple[Template, ...]:
        key = template_key(self.dataset.name)
        if self.kind == "prefix_lm":
            return prefix_templates(key)
        return bare_templates(key, dataset=self.dataset.name if self.kind == "dataset_name" else "")

    @property
    def _count(self) -> int:
        return int(self.kind.removesuffix("templates"))

    @property
    def _defects(self) -> tuple[str, ...]:
        return tuple(sorted(EVERY_TEXT_DEFECT)) if self.as_released else ()

    def _continuation(self) -> FlanPromptsReference:
        if not (CONTINUATIONS / template_key(self.dataset.name)).is_dir():
            raise InputError(f"{self.name}: {self.dataset.name} has no continuation prompts")
        return FlanPromptsReference(
            CONTINUATIONS,
            self.dataset.name,
            FlanForm("none"),
            only=self.template,
            as_released=self._defects,
            continuation=True,
        )


def flan_task(
    name: str,
    of: FlanDataset,
    prompts: FlanPrompts | FlanPromptsReference,
    *,
    shots: int = 0,
    few_shot_form: FewShotForm = MULTI_SHOT_2021,
    drawn_layouts: bool = False,
) -> FlanTask:
    """Gives a task of a dataset as plain data; reads nothing.

    Args:
        name: the task's name.
        of: the dataset.
        prompts: its prompts; the bundled ones, or those of a folder such as the released ones.
        shots: exemplars before each query; 0 is zero-shot.
        few_shot_form: their budget and layout.
        drawn_layouts: whether each query gets one of the layouts of 2022.

    Raises:
        InputError: exemplars are asked for and the dataset has no training rows.
    """
    declared: dict[str, Any] = {
        "source": of.source(),
        "splits": {split: split for split in of.splits},
        "metrics": of.metrics,
        "cluster": of.cluster,
        "train_examples": of.train_examples,
        "original_task": prompts.only is None or prompts.only < of.forward_templates,
    }
    if not shots:
        return FlanTask(name, template=prompts, **declared)
    if of.train_examples is None:
        raise InputError(f"{name}: {of.name} has no training rows to take exemplars from")
    few_shot = FewShotPrompts(
        prompts,
        shots,
        VocabularySpec.default(),
        form=few_shot_form,
        drawn_layouts=drawn_layouts,
        pool_share=_pool_share(of.train_examples, shots),
    )
    return FewShotFlanTask(name, template=few_shot, **declared)


def add(name: FlanTaskName) -> str:
    """Registers a task, and its twin where it has one, and gives its name."""
    return register(name.task(), score_eval=name.is_ranked)


def register(task: FlanTask, *, score_eval: bool) -> str:
    """Registers a task that is given as plain data, and gives its name."""
    registration.add_prompted_task(
        task, score_eval=score_eval, metric_fns=(TextMetrics(task.metrics),)
    )
    return task.name


def add_ranked(name: FlanTaskName) -> str:
    """Registers a task with its twin for rank classification, and gives the twin's name.

    Raises:
        InputError: there is nothing to rank.
    """
    if not name.is_ranked:
        raise InputError(
            f"{name.name}: there are no options to rank; ask for the task without a suffix"
        )
    return add(name) + SCORE_EVAL_SUFFIX


def _pool_share(train_examples: int, shots: int) -> float:
    """A tenth, or what holds about two times the exemplars where a tenth is fewer."""
    return max(_POOL_SHARE, min(_MOST_OF_A_SMALL_SET, 2 * (shots + 1) / train_examples))


def task_pattern(names: str, *, prefix: str = "") -> str:
    """Gives the pattern of names of tasks, for `add_matched`.

    Args:
        names: matches the names of datasets.
        prefix: stands before them.
    """
    return (
        rf"(?P<continuation>continuations_)?{prefix}(?P<dataset>{names})"
        rf"_(?P<kind>type_\d|all_prompts|{KIND_PATTERN})"
        r"(?P<ending>_scoring_eval|_score_eval_no_options|_score_flan_no_options|_no_options)?"
        rf"{SHOT_PATTERN}{FORM_PATTERN}(?P<twin>{SCORE_EVAL_SUFFIX})?"
    )


def names_of(datasets: Iterable[FlanDataset]) -> Iterator[str]:
    """Gives the names of datasets' tasks that lists show: each template, and none."""
    for each in datasets:
        kinds = [f"type_{index}" for index in range(NUM_TEMPLATES)]
        for kind in (*kinds, "no_template", "dataset_name"):
            yield FlanTaskName(each, kind).name


def form_of(match: re.Match[str]) -> dict[str, bool]:
    """Reads what `FORM_PATTERN` matched, as arguments of `FlanTaskName`."""
    asked = match["form"].split(":")
    return {each: each in asked for each in ("as_released", "dialogue")}


def add_matched(match: re.Match[str], of: FlanDataset) -> str:
    """Registers the task that a name asks for, and gives its name.

    Args:
        match: of `task_pattern`.
        of: the dataset that it names.

    Raises:
        InputError: there is no such task.
    """
    kind = f"{NUM_TEMPLATES}templates" if match["kind"] == "all_prompts" else match["kind"]
    ending = match["ending"] or ""
    name = FlanTaskName(
        of,
        kind,
        no_options="no_options" in ending,
        continuation=bool(match["continuation"]),
        shots=match["shots"] or "",
        **form_of(match),
    )
    if name.continuation and name.template is None:
        raise InputError(f"{match[0]}: continuations have names like continuations_rte_type_0")
    if name.no_options and not name.dataset.is_classification:
        raise InputError(f"{match[0]}: {name.dataset.name} shows no options")
    ranked = match["twin"] or "scor" in ending
    return add_ranked(name) if ranked else add(name)


def _register() -> None:
    for each in all_datasets().values():
        if each.member != "optional":
            add(FlanTaskName(each, f"{NUM_TEMPLATES}templates"))
    registration.add_name_family(
        "DATASET_type_{i}, DATASET_{n}templates, ... (FLAN)",
        task_pattern(DATASET_PATTERN),
        lambda match: add_matched(match, dataset(match["dataset"])),
        kind="tasks",
        names=lambda: names_of(all_datasets().values()),
    )


_register()
