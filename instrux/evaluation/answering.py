"""What a model answers to tasks: scores of choices, or text, as predictions.

Examples of several tasks share batches. A task's sample is often smaller than a batch, and alone it
would compute rows that hold nothing, and compile shapes that no other task has.
"""

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instrux.data.examples import RenderedExample
from instrux.errors import InputError
from instrux.evaluation import metrics
from instrux.evaluation.metrics import Metric
from instrux.evaluation.pair_entropy import PAIR_ENTROPY, entropy_predictions, pair_of
from instrux.evaluation.predictions import Prediction
from instrux.evaluation.reader import Generated, OnDone, Reader
from instrux.evaluation.selection import EvaluationTask
from instrux.models.decoding_settings import DecodingSettings


@dataclass(frozen=True, eq=False)
class ReadTask:
    """A task that was read, ready to be answered.

    Attributes:
        task: the task.
        examples: its examples.
        inputs: token ids of their inputs, not yet cut.
        ranked: whether choices are ranked; otherwise answers are generated.
    """

    task: EvaluationTask
    examples: Sequence[RenderedExample]
    inputs: Sequence[Sequence[int]]
    ranked: bool

    @classmethod
    def of(cls, task: EvaluationTask, reader: Reader, *, rank_choices: bool) -> "ReadTask":
        """Reads a task; `rank_choices` as `EvaluationSettings` has it."""
        examples = task.examples()
        has_choices = any(example.answer_choices for example in examples)
        inputs = reader.tokenize_inputs([example.inputs for example in examples])
        return cls(task, examples, inputs, _by_entropy(task) or (rank_choices and has_choices))

    @property
    def by_entropy(self) -> bool:
        """Whether two sentences are compared, and nothing is right or wrong."""
        return _by_entropy(self.task)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What its predictions are measured by; the first is the headline."""
        if self.by_entropy:
            return (PAIR_ENTROPY,)
        declared = self.task.about.metrics
        if not self.ranked:
            return metrics.resolve_metrics(declared)
        of_classes = [name for name in declared if name in metrics.OF_CLASSES]
        return metrics.resolve_metrics(["accuracy", *of_classes])

    def choices(self) -> list[tuple[str, ...]]:
        """What is ranked, of each example."""
        if self.by_entropy:
            return [pair_of(example) for example in self.examples]
        return [example.answer_choices or () for example in self.examples]


@dataclass(frozen=True)
class Answered:
    """A task's predictions, and what they cost.

    Attributes:
        read: the task.
        predictions: one of each example.
        seconds: time of the batches, shared out among their tasks by tokens of inputs.
        padding_share: share of the positions that these batches computed for nothing, or None
            where nothing was computed.
    """

    read: ReadTask
    predictions: list[Prediction]
    seconds: float
    padding_share: float | None


def answer(tasks: Sequence[ReadTask], reader: Reader, on_done: OnDone) -> Iterator[Answered]:
    """Has the model answer tasks, those that it answers alike together.

    Args:
        tasks: the tasks.
        reader: the model.
        on_done: told how many examples each finished batch held.

    Raises:
        InputError: a score is no finite number.
    """
    for shared in _answered_alike(tasks, reader):
        started, positions, tokens = time.monotonic(), reader.positions, reader.tokens
        found = _found(shared, reader, on_done)
        padding = padding_share(reader.positions - positions, reader.tokens - tokens)
        sizes = [1 + sum(map(len, one.inputs)) for one in shared]
        predictions = [_predictions(one, own) for one, own in zip(shared, found, strict=True)]
        seconds = time.monotonic() - started
        for one, own, size in zip(shared, predictions, sizes, strict=True):
            yield Answered(one, own, round(seconds * size / sum(sizes), 3), padding)


def padding_share(positions: int, tokens: int) -> float | None:
    """The share of computed positions that held no token; None where none were computed."""
    return round(1 - tokens / positions, 6) if positions else None


def references(example: RenderedExample) -> tuple[str, ...]:
    """All acceptable answers, stripped, each as often as it was given; the target is the first."""
    target, others = example.targets.strip(), [text.strip() for text in example.references or ()]
    if target in others:
        others.remove(target)
    return (target, *others)


def _by_entropy(task: EvaluationTask) -> bool:
    return PAIR_ENTROPY.name in task.about.metrics


def _answered_alike(tasks: Sequence[ReadTask], reader: Reader) -> list[list[ReadTask]]:
    """Groups that one call of the reader answers, in the order of their first tasks.

    Sampled answers depend on an example's place in the call, so tasks of such stay alone.
    """
    sampled = reader.settings.decoding != DecodingSettings()
    groups: dict[tuple, list[ReadTask]] = {}
    for place, one in enumerate(tasks):
        alone = place if sampled and not one.ranked else None
        groups.setdefault((one.ranked, one.by_entropy, alone), []).append(one)
    return list(groups.values())


def _found(tasks: Sequence[ReadTask], reader: Reader, on_done: OnDone) -> list[list[Any]]:
    """Of each task, its examples' scores of their choices, or what was written to them."""
    inputs = [ids for one in tasks for ids in one.inputs]
    if tasks[0].ranked:
        choices = [group for one in tasks for group in one.choices()]
        whole_texts = tasks[0].by_entropy
        found = reader.rank(inputs, choices, whole_texts=whole_texts, on_done=on_done)
    else:
        found = reader.generate(inputs, on_done=on_done)
    each = iter(found)
    return [list(itertools.islice(each, len(one.inputs))) for one in tasks]


def _predictions(read: ReadTask, found: list[Any]) -> list[Prediction]:
    if read.by_entropy:
        return entropy_predictions(read.examples, found)
    of = _ranked if read.ranked else functools.partial(_generated, headline=read.metrics[0])
    return [of(example, own) for example, own in zip(read.examples, found, strict=True)]


def _ranked(example: RenderedExample, scores: np.ndarray) -> Prediction:
    group = example.answer_choices or ()
    if not np.isfinite(scores).all():
        raise InputError(
            f"example {example.example_id} of template {example.template!r}: a choice's"
            " log-probability is not a finite number; the checkpoint has diverged, or its"
            " compute dtype overflows: evaluate another step, or in float32."
        )
    prediction = group[int(np.argmax(scores))] if group else ""  # argmax: first of equals
    correct = bool(group) and prediction.strip() in references(example)
    return Prediction(
        example_id=example.example_id,
        template=example.template,
        inputs=example.inputs,
        targets=example.targets,
        prediction=prediction,
        choices=group,
        scores=tuple(round(float(score), 6) for score in scores),
        correct=correct,
        credit=100.0 * correct,
    )


def _generated(example: RenderedExample, written: Generated, *, headline: Metric) -> Prediction:
    text = written.texts[0]
    credit = headline.credit(text, references(example))
    return Prediction(
        example_id=example.example_id,
        template=example.template,
        inputs=example.inputs,
        targets=example.targets,
        prediction=text,
        choices=None,
        scores=None,
        correct=credit == 100.0 if headline.right_or_wrong else None,
        credit=credit,
    )
