"""Natural Instructions tasks: one for each name of the official split lists.

`ni_task001_quoref_question_generation` encodes its instances as Tk-Instruct's main models were
trained: definition and two positive examples, at most 1,024 tokens. Training tasks have the split
`train` (100 instances drawn by seed and task), test tasks of either track the split `test` (the
first 100 of the file).

Every other way to use a task is a name with options after colons, registered when it is first
asked for; on a mixture they go to all its tasks:

    NAME:pos_2_input    another encoding of the grid, or `tk_instruct` for the random form
    NAME:i64, NAME:iall    64 training instances a task, or all of them
    NAME:e2             every training instance twice, with references and encodings drawn anew
    NAME:len512, NAME:lenall    another limit on the source's tokens, or none
    NAME:tpu            text-to-text form of TPU training, with GPT-2's budget
    NAME:seed7          another draw of instances, references and encodings
    NAME:train, NAME:validation, NAME:test, NAME:supervised    another split, under that name;
                        `supervised` under the name `train`

Importing this module registers 1,613 tasks and reads nothing but a table of names; rows come from
what `instrux fetch natural-instructions` brought, or from a mirror.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import seqio
from seqio.utils import Feature

from instrux.data import registration
from instrux.data.natural_instructions_files import DATASET, find_task_file
from instrux.data.natural_instructions_template import NaturalInstructionsTemplate
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources_natural_instructions import NaturalInstructionsSource
from instrux.errors import InputError, did_you_mean
from instrux.prompts import natural_instructions as ni
from tasks.natural_instructions_table import NaturalInstructionsTask, by_name, table
from tasks.text_metrics import TextMetrics

METRICS = ("tk_instruct_rougeL", "tk_instruct_exact_match", "tk_instruct_rouge1")
XLINGUAL_METRICS = ("tk_instruct_rougeL_gpt2", "tk_instruct_exact_match")
"""ROUGE-L is the headline of all tasks, also where exact match is what a category reports."""

PREFIX = "ni_"
_SPLIT_OPTIONS = ("train", "validation", "test", "supervised")
_NOT_IN_A_NAME = re.compile(r"[^\w.]")


def registered_name(task: str) -> str:
    """Gives a task's name in SeqIO: `ni_` before it, and no hyphens."""
    return PREFIX + _NOT_IN_A_NAME.sub("_", task)


def prompted_task(task: NaturalInstructionsTask) -> PromptedTask:
    """Gives a task of the table as plain data, in the form of its own split."""
    return PromptedTask(
        name=registered_name(task.name),
        source=_source(task),
        template=_template(NaturalInstructionsTemplate(draw_reference=not task.is_test)),
        splits={"test": "test"} if task.is_test else {"train": "train"},
        metrics=XLINGUAL_METRICS if task.xlingual == "test" else METRICS,
        cluster=task.category,
        seed=_DEFAULT_SEED,
    )


_DEFAULT_SEED = 42


def _source(task: NaturalInstructionsTask) -> NaturalInstructionsSource:
    others = (task.other_name,) if task.other_name else ()
    return NaturalInstructionsSource(DATASET, task.name, other_names=others, seed=_DEFAULT_SEED)


def _template(template: NaturalInstructionsTemplate) -> Any:
    return template  # in the place of a PromptSource template, whose interface it has


@functools.cache
def output_features() -> Mapping[str, Feature]:
    """Gives the features: both sides end with the end of sequence, as Tk-Instruct's do."""
    return {
        name: dataclasses.replace(feature, add_eos=True)
        for name, feature in registration.default_output_features().items()
    }


def add(task: PromptedTask) -> str:
    """Registers a task and gives its name."""
    names = registration.add_prompted_task(
        task,
        output_features=output_features(),
        score_eval=False,
        metric_fns=(TextMetrics(task.metrics),),
    )
    return names[0]


# --- Options ---------------------------------------------------------------------------------------


