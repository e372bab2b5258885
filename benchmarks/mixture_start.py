"""How long a mixture takes to start and what it holds, packed and through SeqIO, by number of tasks.

    python benchmarks/mixture_start.py --tasks 50 200
    python benchmarks/mixture_start.py --tasks 800 --sides packed cached --repetitions 1

Every start has a process of its own. Ours opens the packed dataset and gives a first batch; the
peer is SeqIO's `Mixture.get_dataset` up to its first example (neither packed nor batched), on text
lines (`uncached`) or on SeqIO's cache (`cached`). "Start" begins when the libraries are imported;
the whole process is given beside it. Rows are made up, or with `--data` real ones dealt out to the
tasks: 64 a task, all tasks at the same rate. A process that holds more memory than
`--memory_limit_mb` is ended, and said to be. Memory is read before the start, at the first example
and after `--examples` of them.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import child_processes
import generated_rows

GOAL = 20.0
ROWS_A_TASK = 64
LENGTHS = {"inputs": 512, "targets": 128}
BATCH_SIZE = 8
SIDES = ("packed", "uncached", "cached")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the development data; made-up rows without it")
    parser.add_argument("--vocabulary", help="a SentencePiece model; trained on the rows if absent")
    parser.add_argument("--tasks", type=int, nargs="+", default=[50, 200, 800])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--examples", type=int, default=5_000, help="read after the first")
    parser.add_argument("--memory_limit_mb", type=float, default=9_000)
    parser.add_argument("--keep", type=Path, help="folder for the data, used again if it is there")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        start = start_packed if options.child == "packed" else start_seqio
        print(json.dumps(start(options)))
        return
    with tempfile.TemporaryDirectory(prefix="instrux-mixture-start-") as folder:
        options.keep = options.keep or Path(folder)
        prepare(options)
        for tasks in options.tasks:
            measure(options, tasks)


def measure(options: argparse.Namespace, tasks: int) -> None:
    """Starts each side in turn, several times, and prints what it took."""
    runs: dict[str, list[child_processes.Run]] = {side: [] for side in options.sides}
    for _ in range(options.repetitions):
        for side, found in runs.items():
            if found and found[-1].killed:
                continue
            command = [sys.executable, __file__, "--child", side, "--tasks", str(tasks)]
            command += ["--keep", str(options.keep), "--examples", str(options.examples)]
            found.append(
                child_processes.run_child(command, memory_limit_mb=options.memory_limit_mb)
            )
    print(f"{tasks} tasks")
    for side, found in runs.items():
        print(f"  {side}: {told(found, options.memory_limit_mb)}", flush=True)
    packed = runs.get("packed")
    for side in set(runs) - {"packed"} if packed else ():
        if not runs[side][-1].killed:
            ratios = [
                child_processes.ratio(
                    [run.told[key] for run in runs[side]], [run.told[key] for run in packed]
                )
                for key in ("start_wall", "start_cpu")
            ]
            whole = child_processes.ratio(
                [run.told["first_after"] for run in runs[side]],
                [run.told["first_after"] for run in packed],
            )
            print(
                f"  {side} over packed: start {ratios[0]:.1f} of wall medians, {ratios[1]:.1f} of CPU"
                f" medians (goal {GOAL:.0f}); with imports {whole:.1f} of wall; "
                f"n = {len(packed)}",
                flush=True,
            )


def told(runs: list[child_processes.Run], limit: float) -> str:
    """One side in a line."""
    if runs[-1].killed:
        run = runs[-1]
        return (
            f"ended at {run.peak_mb:,.0f} MB (limit {limit:,.0f}) after {run.wall:.0f} s and "
            f"{run.cpu:.0f} CPU-s, imports included"
        )

    def of(key: str) -> float:
        return statistics.median(run.told[key] for run in runs)

    return (
        f"start {child_processes.middle([run.told['start_wall'] for run in runs])} s, "
        f"{child_processes.middle([run.told['start_cpu'] for run in runs])} CPU-s; memory "
        f"{of('mb_before'):,.0f} MB before, {of('mb_first'):,.0f} at the first, "
        f"{of('mb_after'):,.0f} after {of('examples'):,.0f} examples; {of('threads'):.0f} threads"
    )


# --- The children --------------------------------------------------------------------------------


def start_packed(options: argparse.Namespace) -> dict[str, float]:
    """Opens the packed dataset and reads from it."""
    from instrux.data.packed import PackedDataset

    mb_before, clocks = child_processes.held_mb(), clock()
    dataset = PackedDataset(packed_folder(options.keep, options.tasks[0]))
    batches = dataset.batches(BATCH_SIZE, seed=0)
    next(batches)
    return finish(
        options,
        mb_before,
        clocks,
        (int(batch["decoder_segment_ids"].max(axis=1).sum()) for batch in batches),
    )


def start_seqio(options: argparse.Namespace) -> dict[str, float]:
    """Builds SeqIO's mixture and reads from it."""
    import cached_task
    import seqio

    cached = options.child == "cached"
    names = cached_task.register(options.keep)[: options.tasks[0]]
    prefix = "made" if cached else "lines"
    if cached:
        seqio.add_global_cache_dirs([str(options.keep / "cache")])
    mixture = seqio.MixtureRegistry.add("mixture", [(f"{prefix}_{name}", 1.0) for name in names])
    mb_before, clocks = child_processes.held_mb(), clock()
    dataset = mixture.get_dataset(
        LENGTHS, split="train", use_cached=cached, shuffle=True, seed=0, num_epochs=None
    )
    examples = dataset.as_numpy_iterator()
    next(examples)
    return finish(options, mb_before, clocks, (1 for _ in examples))


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def finish(options, mb_before, clocks, counts) -> dict[str, float]:
    """Takes the time of the first example, and reads on."""
    import psutil

    wall, cpu = (now - then for now, then in zip(clock(), clocks, strict=True))
    process = psutil.Process()
    told = {"start_wall": wall, "start_cpu": cpu, "mb_before": mb_before}
    told["first_after"] = time.time() - process.create_time()
    told["mb_first"] = child_processes.held_mb()
    read = 0
    for count in counts:
        read += count
        if read >= options.examples:
            break
    return {
        **told,
        "examples": read,
        "mb_after": child_processes.held_mb(),
        "threads": process.num_threads(),
    }


