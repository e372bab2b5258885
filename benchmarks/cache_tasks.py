"""Caches a task with `instrux cache` and with `seqio_cache_tasks`, in turn, and prints the ratio.

    python benchmarks/cache_tasks.py                                    # made-up rows
    python benchmarks/cache_tasks.py --data FOLDER --vocabulary FOLDER/vocab/t5_32000.model

Both run on Beam's FnApiRunner in one process and write TFRecords of the same examples, which are
compared. The peer caches `lines_rows`, the text as tab-separated lines read by SeqIO's own source,
or with `--peer made` the very task that ours caches, which renders JSON lines as it reads. Ours
starts from raw rows too: rendering is timed, and the ratio is given with and without it. Each run
has a process of its own; "jobs" leaves out what happens before and after (imports take 10 s on
both sides).
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import child_processes
import generated_rows

GOAL = 3.0
FILES = 16
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the development data; made-up rows without it")
    parser.add_argument("--vocabulary", help="a SentencePiece model; trained on the rows if absent")
    parser.add_argument("--set", default="all", help="of the development data")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--peer", choices=("lines", "made"), default="lines")
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "ours":
        ours(options.folder)
        return
    if options.side == "peer":
        peer(options.folder, f"{options.peer}_rows")
        return
    with tempfile.TemporaryDirectory(prefix="instrux-cache-tasks-") as folder:
        race(options, Path(folder))


def race(options: argparse.Namespace, folder: Path) -> None:
    """Runs both in turn, compares what they wrote and prints the ratios."""
    prepare(options, folder)
    runs: dict[str, list[child_processes.Run]] = {"ours": [], "peer": []}
    for _ in range(options.repetitions):
        for side, found in runs.items():
            shutil.rmtree(folder / side, ignore_errors=True)
            command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
            command += ["--peer", options.peer]
            environment = {"INSTRUX_BENCHMARK_FOLDER": str(folder)}
            found.append(child_processes.run_child(command, environment=environment))
    count = compare(
        folder / "ours" / "cache" / "made_rows", folder / "peer" / f"{options.peer}_rows"
    )
    print(f"{count:,} examples, the same on both sides")
    for what, told in (
        ("cache alone, without imports (ours reads what is rendered already)", "cache"),
        ("jobs: render and cache against cache, without imports", "job"),
        ("whole processes: render and cache against cache", ""),
    ):
        cpu = child_processes.report(what, runs["ours"], runs["peer"], told=told)
        print(f"  goal {GOAL:.0f}: {'reached' if cpu >= GOAL else 'missed'} by CPU")
    for side, found in runs.items():
        print(f"peak memory, {side}: {max(run.peak_mb for run in found):,.0f} MB")


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Writes the rows and says which tasks there are."""
    import cached_task

    if options.data is None:
        rows = generated_rows.pairs(options.examples)
    else:
        import development_examples

        rows = development_examples.load(options.data, options.set)[: options.examples]
    rows = [(inputs, targets or "none") for inputs, targets in rows]
    json_paths, tsv_paths = generated_rows.write_files(rows, folder, files=FILES)
    vocabulary = options.vocabulary or generated_rows.train_vocabulary(rows, folder)
    tasks = {"rows": {"jsonl": json_paths, "tsv": tsv_paths}}
    cached_task.write_description(folder, tasks, vocabulary)


def ours(folder: Path) -> None:
    """The child: renders, then caches."""
    import cached_task  # registers

    from pipelines.cache import cache
    from pipelines.render import render

    content = json.loads((folder / "tasks.json").read_text())
    task = cached_task.prompted("rows", content["tasks"]["rows"]["jsonl"])
    clocks = [(time.perf_counter(), time.process_time())]
    for stage in (
        lambda: render(tasks=[task], data_dir=folder / "ours", num_shards=FILES),
        lambda: cache(tasks=[task.name], data_dir=folder / "ours"),
    ):
        stage()
        clocks.append((time.perf_counter(), time.process_time()))
    tell(("render", clocks[0], clocks[1]), ("cache", *clocks[1:]), ("job", clocks[0], clocks[2]))


def peer(folder: Path, task: str) -> None:
    """The child: runs SeqIO's own script."""
    import cached_task  # noqa: F401  # registers
    from absl import app
    from seqio.scripts import cache_tasks_main

    arguments = [
        "seqio_cache_tasks",
        f"--tasks={task}",
        f"--output_cache_dir={folder / 'peer'}",
        f"--min_shards={FILES}",
        f"--pipeline_options=--runner={RUNNER}",
        "--module_import=cached_task",
    ]
    started = time.perf_counter(), time.process_time()
    try:
        app.run(cache_tasks_main.main, argv=arguments)
    except SystemExit as end:
        if end.code:
            raise
    ended = time.perf_counter(), time.process_time()
    tell(("cache", started, ended), ("job", started, ended))


def tell(*stages: tuple[str, tuple[float, float], tuple[float, float]]) -> None:
    """Prints what `child_processes` reads."""
    told = {}
    for name, start, end in stages:
        told[f"{name}_wall"], told[f"{name}_cpu"] = end[0] - start[0], end[1] - start[1]
    print(json.dumps(told))


def compare(ours_folder: Path, peer_folder: Path) -> int:
    """Fails if the two caches hold other examples; gives how many they hold."""
    import tensorflow as tf

    from instrux.data.tfrecord import read_records

    found = []
    for folder in (ours_folder, peer_folder):
        examples = []
        for path in sorted(folder.glob("train.tfrecord-*")):
            for record in read_records(path):
                features = tf.train.Example.FromString(record).features.feature
                examples.append(
                    tuple(
                        (
                            name,
                            tuple(
                                features[name].bytes_list.value or features[name].int64_list.value
                            ),
                        )
                        for name in sorted(features)
                    )
                )
        found.append(sorted(examples))
    if not found[0] or found[0] != found[1]:
        sys.exit(f"the caches differ: {len(found[0]):,} and {len(found[1]):,} examples")
    return len(found[0])


if __name__ == "__main__":
    main()
