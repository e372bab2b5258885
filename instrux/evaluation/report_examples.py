"""Example predictions of a report: chosen by seed, right ones and wrong ones, shown as they are."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from instrux.evaluation.compare import Arm, CellKey
from instrux.evaluation.predictions import Prediction

_LONGEST_INPUTS = 1200
_LONGEST_ANSWER = 300
_MOST_CHOICES = 12
# Characters that draw nothing, or that turn the text around them (bidirectional overrides).
_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Answer:
    """What one arm's model said."""

    name: str
    text: str
    mark: str
    is_right: bool


@dataclass(frozen=True)
class ShownExample:
    """One example with the answers of the arms that saw it."""

    example_id: str
    template: str
    inputs: str
    targets: str
    choices: str
    mark: str
    is_right: bool
    answers: tuple[Answer, ...]


def shown_examples(
    arms: Sequence[Arm], key: CellKey, *, seed: int, each: int = 2
) -> list[ShownExample]:
    """Right and wrong examples (by the main arm's first run) of one prompt of a cell.

    Args:
        arms: the main one first.
        key: the cell.
        seed: chooses the prompt and the examples.
        each: how many right and how many wrong ones.
    """
    main = arms[0].runs[0]
    if key not in main.cells:
        return []
    draw = random.Random(f"{seed}/{'/'.join(key)}")
    task = draw.choice([result.task for result in main.cells[key].results])
    predictions = main.predictions(task)
    right = [p for p in predictions if is_right(p)]
    wrong = [p for p in predictions if not is_right(p)]
    chosen = [p for side in (right, wrong) for p in draw.sample(side, min(each, len(side)))]
    others = [(arm.name, _by_id(arm, key, task)) for arm in arms[1:]]
    return [_shown(prediction, arms[0].name, others) for prediction in chosen]


def is_right(prediction: Prediction) -> bool:
    """Whether an example counts as right: fully, or by at least half its credit."""
    return prediction.credit >= 50 if prediction.correct is None else prediction.correct


def _by_id(arm: Arm, key: CellKey, task: str) -> dict[str, Prediction]:
    cell = arm.runs[0].cells.get(key)
    if cell is None or task not in cell.credits.tasks:
        return {}
    return {p.example_id: p for p in arm.runs[0].predictions(task)}


def _shown(
    prediction: Prediction, main_name: str, others: Sequence[tuple[str, dict[str, Prediction]]]
) -> ShownExample:
    answers = [_answer(main_name, prediction)]
    answers += [
        _answer(name, found[prediction.example_id])
        for name, found in others
        if prediction.example_id in found
    ]
    choices = prediction.choices or ()
    more = f" and {len(choices) - _MOST_CHOICES} more" if len(choices) > _MOST_CHOICES else ""
    return ShownExample(
        example_id=showable(prediction.example_id, _LONGEST_ANSWER),
        template=showable(prediction.template, _LONGEST_ANSWER),
        inputs=showable(prediction.inputs, _LONGEST_INPUTS),
        targets=showable(prediction.targets, _LONGEST_ANSWER),
        choices=" | ".join(showable(choice, 80) for choice in choices[:_MOST_CHOICES]) + more,
        mark=_mark(prediction),
        is_right=is_right(prediction),
        answers=tuple(answers),
    )


def _answer(name: str, prediction: Prediction) -> Answer:
    text = showable(prediction.prediction, _LONGEST_ANSWER) or "(nothing)"
    return Answer(name, text, _mark(prediction), is_right(prediction))


def _mark(prediction: Prediction) -> str:
    if prediction.correct is None:
        return f"{prediction.credit:.0f} of 100"
    return "✓ right" if prediction.correct else "✗ wrong"


def showable(text: str, limit: int) -> str:
    """Text with its unshowable characters replaced, shortened in its middle to `limit`."""
    text = _UNSHOWABLE.sub("\ufffd", text)
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]} […] {text[head - limit :]}"
