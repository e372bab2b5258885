"""Runs beside each other: on the same datasets and examples, with paired intervals.

An *arm* is a kind of run: the runs that differ in nothing but their training seed. Scores of an
arm are means over its seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instrux.evaluation import bootstrap
from instrux.evaluation.aggregate import Cell
from instrux.evaluation.results import Interval
from instrux.evaluation.runs import (
    INSTRUCTIONS,
    NO_INSTRUCTIONS,
    UNTUNED,
    EvaluatedRun,
    joined_sweeps,
)

CellKey = tuple[str, str, str]
_ROLE_NAMES = {
    INSTRUCTIONS: "instruction-tuned",
    NO_INSTRUCTIONS: "trained without instructions",
}


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but their seed.

    Attributes:
        name: what figures and tables call it.
        role: `instructions`, `no instructions`, or another.
        axis: what an ablation varies, in words.
        point: where on it the arm stands, or None.
        runs: one a seed.
    """

    name: str
    role: str
    axis: str
    point: float | None
    runs: tuple[EvaluatedRun, ...]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    interval: Interval

    @property
    def half_width(self) -> float:
        """Half the interval's width."""
        return (self.interval.high - self.interval.low) / 2


@dataclass(frozen=True)
class ArmScore:
    """How one arm does on a comparison's datasets.

    Attributes:
        arm: the arm.
        score: mean over datasets of the median over prompts, mean over seeds.
        by_seed: the score of each of its runs.
        lead: the main arm's score less this one's, paired; None for the main arm itself.
        spread: mean over datasets of the interquartile range over prompts, mean over seeds.
        spread_lead: the main arm's spread less this one's, as `lead`: below 0 where the main arm
            depends less on the prompt.
    """

    arm: Arm
    score: Estimate
    by_seed: tuple[float, ...]
    lead: Estimate | None
    spread: Estimate
    spread_lead: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """The arms on one group of prompts (or one dataset of it) under one metric.

    Attributes:
        group: name of the group, or "".
        metric: the headline metric.
        datasets: labels of the datasets compared.
        num_prompts: prompts of the main arm, over all datasets.
        num_examples: different examples.
        baseline: what no understanding gets.
        baseline_name: `chance`, or what else the baseline is.
        scores: one an arm; the main arm first.
        left_out: labels of datasets that not every arm was evaluated on.
    """

    group: str
    metric: str
    datasets: tuple[str, ...]
    num_prompts: int
    num_examples: int
    baseline: float
    baseline_name: str
    scores: tuple[ArmScore, ...]
    left_out: tuple[str, ...] = ()

    @property
    def main(self) -> ArmScore:
        """The arm that the report is about."""
        return self.scores[0]

    @property
    def reference(self) -> ArmScore | None:
        """The arm trained without instructions, or else the untuned one, if there is one.

        An untuned one counts where it stands where the main arm does, such as at the same size.
        """
        for score in self.scores[1:]:
            if score.arm.role == NO_INSTRUCTIONS:
                return score
        untuned = (s for s in self.scores[1:] if s.arm.role == UNTUNED)
        return next((s for s in untuned if s.arm.point == self.main.arm.point), None)


def arms(runs: Sequence[EvaluatedRun]) -> list[Arm]:
    """Sorts runs into arms, the main one first: with instructions, of the most training prompts.

    The parts of a sweep over clusters count as one run (`runs.joined_sweeps`).
    """
    kinds: dict[tuple[str, str, float | None], list[EvaluatedRun]] = {}
    for run in joined_sweeps(runs):
        kinds.setdefault((run.about.role, run.about.axis, run.about.place), []).append(run)
    made = []
    for members in kinds.values():
        seeds = [run.about.seed for run in members]
        if None in seeds or len(set(seeds)) < len(seeds):  # they differ in something else
            made += [_arm([run], several=True) for run in members]
        else:
            made.append(_arm(members, several=len(kinds) > 1))
    return sorted(made, key=lambda arm: (_ROLE_ORDER.get(arm.role, 2), -_place(arm)))


_ROLE_ORDER = {INSTRUCTIONS: 0, NO_INSTRUCTIONS: 1}


def _place(arm: Arm) -> float:
    return float("inf") if arm.point is None else arm.point


def _arm(members: Sequence[EvaluatedRun], *, several: bool) -> Arm:
    first = members[0].about
    if len(members) == 1:
        return Arm(first.name, first.role, first.axis, first.place, tuple(members))
    name = _ROLE_NAMES.get(first.role, first.role)
    if several and first.num_prompts is not None:
        name += f", {first.num_prompts} prompt{'s' if first.num_prompts != 1 else ''} a task"
    elif several and first.point is not None:
        name += f", {point_name(first.point)} {first.axis}"
    return Arm(name, first.role, first.axis, first.place, tuple(members))


def compare_groups(all_arms: Sequence[Arm], *, seed: int = 0) -> list[Comparison]:
    """Compares the arms on every group of prompts, in the order the main arm's results have."""
    cells = all_arms[0].runs[0].cells
    order = list(all_arms[0].runs[0].results.groups)
    groups = sorted(
        {(group, metric) for _, group, metric in cells}, key=lambda g: _group_place(g, order)
    )
    return [
        compared
        for group, metric in groups
        if (
            compared := compare(all_arms, [k for k in cells if k[1:] == (group, metric)], seed=seed)
        )
    ]


def point_name(point: float) -> str:
    """Words where an arm stands on what is varied: `7`, `250M`, `11B`."""
    for unit, size in (("B", 1e9), ("M", 1e6)):
        if point >= size:
            return f"{point / size:g}{unit}"
    return f"{point:g}"


def _group_place(group: tuple[str, str], order: Sequence[str]) -> tuple[int, str]:
    return (order.index(group[0]) if group[0] in order else len(order), group[1])


