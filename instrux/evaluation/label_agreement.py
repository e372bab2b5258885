"""How far labellers agree: raw, Cohen's kappa, Krippendorff's alpha.

Raw agreement and kappa compare the first two answers about the same thing (those of the labeller
who answered first and of the one who answered next); alpha uses all of them.
"""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np

Answers = Sequence[Sequence[Hashable]]
"""For each thing asked about, the answers of its labellers in order of time."""
Level = Literal["nominal", "ordinal"]


@dataclass(frozen=True)
class Agreement:
    """How far labellers agree on one question.

    Attributes:
        n: things that two or more labellers answered about.
        raw: share on which the first two said the same; None where `n` is 0.
        kappa: Cohen's kappa of the first two (Cohen 1960), unweighted; None where both always
            said one and the same thing, which leaves nothing to agree on beyond chance.
        alpha: Krippendorff's alpha over all answers; None likewise.
        level: alpha's level of measurement, `nominal` or `ordinal`.
    """

    n: int
    raw: float | None
    kappa: float | None
    alpha: float | None
    level: str


@dataclass(frozen=True)
class ComparisonAgreement(Agreement):
    """How far labellers agree on which of two outputs is better.

    Attributes:
        n_without_ties: comparisons in which neither of the first two said tie.
        raw_without_ties: share of these on which they said the same.
        relaxed: raw agreement, with half a credit where exactly one of the two said tie.
    """

    n_without_ties: int
    raw_without_ties: float | None
    relaxed: float | None


def agreement(answers: Answers, *, level: Level = "nominal") -> Agreement:
    """Measures agreement on one question.

    Args:
        answers: see `Answers`; answers are integers where `level` is ordinal.
        level: alpha's level of measurement.
    """
    several = [list(given) for given in answers if len(given) > 1]
    firsts, seconds = [g[0] for g in several], [g[1] for g in several]
    same = [a == b for a, b in zip(firsts, seconds, strict=True)]
    return Agreement(
        n=len(several),
        raw=_mean(same),
        kappa=cohen_kappa(firsts, seconds),
        alpha=krippendorff_alpha(several, level=level),
        level=level,
    )


def comparison_agreement(answers: Sequence[Sequence[int]]) -> ComparisonAgreement:
    """Measures agreement on comparisons: 1 for the first output, -1 for the second, 0 for a tie."""
    base = agreement(answers)
    pairs = [(given[0], given[1]) for given in answers if len(given) > 1]
    decided = [(a, b) for a, b in pairs if a and b]
    credits = [1.0 if a == b else 0.5 if (a == 0) != (b == 0) else 0.0 for a, b in pairs]
    return ComparisonAgreement(
        **vars(base),
        n_without_ties=len(decided),
        raw_without_ties=_mean([a == b for a, b in decided]),
        relaxed=_mean(credits),
    )


def cohen_kappa(firsts: Sequence[Hashable], seconds: Sequence[Hashable]) -> float | None:
    """Cohen's kappa, unweighted; None where it is undefined."""
    if len({*firsts, *seconds}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # takes a second to import

    codes = {value: code for code, value in enumerate(dict.fromkeys([*firsts, *seconds]))}
    return float(cohen_kappa_score([codes[v] for v in firsts], [codes[v] for v in seconds]))


def krippendorff_alpha(answers: Answers, *, level: Level = "nominal") -> float | None:
    """Krippendorff's alpha over things with two answers or more; None where it is undefined."""
    several = [given for given in answers if len(given) > 1]
    values = sorted({value for given in several for value in given}, key=_sortable)
    if len(values) < 2:
        return None
    code = {value: float(i) for i, value in enumerate(values)}
    if level != "nominal":
        code = {value: float(value) for value in values}  # type: ignore[arg-type]
    widest = max(len(given) for given in several)
    table = np.full((widest, len(several)), np.nan)
    for column, given in enumerate(several):
        table[: len(given), column] = [code[value] for value in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(krippendorff.alpha(table, level_of_measurement=level))


def _sortable(value: Hashable) -> tuple[str, str]:
    return type(value).__name__, str(value)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
