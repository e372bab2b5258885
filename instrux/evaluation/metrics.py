"""Metrics of one task: predicted texts against reference texts.

Most metrics give every example a *credit* from 0 to 100, the best over the example's references,
and a task's score is the mean credit. A few are defined on a whole set only (BLEU, correlations,
F1 over classes); they are reported, but never a task's headline, which needs credits for its
intervals.

Texts are stripped before they are compared, as P3's post-processing does.
"""

import difflib
import functools
import itertools
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instrux.data.public_forms import NOT_REFERENT
from instrux.errors import InputError, did_you_mean
from instrux.evaluation import rouge
from instrux.evaluation.answer_f1 import (
    drop_f1,
    quac_f1,
    squad_exact_match,
    squad_f1,
    squad_v2_f1,
)

Credit = Callable[[str, str], float]
GroupCredit = Callable[[str, Sequence[str]], float]
Corpus = Callable[[Sequence[str], Sequence[Sequence[str]]], float]
Grouped = Callable[[Sequence[str], Sequence[Sequence[str]], Sequence[str]], float]


@dataclass(frozen=True)
class Metric:
    """A named metric; all its numbers are percent.

    Attributes:
        name: what results call it.
        pair_credit: credit of one prediction against one reference, or None for a metric that
            only a whole set has.
        corpus: the score of a whole set where that is not the mean credit, else None.
        right_or_wrong: whether every credit is 0 or 100.
        group_credit: credit of one prediction against all its references, where that is not the
            best over them, else None.
        grouped: the score of a whole set from predictions, references and the group of each
            example, for a metric that judges several examples as one, else None.
    """

    name: str
    pair_credit: Credit | None = None
    corpus: Corpus | None = None
    right_or_wrong: bool = False
    group_credit: GroupCredit | None = None
    grouped: Grouped | None = None

    @property
    def has_credits(self) -> bool:
        """Whether it has a meaning for one example."""
        return self.pair_credit is not None or self.group_credit is not None

    def credit(self, prediction: str, references: Sequence[str]) -> float:
        """Credit of one prediction: the best over its references, as a rule, 0 to 100.

        Raises:
            TypeError: the metric has no meaning for one example.
        """
        prediction = prediction.strip()
        if self.group_credit is not None:
            return self.group_credit(prediction, [reference.strip() for reference in references])
        if self.pair_credit is None:
            raise TypeError(f"{self.name} is defined on a whole set only")
        return max(self.pair_credit(prediction, reference.strip()) for reference in references)

    def score(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        groups: Sequence[str] | None = None,
    ) -> float:
        """Score of a whole set in percent; NaN for an empty one.

        Args:
            predictions: what was answered.
            references: of each all acceptable answers.
            groups: the group of each, for a metric that needs them.

        Raises:
            TypeError: the metric needs groups, and there are none.
        """
        if not predictions:
            return float("nan")
        if self.grouped is not None:
            if groups is None:
                raise TypeError(f"{self.name} is defined on groups of examples only")
            stripped = [prediction.strip() for prediction in predictions]
            return self.grouped(stripped, [[t.strip() for t in r] for r in references], groups)
        if self.corpus is None:
            return float(
                np.mean([self.credit(*pair) for pair in zip(predictions, references, strict=True)])
            )
        stripped = [prediction.strip() for prediction in predictions]
        return self.corpus(stripped, [[text.strip() for text in group] for group in references])


def accuracy(prediction: str, reference: str) -> float:
    """100 where the texts are the same, character by character."""
    return 100.0 * (prediction == reference)


def contains_target(prediction: str, reference: str) -> float:
    """100 where the reference occurs in the prediction; case does not count."""
    return 100.0 * (reference.lower() in prediction.lower())


def contains_target_noun(prediction: str, reference: str) -> float:
    """100 where the reference without its leading article occurs in the prediction.

    T0 scores WinoBias so (model card): an answer is right if the target noun is in it. Case does
    not count. An answer that names both people is right by this rule.
    """
    return contains_target(prediction, re.sub(r"^(the|an?)\s+", "", reference.strip(), flags=re.I))


_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _tk_instruct_normal(text: str) -> str:
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def tk_instruct_exact_match(prediction: str, reference: str) -> float:
    """Natural Instructions' exact match: case, ASCII punctuation and blanks do not count."""
    return 100.0 * (_tk_instruct_normal(prediction) == _tk_instruct_normal(reference))


def _tk_instruct_rouge_1(prediction: str, reference: str) -> float:
    return 100.0 * rouge.english_scorer().rouge_1(prediction, reference)


def _tk_instruct_rouge_l(prediction: str, reference: str) -> float:
    return 100.0 * rouge.english_scorer().rouge_l(prediction, reference)


def _tk_instruct_rouge_l_of_pieces(prediction: str, reference: str) -> float:
    return 100.0 * rouge.gpt2_scorer().rouge_l(prediction, reference)


