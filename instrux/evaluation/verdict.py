"""The answer in words: did instruction tuning work, and how sure is that.

Every word that claims something is chosen by an interval: a difference whose 95 % interval lies
above 0 is a gain, one that lies below is a loss, and any other is not shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from instrux.evaluation.bootstrap import REPLICATES
from instrux.evaluation.compare import ArmScore, Comparison, Estimate, point_name
from instrux.evaluation.metrics import NO_QUALITY
from instrux.evaluation.results import Interval
from instrux.evaluation.runs import INSTRUCTIONS, NO_INSTRUCTIONS, UNTUNED

GAIN, LOSS, UNCLEAR = "gain", "loss", "unclear"


@dataclass(frozen=True)
class GroupVerdict:
    """The verdict on one group of prompts.

    Attributes:
        comparison: the numbers.
        outcome: `gain`, `loss` or `unclear`.
        sentence: the numbers in words.
    """

    comparison: Comparison
    outcome: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The verdict of a report.

    Attributes:
        headline: one sentence.
        outcome: that of the headline: `gain`, `loss`, `unclear`, or `mixed`.
        groups: one a group of prompts.
        confidence: sentences on how sure this is, and what the intervals leave out.
    """

    headline: str
    outcome: str
    groups: tuple[GroupVerdict, ...]
    confidence: tuple[str, ...]


def judge(comparisons: Sequence[Comparison]) -> Verdict:
    """Words the comparisons; the headline speaks of held-out groups if there are any."""
    groups = tuple(
        GroupVerdict(comparison, outcome(comparison), sentence(comparison))
        for comparison in comparisons
        if comparison.metric not in NO_QUALITY
    )
    if comparisons and not groups:
        return Verdict("No metric here says which model is better.", UNCLEAR, (), ())
    if not groups:
        return Verdict("There is nothing to compare: no prompt was evaluated.", UNCLEAR, (), ())
    held_out = [group for group in groups if group.comparison.group.startswith("held-out")]
    headline_groups = held_out or list(groups)
    return Verdict(
        headline=_headline(headline_groups),
        outcome=_common_outcome(headline_groups),
        groups=groups,
        confidence=tuple(_confidence(comparisons, trained_on=not held_out)),
    )


def outcome(comparison: Comparison) -> str:
    """Whether the main arm beats its reference, or else what no understanding gets."""
    reference = comparison.reference
    if reference is not None and reference.lead is not None:
        return _sign(reference.lead.interval, 0.0)
    return _sign(comparison.main.score.interval, comparison.baseline)


def _sign(interval: Interval, than: float) -> str:
    if interval.low > than:
        return GAIN
    return LOSS if interval.high < than else UNCLEAR


def _common_outcome(groups: Sequence[GroupVerdict]) -> str:
    outcomes = {group.outcome for group in groups}
    return outcomes.pop() if len(outcomes) == 1 else "mixed"


def _headline(groups: Sequence[GroupVerdict]) -> str:
    has_reference = all(group.comparison.reference is not None for group in groups)
    tuned = groups[0].comparison.main.arm.role == INSTRUCTIONS
    subject = "Instruction tuning" if tuned else groups[0].comparison.main.arm.name
    if has_reference:
        words = {GAIN: "worked", LOSS: "did harm", UNCLEAR: "made no difference that can be shown"}
    else:
        subject = "The instruction-tuned model" if tuned else subject
        by_chance = all(group.comparison.baseline_name == "chance" for group in groups)
        baseline = "chance" if by_chance else "what no understanding gets"
        words = {
            GAIN: f"does better than {baseline}",
            LOSS: f"does worse than {baseline}",
            UNCLEAR: f"is not shown to do better than {baseline}",
        }
    parts = []
    for kind in (GAIN, UNCLEAR, LOSS):
        where = [_where(group, groups) for group in groups if group.outcome == kind]
        if where:
            parts.append(f"{words[kind]} on {_listed(where)}")
    return f"{subject} {', but '.join(parts)}."


def _where(group: GroupVerdict, groups: Sequence[GroupVerdict]) -> str:
    comparison = group.comparison
    several = sum(other.comparison.group == comparison.group for other in groups) > 1
    return group_name(comparison.group) + (f" ({comparison.metric})" if several else "")


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def group_name(group: str) -> str:
    """A group's name inside a sentence: `held-out prompts`, `the held-out cluster`."""
    if not group:
        return "the evaluated prompts"
    return f"the {group}" if group.endswith(("cluster", "set", "task", "dataset")) else group


_SAME = {
    NO_INSTRUCTIONS: "the same model trained without instructions",
    UNTUNED: "the same model untuned",
}