def compare(
    all_arms: Sequence[Arm], keys: Sequence[CellKey], *, seed: int = 0
) -> Comparison | None:
    """Compares the arms on cells of one group and metric; None where no cell has all arms.

    Only examples that every run was evaluated on count.
    """
    runs = [run for arm in all_arms for run in arm.runs]
    paired = [(key, _paired([run.cells.get(key) for run in runs])) for key in keys]
    shared = [(key, credits) for key, credits in paired if credits]
    if not shared:
        return None
    scores, spreads = _statistics([row for _, row in shared], seed)
    main_cells = [all_arms[0].runs[0].cells[key] for key, _ in shared]
    return Comparison(
        group=keys[0][1],
        metric=keys[0][2],
        datasets=tuple(key[0] for key, _ in shared),
        num_prompts=sum(len(cell.results) for cell in main_cells),
        num_examples=sum(len(row[0].example_ids) for _, row in shared),
        baseline=float(np.mean([cell.baseline for cell in main_cells])),
        baseline_name=_baseline_name(main_cells),
        scores=_arm_scores(all_arms, scores, spreads, seed),
        left_out=tuple(key[0] for key, credits in paired if not credits),
    )


@dataclass(frozen=True)
class _Statistic:
    """A statistic of every run: values [runs], and their replicates [runs, replicates]."""

    values: np.ndarray
    draws: np.ndarray


def _statistics(
    datasets: Sequence[Sequence[bootstrap.DatasetCredits]], seed: int
) -> tuple[_Statistic, _Statistic]:
    """Median and spread over prompts, means over datasets of [datasets][runs]."""
    medians, spreads, median_draws, spread_draws = [], [], [], []
    for row in datasets:
        drawn = bootstrap.prompt_replicates(row, seed=seed)
        medians.append([np.median(run.prompt_scores) for run in row])
        spreads.append([bootstrap.interquartile_ranges(run.prompt_scores) for run in row])
        median_draws.append([bootstrap.medians(scores) for scores in drawn])
        spread_draws.append([bootstrap.interquartile_ranges(scores) for scores in drawn])
    spread_values = np.mean(spreads, axis=0)
    around = [
        bootstrap.centred(draws, value)
        for draws, value in zip(np.mean(spread_draws, axis=0), spread_values, strict=True)
    ]
    return (
        _Statistic(np.mean(medians, axis=0), np.mean(median_draws, axis=0)),
        _Statistic(spread_values, np.stack(around)),
    )


def _paired(cells: Sequence[Cell | None]) -> list[bootstrap.DatasetCredits]:
    """The credits of every run on the examples that all of them have; nothing if one lacks all."""
    present = [cell.credits for cell in cells if cell is not None]
    if len(present) < len(cells):
        return []
    if len({credits.example_ids for credits in present}) == 1:
        return present
    common = sorted(set.intersection(*(set(credits.example_ids) for credits in present)))
    made = [credits.for_examples(common) for credits in present]
    return made if common and all(c.counts.sum(axis=0).all() for c in made) else []


def _baseline_name(cells: Sequence[Cell]) -> str:
    modes = {result.mode for cell in cells for result in cell.results}
    if modes == {"rank"}:
        return "chance"
    frequent = "always the most frequent answer"
    return frequent if modes == {"generate"} else f"chance, or {frequent},"


def _arm_scores(
    all_arms: Sequence[Arm], scores: _Statistic, spreads: _Statistic, seed: int
) -> tuple[ArmScore, ...]:
    """Scores and spreads of the arms from those of their runs."""
    medians = _by_arm(all_arms, scores, seed)
    ranges = _by_arm(all_arms, spreads, seed)
    made: list[ArmScore] = []
    start = 0
    for number, arm in enumerate(all_arms):
        rows = slice(start, start + len(arm.runs))
        start = rows.stop
        made.append(
            ArmScore(
                arm=arm,
                score=_estimate(*medians[number]),
                by_seed=tuple(map(float, scores.values[rows])),
                lead=_lead(medians, number),
                spread=_at_least_0(_estimate(*ranges[number])),
                spread_lead=_lead(ranges, number),
            )
        )
    return tuple(made)


_Drawn = tuple[float, np.ndarray]


def _by_arm(all_arms: Sequence[Arm], statistic: _Statistic, seed: int) -> list[_Drawn]:
    """Each arm's mean over its runs, and its replicates, seeds drawn too."""
    made, start = [], 0
    for number, arm in enumerate(all_arms):
        rows = slice(start, start + len(arm.runs))
        start = rows.stop
        drawn = _seed_draws(statistic.draws[rows], [seed, number])
        made.append((float(statistic.values[rows].mean()), drawn))
    return made


def _estimate(value: float, draws: np.ndarray) -> Estimate:
    return Estimate(value, bootstrap.percentile_interval(draws))


def _lead(by_arm: Sequence[_Drawn], number: int) -> Estimate | None:
    """The main arm less another; None for the main arm itself."""
    if number == 0:
        return None
    (main, main_draws), (value, draws) = by_arm[0], by_arm[number]
    return _estimate(main - value, main_draws - draws)


def _at_least_0(estimate: Estimate) -> Estimate:
    interval = estimate.interval
    return Estimate(estimate.value, Interval(max(0.0, interval.low), max(0.0, interval.high)))


def _seed_draws(draws: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Replicates of the mean over seeds, seeds drawn too: [runs, replicates] to [replicates]."""
    num_runs, replicates = draws.shape
    if num_runs == 1:
        return draws[0]
    chosen = np.random.default_rng(seed).integers(num_runs, size=(num_runs, replicates))
    return np.take_along_axis(draws, chosen, axis=0).mean(axis=0)