def edit_similarity(prediction: str, reference: str) -> float:
    """Similarity of two texts by matching blocks of characters (2 * matches / characters)."""
    return 100.0 * difflib.SequenceMatcher(None, prediction, reference, autojunk=False).ratio()


def pronoun_referent(prediction: str, reference: str) -> float:
    """100 where an answer names the candidate if, and only if, the pronoun refers to it.

    InstructGPT's WSC (arXiv 2203.02155, appendix D): an answer that has the candidate in it, or that
    is part of the candidate, says yes. A reference that begins with `NOT_REFERENT` wants a no.
    """
    candidate = reference.removeprefix(NOT_REFERENT).strip().lower()
    said = prediction.strip().lower()
    yes = bool(said) and (candidate in said or said in candidate)
    return 100.0 * (yes != reference.startswith(NOT_REFERENT))


def distinct_2(prediction: str, reference: str) -> float:
    """Share of different pairs of words among all of the prediction's (arXiv 1510.03055, section 5).

    For prompts that have no answer to compare with: it tells how little a text repeats itself, and
    nothing of how good it is. A text of fewer than two words gets 0.
    """
    del reference
    words = prediction.lower().split()
    pairs = list(itertools.pairwise(words))
    return 100.0 * len(set(pairs)) / len(pairs) if pairs else 0.0


@functools.cache
def _rouge_scorer(kind: str):
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer([kind])


def _rouge(kind: str) -> Credit:
    def credit(prediction: str, reference: str) -> float:
        if kind == "rougeLsum":  # sentences stand on lines of their own
            prediction, reference = (
                text.replace(" . ", " .\n") for text in (prediction, reference)
            )
        scores = _rouge_scorer(kind).score(reference, prediction)
        return 100.0 * scores[kind].fmeasure

    return credit


@functools.cache
def _bleu(effective_order: bool):
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="intl", effective_order=effective_order)


def sentence_bleu(prediction: str, reference: str) -> float:
    """BLEU of one sentence, over the orders of n-grams that it is long enough for."""
    return _bleu(True).sentence_score(prediction, [reference]).score


def corpus_bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """SacreBLEU with the `intl` tokenizer, as T5 reports it; references may differ in number."""
    most = max(len(group) for group in references)
    streams: list[Any] = [
        [group[i] if i < len(group) else None for group in references]  # None: no such reference
        for i in range(most)
    ]
    return _bleu(False).corpus_score(list(predictions), streams).score


def f1_macro(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean of F1 over the classes that occur among the references.

    A prediction counts as the reference it equals, if it equals one, else as itself; the class of
    an example is its first reference.
    """
    expected = [group[0] for group in references]
    predicted = [
        first if prediction in group else prediction
        for first, prediction, group in zip(expected, predictions, references, strict=True)
    ]
    return float(np.mean([_class_f1(kind, predicted, expected) for kind in sorted(set(expected))]))


def _class_f1(kind: str, predicted: Sequence[str], expected: Sequence[str]) -> float:
    hits = sum(p == e == kind for p, e in zip(predicted, expected, strict=True))
    return 200.0 * hits / (predicted.count(kind) + expected.count(kind))


_YES = frozenset({"yes", "right."})  # FLAN's options, and those of its continuations of MultiRC


def answer_f1(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """F1 of the answer `yes`, where answers are yes or no, in percent.

    MultiRC's F1 over all answers (SuperGLUE, arXiv 1905.00537, section 3) and the F1 of MRPC and QQP
    (GLUE). A prediction that is neither counts as the wrong one, as in T5's evaluation.
    """
    expected = [bool(_YES.intersection(group)) for group in references]
    classes = _YES.union(*references)
    predicted = [
        prediction in _YES if prediction in classes else not yes
        for prediction, yes in zip(predictions, expected, strict=True)
    ]
    hits = sum(p and e for p, e in zip(predicted, expected, strict=True))
    total = sum(predicted) + sum(expected)
    return 200.0 * hits / total if total else 0.0


def question_exact_match(
    predictions: Sequence[str], references: Sequence[Sequence[str]], groups: Sequence[str]
) -> float:
    """Share of questions all of whose candidate answers were judged right, in percent.

    MultiRC's second figure beside the F1 over all answers (SuperGLUE, arXiv 1905.00537, section 3).
    """
    right: dict[str, bool] = {}
    for prediction, answers, group in zip(predictions, references, groups, strict=True):
        right[group] = right.get(group, True) and prediction in answers
    return 100.0 * sum(right.values()) / len(right)


def area_under_curve(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Area under the ROC curve in percent: how often a positive outscores a negative.

    NaN where one of the two classes is empty; a tie counts half.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(positive, bool)
    if labels.all() or not labels.any():
        return float("nan")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    num_positive = int(labels.sum())
    wins = ranks[labels].sum() - num_positive * (num_positive + 1) / 2
    return float(100.0 * wins / (num_positive * (len(labels) - num_positive)))


def _correlation(*, by_rank: bool) -> Corpus:
    def corpus(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """In percent; a prediction that is no number counts as 0, as T5's post-processor has it."""
        pairs = [(_number(p), _number(r[0])) for p, r in zip(predictions, references, strict=True)]
        first, second = np.asarray(pairs, np.float64).T
        if by_rank:
            first, second = _ranks(first), _ranks(second)
        if first.std() == 0 or second.std() == 0:
            return float("nan")
        return float(100.0 * np.corrcoef(first, second)[0, 1])

    return corpus


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if np.isfinite(value) else 0.0


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, right_or_wrong=True),
        Metric("contains_target", contains_target, right_or_wrong=True),
        Metric("contains_target_noun", contains_target_noun, right_or_wrong=True),
        Metric("squad_exact_match", squad_exact_match, right_or_wrong=True),
        Metric("squad_f1", squad_f1),
        Metric("squad_v2_f1", squad_v2_f1),
        Metric("quac_f1", group_credit=quac_f1),
        Metric("drop_f1", drop_f1),
        Metric("rouge1", _rouge("rouge1")),
        Metric("rouge2", _rouge("rouge2")),
        Metric("rougeL", _rouge("rougeL")),
        Metric("rougeLsum", _rouge("rougeLsum")),
        Metric("sentence_bleu", sentence_bleu),
        Metric("bleu", None, corpus_bleu),
        Metric("edit_similarity", edit_similarity),
        Metric("distinct_2", distinct_2),
        Metric("pronoun_referent", pronoun_referent, right_or_wrong=True),
        Metric("pair_entropy"),  # of log-probabilities, not of texts: `pair_entropy.py`
        Metric("f1_macro", None, f1_macro),
        Metric("answer_f1", None, answer_f1),
        Metric("question_exact_match", grouped=question_exact_match),
        Metric("pearson", None, _correlation(by_rank=False)),
        Metric("spearman", None, _correlation(by_rank=True)),
        # Natural Instructions' own: Porter-stemmed ROUGE (Tk-Instruct, evaluation script), and
        # ROUGE over GPT-2's pieces for its cross-lingual track.
        Metric("tk_instruct_exact_match", tk_instruct_exact_match, right_or_wrong=True),
        Metric("tk_instruct_rouge1", _tk_instruct_rouge_1),
        Metric("tk_instruct_rougeL", _tk_instruct_rouge_l),
        Metric("tk_instruct_rougeL_gpt2", _tk_instruct_rouge_l_of_pieces),
    )
}

