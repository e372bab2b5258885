"""`instrux evaluate --labels`: what people said about outputs, to a table, a page and figures."""

import sys
from collections.abc import Sequence
from pathlib import Path

from instrux.data.lineage_files import beside, file_source, write_lineage
from instrux.errors import InputError
from instrux.evaluation.label_records import LabelRecord, read_records
from instrux.evaluation.label_results import LabelResults, evaluate_labels, results_json
from instrux.evaluation.label_tables import as_text, summary, tables
from instrux.studio.label.study import is_study
from launch import studio_label


def evaluate_label_files(
    paths: Sequence[str],
    *,
    baseline: str | None = None,
    out: str | None = None,
    as_json: bool = False,
    seed: int = 0,
) -> LabelResults:
    """Evaluates labels, writes the report, and prints the tables.

    Args:
        paths: files of JSON lines (ours or open-instruct's), or studies.
        baseline: the system that win rates are against; every pair where None.
        out: folder for `label_results.json`, `labels.html` and its figures; beside the first file,
            named after it, where None.
        as_json: whether stdout gets the results as JSON in place of tables.
        seed: of the bootstrap.

    Raises:
        InputError: a file cannot be read, or the baseline is unknown.
    """
    files = [Path(path) for path in paths]
    results = evaluate_labels(read_labels(files), baseline=baseline, seed=seed)
    folder = Path(out) if out is not None else Path(f"{files[0].stem}-evaluation")
    from instrux.evaluation.label_report import (  # matplotlib takes a second
        RESULTS_NAME,
        write_label_report,
    )

    try:
        page = write_label_report(folder, results)
        write_lineage(
            beside(page),
            "report",
            files=[page, folder / RESULTS_NAME, *folder.glob("labels_*.png")],
            sources=[file_source(path) for path in files],
            arguments={"baseline": baseline, "seed": seed},
            packages=("numpy", "matplotlib", "jinja2"),
        )
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise InputError(f"--out {folder}: cannot be written to ({error}).") from error
    print(f"{page}", file=sys.stderr)
    if as_json:
        print(results_json(results), end="")
    else:
        _print_tables(results)
    return results


def read_labels(paths: Sequence[Path]) -> list[LabelRecord]:
    """Reads labels from files of JSON lines, and from studies of `instrux studio label`."""
    records: list[LabelRecord] = []
    for path in paths:
        found = studio_label.records_in(path) if is_study(path) else read_records([path])
        if not found:
            raise InputError(f"{path}: nobody has answered yet; `instrux studio label` serves it.")
        records += found
    return records


def _print_tables(results: LabelResults) -> None:
    print(summary(results))
    for table in tables(results):
        print(f"\n{as_text(table)}")
