"""What all figures share: colours, and the way from matplotlib to SVG in a page and to PNG.

In the page the SVG is part of the document: its ink is `currentColor`, so it follows the reader's
light or dark scheme, and its words stay text, which can be searched and read aloud.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1d1e20"  # becomes currentColor; nothing else may use it
MUTED = "#808389"
# Distinct by lightness as well as by hue, and legible on white and on near-black.
ARM_COLOURS = ("#2f7de1", "#e08a1e", "#1fa37a", "#a76bd6", "#d2557a", "#8f8f3a")
ARM_MARKERS = ("o", "s", "^", "D", "v", "P")

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": MUTED,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Drawing:
    """A finished figure.

    Attributes:
        name: stem of its PNG file; unique in a report.
        alt: what it shows, for those who do not see it.
        svg: an `<svg>` element.
        png: the same picture on white.
    """

    name: str
    alt: str
    svg: str
    png: bytes


def draw(
    name: str,
    alt: str,
    paint: Callable[[Figure], None],
    *,
    width: float,
    height: float,
    dpi: int = 150,
) -> Drawing:
    """Draws a figure of so many inches; the same data always give the same bytes.

    Args:
        name: see `Drawing`.
        alt: see `Drawing`.
        paint: draws into an empty figure.
        width: inches.
        height: inches.
        dpi: pixels an inch of the PNG.
    """
    # The salt keeps the ids of several figures in one page apart.
    settings: Any = _RC | {"svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Drawing(name, alt, _for_page(svg.getvalue(), alt), png.getvalue())


def _for_page(svg: str, alt: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor").replace("'DejaVu Sans'", "inherit")
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(alt)}" ', 1)


def _attribute(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )


def arm_style(number: int) -> dict[str, Any]:
    """Colour and marker of an arm by its place in the report; the first 36 are all different."""
    turn, place = divmod(number, len(ARM_COLOURS))
    return {
        "color": ARM_COLOURS[place],
        "marker": ARM_MARKERS[(place + turn) % len(ARM_MARKERS)],
    }


def plain(text: str, limit: int = 44) -> str:
    """A name as a label: shortened, and never read as mathematics by matplotlib."""
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return short.replace("$", r"\$")


def score_axis(axes: Axes, metric: str, highest: float) -> None:
    """An axis for scores: 0 to 100 for accuracy, to the highest score for other metrics."""
    top = 100.0 if metric == "accuracy" else min(100.0, max(10.0, 1.15 * highest))
    axes.set_xlim(-0.01 * top, 1.01 * top)
    axes.set_xlabel("accuracy, %" if metric == "accuracy" else f"{metric}, 0 to 100")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
