"""Rendered rows against time and memory, from 10,000 to 10 million rows.

    python benchmarks/render_scaling.py --out FOLDER
    python benchmarks/render_scaling.py --out FOLDER --sizes 10000 100000 --workers 2

Cheap rows, so that what grows is the job and not the text: a JSON line of some 50 bytes, one
template. Each size has a process of its own, from rows on disk to finished TFRecords with their
manifest. FOLDER gets `render_scaling.csv` and `render_scaling.png`; rows and records are made
below it and removed. Memory is the most that the process and its workers held at once.
"""

import argparse
import csv
import json
import shutil
import sys
import tempfile
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import child_processes

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
_LINES_AT_ONCE = 100_000


@dataclass(frozen=True)
class Point:
    """One size: rows, seconds by the clock and of the processors, and memory."""

    rows: int
    workers: int
    wall_seconds: float
    cpu_seconds: float
    import_mb: float
    peak_mb: float
    microseconds_a_row: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for the table, the plot and the rows")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.workers)
        return
    if options.out is None:
        parser.error("the following arguments are required: --out")
    options.out.mkdir(parents=True, exist_ok=True)
    points = []
    for size in options.sizes:
        points.append(measure(size, options))
        print(
            f"{size:>12,} rows: {points[-1].wall_seconds:,.1f} s, "
            f"{points[-1].cpu_seconds:,.1f} CPU-s ({points[-1].microseconds_a_row:.0f} us a row), "
            f"at most {points[-1].peak_mb:,.0f} MB ({points[-1].import_mb:,.0f} MB at the start)",
            flush=True,
        )
        write(points, options.out)


def measure(size: int, options: argparse.Namespace) -> Point:
    """Renders one size in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="rows-", dir=options.out))
    try:
        write_rows(folder / "rows.jsonl", size)
        command = [sys.executable, __file__, "--child", str(folder)]
        run = child_processes.run_child([*command, "--workers", str(options.workers)])
        if run.told["examples"] != size:
            sys.exit(f"{run.told['examples']:,} of {size:,} rows were rendered")
    finally:
        shutil.rmtree(folder)
    each = 1e6 * run.told["cpu"] / size
    return Point(size, options.workers, run.wall, run.cpu, run.told["import_mb"], run.peak_mb, each)


def write_rows(path: Path, count: int) -> None:
    """Writes numbered rows."""
    with path.open("w") as file:
        for start in range(0, count, _LINES_AT_ONCE):
            numbers = range(start, min(start + _LINES_AT_ONCE, count))
            file.writelines(f'{{"text": "row {n} of a set", "label": {n % 2}}}\n' for n in numbers)


def child(folder: Path, workers: int) -> None:
    """Renders the rows of a folder; tells how many, and the job's processor seconds."""
    import os

    from instrux.data.prompted_task import PromptedTask
    from instrux.data.sources import JsonLinesSource
    from instrux.prompts import Template
    from pipelines.render import render

    source = JsonLinesSource("scaling", None, {"train": str(folder / "rows.jsonl")})
    template = Template(name="plain", jinja="{{text}} ||| {{['no', 'yes'][label]}}")
    task = PromptedTask("scaling", source, template, {"train": "train"})
    import_mb, before = child_processes.held_mb(), sum(os.times()[:4])
    beam_args = [] if workers == 1 else [f"--direct_num_workers={workers}"]
    result = render(tasks=[task], data_dir=folder / "data", beam_args=beam_args)
    cpu = sum(os.times()[:4]) - before
    print(json.dumps({"examples": result.examples, "cpu": cpu, "import_mb": import_mb}))


def write(points: list[Point], folder: Path) -> None:
    """Writes the table and the plot."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with (folder / "render_scaling.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Point)])
        table.writerows(astuple(point) for point in points)
    figure, (time_axes, memory_axes) = pyplot.subplots(1, 2, figsize=(9, 3.5))
    rows = [point.rows for point in points]
    time_axes.loglog(rows, [point.cpu_seconds for point in points], "o-", label="processor")
    time_axes.loglog(rows, [point.wall_seconds for point in points], "s--", label="clock")
    time_axes.set(xlabel="rendered rows", ylabel="seconds, imports included")
    time_axes.legend()
    memory_axes.semilogx(rows, [point.peak_mb for point in points], "o-", label="at most")
    memory_axes.semilogx(rows, [point.import_mb for point in points], "s--", label="at the start")
    memory_axes.set(xlabel="rendered rows", ylabel="resident memory, MB")
    memory_axes.set_ylim(bottom=0)
    memory_axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "render_scaling.png", dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