# --- What they read ------------------------------------------------------------------------------


def packed_folder(folder: Path, tasks: int) -> Path:
    """Where the mixture of the first `tasks` tasks is packed."""
    return Path((folder / f"packed-{tasks}").read_text())


def prepare(options: argparse.Namespace) -> None:
    """Renders all tasks, caches them where that is asked for, and packs each mixture."""
    import cached_task

    from instrux.data.packed import PackSettings
    from instrux.data.vocabularies import VocabularySpec
    from pipelines.pack import pack
    from pipelines.render import render

    folder, most = options.keep, max(options.tasks)
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options, most * ROWS_A_TASK)
    vocabulary = options.vocabulary or generated_rows.train_vocabulary(rows, folder)
    paths = {}
    for number in range(most):
        part = rows[number * ROWS_A_TASK : (number + 1) * ROWS_A_TASK]
        stem = f"task{number:04d}"
        json_paths, tsv_paths = generated_rows.write_files(part, folder, files=1, stem=stem)
        paths[stem] = {"jsonl": json_paths, "tsv": tsv_paths}
    cached_task.write_description(folder, paths, vocabulary)
    tasks = [cached_task.prompted(name, files["jsonl"]) for name, files in paths.items()]
    render(tasks=tasks, data_dir=folder, num_shards=1)
    if "cached" in options.sides:
        from pipelines.cache import cache

        cached_task.register(folder)
        cache(tasks=[task.name for task in tasks], data_dir=folder)
    for count in options.tasks:
        settings = PackSettings(
            mixture=f"mixture_{count}",
            inputs_length=LENGTHS["inputs"],
            targets_length=LENGTHS["targets"],
            vocabulary=VocabularySpec.parse(vocabulary),
            num_examples=count * ROWS_A_TASK,
        )
        result = pack(settings, data_dir=folder, rates={task.name: 1.0 for task in tasks[:count]})
        (folder / f"packed-{count}").write_text(str(result.folder))


def read_rows(options: argparse.Namespace, count: int) -> list[generated_rows.Pair]:
    """Made-up rows, or real ones as often as they are needed."""
    if options.data is None:
        return generated_rows.pairs(count)
    import development_examples

    rows = development_examples.load(options.data, "all")
    return [
        (inputs, targets or "none")
        for inputs, targets in itertools.islice(itertools.cycle(rows), count)
    ]


if __name__ == "__main__":
    main()
