"""The page of a comparison of mixtures: one table, one figure, what is shown and what is not."""

import csv
import io
import math
from functools import cache
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from instrux.data.files import remove_partial_files, write_atomically
from instrux.evaluation.drawing import MUTED, Drawing, arm_style, draw, plain
from instrux.evaluation.mixture_comparison import ComparisonRow, MixtureComparison

PAGE_NAME = "compare.html"
_COLUMNS = (
    *("group", "dataset", "metric", "model", "score", "low", "high"),
    *("gain_over_base", "gain_low", "gain_high", "baseline", "prompts", "examples"),
)
_PANEL_WIDTH = 3.1
_MOST_COLUMNS = 3
_LANE = 0.3


def write_mixture_report(folder: Path, made: MixtureComparison, *, title: str) -> Path:
    """Writes `compare.html`, `compare.png` and `compare.csv`, and gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_partial_files(folder, prefix="compare")
    drawing = figure(made)
    write_atomically(folder / "compare.png", [drawing.png])
    write_atomically(folder / "compare.csv", [table_csv(made)])
    page = folder / PAGE_NAME
    html = _template().render(title=title, made=made, drawing=drawing)
    write_atomically(page, [html.encode(errors="replace")])
    return page


def figure(made: MixtureComparison) -> Drawing:
    """A panel a group: a mark a model with its interval, a broken line at what no understanding gets."""
    columns = min(_MOST_COLUMNS, len(made.groups))
    rows = math.ceil(len(made.groups) / columns)

    def paint(canvas: Figure) -> None:
        panels = canvas.subplots(rows, columns, squeeze=False)
        for number, panel in enumerate(panels.flat):
            if number >= len(made.groups):
                panel.set_axis_off()
                continue
            _panel(panel, made.groups[number], made.names)
            first = number % columns == 0
            panel.set_yticks(range(len(made.names)), made.names if first else [])

    best = "; ".join(
        f"{row.label}: "
        + ", ".join(f"{n} {c.score.value:.1f}" for n, c in zip(made.names, row.cells, strict=True))
        for row in made.groups
    )
    return draw(
        "compare",
        f"Scores of each model. {best}",
        paint,
        width=1.2 + _PANEL_WIDTH * columns,
        height=rows * (1.2 + _LANE * len(made.names)),
    )


def _panel(panel, row: ComparisonRow, names) -> None:
    panel.set_title("\n".join(_lines(row.label)), fontsize=9)
    for number, cell in enumerate(row.cells):
        low, high = cell.score.interval.low, cell.score.interval.high
        style = arm_style(number)
        panel.plot([low, high], [number, number], color=style["color"], lw=2.2, alpha=0.55)
        panel.plot([cell.score.value], [number], ls="", ms=7, **style)
    if row.baseline is not None:
        panel.axvline(row.baseline, color=MUTED, lw=1.2, ls=(0, (3, 2)))
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlabel(f"{plain(row.metric)}, %", fontsize=9)
    panel.grid(axis="x")


def _lines(label: str) -> list[str]:
    words, lines = plain(label, 80).split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 28:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def table_csv(made: MixtureComparison) -> bytes:
    """The table as CSV: group, dataset ("" for the whole group), model, numbers in percent."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for group, members in zip(made.groups, made.datasets, strict=True):
        for dataset, row in [("", group), *((member.label, member) for member in members)]:
            for name, cell in zip(made.names, row.cells, strict=True):
                score, gain = cell.score, cell.gain
                values = [score.value, score.interval.low, score.interval.high]
                gains = [gain.value, gain.interval.low, gain.interval.high] if gain else [""] * 3
                numbers = [f"{v:.3f}" if v != "" else "" for v in (*values, *gains)]
                baseline = "" if row.baseline is None else f"{row.baseline:.3f}"
                about = [group.label, dataset, row.metric, name]
                rows.writerow([*about, *numbers, baseline, row.num_prompts, row.num_examples])
    return text.getvalue().encode()


def _one_decimal(value: float, sign: str = "") -> str:
    text = f"{value:{sign}.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["one"] = _one_decimal
    return environment.get_template("mixture_report.html")
