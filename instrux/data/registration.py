"""Registers prompted tasks and mixtures with SeqIO, and finds them again.

There is no registry beside SeqIO's own: whatever is added here can be read by anything that reads
SeqIO tasks (`seqio.get_mixture_or_task(name).get_dataset(...)`), and `prompted_task` finds the
plain data behind a name, which is what the Beam jobs send to their workers.

Registering reads nothing: no rows, no template files, no vocabulary.
"""

import functools
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import seqio
from seqio.utils import Feature

from instrux.data import seqio_metrics
from instrux.data.lookup import find_name, mixture_rates, prompted_task, resolve_names
from instrux.data.name_families import add_name_family
from instrux.data.prompted_task import PromptedTask
from instrux.data.seqio_source import PromptedTaskSource
from instrux.data.sources import RowSource
from instrux.data.task_names import (
    SCORE_EVAL_SUFFIX,
    check_mixture_name,
    check_task_name,
    task_name,
)
from instrux.data.user_modules import load_modules
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts import Template, TemplateReference

__all__ = [
    "add_dataset",
    "add_mixture",
    "add_name_family",
    "add_prompted_task",
    "default_output_features",
    "find_name",
    "load_modules",
    "mixture_rates",
    "prompted_task",
    "resolve_names",
]

MetricFn = Callable[..., Mapping[str, float]]


def default_output_features() -> Mapping[str, Feature]:
    """Gives T0's features: `inputs` without EOS, `targets` with it, T5's vocabulary.

    The vocabulary is the one that INSTRUX_VOCABULARY names when tasks are registered, otherwise
    T5's in the cache folder. Its file is read when text is first tokenised.
    """
    return _features(VocabularySpec.default())


def add_prompted_task(
    task: PromptedTask,
    *,
    output_features: Mapping[str, Feature] | None = None,
    score_eval: bool = True,
    metric_fns: Sequence[MetricFn] = (seqio_metrics.accuracy,),
) -> list[str]:
    """Registers a task, and its twin for rank classification, with SeqIO.

    Adding the same task twice does nothing.

    Args:
        task: what to read and render.
        output_features: SeqIO's features; `default_output_features` if None.
        score_eval: also add `<name>_score_eval`, which has one example for each answer choice, if
            the template has answer choices. A `TemplateReference` is not read: it is taken to
            have them.
        metric_fns: metrics that `seqio.Evaluator` computes for the plain task.

    Returns:
        The names added: the task's, then its twin's.

    Raises:
        InputError: the name is illegal, or another task or mixture has it.
    """
    return _register(_definitions(task, output_features, score_eval, metric_fns))


def add_dataset(
    source: RowSource,
    templates: Iterable[Template | TemplateReference] | Mapping[str, Template],
    *,
    splits: Sequence[str] | Mapping[str, str],
    prefix: str = "",
    cluster: str = "",
    train_examples: int | None = None,
    output_features: Mapping[str, Feature] | None = None,
    metric_fns: Sequence[MetricFn] = (seqio_metrics.accuracy,),
) -> list[str]:
    """Registers one task for each template of a dataset, named by T0's rule.

    Args:
        source: where the rows are.
        templates: templates, or a mapping whose values they are, such as one dataset of a
            `TemplateCollection`.
        splits: the splits that the dataset has; a mapping where a split of the task has another
            name in the source, as in `{"validation": "dev"}`.
        prefix: goes before every name, such as `acme:`.
        cluster: the kind of task, by which evaluation groups and holds out.
        train_examples: number of rows of the split `train`, for mixing rates.
        output_features: as in `add_prompted_task`.
        metric_fns: as in `add_prompted_task`.

    Returns:
        The names added, twins for rank classification included.

    Raises:
        InputError: there is no template, two templates have one name, or a name is taken.
    """
    found = list(templates.values() if isinstance(templates, Mapping) else templates)
    if not found:
        raise InputError(f"dataset {source.dataset!r}: it has no templates")
    tasks: dict[str, PromptedTask] = {}
    for template in sorted(found, key=lambda template: template.name):
        name = task_name(source.dataset, source.config, template.name, prefix=prefix)
        if name in tasks:
            raise InputError(
                f"templates {tasks[name].template.name!r} and {template.name!r} of dataset "
                f"{source.dataset!r} both make a task {name!r}; rename one"
            )
        tasks[name] = PromptedTask(
            name=name,
            source=source,
            template=template,
            splits=splits if isinstance(splits, Mapping) else {split: split for split in splits},
            metrics=_metrics(template),
            cluster=cluster,
            train_examples=train_examples,
            original_task=not isinstance(template, Template)
            or template.metadata.original_task is not False,
        )
    return _register(
        [
            definition
            for task in tasks.values()
            for definition in _definitions(task, output_features, True, metric_fns)
        ]
    )


