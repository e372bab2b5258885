"""What there is to know of a mixture: its tasks, their shares, and what is held out from it."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from launch.mixture_tokens import TaskTokens, TokenCounts

NO_TASK_TYPE = "(none)"


@dataclass(frozen=True)
class MixtureTask:
    """A task in a mixture.

    Attributes:
        task: its name.
        dataset: `dataset` or `dataset/config`; None for a task of SeqIO's own.
        template: the template's name, or None.
        cluster: the task type, or None.
        original_task: whether the template asks what the dataset was made to ask, or None.
        train_examples: rows of the split `train` as declared, or None.
        rate: its rate in the mixture.
        probability: its rate over the sum of rates.
        licence: the licence tag of its dataset, None where none is known.
        defects: keys of the known defects of its template (tasks/t0_defects.py), without those that
            are put right as rows are read.
        mended: whether it is the mended form.
        tokens: how long its examples are, None where nothing tells.
        token_share: expected share of the mixture's tokens, None where a task's length is unknown.
    """

    task: str
    dataset: str | None
    template: str | None
    cluster: str | None
    original_task: bool | None
    train_examples: int | None
    rate: float
    probability: float
    licence: str | None
    defects: tuple[str, ...]
    mended: bool
    tokens: TaskTokens | None = None
    token_share: float | None = None


@dataclass(frozen=True)
class Part:
    """Some tasks of a mixture together.

    Attributes:
        name: what they have in common: a task type, or a licence.
        tasks: how many.
        datasets: number of data(sub)sets.
        rate: sum of their rates.
        probability: sum of their probabilities.
        token_share: expected share of tokens, or None.
    """

    name: str
    tasks: int
    datasets: int
    rate: float
    probability: float
    token_share: float | None


@dataclass(frozen=True)
class HeldOut:
    """A data(sub)set of an evaluation mixture.

    Attributes:
        dataset: `dataset` or `dataset/config`.
        cluster: its task type.
        evaluation: the evaluation mixture.
        prompts: number of its tasks there.
        trained_on: whether the mixture trains on the same data(sub)set, so that it is not held out.
        task_type_trained_on: whether it trains on another dataset of this task type.
    """

    dataset: str
    cluster: str
    evaluation: str
    prompts: int
    trained_on: bool
    task_type_trained_on: bool


@dataclass(frozen=True)
class MixtureFacts:
    """All that `instrux mixtures show` tells.

    Attributes:
        mixture: its registered name.
        rate: sum of the rates.
        tasks: largest rate first.
        task_types: largest share first.
        licences: largest share first.
        held_out: what its evaluation mixtures hold out; () where none are declared.
        token_source: where token counts come from, None where there are none.
        inputs_per_example: expected tokens of inputs of an example; None unless all are known.
        targets_per_example: expected tokens of targets of an example; None unless all are known.
    """

    mixture: str
    rate: float
    tasks: tuple[MixtureTask, ...]
    task_types: tuple[Part, ...]
    licences: tuple[Part, ...]
    held_out: tuple[HeldOut, ...]
    token_source: str | None
    inputs_per_example: float | None
    targets_per_example: float | None

    @property
    def with_defects(self) -> int:
        """Number of tasks whose template has a known defect, and has it still."""
        return sum(bool(task.defects) and not task.mended for task in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**dataclasses.asdict(self), "with_defects": self.with_defects}


def mixture_facts(
    name: str, tokens: TokenCounts | None = None, *, data_dir: str | None = None
) -> MixtureFacts:
    """Gathers what is known of a registered mixture; reads no data.

    Args:
        name: the mixture, or a task, which is taken as a mixture of itself.
        tokens: how long the tasks' examples are, where that is known.
        data_dir: folder with `rendered/`, whose manifests state licences of data of the user's own.

    Raises:
        InputError: there is no such mixture.
    """
    from instrux.data import registration

    found = registration.find_name(name)
    rates = registration.mixture_rates(found)
    counts = {} if tokens is None else tokens.tasks
    total = sum(rates.values())
    per_example = _per_example({task: rate / total for task, rate in rates.items()}, counts)
    tasks = [
        _task(task, rate, total, counts.get(task), per_example, data_dir)
        for task, rate in sorted(rates.items(), key=lambda item: (-item[1], item[0]))
    ]
    return MixtureFacts(
        mixture=found,
        rate=total,
        tasks=tuple(tasks),
        task_types=_parts(tasks, lambda task: task.cluster or NO_TASK_TYPE),
        licences=_parts(tasks, lambda task: task.licence or "unknown"),
        held_out=_held_out(found, tasks),
        token_source=None if tokens is None else tokens.source,
        inputs_per_example=None if per_example is None else per_example.inputs,
        targets_per_example=None if per_example is None else per_example.targets,
    )


def _task(
    name: str,
    rate: float,
    total: float,
    tokens: TaskTokens | None,
    mean: TaskTokens | None,
    data_dir: str | None,
) -> MixtureTask:
    share = None if tokens is None or mean is None else rate / total * tokens.both / mean.both
    known = {"task": name, "rate": rate, "probability": rate / total}
    known |= {"tokens": tokens, "token_share": share}
    return MixtureTask(**{**_declared(name, data_dir), **known})


def _declared(name: str, data_dir: str | None) -> dict[str, Any]:
    from instrux.data import registration
    from instrux.data.rendered import stated_licence
    from instrux.errors import InputError
    from tasks.licences import licence
    from tasks.t0_defects import defects_of_task, is_mended

    try:
        task = registration.prompted_task(name)
    except InputError:  # a task of SeqIO's own
        fields = dict.fromkeys(field.name for field in dataclasses.fields(MixtureTask))
        return {**fields, "defects": (), "mended": False}
    return {
        "dataset": task.source.label,
        "template": task.template.name,
        "cluster": task.cluster or None,
        "original_task": task.original_task,
        "train_examples": task.train_examples,
        "licence": licence(task.source.dataset, task.source.config)
        or (None if data_dir is None else stated_licence(data_dir, task.name)),
        "defects": tuple(
            defect.key for defect in defects_of_task(task) if not defect.mended_when_read
        ),
        "mended": is_mended(task),
    }


def _per_example(
    probabilities: Mapping[str, float], counts: Mapping[str, TaskTokens]
) -> TaskTokens | None:
    """Expected tokens of an example of the mixture; None unless those of every task are known."""
    if not counts or set(probabilities) - set(counts):
        return None
    return TaskTokens(
        inputs=sum(share * counts[task].inputs for task, share in probabilities.items()),
        targets=sum(share * counts[task].targets for task, share in probabilities.items()),
    )


def _parts(tasks: Iterable[MixtureTask], key: Callable[[MixtureTask], str]) -> tuple[Part, ...]:
    groups: dict[str, list[MixtureTask]] = defaultdict(list)
    for task in tasks:
        groups[key(task)].append(task)
    parts = []
    for name, members in groups.items():
        shares = [task.token_share for task in members]
        parts.append(
            Part(
                name=name,
                tasks=len(members),
                datasets=len({task.dataset for task in members}),
                rate=sum(task.rate for task in members),
                probability=sum(task.probability for task in members),
                token_share=None if None in shares else sum(filter(None, shares)),
            )
        )
    return tuple(sorted(parts, key=lambda part: (-part.probability, part.name)))


def _held_out(mixture: str, tasks: Iterable[MixtureTask]) -> tuple[HeldOut, ...]:
    from instrux.data import registration
    from mixtures.held_out import evaluations_of

    tasks = list(tasks)
    datasets = {task.dataset for task in tasks}
    task_types = {task.cluster for task in tasks}
    found = []
    for evaluation in evaluations_of(mixture):
        prompts: dict[tuple[str, str], int] = defaultdict(int)
        for name in registration.resolve_names([evaluation]):
            task = registration.prompted_task(name)
            prompts[task.cluster, task.source.label] += 1
        found += [
            HeldOut(
                dataset=dataset,
                cluster=cluster,
                evaluation=evaluation,
                prompts=number,
                trained_on=dataset in datasets,
                task_type_trained_on=cluster in task_types,
            )
            for (cluster, dataset), number in sorted(prompts.items())
        ]
    return tuple(found)
