"""The report on what people said: one self-contained page, and its figures as PNG beside it."""

from functools import cache
from pathlib import Path

import jinja2

from instrux.data.files import write_atomically
from instrux.evaluation import label_plots
from instrux.evaluation.drawing import Drawing
from instrux.evaluation.label_results import LabelResults, write_label_results
from instrux.evaluation.label_tables import summary, tables

RESULTS_NAME = "label_results.json"
PAGE_NAME = "labels.html"

_CAPTIONS = {
    "win_rates": "Win rate over prompts; the line on a bar is the 95 % interval from draws of"
    " prompts, the broken line says no difference.",
    "outcomes": "Numbers are prompts.",
    "overall_quality": "Mean over prompts; the line on a bar is the 95 % interval.",
    "scales": "Mean over prompts; the line on a bar is the 95 % interval. Toxicity is 0 to 2,"
    " relative to the prompt -1 to 1, continuity 1 to 7.",
    "flags": "Share of yes, percent, with Wilson's 95 % interval. Flags that nobody answered with"
    " yes are in the table alone.",
}


def write_label_report(folder: Path, results: LabelResults) -> Path:
    """Writes `label_results.json`, the figures and `labels.html`, and gives the page's path."""
    drawings = [
        drawing
        for plot in (
            label_plots.win_rates,
            label_plots.outcomes,
            label_plots.overall_quality,
            label_plots.scales,
            label_plots.flags,
        )
        if (drawing := plot(results)) is not None
    ]
    write_label_results(folder / RESULTS_NAME, results)
    for drawing in drawings:
        write_atomically(folder / f"labels_{drawing.name}.png", [drawing.png])
    page = folder / PAGE_NAME
    write_atomically(page, [label_page(results, drawings).encode()])
    return page


def label_page(results: LabelResults, drawings: list[Drawing]) -> str:
    """The page as HTML; it holds no script and asks the network for nothing."""
    return _template().render(
        title="What people said",
        results=results,
        summary=summary(results),
        drawings=[(drawing, _CAPTIONS[drawing.name]) for drawing in drawings],
        tables=tables(results),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("label_report.html")
