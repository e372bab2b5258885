"""The stage `compare`: one base model and what several mixtures made of it, in one table."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from instrux.data.lineage_files import beside, evaluation_source, write_lineage
from instrux.errors import InputError
from instrux.evaluation.mixture_comparison import MixtureComparison, compare_mixtures
from instrux.evaluation.mixture_report import write_mixture_report
from instrux.evaluation.runs import RunForReport, read_run

_NARROWEST = 160


@dataclass(frozen=True)
class CompareResult:
    """What the stage made.

    Attributes:
        path: the page.
        comparison: what it says.
    """

    path: Path
    comparison: MixtureComparison


def compare(
    *,
    base: RunForReport,
    tuned: Sequence[RunForReport],
    out: str | os.PathLike[str],
    batch_size: int,
    title: str = "One base model, several kinds of instruction data",
    seed: int = 0,
) -> CompareResult:
    """Writes `compare.html`, `compare.png` and `compare.csv`, and tells the table on stdout.

    Args:
        base: the model before any tuning, evaluated on the same tasks.
        tuned: the models that were tuned from it, by the names of their mixtures.
        out: the folder that gets the files.
        batch_size: packed rows of a step of the tuned models, for the tokens they read.
        title: the page's heading.
        seed: of the bootstrap's draws and of the prompts shown.

    Raises:
        InputError: a run was not evaluated, two share a name, or nothing was evaluated for all.
    """
    names = [base.name, *(run.name for run in tuned)]
    if len(set(names)) < len(names):
        raise InputError(f"compare: two runs share a name among {', '.join(names)}.")
    read = [read_run(run) for run in (base, *tuned)]
    made = compare_mixtures(read[0], read[1:], batch_size=batch_size, seed=seed)
    path = write_mixture_report(Path(out), made, title=title)
    write_lineage(
        beside(path),
        "report",
        files=[path, path.with_name("compare.png"), path.with_name("compare.csv")],
        sources=[
            evaluation_source(f"{run.about.name}, step {run.results.step}", run.folder)
            for run in read
        ],
        arguments={"title": title, "seed": seed, "batch_size": batch_size},
        packages=("numpy", "matplotlib", "jinja2"),
    )
    _tell(made, path)
    return CompareResult(path, made)


def _tell(made: MixtureComparison, path: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _NARROWEST)
    table = Table(box=SIMPLE)
    table.add_column("prompts", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    table.add_column("baseline", justify="right", no_wrap=True)
    for name in made.names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in made.groups:
        scores = [f"{cell.score.value:.1f}{cell.mark}" for cell in row.cells]
        baseline = "" if row.baseline is None else f"{row.baseline:.1f}"
        table.add_row(Text(row.label), Text(row.metric), baseline, *scores)
    console.print(table)
    console.print(
        "baseline: what no understanding gets (chance, or always the most frequent answer). + or -:"
        " above or below the base, the 95 % interval leaves out 0.",
        markup=False,
    )
    for sentence in made.sentences:
        console.print(f"  {sentence}", markup=False)
    console.print(f"Report: {path}", markup=False)
