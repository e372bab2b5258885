"""Tk-Instruct's scaling plots: ROUGE-L by training tasks, by instances a task, by parameters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from instrux.errors import InputError
from instrux.evaluation.drawing import MUTED, Drawing, arm_style, draw
from instrux.evaluation.published_tk_instruct import PublishedScore, published_scores

Axis = Literal["tasks", "instances", "parameters"]

LABELS: Mapping[str, str] = {
    "tasks": "training tasks",
    "instances": "training instances a task",
    "parameters": "parameters",
}
_MAIN_SETTING = "instruct_pos_2_input"
_OF_SYSTEM = "Tk-Instruct 3B"
_ALL_TASKS = 757
_UNITS = {"M": 1e6, "B": 1e9}


@dataclass(frozen=True)
class ScalingPoint:
    """A score.

    Attributes:
        value: tasks, instances a task, or parameters.
        rougeL: percent.
    """

    value: float
    rougeL: float


def published_points(axis: Axis) -> list[ScalingPoint]:
    """Gives the paper's points that could be confirmed, in order.

    Raises:
        InputError: there is no such axis.
    """
    if axis not in LABELS:
        raise InputError(f"no scaling axis {axis!r}; there are {', '.join(LABELS)}")
    of_paper = [row for row in published_scores() if row.source == "paper"]
    rows = [row for row in of_paper if row.track == "default"]
    found = [
        ScalingPoint(value, row.value) for row in rows if (value := _value(row, axis)) is not None
    ]
    return sorted(found, key=lambda point: point.value)


def _value(row: PublishedScore, axis: Axis) -> float | None:
    if axis == "parameters":
        size = re.fullmatch(r"Tk-Instruct (\d+)([MB])", row.system)
        if size is None or row.setting != _MAIN_SETTING:
            return None
        return int(size[1]) * _UNITS[size[2]]
    if row.system != _OF_SYSTEM:
        return None
    if axis == "tasks" and row.setting == _MAIN_SETTING:
        return _ALL_TASKS
    pattern = r"(\d+) tasks" if axis == "tasks" else r"(\d+) instances a task"
    match = re.fullmatch(pattern, row.setting)
    return float(match[1]) if match else None


def scaling(axis: Axis, points: Sequence[ScalingPoint]) -> Drawing:
    """Draws a user's points beside the paper's, over a logarithmic axis.

    Args:
        axis: what varies.
        points: the user's.
    """
    published = published_points(axis)
    own = sorted(points, key=lambda point: point.value)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(
            [point.value for point in published],
            [point.rougeL for point in published],
            color=MUTED,
            marker="D",
            ls=(0, (3, 2)),
            label="arXiv 2204.07705",
        )
        axes.plot(
            [point.value for point in own],
            [point.rougeL for point in own],
            lw=2,
            label="here",
            **arm_style(0),
        )
        axes.set_xscale("log")
        ticks = sorted({point.value for point in (*published, *own)})
        axes.set_xticks(ticks, [_tick(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(LABELS[axis])
        axes.set_ylabel("ROUGE-L on unseen tasks")
        axes.grid(axis="y")
        axes.legend()

    said = "; ".join(f"{_tick(point.value)}: {point.rougeL:.1f}" for point in own)
    alt = f"ROUGE-L on unseen tasks by {LABELS[axis]}, beside the paper's. {said}."
    return draw(f"scaling_{axis}", alt, paint, width=6.5, height=3.9)


def _tick(value: float) -> str:
    for unit in ("B", "M"):
        if value >= _UNITS[unit]:
            return f"{value / _UNITS[unit]:g}{unit}"
    return f"{value:g}"
