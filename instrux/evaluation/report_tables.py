"""The tables of a report, as text ready to be shown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instrux.evaluation.aggregate import Cell
from instrux.evaluation.compare import Arm, ArmScore, CellKey, Comparison, compare
from instrux.evaluation.results import Interval, TaskResult
from instrux.evaluation.runs import EvaluatedRun
from instrux.evaluation.training_plots import running_mean
from instrux.progress import duration

ABSENT = "–"


@dataclass(frozen=True)
class ArmCell:
    """One arm on one dataset."""

    median: str
    interval: str
    quartiles: str
    spread: str
    mean: str
    best: str


@dataclass(frozen=True)
class DatasetRow:
    """One dataset in one group."""

    dataset: str
    num_prompts: str
    num_examples: str
    baseline: str
    cells: tuple[ArmCell, ...]
    lead: str
    lead_interval: str


@dataclass(frozen=True)
class DatasetTable:
    """The datasets of one group under one metric."""

    title: str
    rows: tuple[DatasetRow, ...]


def compare_datasets(arms: Sequence[Arm], *, seed: int = 0) -> dict[CellKey, Comparison | None]:
    """Compares arms dataset by dataset: those that were evaluated on it, whoever else was not."""
    return {key: compare(_present(arms, key), [key], seed=seed) for key in all_keys(arms)}


def _present(arms: Sequence[Arm], key: CellKey) -> list[Arm]:
    # Arms of several seeds of which some lack the dataset are not there either.
    found = [arm for arm in arms if all(key in run.cells for run in arm.runs)]
    return found or [arm for arm in arms if any(key in run.cells for run in arm.runs)][:1]


def dataset_tables(
    arms: Sequence[Arm],
    groups: Sequence[tuple[str, str]],
    compared: Mapping[CellKey, Comparison | None],
) -> list[DatasetTable]:
    """One table a (group, metric), datasets in the order of the main arm's results.

    Args:
        arms: the main one first.
        groups: what to tabulate.
        compared: what `compare_datasets` found.
    """
    keys = all_keys(arms)
    tables = []
    for group, metric in groups:
        rows = [
            _dataset_row(arms, key, compared[key]) for key in keys if key[1:] == (group, metric)
        ]
        title = group or "evaluated prompts"
        tables.append(DatasetTable(f"{title}, {metric}", tuple(rows)))
    return tables


def all_keys(arms: Sequence[Arm]) -> list[CellKey]:
    """The cells that any run has, in order of first appearance."""
    return list(dict.fromkeys(key for arm in arms for run in arm.runs for key in run.cells))


def _dataset_row(arms: Sequence[Arm], key: CellKey, compared: Comparison | None) -> DatasetRow:
    # Arms without this dataset leave their cells empty; the others are compared all the same.
    scores = {score.arm.name: score for score in compared.scores} if compared else {}
    reference = compared.reference if compared and compared.main.arm is arms[0] else None
    lead = reference.lead if reference else None
    first = next(run.cells[key] for arm in arms for run in arm.runs if key in run.cells)
    return DatasetRow(
        dataset=key[0],
        num_prompts=str(len(first.results)),
        num_examples=f"{len(first.credits.example_ids):,}",
        baseline=percent(first.baseline),
        cells=tuple(_arm_cell(arm, key, scores.get(arm.name)) for arm in arms),
        lead=ABSENT if lead is None else signed(lead.value),
        lead_interval="" if lead is None else between(lead.interval),
    )


def _arm_cell(arm: Arm, key: CellKey, score: ArmScore | None) -> ArmCell:
    if score is None:
        return ArmCell(ABSENT, "", ABSENT, ABSENT, ABSENT, ABSENT)
    scores = [run.cells[key].scores for run in arm.runs]
    return ArmCell(
        median=percent(score.score.value),
        interval=between(score.score.interval),
        quartiles=" to ".join(
            percent(float(np.mean([np.percentile(s, q) for s in scores]))) for q in (25, 75)
        ),
        spread=percent(float(np.mean([interquartile_range(s) for s in scores]))),
        mean=percent(float(np.mean([s.mean() for s in scores]))),
        best=percent(float(np.mean([s.max() for s in scores]))),
    )


def interquartile_range(scores: np.ndarray) -> float:
    """Third quartile less first, by linear interpolation."""
    low, high = np.percentile(scores, [25, 75])
    return float(high - low)


@dataclass(frozen=True)
class PromptCell:
    """One arm under one prompt."""

    value: str
    interval: str


@dataclass(frozen=True)
class PromptRow:
    """One prompt."""

    template: str
    num_examples: str
    covers: str
    scores: tuple[PromptCell, ...]


def prompt_rows(arms: Sequence[Arm], key: CellKey) -> list[PromptRow]:
    """One row a prompt of a cell; an arm of one run has its interval.

    A prompt that covers fewer of the dataset's rows than another says so: it scores another set.
    """
    by_task = [[_by_task(run, key) for run in arm.runs] for arm in arms]
    tasks = dict.fromkeys(task for runs in by_task for found in runs for task in found)
    covered = coverage(run.cells[key] for arm in arms for run in arm.runs if key in run.cells)
    most = max(covered.values(), default=0)
    rows = []
    for task in tasks:
        results = [[found[task] for found in runs if task in found] for runs in by_task]
        first = next(r for found in results for r in found)
        rows.append(
            PromptRow(
                template=first.template,
                num_examples=f"{first.num_examples:,}",
                covers=_covers(covered.get(task, 0), most),
                scores=tuple(_prompt_cell(found) for found in results),
            )
        )
    return rows


def coverage(cells: Iterable[Cell]) -> dict[str, int]:
    """How many of a dataset's rows each prompt (by its task) applies to.

    Where it is known, that is what was rendered, since `max_examples` may have cut all prompts to
    the same number; else what was evaluated.
    """
    found: dict[str, int] = {}
    for cell in cells:
        evaluated = (cell.credits.counts > 0).sum(axis=0)
        known = all(result.num_rendered is not None for result in cell.results)
        for result, count in zip(cell.results, evaluated, strict=True):
            rows = result.num_rendered if known and result.num_rendered is not None else int(count)
            found[result.task] = max(found.get(result.task, 0), rows)
    return found


def _covers(rows: int, most: int) -> str:
    return "" if rows == most else f"applies to {rows:,} of {most:,} rows"


def _by_task(run: EvaluatedRun, key: CellKey) -> dict[str, TaskResult]:
    cell = run.cells.get(key)
    return {result.task: result for result in cell.results} if cell else {}


def _prompt_cell(results: Sequence[TaskResult]) -> PromptCell:
    if not results:
        return PromptCell(ABSENT, "")
    mean = percent(float(np.mean([result.score for result in results])))
    return PromptCell(mean, between(results[0].interval) if len(results) == 1 else "")


@dataclass(frozen=True)
class TrainingRow:
    """What one run's training came to."""

    name: str
    arm: int
    steps: str
    first_loss: str
    last_loss: str
    tokens_per_second: str
    utilisation: str
    padding: str
    time: str