NO_QUALITY = frozenset({"distinct_2", "pair_entropy"})
"""Metrics of which more is not better, nor less: no verdict speaks of them."""

OF_CLASSES = frozenset({"f1_macro", "answer_f1", "question_exact_match"})
"""Metrics of answers that are classes, which have a meaning where choices are ranked, too."""

REFERENCE_FREE = frozenset({"distinct_2"})
"""Metrics that look at the prediction alone: no baseline has a meaning beside them."""

# What the names in a PromptSource template's metadata stand for; the first is a task's headline.
# The correlations follow accuracy, since one example has no correlation.
PROMPTSOURCE_METRICS: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("accuracy",),
    "rouge": ("rougeL", "rouge1", "rouge2", "rougeLsum"),
    "bleu": ("sentence_bleu", "bleu"),
    "squad": ("squad_f1", "squad_exact_match"),
    "trivia qa": ("squad_exact_match", "squad_f1"),
    "coqa f1": ("squad_f1",),
    "edit distance": ("edit_similarity",),
    "pearson correlation": ("accuracy", "pearson"),
    "spearman correlation": ("accuracy", "spearman"),
    "f1": ("accuracy", "f1_macro"),
    "auc": ("accuracy",),
    "multirc": ("accuracy",),
    "mean reciprocal rank": ("accuracy",),
    "other": ("accuracy",),
}


def resolve_metrics(names: Iterable[str]) -> tuple[Metric, ...]:
    """Gives the metrics for names, ours (`rougeL`) or PromptSource's (`ROUGE`), without repeats.

    Without any name it is accuracy. The first metric has credits: it is the task's headline.

    Raises:
        InputError: a name is neither ours nor PromptSource's.
    """
    found: dict[str, Metric] = {}
    for name in names:
        for own in _own_names(name):
            found.setdefault(own, METRICS[own])
    if not any(metric.has_credits for metric in found.values()):
        found = {"accuracy": METRICS["accuracy"], **found}
    return tuple(sorted(found.values(), key=lambda metric: not metric.has_credits))


def _own_names(name: str) -> tuple[str, ...]:
    if name in METRICS:
        return (name,)
    if name.lower() in PROMPTSOURCE_METRICS:
        return PROMPTSOURCE_METRICS[name.lower()]
    known = [*METRICS, *PROMPTSOURCE_METRICS]
    raise InputError(f"No metric is named {name!r}.{did_you_mean(name, known)}")