def with_options(task: PromptedTask, options: str) -> PromptedTask:
    """Gives a task with options, such as `pos_2_input:i64`; its name says so.

    Raises:
        InputError: there is no such option.
    """
    for option in options.split(":"):
        task = _with_option(task, option, whose=f"{task.name}:{options}")
    return dataclasses.replace(task, name=f"{task.name}:{options}")


def _with_option(task: PromptedTask, option: str, *, whose: str) -> PromptedTask:
    if option in (*ni.ENCODINGS, ni.RANDOM_ENCODING):
        return _changed_template(task, encoding=option)
    if option == "tpu":
        return _changed_template(task, budget="gpt2", text_to_text=True)
    if option in _SPLIT_OPTIONS:
        return _of_split(task, option)
    for pattern, change in _NUMBERED.items():
        if match := re.fullmatch(pattern, option):
            return change(task, None if match[1] == "all" else int(match[1]))
    known = [
        *ni.ENCODINGS,
        ni.RANDOM_ENCODING,
        "tpu",
        *_SPLIT_OPTIONS,
        "i64",
        "e2",
        "len512",
        "seed7",
    ]
    raise InputError(f"{whose}: there is no option {option!r}.{did_you_mean(option, known)}")


def _changed_template(task: PromptedTask, **changes: Any) -> PromptedTask:
    template: Any = task.template
    return dataclasses.replace(task, template=dataclasses.replace(template, **changes))


def _changed_source(task: PromptedTask, **changes: Any) -> PromptedTask:
    return dataclasses.replace(task, source=dataclasses.replace(task.source, **changes))


def _of_split(task: PromptedTask, split: str) -> PromptedTask:
    trains = split in ("train", "supervised")
    name = "train" if trains else split
    task = dataclasses.replace(task, splits={name: split})
    return _changed_template(task, draw_reference=trains)


def _with_seed(task: PromptedTask, seed: int | None) -> PromptedTask:
    return _changed_source(dataclasses.replace(task, seed=seed), seed=seed)


_NUMBERED: Mapping[str, Callable[[PromptedTask, int | None], PromptedTask]] = {
    r"i(\d+|all)": lambda task, number: _changed_source(task, max_train_instances=number),
    r"e([1-9]\d*)": lambda task, number: _changed_source(task, epochs=number),
    r"len(\d+|all)": lambda task, number: _changed_template(task, max_source_length=number),
    r"seed(\d+)": _with_seed,
}


def _add_with_options(match: re.Match[str]) -> str:
    name = registration.find_name(match["base"], whose=f"{match[0]!r}: ")
    if name in seqio.MixtureRegistry.names():
        rates = registration.mixture_rates(name)
        members = {
            add(with_options(registration.prompted_task(member), match["options"])): rate
            for member, rate in rates.items()
        }
        return registration.add_mixture(match[0], members)
    return add(with_options(registration.prompted_task(name), match["options"]))


def _add_by_other_name(match: re.Match[str]) -> str:
    """Finds tasks that other releases name otherwise, and task files that are on no list."""
    known = {registered_name(name): row for name, row in by_name().items()}
    if match[0] in known:
        return registered_name(known[match[0]].name)
    name = match[0].removeprefix(PREFIX)
    try:
        find_task_file([name])
    except InputError as error:
        mend = f"{did_you_mean(match[0], known)} It is on no official list, and {error}"
        raise InputError(f"unknown task {match[0]!r}.{mend}") from error
    return add(prompted_task(NaturalInstructionsTask(name, "", "excluded", "excluded", "")))


def _register() -> None:
    for row in table():
        add(prompted_task(row))
    registration.add_name_family(
        "ni_TASK:OPTION, tk_instruct_MIXTURE:OPTION",
        r"(?P<base>(?:ni_task|tk_instruct_)[^:]*):(?P<options>[\w.:]+)",
        _add_with_options,
        kind=None,
        names=tuple,
    )
    registration.add_name_family(
        "ni_TASK", r"ni_task[^:]*", _add_by_other_name, kind="tasks", names=tuple
    )


_register()
