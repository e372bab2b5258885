"""The report's section on prompt robustness: what happens to the median and to the spread.

A model is robust to prompts where its scores under different prompts lie near each other: where
the interquartile range over a dataset's prompts is small (T0, arXiv 2110.08207). The paper counts
on how many datasets a median rises and a spread falls; so does this section, and it counts apart
those where the interval of the difference leaves no doubt of its sign.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from instrux.evaluation.compare import Arm, ArmScore, CellKey, Comparison, Estimate, compare
from instrux.evaluation.report_tables import ABSENT, between, percent, signed
from instrux.evaluation.verdict import group_name


@dataclass(frozen=True)
class RobustnessRow:
    """The main arm and another on one dataset; all text."""

    dataset: str
    medians: tuple[str, str]
    median_lead: str
    median_interval: str
    spreads: tuple[str, str]
    spread_lead: str
    spread_interval: str


@dataclass(frozen=True)
class RobustnessTable:
    """The main arm against another in one group.

    Attributes:
        group: the group's heading.
        arms: names of the main arm and of the other.
        sentences: the datasets counted, and their means in words.
        rows: the datasets, then their mean.
    """

    group: str
    arms: tuple[str, str]
    sentences: tuple[str, ...]
    rows: tuple[RobustnessRow, ...]


def robustness_tables(
    arms: Sequence[Arm],
    comparisons: Sequence[Comparison],
    by_dataset: Mapping[CellKey, Comparison | None],
    *,
    seed: int = 0,
) -> list[RobustnessTable]:
    """One table for each arm but the main one, of all held-out datasets (or all, if none is).

    Args:
        arms: the main one first.
        comparisons: of groups.
        by_dataset: of single datasets.
        seed: of the draws.
    """
    held_out = [c for c in comparisons if c.group.startswith("held-out")]
    tables = []
    for metric in dict.fromkeys(c.metric for c in held_out or comparisons):
        members = [c for c in held_out or comparisons if c.metric == metric]
        keys = [(dataset, c.group, metric) for c in members for dataset in c.datasets]
        # Over several groups the mean over all their datasets has draws of its own.
        whole = members[0] if len(members) == 1 else compare(arms, keys, seed=seed)
        if whole is None:
            continue
        group = members[0].group if len(members) == 1 else _common_name(bool(held_out))
        tables += [
            _table(group, keys, whole, number, by_dataset) for number in range(1, len(whole.scores))
        ]
    return tables


def _common_name(held_out: bool) -> str:
    return "held-out datasets" if held_out else "all datasets"


def _table(
    group: str,
    keys: Sequence[CellKey],
    whole: Comparison,
    number: int,
    by_dataset: Mapping[CellKey, Comparison | None],
) -> RobustnessTable:
    main, other = whole.main, whole.scores[number]
    pairs = []
    for key in keys:
        found = by_dataset.get(key)
        if found is not None:
            pairs.append((key[0], found.main, next(s for s in found.scores if s.arm is other.arm)))
    rows = [_row(*pair) for pair in pairs]
    if len(rows) > 1:
        rows.append(_row(f"mean of {len(rows)} datasets", main, other))
    title = group or "evaluated prompts"
    return RobustnessTable(
        group=title[0].upper()
        + title[1:]
        + ("" if whole.metric == "accuracy" else f", {whole.metric}"),
        arms=(main.arm.name, other.arm.name),
        sentences=_sentences(group, main, other, [score for _, _, score in pairs]),
        rows=tuple(rows),
    )


def _row(dataset: str, main: ArmScore, other: ArmScore) -> RobustnessRow:
    return RobustnessRow(
        dataset=dataset,
        medians=(percent(main.score.value), percent(other.score.value)),
        median_lead=ABSENT if other.lead is None else signed(other.lead.value),
        median_interval="" if other.lead is None else between(other.lead.interval),
        spreads=(percent(main.spread.value), percent(other.spread.value)),
        spread_lead=ABSENT if other.spread_lead is None else signed(other.spread_lead.value),
        spread_interval="" if other.spread_lead is None else between(other.spread_lead.interval),
    )


def _sentences(
    group: str, main: ArmScore, other: ArmScore, scores: Sequence[ArmScore]
) -> tuple[str, ...]:
    leads = [score.lead for score in scores if score.lead is not None]
    spreads = [score.spread_lead for score in scores if score.spread_lead is not None]
    total = f"{len(scores)} dataset{'' if len(scores) == 1 else 's'}"
    return (
        f"On {group_name(group)} the median of {main.arm.name} is higher than that of"
        f" {other.arm.name} on {_count(leads, +1, total)}, and lower on {_count(leads, -1)}.",
        f"Its interquartile range over prompts is smaller on {_count(spreads, -1)}, and larger on"
        f" {_count(spreads, +1)}.",
    )


def _count(leads: Sequence[Estimate], sign: int, total: str = "") -> str:
    """How many differences have a sign, and how many of these have it beyond doubt."""
    of = f" of {total}" if total else ""
    having = [lead for lead in leads if sign * lead.value > 0]
    sure = [
        lead for lead in having if (lead.interval.low > 0 if sign > 0 else lead.interval.high < 0)
    ]
    return f"{len(having)}{of} ({len(sure)} beyond doubt)" if having else f"0{of}"
