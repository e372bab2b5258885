"""Figures of how a run came about: loss and throughput, and the mixture it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from instrux.data.packed_manifest import PackManifest
from instrux.evaluation.drawing import INK, MUTED, Drawing, arm_style, draw, plain
from instrux.evaluation.runs import CurvePoint

_MOST_TASKS = 40


@dataclass(frozen=True)
class Curve:
    """The curve of one run: its name, its arm's name and place in the report, what was logged."""

    name: str
    arm_name: str
    arm: int
    points: tuple[CurvePoint, ...]


def curves(all_curves: Sequence[Curve]) -> Drawing:
    """Loss and throughput against steps: what was logged pale, its running mean strong."""

    def paint(figure: Figure) -> None:
        loss, speed = figure.subplots(1, 2)
        for curve in all_curves:
            _curve(loss, curve, "loss")
            _curve(speed, curve, "tokens_per_second")
        loss.set_title("Loss")
        loss.set_ylabel("nats a target token")
        speed.set_title("Throughput")
        speed.set_ylabel("tokens a second")
        speed.yaxis.set_major_formatter(FuncFormatter(_thousands))
        speed.set_ylim(bottom=0)
        for axes in (loss, speed):
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.grid(axis="y")
        named = dict(zip(*reversed(loss.get_legend_handles_labels()), strict=True))  # one an arm
        labels, handles = list(named), list(named.values())
        if handles:
            figure.legend(handles, labels, loc="outside upper left", ncols=min(3, len(labels)))

    said = "; ".join(
        f"{curve.name}: loss {_ends([p.loss for p in curve.points])}, tokens a second"
        f" {_ends([p.tokens_per_second for p in curve.points])}"
        for curve in all_curves
    )
    legend_rows = -(-len({curve.arm_name for curve in all_curves}) // 3)
    return draw(
        "curves",
        f"Loss and throughput of training. {said}.",
        paint,
        width=9,
        height=3.4 + 0.25 * legend_rows,
    )


def _ends(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"from {known[0]:,.5g} to {known[-1]:,.5g}" if known else "not logged"


def _curve(axes: Axes, curve: Curve, field: str) -> None:
    steps = np.array([point.step for point in curve.points])
    values = np.array([getattr(point, field) for point in curve.points])
    known = np.isfinite(values)
    if not known.any():
        return
    steps, values = steps[known], values[known]
    colour = arm_style(curve.arm)["color"]
    axes.plot(steps, values, color=colour, lw=0.8, alpha=0.35)
    axes.plot(
        steps,
        running_mean(values, max(1, len(values) // 40)),
        color=colour,
        lw=2,
        label=plain(curve.arm_name),
    )


def running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over the values up to `reach` places away on both sides: float64 [values].

    Near the ends the reach shrinks on both sides alike, so that a slope is not bent there.
    """
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    places = np.arange(len(values))
    reaches = np.minimum(reach, np.minimum(places, places[::-1]))
    low, high = places - reaches, places + reaches + 1
    return (sums[high] - sums[low]) / (high - low)


def _thousands(value: float, _: object) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def mixture(name: str, run_name: str, manifest: PackManifest) -> Drawing:
    """Shares of the mixture's tasks: asked for as a mark, obtained as a bar."""
    entries = sorted(manifest.tasks, key=lambda task: -task.share_asked)
    shown = [(task.name, task.share_asked, task.share) for task in entries[:_MOST_TASKS]]
    label = "share of the mixture's examples, %"
    if rest := entries[_MOST_TASKS:]:
        # In words: as a bar of its own it would dwarf the others.
        asked, got = sum(t.share_asked for t in rest), sum(t.share for t in rest)
        label += (
            f"\n{len(rest)} more tasks: asked for {100 * asked:.1f} %, obtained {100 * got:.1f} %"
        )

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(shown))
        obtained = [100 * got for _, _, got in shown]
        axes.barh(
            places, obtained, height=0.62, color=arm_style(0)["color"], alpha=0.55, label="obtained"
        )
        axes.plot(
            [100 * asked for _, asked, _ in shown],
            places,
            ls="",
            marker="|",
            ms=11,
            mew=2.2,
            color=INK,
            label="asked for",
        )
        axes.set_yticks(places, [plain(task, 60) for task, _, _ in shown], fontsize=9)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.spines["left"].set_color(MUTED)
        figure.legend(loc="outside upper left", ncols=2)

    farthest = max(entries, key=lambda task: abs(task.share_asked - task.share))
    alt = (
        f"Mixture of {run_name}: shares asked for and obtained, {len(entries)} tasks. The largest"
        f" difference is {farthest.name}: {farthest.share_asked:.2%} asked for,"
        f" {farthest.share:.2%} obtained."
    )
    return draw(name, alt, paint, width=9, height=1.3 + 0.27 * len(shown))
