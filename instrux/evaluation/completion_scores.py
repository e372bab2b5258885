"""Scores of completions, by which a checkpoint is chosen.

A scorer is a function `score(prompt, completion)` that gives a number, more for better, or an object
with such a method. InstructGPT's is a reward model of 6 billion parameters (arXiv 2203.02155, section
3.5). An object may have two more methods:

    score_all(prompts, completions)   a list of numbers, for models that work in batches
    see(demonstrations)               is told prompts and their demonstrations before it scores
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from instrux.errors import InputError
from instrux.evaluation.metrics import METRICS

Scorer = Callable[[str, str], float]


class RougeLToDemonstration:
    """ROUGE-L (F-measure, percent) to what a person wrote to the same prompt.

    A proxy that needs no model: it rewards the words of one good answer, and nothing of how helpful
    or true another one is. People's judgement and a reward model are what the paper went by.
    """

    name = "rougeL_to_demonstration"

    def __init__(self) -> None:
        self._demonstrations: Mapping[str, Sequence[str]] = {}

    def see(self, demonstrations: Mapping[str, Sequence[str]]) -> None:
        """Takes the demonstrations of each prompt."""
        self._demonstrations = demonstrations

    def score(self, prompt: str, completion: str) -> float:
        """Gives the best ROUGE-L to a demonstration of the prompt, from 0 to 100.

        Raises:
            InputError: nobody answered the prompt.
        """
        if prompt not in self._demonstrations:
            raise InputError("a prompt to score has no demonstration to compare with")
        return METRICS["rougeL"].credit(completion, self._demonstrations[prompt])


def find_scorer(scorer: Any) -> Any:
    """Gives a scorer by its reference `module:name`, or itself; a class is called for its object.

    Raises:
        InputError: there is no such module or name, or it scores nothing.
    """
    if isinstance(scorer, str):
        scorer = _imported(scorer)
    if isinstance(scorer, type):
        scorer = scorer()
    if not (callable(scorer) or callable(getattr(scorer, "score", None))):
        raise InputError(
            f"scorer {scorer!r}: give a function score(prompt, completion), or an object with one."
        )
    return scorer


def scorer_name(scorer: Any) -> str:
    """What a report calls it."""
    named = getattr(scorer, "name", None) or getattr(scorer, "__name__", None)
    return str(named or type(scorer).__name__)


def score_all(scorer: Any, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Scores completions, in batches if the scorer can.

    Raises:
        InputError: it gives something else than one finite number for each.
    """
    many: Any = getattr(scorer, "score_all", None)
    if callable(many):
        scores: Any = list(many(list(prompts), list(completions)))  # pyright: ignore[reportArgumentType]
    else:
        one: Scorer = scorer.score if hasattr(scorer, "score") else scorer
        scores = [one(p, c) for p, c in zip(prompts, completions, strict=True)]
    name = scorer_name(scorer)
    if len(scores) != len(prompts):
        raise InputError(
            f"scorer {name}: gave {len(scores)} scores for {len(prompts)} completions."
        )
    try:
        found = [float(score) for score in scores]
    except (TypeError, ValueError) as error:
        raise InputError(f"scorer {name}: a score is no number ({error}).") from error
    if not all(map(math.isfinite, found)):
        raise InputError(f"scorer {name}: a score is not finite.")
    return found


def _imported(reference: str) -> Any:
    module_name, separator, name = reference.partition(":")
    if not separator or not name:
        raise InputError(f"scorer {reference!r}: name it as module:function, as acme.reward:score.")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"scorer {reference!r}: cannot be imported ({error}).") from error
