"""T0's figure of held-out datasets: a panel a dataset, models side by side, a dot a prompt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from instrux.evaluation.drawing import INK, MUTED, Drawing, arm_style, draw, plain

_LANE = 0.3  # inches a model in a panel
_PANEL_MARGIN = 0.55  # inches for a panel's tick labels and air
_PANEL_HEIGHT = 2.35
_WIDEST = 13.0
_MOST_COLUMNS = 6
_DPI = 200
_PUBLISHED_MARKERS = ("D", "P", "X", "*", "p", "h")
_LONGEST_NAME = 44  # letters of a model in the legend
_LETTER_WIDTH = 0.068  # inches of a mean letter there
_HANDLE_WIDTH = 0.5  # inches of what stands before a name, and air


@dataclass(frozen=True)
class PublishedMark:
    """A published figure in a panel: what the legend calls it, and its value in percent."""

    label: str
    value: float


@dataclass(frozen=True)
class Panel:
    """One dataset.

    Attributes:
        title: its name.
        detail: a smaller line under it.
        scores: for each model the scores of its prompts, percent; empty where it has none.
        trained_on: for each model whether it was trained on this dataset.
        chance: what no understanding gets.
        published: confirmed figures of others.
    """

    title: str
    detail: str
    scores: tuple[tuple[float, ...], ...]
    trained_on: tuple[bool, ...]
    chance: float
    published: tuple[PublishedMark, ...] = ()


def held_out(panels: Sequence[Panel], models: Sequence[str]) -> Drawing:
    """A dot a prompt, a box over the middle half of them, a thick line at the median.

    Args:
        panels: the datasets, in the order to draw them.
        models: names of the models, in the order of `Panel.scores`.
    """
    marks = list(dict.fromkeys(mark.label for panel in panels for mark in panel.published))
    lanes = len(models) + bool(marks)
    panel_width = _PANEL_MARGIN + _LANE * max(3, lanes)
    columns = max(1, min(_MOST_COLUMNS, len(panels), int(_WIDEST / panel_width)))
    rows = math.ceil(len(panels) / columns)
    entries = len(models) + len(marks) + 1
    names = [*(plain(name, _LONGEST_NAME) for name in models), *map(_published_name, marks)]
    entry_width = _HANDLE_WIDTH + _LETTER_WIDTH * max(map(len, names), default=0)
    legend_columns = max(1, min(entries, int(columns * panel_width / entry_width)))
    legend_height = 0.35 + 0.22 * math.ceil(entries / legend_columns)

    def paint(figure: Figure) -> None:
        axes_of = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for number, axes in enumerate(axes_of.flat):
            if number < len(panels):
                _panel(axes, panels[number], marks, lanes)
            else:
                axes.set_axis_off()
        for first in axes_of[:, 0]:
            first.set_ylabel("accuracy, %")
        _legend(figure, models, marks, legend_columns)

    return draw(
        "held_out",
        _said(panels, models),
        paint,
        width=max(4.5, columns * panel_width),
        height=legend_height + rows * _PANEL_HEIGHT,
        dpi=_DPI,
    )


def _panel(axes: Axes, panel: Panel, marks: Sequence[str], lanes: int) -> None:
    axes.set_title(plain(panel.title, 18), fontsize=10.5, pad=17)
    axes.annotate(
        panel.detail,
        (0, 1),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=7.5,
        color=MUTED,
    )
    axes.axhline(panel.chance, color=INK, lw=1.2, ls=(0, (3, 2)), zorder=1)
    for lane, scores in enumerate(panel.scores):
        if scores:
            _box_and_dots(axes, scores, lane)
        if panel.trained_on[lane]:
            axes.annotate(
                "*", (lane, 1.0), xycoords=("data", "axes fraction"), ha="center", va="top"
            )
    aside = _beside_each_other([mark.value for mark in panel.published], nearest=8)
    for mark, offset in zip(panel.published, aside, strict=True):
        style = _published_style(marks.index(mark.label))
        axes.plot(len(panel.scores) + 0.6 * offset, mark.value, ls="", ms=6, zorder=4, **style)
    axes.set_xlim(-0.7, lanes - 0.3)
    axes.set_xticks([])
    axes.set_ylim(-2, 102)
    axes.set_yticks(range(0, 101, 20))
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _box_and_dots(axes: Axes, scores: Sequence[float], lane: int) -> None:
    style = arm_style(lane)
    colour, half = style["color"], 0.36
    if len(scores) > 1:
        low, median, high = np.percentile(scores, [25, 50, 75])
        axes.fill_between(
            [lane - half, lane + half], low, high, color=colour, alpha=0.25, lw=0, zorder=2
        )
        axes.plot(
            lane + half * np.array([-1, 1, 1, -1, -1]),
            [low, low, high, high, low],
            color=colour,
            lw=0.9,
            zorder=2,
        )
        reach = 1.2 * half  # beyond the box, so that dots do not hide it
        axes.plot([lane - reach, lane + reach], [median] * 2, color=colour, lw=2.6, zorder=3)
    x = lane + half * _beside_each_other(scores)
    axes.plot(x, scores, ls="", ms=3.6, mec="white", mew=0.3, alpha=0.9, zorder=3, **style)


def _beside_each_other(scores: Sequence[float], nearest: float = 3.0) -> np.ndarray:
    """Sideways offsets of dots, within -1 to 1, so that near ones do not hide each other.

    Args:
        scores: heights of the dots, percent.
        nearest: dots that are less than this apart in height stand beside each other.
    """
    places = (0.0, -0.5, 0.5, -0.95, 0.95, -0.25, 0.25, -0.72, 0.72)
    offsets = np.zeros(len(scores))
    last: dict[float, float] = {}  # place -> height of the last dot there
    for i in np.argsort(scores, kind="stable"):
        free = [p for p in places if scores[i] - last.get(p, -np.inf) >= nearest]
        offsets[i] = free[0] if free else min(places, key=lambda p: last[p])
        last[float(offsets[i])] = scores[i]
    return offsets


def _published_style(number: int) -> dict[str, Any]:
    marker = _PUBLISHED_MARKERS[number % len(_PUBLISHED_MARKERS)]
    return {"marker": marker, "mfc": "none", "mec": INK, "mew": 1.3}


def _published_name(label: str) -> str:
    return f"published: {plain(label, 30)}"


def _legend(figure: Figure, models: Sequence[str], marks: Sequence[str], columns: int) -> None:
    handles = [
        Line2D([], [], ls="", ms=6, label=plain(name, _LONGEST_NAME), **arm_style(i))
        for i, name in enumerate(models)
    ]
    handles += [
        Line2D([], [], ls="", ms=6, label=_published_name(label), **_published_style(i))
        for i, label in enumerate(marks)
    ]
    handles.append(Line2D([], [], color=INK, lw=1.2, ls=(0, (3, 2)), label="chance"))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        fontsize=9,
        columnspacing=1.4,
        handletextpad=0.4,
    )


def _said(panels: Sequence[Panel], models: Sequence[str]) -> str:
    parts = []
    for panel in panels:
        medians = [
            f"{name} median {np.median(scores):.1f}"
            for name, scores in zip(models, panel.scores, strict=True)
            if scores
        ]
        published = [f"published {mark.label} {mark.value:.1f}" for mark in panel.published]
        said = ", ".join([*medians, *published, f"chance {panel.chance:.1f}"])
        parts.append(f"{panel.title}: {said}")
    return f"Held-out datasets, accuracy of every prompt in percent. {'; '.join(parts)}."
