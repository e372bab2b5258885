"""The stage `report`: evaluated runs to one page that says what came out, and how sure that is."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from instrux.data.lineage_files import FILE_NAME as LINEAGE_NAME
from instrux.data.lineage_files import Source, evaluation_source, write_lineage
from instrux.data.packed_manifest import MANIFEST_NAME
from instrux.data.seal import seal_of
from instrux.errors import InputError
from instrux.evaluation.compare import Comparison, Estimate
from instrux.evaluation.report import Report, build_report, write_report
from instrux.evaluation.runs import EvaluatedRun, RunForReport, read_run
from instrux.progress import tell

__all__ = ["ReportResult", "RunForReport", "report"]

_NARROWEST = 180


@dataclass(frozen=True)
class ReportResult:
    """What the stage made.

    Attributes:
        path: the page.
        headline: the verdict in one sentence.
        outcome: `gain`, `loss`, `unclear` or `mixed`.
        written: False where the page was there already, with the same content.
    """

    path: Path
    headline: str
    outcome: str
    written: bool


def report(
    *,
    runs: Sequence[RunForReport],
    out: str | os.PathLike[str],
    title: str = "Instrux: evaluation report",
    seed: int = 0,
) -> ReportResult:
    """Writes the report of some runs, and tells its verdict on stdout.

    Args:
        runs: the evaluated runs to show, by their names.
        out: the page to write, or a folder that gets `report.html`.
        title: the page's heading.
        seed: of the bootstrap's draws and of the example predictions shown.

    Raises:
        InputError: a run was not evaluated, two runs share a name, or the page cannot be written.
    """
    path = _page(out)
    _check_names(runs)
    read = [read_run(run) for run in runs]
    made = build_report(read, title=title, seed=seed)
    written = not _is_same(path, made)
    if written:
        try:
            write_report(made, path)
            _write_lineage(path, made, read, {"title": title, "seed": seed})
        except OSError as error:
            raise InputError(
                f"{path}: the report cannot be written ({error.strerror or error}); give another"
                " place as `out`."
            ) from error
    else:
        tell(f"report: {path}: complete, skipped")
    _tell_verdict(made, path)
    return ReportResult(path, made.verdict.headline, made.verdict.outcome, written)


def _write_lineage(
    path: Path, made: Report, runs: Sequence[EvaluatedRun], arguments: dict[str, object]
) -> None:
    """Writes what the page was made from, for `instrux show` and `instrux verify`."""
    sources = []
    for run in runs:
        name = f"{run.about.name}, step {run.results.step}"
        sources.append(evaluation_source(name, run.folder))
        if run.pack_folder is not None and run.pack is not None:
            fingerprint = seal_of(Path(run.pack_folder) / MANIFEST_NAME)
            sources.append(
                Source(
                    kind="packed",
                    name=Path(run.pack_folder).name,
                    fingerprint=fingerprint,
                    path=run.pack_folder,
                )
            )
    figures = [path.parent / f"{path.stem}_{drawing.name}.png" for drawing in made.drawings]
    write_lineage(
        path.with_name(f"{path.stem}.{LINEAGE_NAME}"),
        "report",
        files=[path, *figures],
        sources=sources,
        arguments=arguments,
        packages=("numpy", "matplotlib", "jinja2"),
    )


def _page(out: str | os.PathLike[str]) -> Path:
    path = Path(out)
    return path if path.suffix in (".html", ".htm") else path / "report.html"


def _check_names(runs: Sequence[RunForReport]) -> None:
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"report: two runs are named {name!r}; give each a name of its own.")


def _is_same(path: Path, made: Report) -> bool:
    try:
        return path.read_bytes() == made.html.encode(errors="replace")
    except OSError:
        return False


def _tell_verdict(made: Report, path: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _NARROWEST)  # a log file has no width of its own
    console.print(made.verdict.headline, style="bold", markup=False)
    for group in made.verdict.groups:
        console.print(f"  {group.sentence}", markup=False)
    if made.comparisons:
        console.print(_table(made.comparisons))
    console.print(f"Report: {path}", markup=False)


def _table(comparisons: Sequence[Comparison]) -> Table:
    table = Table(box=SIMPLE)
    headings = ("prompts", "run", "score (95 % interval)", "chance", "difference")
    for heading in (*headings, "spread over prompts", "difference"):
        justify = "left" if heading in ("prompts", "run") else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for comparison in comparisons:
        for score in comparison.scores:
            first = score is comparison.main
            table.add_row(
                Text((comparison.group or "evaluated prompts") if first else ""),
                Text(score.arm.name),
                _worded(score.score),
                f"{comparison.baseline:.1f}" if first else "",
                "" if score.lead is None else _worded(score.lead, sign="+"),
                _worded(score.spread),
                "" if score.spread_lead is None else _worded(score.spread_lead, sign="+"),
            )
    return table


def _worded(estimate: Estimate, *, sign: str = "") -> str:
    low, high = estimate.interval.low, estimate.interval.high
    return f"{estimate.value:{sign}.1f} ({low:.1f} to {high:.1f})"
