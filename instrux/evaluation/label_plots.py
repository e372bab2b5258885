"""Figures of what people said, as in InstructGPT's paper: win rates, overall quality, flags."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from instrux.evaluation.drawing import ARM_COLOURS, INK, MUTED, Drawing, arm_style, draw, plain
from instrux.evaluation.label_flags import FLAG_OF_NAME
from instrux.evaluation.label_results import LabelResults, LabelSection
from instrux.evaluation.label_scales import SCALE_OF_NAME
from instrux.evaluation.label_statistics import ScaleMean, Share, WinRate
from instrux.evaluation.results import Interval

_WIDTH = 9.0
_BAR = 0.34  # inches a bar


@dataclass(frozen=True)
class _Bar:
    label: str
    lane: int
    value: float
    interval: Interval


def win_rates(results: LabelResults) -> Drawing | None:
    """A bar a system (or pair) and group of labellers, its interval, and a line at a half."""
    sections = _sections(results)
    bars = [
        _Bar(_versus(pair.win_rate, results), lane, 100 * pair.win_rate.win_rate, interval)
        for lane, section in enumerate(sections)
        for pair in section.pairs
        if results.baseline in (None, pair.win_rate.baseline)
        for interval in [_percent(pair.win_rate.bootstrap)]
    ]
    if not bars:
        return None
    what = f"win rate against {results.baseline}" if results.baseline else "win rate"

    def mark_half(axes: Axes) -> None:
        axes.axvline(50, color=INK, lw=1.4, ls=(0, (3, 2)))
        axes.set_xlim(0, 100)
        axes.set_xlabel(f"{plain(what)}, % (a tie is half a win)")

    return _bars("win_rates", f"{what}, percent", bars, sections, mark_half, "{:.1f}")


def overall_quality(results: LabelResults) -> Drawing | None:
    """A bar a system and group of labellers: mean overall quality with its interval."""
    sections = _sections(results)
    bars = [
        _Bar(rating.system, lane, rating.mean, rating.bootstrap)
        for lane, section in enumerate(sections)
        for rating in section.ratings
    ]
    if not bars:
        return None

    def scale(axes: Axes) -> None:
        axes.set_xlim(1, 7.15)
        axes.set_xticks(range(1, 8))
        axes.set_xlabel("mean overall quality, 1 to 7")

    return _bars("overall_quality", "mean overall quality", bars, sections, scale, "{:.2f}")


def outcomes(results: LabelResults) -> Drawing | None:
    """For each pair of systems, the shares of wins, ties and losses as parts of one bar."""
    rates = [
        pair.win_rate
        for pair in results.overall.pairs
        if results.baseline in (None, pair.win_rate.baseline)
    ]
    if not rates:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for y, rate in enumerate(rates):
            _stack(axes, y, rate)
        axes.set_yticks(range(len(rates)), [plain(_versus(r, results), 60) for r in rates])
        axes.set_ylim(len(rates) - 0.5, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of prompts, %")
        names = ("the first is better", "tie", "the second is better")
        if results.baseline:
            names = ("better", "tie", f"{plain(results.baseline)} is better")
        handles = [Patch(color=c, label=n) for c, n in zip(_STACK, names, strict=True)]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)

    said = "; ".join(
        f"{_versus(r, results)}: {r.wins} wins, {r.ties} ties, {r.losses} losses" for r in rates
    )
    height = 1.2 + 0.42 * len(rates)
    return draw("outcomes", f"Outcomes over prompts. {said}.", paint, width=_WIDTH, height=height)


_STACK = (ARM_COLOURS[0], "#b9bcc2", ARM_COLOURS[1])


def _stack(axes: Axes, y: int, rate: WinRate) -> None:
    left = 0.0
    for count, colour in zip((rate.wins, rate.ties, rate.losses), _STACK, strict=True):
        width = 100 * count / rate.n
        axes.barh(y, width, left=left, color=colour, height=0.62)
        if width > 5:
            axes.text(left + width / 2, y, str(count), ha="center", va="center", color="#000000")
        left += width


def flags(results: LabelResults) -> Drawing | None:
    """A panel a flag, a bar a system: the share of yes with Wilson's interval.

    Flags that nobody ever answered with yes are left out; the table has them.
    """
    by_flag: dict[str, list[Share]] = {}
    for share in results.overall.flags:
        by_flag.setdefault(share.question, []).append(share)
    shown = {flag: s for flag, s in by_flag.items() if any(share.yes for share in s)}
    if not shown:
        return None
    columns = min(3 if max(map(len, results.systems)) < 16 else 2, len(shown))
    rows = -(-len(shown) // columns)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
        for axes in panels.flat[len(shown) :]:
            axes.set_axis_off()
        for axes, (flag, shares) in zip(panels.flat, shown.items(), strict=False):
            _flag_panel(axes, flag, shares, results.systems)

    said = "; ".join(
        f"{FLAG_OF_NAME[flag].label}: "
        + ", ".join(f"{s.system} {100 * s.share:.0f} %" for s in shares if s.share is not None)
        for flag, shares in shown.items()
    )
    height = rows * (0.75 + 0.26 * len(results.systems)) + 0.4
    return draw("flags", f"Share of yes, percent. {said}.", paint, width=_WIDTH, height=height)


def _flag_panel(axes: Axes, flag: str, shares: Sequence[Share], systems: Sequence[str]) -> None:
    axes.set_title(FLAG_OF_NAME[flag].label, fontsize=10)
    for share in shares:
        if share.share is not None:
            number = systems.index(share.system)
            _bar(axes, number, 100 * share.share, _percent(share.wilson), number, 0.62)
    axes.set_yticks(range(len(systems)), [plain(system, 28) for system in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.tick_params(labelbottom=True)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def scales(results: LabelResults) -> Drawing | None:
    """A panel a scale of the toxicity form, a bar a system: the mean with its interval."""
    by_scale: dict[str, list[ScaleMean]] = {}
    for mean in results.overall.scales:
        if mean.system:
            by_scale.setdefault(mean.scale, []).append(mean)
    if not by_scale:
        return None

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(by_scale), squeeze=False, sharey=True)
        for axes, (scale, means) in zip(panels.flat, by_scale.items(), strict=True):
            _scale_panel(axes, scale, means, results.systems)

    said = "; ".join(
        f"{SCALE_OF_NAME[scale].label}: "
        + ", ".join(f"{mean.system} {mean.mean:.2f}" for mean in means)
        for scale, means in by_scale.items()
    )
    height = 1.15 + 0.3 * len(results.systems)
    return draw("scales", f"Means over prompts. {said}.", paint, width=_WIDTH, height=height)


def _scale_panel(
    axes: Axes, scale: str, means: Sequence[ScaleMean], systems: Sequence[str]
) -> None:
    axes.set_title(SCALE_OF_NAME[scale].label, fontsize=10)
    for mean in means:
        number = systems.index(mean.system)
        _bar(axes, number, mean.mean, mean.bootstrap, number, 0.62)
    axes.set_yticks(range(len(systems)), [plain(system, 28) for system in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    values = SCALE_OF_NAME[scale].values
    axes.set_xlim(values[0] - 0.05, values[-1] + 0.05)
    axes.set_xticks(values)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _sections(results: LabelResults) -> Sequence[LabelSection]:
    return results.groups if len(results.groups) > 1 else (results.overall,)


def _versus(rate: WinRate, results: LabelResults) -> str:
    return rate.system if results.baseline else f"{rate.system} – {rate.baseline}"


def _percent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)


def _bars(
    name: str,
    what: str,
    bars: Sequence[_Bar],
    sections: Sequence[LabelSection],
    decorate: Callable[[Axes], None],
    form: str,
) -> Drawing:
    labels = list(dict.fromkeys(bar.label for bar in bars))
    lanes = len(sections)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for bar in bars:
            y = labels.index(bar.label) + (bar.lane - (lanes - 1) / 2) * 0.8 / lanes
            _bar(axes, y, bar.value, bar.interval, bar.lane, 0.72 / lanes)
            axes.annotate(
                form.format(bar.value),
                (bar.interval.high, y),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_yticks(range(len(labels)), [plain(label, 60) for label in labels])
        axes.set_ylim(len(labels) - 0.45, -0.55)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        decorate(axes)
        if lanes > 1:
            handles = [
                Patch(color=arm_style(i)["color"], label=plain(f"{s.name} labellers"))
                for i, s in enumerate(sections)
            ]
            figure.legend(handles=handles, loc="outside upper left", ncols=3)

    said = "; ".join(
        f"{bar.label}{f' ({sections[bar.lane].name} labellers)' if lanes > 1 else ''}"
        f" {form.format(bar.value)}, 95 % interval {form.format(bar.interval.low)} to"
        f" {form.format(bar.interval.high)}"
        for bar in bars
    )
    height = 0.9 + len(labels) * (0.14 + _BAR * lanes) + (0.3 if lanes > 1 else 0)
    return draw(name, f"{what[0].upper()}{what[1:]}. {said}.", paint, width=_WIDTH, height=height)


def _bar(
    axes: Axes, y: float, value: float, interval: Interval, number: int, height: float
) -> None:
    axes.barh(y, value, color=arm_style(number)["color"], height=height, alpha=0.85)
    axes.plot([interval.low, interval.high], [y, y], color=INK, lw=1.6, solid_capstyle="butt")
    for end in (interval.low, interval.high):
        axes.plot([end, end], [y - height / 5, y + height / 5], color=INK, lw=1.6)
    axes.spines["left"].set_color(MUTED)
