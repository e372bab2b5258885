"""F1 over words of answers to questions about a text, as SQuAD, QuAC and DROP define it.

All are percent. Texts are compared without case, articles, ASCII punctuation and blanks.
"""

import re
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from instrux.data.answer_words import (
    answer_words,
    without_articles,
    without_punctuation,
    words_f1,
)
from instrux.data.public_forms import I_DO_NOT_KNOW, NOT_IN_BACKGROUND, SPAN_SEPARATOR


def squad_exact_match(prediction: str, reference: str) -> float:
    """SQuAD's exact match: case, ASCII punctuation, articles and blanks do not count."""
    return 100.0 * (answer_words(prediction) == answer_words(reference))


def squad_f1(prediction: str, reference: str) -> float:
    """SQuAD's F1 over the words of both texts; two empty texts agree."""
    return 100.0 * words_f1(prediction, reference)


def squad_v2_f1(prediction: str, reference: str) -> float:
    """SQuAD 2.0's F1: whether there is an answer is right or wrong, and nothing between.

    An answer that says so (`NOT_IN_BACKGROUND`) stands for the empty one of the published script.
    """
    return _or_none(prediction, reference, none=NOT_IN_BACKGROUND)


def _or_none(prediction: str, reference: str, *, none: str) -> float:
    said, expected = (answer_words(text) == answer_words(none) for text in (prediction, reference))
    return 100.0 * (said and expected) if said or expected else squad_f1(prediction, reference)


# --- QuAC ------------------------------------------------------------------------------------------


def quac_f1(prediction: str, references: Sequence[str]) -> float:
    """QuAC's F1 (arXiv 1808.07036, section 4.1): as fair to a model as to a person.

    Each reference is left out in turn, and the best F1 to the others taken; the mean of that is the
    credit, since a person's own answer is never among those it is compared with.

    Args:
        prediction: the answer.
        references: what people answered, the same as often as it was given.
    """
    credits = [_or_none(prediction, each, none=I_DO_NOT_KNOW) for each in references]
    return _leave_one_out(credits)


def _leave_one_out(credits: Sequence[float]) -> float:
    if len(credits) == 1:
        return credits[0]
    return float(np.mean([max((*credits[:i], *credits[i + 1 :])) for i in range(len(credits))]))


# --- DROP ------------------------------------------------------------------------------------------


def drop_f1(prediction: str, reference: str) -> float:
    """DROP's F1 (arXiv 1903.00161, section 5): spans are paired off, and numbers must be right.

    Spans of a reference stand between `SPAN_SEPARATOR`s. Each is paired with one of the answer so
    that the sum of F1 over their sets of words is largest; a pair whose reference has a number that
    the answer lacks has 0, and so has what is left without a partner. The mean is rounded to a
    whole percent, as in the published script.

    Where the reference has several spans, the answer is cut at commas and at "and"; that is ours, as
    the script is given lists.
    """
    expected = [_drop_words(span) for span in reference.split(SPAN_SEPARATOR)]
    parts = (
        re.split(r",\s+(?:and\s+)?|\s+and\s+", prediction) if len(expected) > 1 else [prediction]
    )
    predicted = [_drop_words(part) for part in parts]
    scores = np.asarray([[_drop_pair(words, own) for words in predicted] for own in expected])
    paired = scores[linear_sum_assignment(-scores)].sum()
    return 100.0 * round(float(paired) / max(len(expected), len(predicted)), 2)


def _drop_words(text: str) -> set[str]:
    """The words of a span; numbers in one form, so that `7`, `7.0` and, in words, `1,000` agree."""
    return {word for token in re.split(" |-", text) for word in without_articles(_token(token))}


def _token(token: str) -> str:
    token = token.lower()
    if not _is_number(token):
        token = without_punctuation(token)
    return str(float(token)) if _is_number(token) else token


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _drop_pair(predicted: set[str], expected: set[str]) -> float:
    numbers = {word for word in expected if _is_number(word)}
    if numbers and not numbers & predicted:
        return 0.0
    same = len(predicted & expected)
    precision = same / len(predicted) if predicted else 1.0
    recall = same / len(expected) if expected else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