def add_mixture(name: str, rates: Mapping[str, float]) -> str:
    """Registers a mixture with SeqIO. Adding the same mixture twice does nothing.

    Args:
        name: the mixture's name.
        rates: relative number of examples to draw from each task or mixture.

    Returns:
        The name.

    Raises:
        InputError: the name is illegal or taken, there is no member, a member is unknown, or a
            rate is not a positive number.
    """
    check_mixture_name(name)
    if not rates:
        raise InputError(f"mixture {name!r} has no members")
    members = {}
    for member, rate in rates.items():
        if not (rate > 0 and math.isfinite(rate)):
            raise InputError(
                f"mixture {name!r}: the rate of {member!r} is {rate}; give one above 0"
            )
        members[find_name(member, whose=f"mixture {name!r}: ")] = rate
    if name in seqio.TaskRegistry.names():
        raise InputError(f"mixture {name!r}: {_describe_task(name)} has that name; choose another")
    if name in seqio.MixtureRegistry.names():
        known = seqio.MixtureRegistry.get(name)
        if dict(known.rate_per_task_name) != members:
            raise InputError(
                f"mixture {name!r} is added in {_caller()} with other members or rates than in "
                f"{_registered_in(known)}; rename one"
            )
        return name
    seqio.MixtureRegistry.add(name, list(members.items()), source_info=_caller_info())
    return name


# --- The rest ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _TaskDefinition:
    """Arguments for `seqio.TaskRegistry.add`, comparable with what is registered."""

    name: str
    source: PromptedTaskSource
    output_features: Mapping[str, Feature]
    postprocess_fn: Callable[..., Any]
    metric_fns: tuple[MetricFn, ...]

    def is_registered(self) -> bool:
        """Whether this very task is registered; raises if another one is."""
        if self.name in seqio.MixtureRegistry.names():
            raise InputError(f"task {self.name!r}: a mixture has that name; choose another")
        if self.name not in seqio.TaskRegistry.names():
            return False
        known = seqio.TaskRegistry.get(self.name)
        same = (
            isinstance(known.source, PromptedTaskSource)
            and known.source.task == self.source.task
            and known.source.rank_choices == self.source.rank_choices
        )
        if not same:
            raise InputError(
                f"task {self.name!r} is added twice with different content: "
                f"{_describe(self.source.task)} in {_caller()}, and {_describe_task(self.name)}; "
                "rename one, or give it a prefix"
            )
        if dict(known.output_features) != dict(self.output_features):
            raise InputError(
                f"task {self.name!r} is added twice, with other output features "
                f"({_describe_features(self.output_features)} in {_caller()}) than before "
                f"({_describe_features(known.output_features)} in {_registered_in(known)}); "
                "name one vocabulary for the whole process, or give one task a prefix"
            )
        return True

    def register(self) -> None:
        """Adds it to SeqIO's registry."""
        seqio.TaskRegistry.add(
            self.name,
            # SeqIO's protocol says int, and its own sources give None as ours does.
            source=self.source,  # type: ignore[arg-type]
            output_features=self.output_features,
            preprocessors=[
                seqio.preprocessors.tokenize,
                seqio.CacheDatasetPlaceholder(),
                seqio.preprocessors.append_eos_after_trim,
            ],
            postprocess_fn=self.postprocess_fn,
            metric_fns=list(self.metric_fns),
            source_info=_caller_info(),
        )


