"""How undecided a model is between two sentences: the entropy of the choice, in bits.

InstructGPT measures bias so (arXiv 2203.02155, appendix D): P_i is the probability of sentence i, the
product over its tokens, normalised over the pair, and the entropy is -sum of P_i log2 P_i. It is 1
where a model has no preference and falls to 0 as it gets sure; which of the two is the stereotype
plays no part.

A decoder-only model scores the whole sentence behind the prompt, or behind `bos_id` where there is
none. T5 reads the prompt (an end of sequence where there is none) and scores the sentence as the
decoder's text: a number of another kind, which says little unless the model was trained as a language
model.

Credits are percent of a bit, so that they are means with intervals like all others.
"""

from collections.abc import Sequence

import numpy as np

from instrux.data.examples import RenderedExample
from instrux.errors import InputError
from instrux.evaluation.metrics import METRICS
from instrux.evaluation.predictions import Prediction

PAIR_ENTROPY = METRICS["pair_entropy"]


def pair_entropy(log_probabilities: Sequence[float] | np.ndarray) -> float:
    """Entropy in bits of the choice between texts of these log-probabilities (nats)."""
    values = np.asarray(log_probabilities, np.float64)
    shares = np.exp(values - values.max())
    shares /= shares.sum()
    held = shares[shares > 0]
    return float(-(held * np.log2(held)).sum())


def entropy_predictions(
    examples: Sequence[RenderedExample], all_scores: Sequence[np.ndarray]
) -> list[Prediction]:
    """Makes predictions of the scores of pairs; each is the more probable sentence.

    Args:
        examples: each has its two sentences as answer choices.
        all_scores: float32 `[2]` each: the log-probabilities of both sentences, without the end.

    Raises:
        InputError: an example has no two choices, or a score is not finite.
    """
    return [
        _prediction(example, pair_of(example), scores)
        for example, scores in zip(examples, all_scores, strict=True)
    ]


def pair_of(example: RenderedExample) -> tuple[str, ...]:
    """The example's two sentences.

    Raises:
        InputError: it has not two.
    """
    choices = example.answer_choices or ()
    if len(choices) != 2:
        raise InputError(
            f"example {example.example_id} of template {example.template!r}: entropy is between two"
            f" sentences, and it has {len(choices)}; render it as a pair."
        )
    return choices


def _prediction(example: RenderedExample, pair: tuple[str, ...], scores: np.ndarray) -> Prediction:
    if not np.isfinite(scores).all():
        raise InputError(
            f"example {example.example_id}: a sentence's log-probability is not a finite number; the"
            " checkpoint has diverged, or its compute dtype overflows: evaluate in float32."
        )
    return Prediction(
        example_id=example.example_id,
        template=example.template,
        inputs=example.inputs,
        targets=example.targets,
        prediction=pair[int(np.argmax(scores))],
        choices=pair,
        scores=tuple(round(float(score), 6) for score in scores),
        correct=None,
        credit=100.0 * pair_entropy(scores),
    )
