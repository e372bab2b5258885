"""Registers prompted tasks and mixtures with SeqIO, and finds them again.

There is no registry beside SeqIO's own: whatever is added here can be read by anything that reads
SeqIO tasks (`seqio.get_mixture_or_task(name).get_dataset(...)`), and `prompted_task` finds the
plain data behind a name, which is what the Beam jobs send to their workers.

Registering reads nothing: no rows, no template files, no vocabulary.
"""

import fnmatch
import functools
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import seqio

from instrux.data import seqio_metrics
from instrux.data.prompted_task import PromptedTask
from instrux.data.seqio_source import PromptedTaskSource
from instrux.data.sources import RowSource
from instrux.data.task_names import (
    SCORE_EVAL_SUFFIX,
    check_mixture_name,
    check_task_name,
    task_name,
    undotted,
)
from instrux.data.user_modules import load_modules
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError, did_you_mean
from instrux.prompts import Template, TemplateReference

__all__ = [
    "add_dataset",
    "add_mixture",
    "add_prompted_task",
    "default_output_features",
    "load_modules",
    "mixture_rates",
    "prompted_task",
    "resolve_names",
]

MetricFn = Callable[..., Mapping[str, float]]

_HINT = "If it is one of yours, name its module with --module_import"


# --- Adding ------------------------------------------------------------------------------------


def default_output_features() -> Mapping[str, seqio.Feature]:
    """Gives T0's features: `inputs` without EOS, `targets` with it, T5's vocabulary.

    The vocabulary is the one that INSTRUX_VOCABULARY names when tasks are registered, otherwise
    T5's in the cache folder. Its file is read when text is first tokenised.
    """
    return _features(VocabularySpec.default())


def add_prompted_task(
    task: PromptedTask,
    *,
    output_features: Mapping[str, seqio.Feature] | None = None,
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
    definitions = [plain]
    if score_eval and _has_answer_choices(task):
        definitions.append(
            _TaskDefinition(
                name=task.name + SCORE_EVAL_SUFFIX,
                source=PromptedTaskSource(task, rank_choices=True),
                output_features=features,
                postprocess_fn=seqio_metrics.rank_target,
                metric_fns=(seqio_metrics.rank_classification,),
            )
        )
    # Both are checked before either is added: a conflict leaves nothing half-registered.
    absent = [definition for definition in definitions if not definition.is_registered()]
    for definition in absent:
        definition.register()
    return [definition.name for definition in definitions]


def add_dataset(
    source: RowSource,
    templates: Iterable[Template | TemplateReference] | Mapping[str, Template],
    *,
    splits: Sequence[str] | Mapping[str, str],
    prefix: str = "",
    cluster: str = "",
    train_examples: int | None = None,
    output_features: Mapping[str, seqio.Feature] | None = None,
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
    return [
        name
        for task in tasks.values()
        for name in add_prompted_task(task, output_features=output_features, metric_fns=metric_fns)
    ]


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
        members[_find(member, whose=f"mixture {name!r}: ")] = rate
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


# --- Finding -----------------------------------------------------------------------------------


def prompted_task(name: str) -> PromptedTask:
    """Gives the plain data of a registered task; of the base task for a twin.

    Raises:
        InputError: there is no such task, or it was registered by other means.
    """
    source = seqio.TaskRegistry.get(_find(name, mixtures=False)).source
    if not isinstance(source, PromptedTaskSource):
        raise InputError(
            f"task {name!r} is SeqIO's own, with no prompted task behind it; it can be cached and "
            "trained on, and not rendered"
        )
    return source.task


def resolve_names(patterns: Iterable[str]) -> list[str]:
    """Gives the names of the tasks that names of tasks, names of mixtures and globs stand for.

    A glob (`super_glue_*`) is matched against tasks, twins for rank classification included, and
    against mixtures. Dots may be spelled as underscores.

    Returns:
        Names in the order of `patterns`, each once; those of a glob or a mixture are sorted.

    Raises:
        InputError: a name is unknown, or a glob matches nothing.
    """
    names: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        for name in _matches(pattern):
            if name in seqio.MixtureRegistry.names():
                names.update(dict.fromkeys(t.name for t in seqio.MixtureRegistry.get(name).tasks))
            else:
                names[name] = None
    return list(names)


def mixture_rates(name: str) -> dict[str, float]:
    """Gives the rate of every task of a mixture, with mixtures inside it spread over theirs.

    A task is taken as a mixture of itself.

    Raises:
        InputError: there is no such mixture or task.
    """
    found = _find(name)
    if found in seqio.TaskRegistry.names():
        return {found: 1.0}
    mixture = seqio.MixtureRegistry.get(found)
    return {task.name: mixture.get_rate(task) for task in mixture.tasks}


# --- The rest ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _TaskDefinition:
    """Arguments for `seqio.TaskRegistry.add`, comparable with what is registered."""

    name: str
    source: PromptedTaskSource
    output_features: Mapping[str, seqio.Feature]
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
            and dict(known.output_features) == dict(self.output_features)
        )
        if not same:
            raise InputError(
                f"task {self.name!r} is added twice with different content: "
                f"{_describe(self.source.task)} in {_caller()}, and {_describe_task(self.name)}; "
                "rename one, or give it a prefix"
            )
        return True

    def register(self) -> None:
        """Adds it to SeqIO's registry."""
        seqio.TaskRegistry.add(
            self.name,
            source=self.source,
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


@functools.cache
def _features(spec: VocabularySpec) -> Mapping[str, seqio.Feature]:
    vocabulary = spec.to_seqio()
    return {
        "inputs": seqio.Feature(vocabulary=vocabulary, add_eos=False),
        "targets": seqio.Feature(vocabulary=vocabulary, add_eos=True),
    }


def _has_answer_choices(task: PromptedTask) -> bool:
    return not isinstance(task.template, Template) or task.template.answer_choices is not None


def _metrics(template: Template | TemplateReference) -> tuple[str, ...]:
    if not isinstance(template, Template):
        return ("accuracy",)
    return tuple(template.metadata.metrics or ()) or ("accuracy",)


def _find(name: str, *, mixtures: bool = True, whose: str = "") -> str:
    """Gives the registered spelling of a name."""
    kind = "task or mixture" if mixtures else "task"
    known = {*seqio.TaskRegistry.names(), *(seqio.MixtureRegistry.names() if mixtures else ())}
    if name in known:
        return name
    spelled_otherwise = [other for other in known if undotted(other) == undotted(name)]
    if len(spelled_otherwise) == 1:
        return spelled_otherwise[0]
    if not mixtures and name in seqio.MixtureRegistry.names():
        raise InputError(f"{whose}{name!r} is a mixture, and a task is needed here")
    raise InputError(f"{whose}unknown {kind} {name!r}.{did_you_mean(name, known)} {_HINT}.")


def _matches(pattern: str) -> list[str]:
    if not any(character in pattern for character in "*?["):
        return [_find(pattern)]
    known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
    found = sorted(fnmatch.filter(known, pattern))
    if not found:
        raise InputError(f"no task or mixture matches {pattern!r}. {_HINT}.")
    return found


def _describe_task(name: str) -> str:
    known = seqio.TaskRegistry.get(name)
    if isinstance(known.source, PromptedTaskSource):
        return f"{_describe(known.source.task)} in {_registered_in(known)}"
    return f"a SeqIO task over {type(known.source).__name__}"


def _describe(task: PromptedTask) -> str:
    dataset = "/".join(filter(None, (task.source.dataset, task.source.config)))
    return f"template {task.template.name!r} over {dataset}"


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
