"""The dots-and-boxes figure as shapes in a page: a dot a prompt, which leads to its predictions.

Where a run is evaluated on many prompts of a dataset, the median and the spread over them are what
instruction tuning is judged by (arXiv 2110.08207, figures 4 and 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instrux.evaluation.results import TaskResult
from instrux.studio.results.catalogue import Evaluation

WIDTH = 980
_LEFT, _RIGHT, _TOP, _BOTTOM = 270, 24, 8, 40
_LANE, _GAP = 24, 16
_HALF = 8
_DOT = 10.0  # across a dot, in both directions
_MOST_STACKED = 7


@dataclass(frozen=True)
class Dot:
    """One prompt of one model: its place in the figure, and what it is of."""

    x: float
    y: float
    evaluation: Evaluation
    result: TaskResult


@dataclass(frozen=True)
class Box:
    """First quartile, median and third quartile over the prompts of one model, as places."""

    low: float
    median: float
    high: float
    top: float
    height: float
    model: int
    words: str


@dataclass(frozen=True)
class Row:
    """One dataset: its label, the dots and boxes of every model, and the baseline."""

    label: str
    detail: str
    middle: float
    top: float
    bottom: float
    baseline: float
    baseline_score: float
    boxes: tuple[Box, ...]
    dots: tuple[tuple[int, Dot], ...]


@dataclass(frozen=True)
class Figure:
    """One group of prompts with one metric.

    Attributes:
        title: the group, and the metric.
        metric: the metric's name.
        height: of the picture; its width is `WIDTH`.
        axis: y of the axis.
        ticks: x and label of each tick.
        rows: a dataset each.
    """

    title: str
    metric: str
    height: float
    axis: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]


def figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """A figure for every group of prompts and metric, in the order of the evaluations."""
    parts: dict[tuple[str, str], dict[str, list[tuple[int, Evaluation, TaskResult]]]] = {}
    for model, evaluation in enumerate(evaluations):
        for result in evaluation.results.tasks if evaluation.results else ():
            if result.num_examples and np.isfinite(result.score):
                part = parts.setdefault((result.group, result.metric), {})
                part.setdefault(result.dataset, []).append((model, evaluation, result))
    return [
        _figure(group or "Prompts", metric, datasets, len(evaluations))
        for (group, metric), datasets in parts.items()
    ]


def _figure(
    group: str,
    metric: str,
    datasets: dict[str, list[tuple[int, Evaluation, TaskResult]]],
    models: int,
) -> Figure:
    highest = max(result.score for members in datasets.values() for *_, result in members)
    limit = 100.0 if highest > 50 else max(10.0, 10 * np.ceil(highest / 10 + 0.2))

    def x(score: float) -> float:
        share = min(max(score / limit, 0.0), 1.0)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    rows, top = [], float(_TOP)
    for dataset, members in datasets.items():
        row = _row(dataset, members, models, top, x)
        rows.append(row)
        top = row.bottom + _GAP
    step = limit / 5 if limit > 10 else 2
    ticks = [(x(score), f"{score:g}") for score in np.arange(0, limit + 0.1, step)]
    return Figure(group, metric, top + _BOTTOM - _GAP, top - _GAP / 2, tuple(ticks), tuple(rows))


def _row(dataset: str, members, models: int, top: float, x) -> Row:
    lanes = [[(e, r) for m, e, r in members if m == model] for model in range(models)]
    places = [_stacked([x(result.score) for _, result in lane]) for lane in lanes]
    lane_height = max(_LANE, _DOT * (1 + max(max(lane, default=0) for lane in places)) + 4)
    boxes, dots = [], []
    for model, lane in enumerate(lanes):
        if not lane:
            continue
        middle = top + (model + 0.5) * lane_height
        boxes.append(_box(np.array([result.score for _, result in lane]), middle, model, x))
        for (evaluation, result), place in zip(lane, places[model], strict=True):
            # Around the middle: 0, up, down, further up, ...
            y = middle + _DOT * ((place + 1) // 2) * (-1 if place % 2 else 1)
            dots.append((model, Dot(x(result.score), round(y, 1), evaluation, result)))
    bottom = top + models * lane_height
    baseline = float(np.mean([result.baseline for *_, result in members]))
    prompts = len({result.task for *_, result in members})
    examples = max(result.num_examples for *_, result in members)
    return Row(
        label=dataset,
        detail=f"{prompts} prompt{'s' * (prompts != 1)}, {examples:,} examples",
        middle=(top + bottom) / 2,
        top=top,
        bottom=bottom,
        baseline=x(baseline),
        baseline_score=baseline,
        boxes=tuple(boxes),
        dots=tuple(dots),
    )


def _stacked(places: Sequence[float]) -> list[int]:
    """For every dot of a lane the first level on which it lies on no other; the last if none."""
    ends = [-np.inf] * _MOST_STACKED
    levels = [0] * len(places)
    for dot in sorted(range(len(places)), key=lambda dot: places[dot]):
        free = (n for n, end in enumerate(ends) if places[dot] - end >= _DOT)
        levels[dot] = next(free, _MOST_STACKED - 1)
        ends[levels[dot]] = places[dot]
    return levels


def _box(scores: np.ndarray, middle: float, model: int, x) -> Box:
    low, median, high = map(float, np.percentile(scores, [25, 50, 75]))
    return Box(
        low=x(low),
        median=x(median),
        high=x(high),
        top=middle - _HALF,
        height=2 * _HALF,
        model=model,
        words=f"median {median:.1f}, quartiles {low:.1f} to {high:.1f}",
    )
