"""The figures of an audit's report."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from instrux.evaluation.drawing import ARM_COLOURS, INK, MUTED, Drawing, draw, plain

_MOST_ROWS = 40
_WIDTH = 9.0
_ROW_HEIGHT = 0.24
_FRAME_HEIGHT = 1.15
_FIRST, _SECOND, _THIRD = ARM_COLOURS[:3]

Row = Mapping[str, Any]


def lengths(results: Row) -> Drawing:
    """Lengths in tokens of each dataset's inputs and targets, and the room that training has."""
    rows = _by_dataset(results["tasks"], lambda task: task["inputs"]["quantiles"]["0.95"])

    def paint(figure: Figure) -> None:
        both: Any = figure.subplots(1, 2, sharey=True)
        for axes, side in zip(both, ("inputs", "targets"), strict=True):
            for place, (_, tasks) in enumerate(rows):
                low, middle, high, longest = (
                    max(1, _pooled_quantile(tasks, side, share))
                    for share in ("0.05", "0.5", "0.95", "1")
                )
                axes.plot([low, high], [place, place], color=_FIRST, linewidth=3, alpha=0.55)
                axes.plot([high, longest], [place, place], color=_FIRST, linewidth=1, alpha=0.55)
                axes.plot([middle], [place], "o", color=_FIRST, markersize=4)
            room = results["settings"][f"{side}_length"]
            axes.axvline(room, color=_SECOND, linestyle="--", linewidth=1.2)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.xaxis.set_minor_locator(NullLocator())  # its labels would be powers of ten
            axes.set_title(f"{side}, room {room:,}")
            axes.set_xlabel("tokens")
            axes.grid(axis="x")
        _label_rows(both[0], [name for name, _ in rows])

    alt = "Lengths in tokens by dataset: 5 to 95 percent, median and longest, with training's room."
    return draw("lengths", alt, paint, width=_WIDTH, height=_height(rows))


def truncation(results: Row) -> Drawing | None:
    """Share of examples that training would cut, by dataset; None where nothing is cut."""
    rows = _by_dataset(results["tasks"], lambda task: _cut(task, "inputs") + _cut(task, "targets"))
    rows = [row for row in rows if any(_cut(task, s) for task in row[1] for s in _SIDES)]
    if not rows:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        values = [[_share_cut(tasks, side) for _, tasks in rows] for side in _SIDES]
        _bars(axes, values, _SIDES, [name for name, _ in rows])
        axes.set_xlabel("examples that are cut")

    alt = "Share of examples whose inputs or targets are cut, by dataset."
    return draw("truncation", alt, paint, width=_WIDTH, height=_height(rows))


_SIDES = ("inputs", "targets")


def shares(results: Row) -> Drawing:
    """Share of each dataset asked by the rates, beside its share of tokens and of what is there."""
    rows = _by_dataset(results["tasks"], lambda task: task["share_asked"])

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (_, tasks) in enumerate(rows):
            asked, tokens, there = (
                sum(task[name] for task in tasks)
                for name in ("share_asked", "share_of_tokens", "share_of_rendered")
            )
            axes.plot([asked, tokens], [place, place], color=MUTED, linewidth=1)
            axes.plot([there], [place], "|", color=MUTED, markersize=9, markeredgewidth=1.6)
            axes.plot([asked], [place], "o", color=_FIRST, markersize=5)
            axes.plot([tokens], [place], "s", color=_SECOND, markersize=5)
        for marker, colour, name in (
            ("o", _FIRST, "of examples, asked by the rates"),
            ("s", _SECOND, "of tokens, then obtained"),
            ("|", MUTED, "of rendered examples"),
        ):
            axes.plot([], [], marker, color=colour, label=name)
        _label_rows(axes, [name for name, _ in rows])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="x")
        _legend(figure)

    alt = "Shares of the mixture by dataset: asked, obtained in tokens, and of what is rendered."
    return draw("shares", alt, paint, width=_WIDTH, height=_height(rows) + 0.3)


