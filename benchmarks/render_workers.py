"""The render job in one process against the same job on several worker processes, in turn.

    python benchmarks/render_workers.py                      # made-up rows, one against two
    python benchmarks/render_workers.py --data FOLDER

Each run has a process of its own, from rows on disk to finished TFRecords; every run must write
the same bytes. Time is the job's, imports left out (the workers' own imports are in it). On a
busy machine the clock says little: several processes get a larger share of it than one. Processor
seconds tell what several workers could do at best on as many free cores, which is printed too.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import child_processes
import generated_rows

GOAL = 1.8
FILES = 8
TEMPLATES = {
    "plain": "{{prompt}} ||| {{answer}}",
    "question": "Question: {{prompt}}\nAnswer: ||| {{answer}}",
    "turned": "Which text has the answer {{answer}}? ||| {{prompt}}",
    "cut": "{{prompt[:200]}}\n{% if prompt|length > 200 %}(cut){% endif %} ||| {{answer}}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the development data; made-up rows without it")
    parser.add_argument("--rows", type=int, default=400_000, help="repeated as often as it takes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.workers)
        return
    with tempfile.TemporaryDirectory(prefix="instrux-render-workers-") as folder:
        race(options, Path(folder))


def race(options: argparse.Namespace, folder: Path) -> None:
    """Runs both in turn and prints what several workers gain."""
    write_rows(options, folder)
    runs: dict[int, list[child_processes.Run]] = {1: [], options.workers: []}
    for _ in range(options.repetitions):
        for workers, found in runs.items():
            command = [sys.executable, __file__, "--child", str(folder)]
            found.append(child_processes.run_child([*command, "--workers", str(workers)]))
    digests = {run.told["digest"] for found in runs.values() for run in found}
    if len(digests) != 1:
        sys.exit("the runs wrote different bytes")
    one, many = runs.values()
    print(f"{one[0].told['examples']:,} renders, the same bytes in all runs")
    for workers, found in runs.items():
        wall, cpu = ([run.told[key] for run in found] for key in ("job_wall", "job_cpu"))
        print(
            f"  {workers} worker(s): {child_processes.middle(wall)} s, "
            f"{child_processes.middle(cpu)} CPU-s, at most {found[0].peak_mb:,.0f} MB"
        )
    wall, cpu = (
        child_processes.ratio([run.told[key] for run in one], [run.told[key] for run in many])
        for key in ("job_wall", "job_cpu")
    )
    print(
        f"  {options.workers} workers over one: {wall:.2f} by the clock (goal {GOAL} on two); by CPU "
        f"at best {cpu * options.workers:.2f} on as many free cores; n = {options.repetitions}"
    )


def write_rows(options: argparse.Namespace, folder: Path) -> None:
    """Writes the rows, the same ones over and over if they are few."""
    if options.data is None:
        rows = generated_rows.pairs(min(options.rows, 20_000))
    else:
        import development_examples

        rows = development_examples.load(options.data, "all")
    rows = [(inputs, targets or "none") for inputs, targets in rows]
    rows = (rows * -(-options.rows // len(rows)))[: options.rows]
    generated_rows.write_files(rows, folder, files=FILES)


def child(folder: Path, workers: int) -> None:
    """Renders; tells the job's time and a digest of all records."""
    from instrux.data.prompted_task import PromptedTask
    from instrux.data.sources import JsonLinesSource
    from instrux.prompts import Template
    from pipelines.render import render

    source = JsonLinesSource("made_up", None, {"train": str(folder / "rows-*.jsonl")})
    tasks = [
        PromptedTask(name, source, Template(name=name, jinja=jinja), {"train": "train"})
        for name, jinja in TEMPLATES.items()
    ]
    beam_args = [] if workers == 1 else [f"--direct_num_workers={workers}"]
    with tempfile.TemporaryDirectory(dir=folder) as data_dir:
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        result = render(tasks=tasks, data_dir=data_dir, beam_args=beam_args)
        wall, cpu = time.perf_counter() - wall, sum(os.times()[:4]) - cpu
        digest = hashlib.sha256()
        for path in sorted(Path(data_dir).rglob("*.tfrecord-*")):
            digest.update(path.name.encode() + path.read_bytes())
    told = {"examples": result.examples, "job_wall": wall, "job_cpu": cpu}
    print(json.dumps({**told, "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main()
