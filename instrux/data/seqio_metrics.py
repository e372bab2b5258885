"""Postprocessors and metrics that `seqio.Evaluator` calls for our tasks.

Scores are percentages, as SeqIO's users expect. Our own evaluation does not pass here: it works
on rendered files and needs no registry (`instrux.evaluation`).
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from instrux.data.prompted_task import PromptedTask

UNKNOWN_CLASS = -1
"""Class of an output that is none of the fixed answer choices (T0's convention)."""


@dataclass(frozen=True)
class ChoiceClasses:
    """Postprocessor of a plain task: strips, and numbers the class where choices are fixed.

    Attributes:
        task: its template is read at the first call.
    """

    task: PromptedTask

    def __call__(self, output: str, example: Any = None, is_target: bool = False) -> str | int:
        """Gives the index of `output` among the fixed answer choices, -1 if it is none of them.

        Where the choices differ from example to example, or there are none, gives the text.
        """
        del example, is_target
        text = output.strip()
        # Not every template is PromptSource's; those of other kinds may have no choices at all.
        choices = getattr(self.task.resolve().template, "fixed_answer_choices", None)
        if choices is None:
            return text
        return choices.index(text) if text in choices else UNKNOWN_CLASS


class RankTarget(NamedTuple):
    """What the rank-classification metric knows of one choice of one example.

    Attributes:
        index: (example, choice), unique within a split.
        is_correct: this choice is the answer.
        weight: the example's weight in the mean.
    """

    index: tuple[int, int]
    is_correct: bool
    weight: float


def rank_target(
    output: Any, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> Any:
    """Postprocessor of a rank-classification task: targets become `RankTarget`, scores stay."""
    if not is_target or example is None:
        return output
    return RankTarget(
        index=(int(example["idx"][0]), int(example["idx"][1])),
        is_correct=bool(example["is_correct"]),
        weight=float(example.get("weight", 1.0)),
    )


def accuracy(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Percentage of predictions that equal their target."""
    hits = sum(
        target == prediction for target, prediction in zip(targets, predictions, strict=True)
    )
    return {"accuracy": 100.0 * hits / len(targets) if targets else 0.0}


def positive_class_f1(
    targets: Sequence[int | str], predictions: Sequence[int | str]
) -> dict[str, float]:
    """F1 of class 1 of two, in percent, as GLUE scores MRPC and QQP.

    A prediction that is neither class counts as the wrong one (T5's evaluation).

    Args:
        targets: 0 or 1.
        predictions: 0, 1, or what `ChoiceClasses` gives for an output that is no choice.
    """
    found = [
        prediction if prediction in (0, 1) else 1 - int(target)
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    hits = sum(target == prediction == 1 for target, prediction in zip(targets, found, strict=True))
    total = list(targets).count(1) + found.count(1)
    return {"f1": 200.0 * hits / total if total else 0.0}


def rank_classification(targets: Sequence[RankTarget], scores: Sequence[float]) -> dict[str, float]:
    """Percentage of examples whose most likely choice is correct.

    Of choices with equal scores the first counts (T0's evaluation). An example with several
    correct choices is right with any, one with none is always wrong.

    Args:
        targets: one for each choice of each example, in any order.
        scores: log-likelihood of each choice, summed over its tokens.

    Raises:
        ValueError: a choice was scored twice, or its score is not a number.
    """
    choices: dict[int, dict[int, tuple[float, RankTarget]]] = defaultdict(dict)
    for target, score in zip(targets, scores, strict=True):
        example, choice = target.index
        if choice in choices[example]:
            raise ValueError(f"choice {choice} of example {example} was scored twice")
        if math.isnan(score):
            raise ValueError(f"the score of choice {choice} of example {example} is not a number")
        choices[example][choice] = (float(score), target)
    right = total = 0.0
    for scored in choices.values():
        # `max` keeps the first of equals.
        _, best = max((scored[choice] for choice in sorted(scored)), key=lambda pair: pair[0])
        right += best.weight * best.is_correct
        total += best.weight
    return {"accuracy": 100.0 * right / total if total else 0.0}
