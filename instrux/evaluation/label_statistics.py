"""Win rates, mean ratings and shares of flags from what people said.

Of several answers about the same thing the first one counts, and the others serve for agreement
alone: so every prompt weighs the same, and an interval over prompts is one over independent
answers. Shares, win rates and intervals are numbers from 0 to 1.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np

from instrux.evaluation.bootstrap import percentile_interval, wilson
from instrux.evaluation.label_flags import FLAG_OF_NAME, NO, NOT_APPLICABLE, YES
from instrux.evaluation.label_records import CLEARLY, LabelRecord
from instrux.evaluation.label_scales import SCALES
from instrux.evaluation.results import Interval

REPLICATES = 10_000


@dataclass(frozen=True)
class Comparison:
    """One labeller's word on two outputs for a prompt.

    Attributes:
        record: the answer it comes from.
        first: a system.
        second: another.
        outcome: 1 where the first is better, -1 where the second is, 0 for a tie.
        clearly: whether the labeller said so; False where only an order was asked.
    """

    record: LabelRecord
    first: str
    second: str
    outcome: int
    clearly: bool = False

    def seen_from(self, system: str) -> int:
        """The outcome with `system` as the first."""
        return self.outcome if system == self.first else -self.outcome


@dataclass(frozen=True)
class WinRate:
    """How often one system's output is preferred to another's, over prompts.

    Attributes:
        system: the system.
        baseline: the other.
        n: prompts.
        wins: prompts where the system's output is better.
        ties: prompts where neither is.
        losses: prompts where the baseline's is.
        clear_wins: wins that are clear, where degrees were asked.
        clear_losses: losses that are.
        win_rate: (wins + ties / 2) / n.
        bootstrap: its 95 % interval, by drawing prompts with replacement.
        wilson: the same by Wilson's formula, with half a win a tie, as a check.
        win_rate_without_ties: wins / (wins + losses); None where all are ties.
    """

    system: str
    baseline: str
    n: int
    wins: int
    ties: int
    losses: int
    clear_wins: int
    clear_losses: int
    win_rate: float
    bootstrap: Interval
    wilson: Interval
    win_rate_without_ties: float | None


@dataclass(frozen=True)
class MeanRating:
    """Mean overall quality (1 to 7) of a system over prompts.

    Attributes:
        system: the system.
        n: prompts.
        mean: the mean.
        bootstrap: its 95 % interval, by drawing prompts with replacement.
        counts: how often each of 1 to 7 was given.
    """

    system: str
    n: int
    mean: float
    bootstrap: Interval
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ScaleMean:
    """Mean of a scale over prompts.

    Attributes:
        scale: name of `label_scales.SCALES`.
        system: whose outputs were rated; "" where prompts were.
        n: prompts.
        mean: the mean.
        bootstrap: its 95 % interval, by drawing prompts with replacement.
        counts: how often each value was given.
    """

    scale: str
    system: str
    n: int
    mean: float
    bootstrap: Interval
    counts: Mapping[int, int]


@dataclass(frozen=True)
class Share:
    """Share of a system's outputs of which something was said.

    Attributes:
        system: the system.
        question: a flag's name, or `acceptable`.
        n: outputs that the question was answered for; `na` does not count.
        yes: of these, with the answer yes.
        share: yes / n; None where `n` is 0.
        wilson: its 95 % interval (Wilson 1927).
        not_applicable: outputs answered `na`.
    """

    system: str
    question: str
    n: int
    yes: int
    share: float | None
    wilson: Interval
    not_applicable: int = 0


def comparisons(records: Iterable[LabelRecord]) -> list[Comparison]:
    """Takes preferences, and rankings apart into pairs; in each, systems by name."""
    found = []
    for record in records:
        if record.preference is not None:
            first, second = sorted(record.systems)
            better = record.preference.better
            outcome = 0 if better is None else 1 if better == first else -1
            clearly = record.preference.degree == CLEARLY
            found.append(Comparison(record, first, second, outcome, clearly))
        elif record.ranking is not None:
            place = {system: i for i, tied in enumerate(record.ranking) for system in tied}
            for first, second in combinations(sorted(place), 2):
                outcome = int(np.sign(place[second] - place[first]))
                found.append(Comparison(record, first, second, outcome))
    return found


_Item = TypeVar("_Item")


def grouped(
    items: Iterable[_Item], key: Callable[[_Item], Hashable]
) -> dict[Hashable, list[_Item]]:
    """Items by key, keys in the order of their first item."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_pair(records: Sequence[LabelRecord]) -> dict[tuple[str, str], list[list[Comparison]]]:
    """For each pair of systems, and each prompt of theirs, the comparisons in order of time.

    Args:
        records: in order of time, one a labeller, prompt and set of outputs (`latest`).
    """
    pairs = grouped(comparisons(records), lambda c: (c.first, c.second))
    return {
        pair: list(grouped(of_pair, lambda c: c.record.prompt_id).values())  # type: ignore[misc]
        for pair, of_pair in sorted(pairs.items(), key=lambda item: str(item[0]))
    }


def win_rate(
    prompts: Sequence[Sequence[Comparison]], *, system: str, baseline: str, seed: int = 0
) -> WinRate:
    """The win rate over prompts, by the first answer to each.

    Args:
        prompts: for each prompt, the comparisons of these two systems; at least one prompt.
        system: the one to speak for.
        baseline: the other.
        seed: of the bootstrap.
    """
    first = [given[0] for given in prompts]
    outcomes = np.array([comparison.seen_from(system) for comparison in first])
    wins, ties, losses = (int((outcomes == value).sum()) for value in (1, 0, -1))
    credits = (outcomes + 1) / 2
    return WinRate(
        system=system,
        baseline=baseline,
        n=len(first),
        wins=wins,
        ties=ties,
        losses=losses,
        clear_wins=sum(c.clearly and c.seen_from(system) == 1 for c in first),
        clear_losses=sum(c.clearly and c.seen_from(system) == -1 for c in first),
        win_rate=float(credits.mean()),
        bootstrap=bootstrap_mean(credits, seed=seed),
        wilson=wilson_share(wins + ties / 2, len(first)),
        win_rate_without_ties=wins / (wins + losses) if wins + losses else None,
    )


