"""Figures of scores: groups at a glance, a dot a prompt and a box a dataset, the ablation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from instrux.evaluation.compare import Arm, Comparison, point_name
from instrux.evaluation.drawing import (
    INK,
    MUTED,
    Drawing,
    arm_style,
    draw,
    plain,
    score_axis,
)
from instrux.evaluation.runs import PROMPTS_AXIS
from instrux.evaluation.verdict import number

_WIDTH = 9.0
_LANE = 0.26  # inches an arm in a row
_GAP = 0.24  # inches between rows
_MARGINS = 1.15  # inches for the axis and the legend


def overview(comparisons: Sequence[Comparison], arms: Sequence[Arm]) -> Drawing:
    """Each arm's score with its interval in every group, and the baseline."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = _Rows([len(arms)] * len(comparisons))
        for row, comparison in enumerate(comparisons):
            for lane, score in enumerate(comparison.scores):
                style = arm_style(arms.index(score.arm))
                y, value, interval = rows.lane(row, lane), score.score.value, score.score.interval
                axes.plot(
                    [interval.low, interval.high],
                    [y, y],
                    color=style["color"],
                    lw=3.5,
                    alpha=0.55,
                    solid_capstyle="round",
                )
                axes.plot(value, y, ls="", ms=8, **style)
                axes.annotate(
                    number(value, comparison.metric, coarse=score.score.half_width >= 1),
                    (interval.high, y),
                    xytext=(7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9.5,
                )
            _baseline_mark(axes, comparison.baseline, rows.span(row))
        labels = [f"{plain(c.group or 'evaluated prompts')}\n{_counts(c)}" for c in comparisons]
        rows.label(axes, labels)
        score_axis(axes, comparisons[0].metric, max(_highest(c) for c in comparisons))
        if {c.metric for c in comparisons} != {"accuracy"}:
            axes.set_xlim(-1, 101)
            axes.set_xlabel("score, 0 to 100")
        _legend(figure, arms, comparisons[0].baseline_name, dots="score with 95 % interval")

    said = "; ".join(
        f"{c.group or 'evaluated prompts'}: "
        + ", ".join(f"{s.arm.name} {number(s.score.value, c.metric)}" for s in c.scores)
        + f", {c.baseline_name} {number(c.baseline, c.metric)}"
        for c in comparisons
    )
    height = _height([len(arms)] * len(comparisons))
    return draw(
        "overview", f"Scores by group of prompts. {said}.", paint, width=_WIDTH, height=height
    )


def _counts(comparison: Comparison) -> str:
    datasets = len(comparison.datasets)
    return (
        f"{datasets} dataset{'s' if datasets != 1 else ''},"
        f" {comparison.num_prompts} prompt{'s' if comparison.num_prompts != 1 else ''}"
    )


def _highest(comparison: Comparison) -> float:
    return max([comparison.baseline, *(score.score.interval.high for score in comparison.scores)])


@dataclass(frozen=True)
class PromptScores:
    """One row of the prompts' figure: a dataset (or a cluster of many) in one group.

    Attributes:
        label: what to call it.
        detail: a second, smaller line.
        scores: for each arm, in order, the scores of its prompts.
        baseline: what no understanding gets.
    """

    label: str
    detail: str
    scores: tuple[tuple[float, ...], ...]
    baseline: float


def prompts(
    name: str,
    title: str,
    rows_of: Sequence[PromptScores],
    arms: Sequence[Arm],
    *,
    metric: str,
    baseline_name: str,
) -> Drawing:
    """A dot a prompt and a box a dataset, the arms under each other, the baseline as a mark."""
    lanes = [len(arms)] * len(rows_of)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = _Rows(lanes)
        for row, entry in enumerate(rows_of):
            for lane, scores in enumerate(entry.scores):
                _box_and_dots(axes, scores, rows.lane(row, lane), lane)
            _baseline_mark(axes, entry.baseline, rows.span(row))
        rows.label(axes, [f"{plain(e.label)}\n{plain(e.detail)}" for e in rows_of])
        highest = max(s for e in rows_of for scores in e.scores for s in (*scores, e.baseline))
        score_axis(axes, metric, highest)
        _legend(figure, arms, baseline_name, dots="a prompt")

    said = "; ".join(
        f"{e.label}: "
        + ", ".join(
            f"{arm.name} median {np.median(s):.1f}, {min(s):.1f} to {max(s):.1f}"
            for arm, s in zip(arms, e.scores, strict=True)
            if s
        )
        for e in rows_of
    )
    alt = f"{title}: score of every prompt, in percent. {said}."
    return draw(name, alt, paint, width=_WIDTH, height=_height(lanes))


class _Rows:
    """Where rows of lanes lie on the vertical axis, in inches from the top."""

    def __init__(self, lanes: Sequence[int]) -> None:
        self._starts = np.concatenate([[0.0], np.cumsum([n * _LANE + _GAP for n in lanes])])
        self._lanes = lanes

    def lane(self, row: int, lane: int) -> float:
        return float(self._starts[row] + _GAP / 2 + (lane + 0.5) * _LANE)

    def span(self, row: int) -> tuple[float, float]:
        return (
            float(self._starts[row] + _GAP / 2),
            float(self._starts[row + 1] - _GAP / 2),
        )

    def label(self, axes: Axes, labels: Sequence[str]) -> None:
        """Labels the rows: the name, and a smaller line under it."""
        axes.set_ylim(float(self._starts[-1]), 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for row, text in enumerate(labels):
            middle = sum(self.span(row)) / 2
            first, _, second = text.partition("\n")
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            axes.annotate(first, (0, middle), (-8, 1), ha="right", va="bottom", **place)
            axes.annotate(
                second,
                (0, middle),
                (-8, -1),
                ha="right",
                va="top",
                fontsize=8.5,
                color=MUTED,
                **place,
            )
        for edge in self._starts[1:-1]:
            axes.axhline(edge, color=MUTED, lw=0.5, alpha=0.35)


def _height(lanes: Sequence[int]) -> float:
    return _MARGINS + sum(max(n * _LANE, 0.3) + _GAP for n in lanes)


def _box_and_dots(axes: Axes, scores: Sequence[float], y: float, arm: int) -> None:
    if not scores:
        return
    style = arm_style(arm)
    half = 0.36 * _LANE
    if len(scores) > 1:
        low, median, high = np.percentile(scores, [25, 50, 75])
        box = Rectangle(
            (low, y - half),
            high - low,
            2 * half,
            facecolor=style["color"],
            edgecolor=style["color"],
            alpha=0.28,
            lw=0,
        )
        axes.add_patch(box)
        axes.plot(
            [low, low, high, high, low],
            np.array([-1, 1, 1, -1, -1]) * half + y,
            color=style["color"],
            lw=1,
        )
        axes.plot(
            [median, median],
            [y - half, y + half],
            color=style["color"],
            lw=3,
            solid_capstyle="butt",
        )
    # Dots beside each other where they would lie on one another; always the same way.
    order = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
    offsets = (
        np.array([0.0, 0.45, -0.45])[order % 3] * half if len(scores) > 3 else np.zeros(len(scores))
    )
    axes.plot(scores, y + offsets, ls="", ms=5, mec="none", alpha=0.85, **style)


def _baseline_mark(axes: Axes, value: float, span: tuple[float, float]) -> None:
    axes.plot([value, value], span, color=INK, lw=1.6, ls=(0, (3, 2)))


def _legend(figure: Figure, arms: Sequence[Arm], baseline_name: str, *, dots: str) -> None:
    handles = [
        Line2D([], [], ls="", ms=7, label=plain(arm.name), **arm_style(i))
        for i, arm in enumerate(arms)
    ]
    handles.append(
        Line2D([], [], color=INK, lw=1.6, ls=(0, (3, 2)), label=baseline_name.rstrip(","))
    )
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(3, len(handles)),
        title=f"a mark: {dots}",
        alignment="left",
        title_fontsize=8.5,
        columnspacing=1.6,
        handletextpad=0.5,
    )


@dataclass(frozen=True)
class AblationPoint:
    """One run of an ablation.

    Attributes:
        place: where it stands on what the ablation varies, such as training prompts a task.
        median: mean over datasets of the median over prompts.
        spread: mean over datasets of the interquartile range over prompts.
        line: name of the line that it belongs to, where there are several.
    """

    place: float
    median: float
    spread: float
    line: str = ""


@dataclass(frozen=True)
class Level:
    """A horizontal line for comparison."""

    label: str
    median: float
    spread: float | None
    arm: int | None


def ablation(
    name: str,
    title: str,
    points: Sequence[AblationPoint],
    levels: Sequence[Level],
    *,
    metric: str,
    axis: str = PROMPTS_AXIS,
) -> Drawing:
    """Median and spread over prompts against what an ablation varies; a dot a seed."""
    unit = "accuracy, %" if metric == "accuracy" else metric

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, 2)
        panels[0].set_title("Median over prompts (higher is better)")
        panels[1].set_title("Spread over prompts (lower is steadier)")
        panels[0].set_ylabel(unit)
        panels[1].set_ylabel("interquartile range, points")
        for axes, field in zip(panels, ("median", "spread"), strict=True):
            _ablation_panel(axes, points, levels, field)
            axes.set_xlabel(axis)
        panels[1].set_ylim(bottom=0)
        if len(_lines(points)) > 1:
            figure.legend(
                *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
            )

    said = "; ".join(
        f"{line + ', ' if line else ''}{point_name(place)}:"
        f" median {_mean_of(points, line, place, 'median'):.1f},"
        f" interquartile range {_mean_of(points, line, place, 'spread'):.1f}"
        for line in _lines(points)
        for place in _places(points, line)
    )
    alt = f"{title}, by {axis} (means over seeds). {said}."
    return draw(name, alt, paint, width=_WIDTH, height=3.9)