def duplicates(results: Row) -> Drawing | None:
    """Share of each dataset's examples that repeat an earlier one; None where none does."""
    kinds = ["exact_duplicates"]
    kinds += ["near_duplicates"] if results["duplicates"]["near_duplicates"] else []
    rows = _by_dataset(results["tasks"], lambda task: _repeats(task, "exact_duplicates"))
    rows = [row for row in rows if any(_repeats(task, kind) for task in row[1] for kind in kinds)]
    if not rows:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        values = [
            [_of_examples(tasks, lambda task, kind=kind: _repeats(task, kind)) for _, tasks in rows]
            for kind in kinds
        ]
        _bars(axes, values, ["exact", "near"], [name for name, _ in rows])
        axes.set_xlabel("examples that repeat an earlier one")

    alt = "Share of examples that are exact or near duplicates of an earlier one, by dataset."
    return draw("duplicates", alt, paint, width=_WIDTH, height=_height(rows))


def overlap(results: Row) -> Drawing | None:
    """Share of held-out rows that training rows share words with; None where not known."""
    sizes = results["overlap"]["sizes"]
    if not sizes:
        return None
    names = [each["dataset"] for each in next(iter(sizes.values()))["by_dataset"]]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        values = [
            [each["overlapping"] / each["rows"] for each in size["by_dataset"]]
            for size in sizes.values()
        ]
        _bars(axes, values, [f"{n} words in a row" for n in sizes], names)
        axes.set_xlabel("held-out rows that share them with a training row")

    alt = "Share of held-out rows that share n-grams with training rows, by dataset."
    return draw("overlap", alt, paint, width=_WIDTH, height=_height(names))


def labels(results: Row) -> Drawing | None:
    """Label balance of the tasks whose targets are labels; None where none are."""
    tasks = [task for task in results["tasks"] if task["balance"] is not None or task["constant"]]
    tasks.sort(key=lambda task: (-task["most_frequent_share"], task["task"]))
    tasks = tasks[:_MOST_ROWS]
    if not tasks:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, task in enumerate(reversed(tasks)):
            start = 0.0
            counts = sorted(task["labels"].values(), reverse=True)
            for number, count in enumerate(counts):
                share = count / task["examples"]
                colour = ARM_COLOURS[number % len(ARM_COLOURS)]
                axes.barh(place, share, left=start, color=colour, height=0.72, edgecolor="none")
                start += share
        _label_rows(axes, [task["task"] for task in reversed(tasks)])
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("examples by label, most frequent first")

    alt = "Share of each label in the tasks whose targets are labels, least balanced first."
    return draw("labels", alt, paint, width=_WIDTH, height=_height(tasks))


def _by_dataset(tasks: Sequence[Row], key: Any) -> list[tuple[str, list[Row]]]:
    """Datasets with their tasks, those of the largest key on top, at most forty."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for task in tasks:
        groups[task["dataset"]].append(task)
    order = sorted(groups.items(), key=lambda item: (-sum(map(key, item[1])), item[0]))
    return order[:_MOST_ROWS][::-1]


def _pooled_quantile(tasks: Sequence[Row], side: str, share: str) -> float:
    """A dataset's quantile: the mean over its tasks, the largest for the longest."""
    values = [task[side]["quantiles"][share] for task in tasks]
    return max(values) if share == "1" else float(np.mean(values))


def _cut(task: Row, side: str) -> int:
    return task[side]["cut_examples"]


def _share_cut(tasks: Sequence[Row], side: str) -> float:
    return _of_examples(tasks, lambda task: _cut(task, side))


def _repeats(task: Row, kind: str) -> int:
    return task[kind]["within"] + task[kind]["across"]


def _of_examples(tasks: Sequence[Row], count: Any) -> float:
    return sum(map(count, tasks)) / max(1, sum(task["examples"] for task in tasks))


def _bars(
    axes: Axes, values: Sequence[Sequence[float]], names: Sequence[str], labels: Sequence[str]
) -> None:
    height = 0.76 / len(values)
    for number, (of_name, name) in enumerate(zip(values, names, strict=False)):
        places = np.arange(len(labels)) + (len(values) / 2 - number - 0.5) * height
        colour = ARM_COLOURS[number % len(ARM_COLOURS)]
        axes.barh(places, of_name, height=height, color=colour, label=name, edgecolor="none")
    _label_rows(axes, labels)
    axes.set_xlim(0, max(0.01, 1.08 * max(max(of_name, default=0) for of_name in values)))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    figure: Any = axes.figure
    _legend(figure)


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [plain(name) for name in names], color=INK)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_axisbelow(True)


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside upper left", ncols=3)


def _height(rows: Sequence[Any]) -> float:
    return _FRAME_HEIGHT + _ROW_HEIGHT * max(3, len(rows))