def mean_ratings(records: Sequence[LabelRecord], *, seed: int = 0) -> list[MeanRating]:
    """Mean overall quality of every system that was rated, by the first answer a prompt."""
    first: dict[str, dict[str, int]] = {}
    for record in records:
        for rating in record.ratings:
            if rating.overall is not None:
                first.setdefault(rating.system, {}).setdefault(record.prompt_id, rating.overall)
    return [_mean_rating(system, list(of.values()), seed) for system, of in sorted(first.items())]


def _mean_rating(system: str, given: list[int], seed: int) -> MeanRating:
    values = np.array(given, dtype=np.float64)
    return MeanRating(
        system=system,
        n=len(given),
        mean=float(values.mean()),
        bootstrap=bootstrap_mean(values, seed=seed),
        counts=tuple(given.count(value) for value in range(1, 8)),
    )


def scale_means(records: Sequence[LabelRecord], *, seed: int = 0) -> list[ScaleMean]:
    """Means of every scale and system that was rated, by the first answer a prompt.

    A scale that is about prompts has one mean, over all of them.
    """
    first: dict[str, dict[str, dict[str, int]]] = {scale.name: {} for scale in SCALES}
    for record in records:
        rated = [("", record.prompt_scales), *((r.system, r.scales) for r in record.ratings)]
        for system, scales in rated:
            for name, value in scales.items():
                first[name].setdefault(system, {}).setdefault(record.prompt_id, value)
    return [
        _scale_mean(scale.name, system, list(of_system.values()), scale.values, seed)
        for scale in SCALES
        for system, of_system in sorted(first[scale.name].items())
    ]


def _scale_mean(
    scale: str, system: str, given: list[int], values: Sequence[int], seed: int
) -> ScaleMean:
    numbers = np.array(given, dtype=np.float64)
    return ScaleMean(
        scale=scale,
        system=system,
        n=len(given),
        mean=float(numbers.mean()),
        bootstrap=bootstrap_mean(numbers, seed=seed),
        counts={value: given.count(value) for value in values},
    )


def flag_applies(record: LabelRecord, flag: str) -> bool:
    """Whether a flag may be counted: not on a prompt known to lack what the flag is about."""
    only_where = FLAG_OF_NAME[flag].only_where
    return not only_where or getattr(record, only_where) is not False


def flag_shares(records: Sequence[LabelRecord]) -> list[Share]:
    """The share of every flag and system, by the first answer a prompt.

    A flag that is about closed-domain prompts, or about those with a constraint, is counted over
    these alone; where it is not known whether a prompt is one, `na` leaves the output out.
    """
    first: dict[str, dict[str, dict[str, str]]] = {name: {} for name in FLAG_OF_NAME}
    for record in records:
        for rating in record.ratings:
            for flag, answer in rating.flags.items():
                if flag_applies(record, flag):
                    of_system = first[flag].setdefault(rating.system, {})
                    of_system.setdefault(record.prompt_id, answer)
    return [
        _share(system, flag, list(answers.values()))
        for flag, of_flag in first.items()
        for system, answers in sorted(of_flag.items())
    ]


def acceptance_shares(
    prompts: Sequence[Sequence[Comparison]], pair: tuple[str, str]
) -> list[Share]:
    """The share of each system's outputs that is acceptable, in comparisons of a pair."""
    shares = []
    for system in pair:
        given = [acceptable(comparisons[0].record, system) for comparisons in prompts]
        answers = [YES if value else NO for value in given if value is not None]
        if answers:
            shares.append(_share(system, "acceptable", answers))
    return shares


def acceptable(record: LabelRecord, system: str) -> bool | None:
    """What a record says about whether a system's output is acceptable."""
    return next(rating.acceptable for rating in record.ratings if rating.system == system)


def _share(system: str, question: str, answers: Sequence[str]) -> Share:
    yes, no = answers.count(YES), answers.count(NO)
    return Share(
        system=system,
        question=question,
        n=yes + no,
        yes=yes,
        share=yes / (yes + no) if yes + no else None,
        wilson=wilson_share(yes, yes + no),
        not_applicable=answers.count(NOT_APPLICABLE),
    )


def wilson_share(successes: float, n: int) -> Interval:
    """Wilson's interval as shares; half a success a tie."""
    percent = wilson(successes, n)
    return Interval(percent.low / 100, percent.high / 100)


def bootstrap_mean(values: np.ndarray, *, seed: int = 0, replicates: int = REPLICATES) -> Interval:
    """The middle 95 % of the means of values drawn with replacement.

    Args:
        values: float64 [prompts].
        seed: of the draws.
        replicates: how many draws.
    """
    generator = np.random.default_rng(seed)
    levels, counts = np.unique(values, return_counts=True)
    # Values are few and repeat: how often each is drawn is all that the mean needs.
    drawn = generator.multinomial(len(values), counts / len(values), size=replicates)
    return percentile_interval(drawn @ levels / len(values))


def split_by(
    records: Sequence[LabelRecord], key: Callable[[LabelRecord], str]
) -> Mapping[str, list[LabelRecord]]:
    """Records by group or use case, by name; records without one are left out."""
    groups = grouped(records, key)
    return {str(name): groups[name] for name in sorted(groups, key=str) if name}