def sentence(comparison: Comparison) -> str:
    """The numbers of one group in one sentence."""
    main, reference, metric = comparison.main, comparison.reference, comparison.metric
    subject = "the instruction-tuned model" if main.arm.role == INSTRUCTIONS else main.arm.name
    baseline = number(comparison.baseline, metric, _coarse(main.score))
    verb = "is" if comparison.baseline_name == "chance" else "gets"
    text = (
        f"On {group_name(comparison.group)} {subject} gets {_with_interval(main.score, metric)};"
        f" {comparison.baseline_name} {verb} {baseline}"
    )
    if reference is None or reference.lead is None:
        return f"{text}."
    same = _SAME[reference.arm.role]
    return (
        f"{text}, {same} {_with_interval(reference.score, metric, short=True)}."
        f" Difference: {_points(reference.lead, metric)}."
    )


def ablation_sentence(comparison: Comparison) -> str | None:
    """What more training prompts did, from the fewest to the main arm's; None without both."""
    fewer = [
        score
        for score in comparison.scores[1:]
        if score.arm.role == comparison.main.arm.role and score.arm.point is not None
    ]
    main = comparison.main.arm
    if not fewer or main.point is None:
        return None
    least = min(fewer, key=lambda score: score.arm.point or 0)
    if least.lead is None:
        return None
    words = {GAIN: "higher", LOSS: "lower", UNCLEAR: "not shown to be different"}
    return (
        f"With {point_name(main.point)} {main.axis} instead of {point_name(least.arm.point or 0)}, the score"
        f" on {group_name(comparison.group)} is {words[_sign(least.lead.interval, 0.0)]}: difference"
        f" {_points(least.lead, comparison.metric)}.{_spread_sentence(least)}"
    )


def _spread_sentence(score: ArmScore) -> str:
    if score.spread_lead is None:
        return ""
    words = {GAIN: "larger", LOSS: "smaller", UNCLEAR: "not shown to be different"}
    word = words[_sign(score.spread_lead.interval, 0.0)]
    return (
        f" The spread over prompts (interquartile range) is {word}: difference"
        f" {_points(score.spread_lead, 'accuracy')}."
    )


def _with_interval(estimate: Estimate, metric: str, *, short: bool = False) -> str:
    coarse = _coarse(estimate)
    low, high = (_digits(end, coarse) for end in (estimate.interval.low, estimate.interval.high))
    label = "" if short else "95\u00a0% interval "
    return f"{number(estimate.value, metric, coarse)} ({label}{low} to {high})"


def _points(lead: Estimate, metric: str) -> str:
    coarse = _coarse(lead)
    value, low, high = (
        _digits(end, coarse) for end in (lead.value, lead.interval.low, lead.interval.high)
    )
    of = "" if metric == "accuracy" else f" of {metric}"
    return f"{value} point{'' if value == '1' else 's'}{of} ({low} to {high})"


def _coarse(estimate: Estimate) -> bool:
    """Whether decimals would say more than the interval knows."""
    return estimate.half_width >= 1


def _digits(value: float, coarse: bool) -> str:
    text = f"{value:.0f}" if coarse else f"{value:.1f}"
    # A minus sign, and none before nothing.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def number(value: float, metric: str, coarse: bool = False) -> str:
    """A score in words: `71 %` for accuracy, `31 rougeL` else."""
    # A no-break space: the unit stays with its number.
    return f"{_digits(value, coarse)}\u00a0{'%' if metric == 'accuracy' else metric}"


def _confidence(comparisons: Sequence[Comparison], *, trained_on: bool) -> list[str]:
    said = [
        f"Intervals come from {REPLICATES:,} bootstrap draws over examples and prompts, the same"
        " draws for every run; they say nothing about other datasets."
    ]
    said.append(_seeds(comparisons[0].scores))
    if all(comparison.reference is None for comparison in comparisons):
        said.append(
            "No run trained without instructions stands beside it, so what instructions added to"
            " training as such is not known."
        )
    if trained_on:
        said.append(
            "No group of prompts is called held-out, so this may be memory as well as"
            " generalisation."
        )
    for comparison in comparisons:
        said += _weaknesses(comparison)
    return said


def _seeds(scores: Sequence[ArmScore]) -> str:
    numbers = [len(score.by_seed) for score in scores]
    if max(numbers) == 1:
        return "One training seed a run: a second training might differ by more than the interval says."
    text = "; ".join(
        f"{score.arm.name} {_listed([_digits(v, coarse=False) for v in sorted(score.by_seed)])}"
        for score in scores
        if len(score.by_seed) > 1
    )
    few = " With so few, the spread over seeds is itself uncertain." if min(numbers) < 5 else ""
    return f"Training seeds are drawn too ({text}).{few}"


def _weaknesses(comparison: Comparison) -> list[str]:
    where = group_name(comparison.group)
    where = where[0].upper() + where[1:]
    said = []
    if comparison.num_prompts / len(comparison.datasets) < 3:
        said.append(
            f"{where}: {comparison.num_prompts} prompts for {len(comparison.datasets)} datasets are"
            " few to judge the spread over prompts by."
        )
    if comparison.main.score.interval.low <= comparison.baseline:
        said.append(
            f"{where}: the score itself is not shown to be above {comparison.baseline_name.rstrip(',')}."
        )
    if comparison.left_out:
        said.append(f"{where}: left out, as not every run has it: {_listed(comparison.left_out)}.")
    return said