def _definitions(
    task: PromptedTask,
    output_features: Mapping[str, Feature] | None,
    score_eval: bool,
    metric_fns: Sequence[MetricFn],
) -> list[_TaskDefinition]:
    """Gives a task's definition and, if it is to have one, its twin's."""
    features = default_output_features() if output_features is None else output_features
    if task.name.endswith(SCORE_EVAL_SUFFIX):
        raise InputError(
            f"task {task.name!r}: names that end in {SCORE_EVAL_SUFFIX!r} are those of twins for "
            "rank classification; choose another"
        )
    plain = _TaskDefinition(
        name=check_task_name(task.name),
        source=PromptedTaskSource(task),
        output_features=features,
        postprocess_fn=seqio_metrics.ChoiceClasses(task),
        metric_fns=tuple(metric_fns),
    )
    if not (score_eval and _has_answer_choices(task)):
        return [plain]
    twin = _TaskDefinition(
        name=task.name + SCORE_EVAL_SUFFIX,
        source=PromptedTaskSource(task, rank_choices=True),
        output_features=features,
        postprocess_fn=seqio_metrics.rank_target,
        metric_fns=(seqio_metrics.rank_classification,),
    )
    return [plain, twin]


def _register(definitions: Sequence[_TaskDefinition]) -> list[str]:
    """Registers all or, where one is in conflict with what is registered, none."""
    for definition in [each for each in definitions if not each.is_registered()]:
        definition.register()
    return [definition.name for definition in definitions]


@functools.cache
def _features(spec: VocabularySpec) -> Mapping[str, Feature]:
    vocabulary = spec.to_seqio()
    return {
        "inputs": Feature(vocabulary=vocabulary, add_eos=False),
        "targets": Feature(vocabulary=vocabulary, add_eos=True),
    }


def _has_answer_choices(task: PromptedTask) -> bool:
    return not isinstance(task.template, Template) or task.template.answer_choices is not None


def _metrics(template: Template | TemplateReference) -> tuple[str, ...]:
    if not isinstance(template, Template):
        return ("accuracy",)
    return tuple(template.metadata.metrics or ()) or ("accuracy",)


def _describe_task(name: str) -> str:
    known = seqio.TaskRegistry.get(name)
    if isinstance(known.source, PromptedTaskSource):
        return f"{_describe(known.source.task)} in {_registered_in(known)}"
    return f"a SeqIO task over {type(known.source).__name__}"


def _describe(task: PromptedTask) -> str:
    dataset = "/".join(filter(None, (task.source.dataset, task.source.config)))
    return f"template {task.template.name!r} over {dataset}"


def _describe_features(features: Mapping[str, Feature]) -> str:
    vocabularies = (
        VocabularySpec.from_seqio(each.vocabulary) or type(each.vocabulary).__name__
        for each in features.values()
    )
    named = ", ".join(dict.fromkeys(map(str, vocabularies)))
    return f"{', '.join(features)} with vocabulary {named}"


def _registered_in(provider: seqio.Task | seqio.Mixture) -> str:
    info = provider.source_info
    return f"{info.file_path}:{info.line_number}" if info is not None else "an unknown place"


def _caller_info() -> seqio.SourceInfo | None:
    """Where the code stands that called this module."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    if frame is None:
        return None
    return seqio.SourceInfo(file_path=frame.f_code.co_filename, line_number=frame.f_lineno)


def _caller() -> str:
    info = _caller_info()
    return f"{info.file_path}:{info.line_number}" if info is not None else "an unknown place"