def _ablation_panel(
    axes: Axes, points: Sequence[AblationPoint], levels: Sequence[Level], field: str
) -> None:
    for place, line in enumerate(_lines(points)):
        _ablation_line(axes, points, line, field, place)
    for level in levels:
        _level(axes, level, getattr(level, field))
    places = sorted({point.place for point in points})
    if places[-1] > 50 * places[0] > 0:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [point_name(place) for place in places])
    axes.margins(x=0.08, y=0.15)
    axes.grid(axis="y")


def _ablation_line(
    axes: Axes, points: Sequence[AblationPoint], line: str, field: str, number: int
) -> None:
    style = arm_style(number)
    places = _places(points, line)
    own = [[getattr(p, field) for p in points if (p.line, p.place) == (line, x)] for x in places]
    axes.fill_between(
        places, list(map(min, own)), list(map(max, own)), color=style["color"], alpha=0.15, lw=0
    )
    axes.plot(places, [float(np.mean(values)) for values in own], color=style["color"], lw=2)
    axes.plot(
        [place for place, values in zip(places, own, strict=True) for _ in values],
        [value for values in own for value in values],
        ls="",
        ms=6,
        mec="none",
        alpha=0.7,
        label=plain(line),
        **style,
    )


def _level(axes: Axes, level: Level, value: float | None) -> None:
    if value is None:
        return
    style = (
        {"color": INK, "ls": (0, (3, 2))}
        if level.arm is None
        else {"color": arm_style(level.arm)["color"], "ls": "-"}
    )
    axes.axhline(value, lw=1.6, **style)
    axes.annotate(
        plain(level.label),
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
    )


def _lines(points: Sequence[AblationPoint]) -> list[str]:
    return list(dict.fromkeys(point.line for point in points))


def _places(points: Sequence[AblationPoint], line: str) -> list[float]:
    return sorted({point.place for point in points if point.line == line})


def _mean_of(points: Sequence[AblationPoint], line: str, place: float, field: str) -> float:
    own = [getattr(p, field) for p in points if (p.line, p.place) == (line, place)]
    return float(np.mean(own))