def training_rows(arms: Sequence[Arm]) -> list[TrainingRow]:
    """One row a run that logged its training."""
    return [
        _training_row(run, number)
        for number, arm in enumerate(arms)
        for whole in arm.runs
        for run in whole.trained
        if run.curve
    ]


def _training_row(run: EvaluatedRun, arm: int) -> TrainingRow:
    losses = np.array([point.loss for point in run.curve])
    losses = losses[np.isfinite(losses)]
    smooth = running_mean(losses, max(1, len(losses) // 40)) if len(losses) else losses
    seconds = run.curve[-1].seconds
    utilisation = _median([point.model_flops_utilisation for point in run.curve])
    padding = _median([point.padding_share for point in run.curve])
    return TrainingRow(
        name=run.about.name,
        arm=arm,
        steps=f"{run.curve[-1].step:,}",
        first_loss=f"{losses[0]:.3f}" if len(losses) else ABSENT,
        last_loss=f"{smooth[-1]:.3f}" if len(losses) else ABSENT,
        tokens_per_second=_count(_median([point.tokens_per_second for point in run.curve])),
        utilisation=ABSENT if math.isnan(utilisation) else f"{utilisation:.1%}",
        padding=ABSENT if math.isnan(padding) else f"{padding:.1%}",
        time=ABSENT if math.isnan(seconds) else duration(seconds),
    )


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan


def _count(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:,.0f}"


def percent(value: float) -> str:
    """One decimal, without a sign for percent."""
    return f"{value:.1f}"


def signed(value: float) -> str:
    """One decimal with its sign."""
    return f"{value:+.1f}".replace("-", "−")


def between(interval: Interval) -> str:
    """An interval without decimals, which it would not know: `68 to 74`."""
    return f"{interval.low:.0f} to {interval.high:.0f}".replace("-", "−")
