"""Times the whole render job against PromptSource's bare loop over the same rows and templates.

    python benchmarks/render_job.py --peer-python PYTHON                 # made-up rows
    python benchmarks/render_job.py --peer-python PYTHON --rows FOLDER

PYTHON is an interpreter (3.7 to 3.9) that has promptsource 0.2.3; FOLDER holds real rows as
`dataset/config/split.jsonl`. Ours is everything from rows on disk to finished TFRecords with
manifests, on Beam with one worker in this process. The peer only parses rows and calls
`Template.apply`; it is so slow that it takes every tenth row. Both are timed in turn, in processor
seconds per render, and what they render is compared first (templates that draw aside).
The peer runs this same file with `--serve`, so it stays within Python 3.7 and the standard library.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

SETS = [
    ("super_glue", "rte", "train"),
    ("ag_news", None, "test"),
    ("cosmos_qa", None, "validation"),
    ("cos_e", "v1.11", "train"),
    ("rotten_tomatoes", None, "train"),
    ("glue", "mrpc", "test"),
    ("imdb", None, "train"),
    ("paws", "labeled_final", "train"),
]
PEER_TAKES_EVERY = 10
GOAL = 10.0


def path_of(folder, dataset, config, split):
    return os.path.join(folder, dataset, config or "default", split + ".jsonl")


# --- The peer ------------------------------------------------------------------------------------


def serve(folder):
    """Renders once for every line on stdin; answers with renders, seconds and what was rendered."""
    from promptsource.templates import DatasetTemplates

    sets = [(known, DatasetTemplates(*known[:2])) for known in SETS]
    for _ in sys.stdin:
        rendered, start = {}, time.process_time()
        for (dataset, config, split), templates in sets:
            for name in templates.all_template_names:
                template = templates[name]
                with open(path_of(folder, dataset, config, split), encoding="utf-8") as lines:
                    for number, line in enumerate(lines):
                        if number % PEER_TAKES_EVERY == 0:
                            parts = template.apply(json.loads(line))
                            example_id = f"{dataset}/{config or 'default'}/{split}/{number}"
                            rendered[f"{example_id} {name}"] = parts
        seconds = time.process_time() - start
        print(json.dumps([len(rendered), seconds, rendered]), flush=True)


class Peer:
    """The peer's process, which renders on demand."""

    def __init__(self, python, folder):
        command = [python, os.path.abspath(__file__), "--serve", "--rows", folder]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def run(self):
        """Lets it render once."""
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("the peer ended: has its Python promptsource 0.2.3?")
        return json.loads(answer)

    def end(self):
        """Lets it go."""
        self._process.stdin.close()
        self._process.wait()


# --- Ours ----------------------------------------------------------------------------------------


def prompted_tasks(folder):
    from instrux.data.prompted_task import PromptedTask
    from instrux.data.sources import JsonLinesSource
    from instrux.prompts import TemplateCollection

    collection = TemplateCollection.load("promptsource-0.2.3")
    for dataset, config, split in SETS:
        files = {split: path_of(folder, dataset, config, split)}
        source = JsonLinesSource(dataset, config, files)
        templates = collection[dataset if config is None else f"{dataset}/{config}"]
        for name in templates:
            task_name = f"{dataset}_{config}_{name}".replace(" ", "_").replace("/", "_")
            yield PromptedTask(task_name, source, templates[name], {"train": split})


def render_once(tasks, data_dir):
    from pipelines.render import render

    start, wall = time.process_time(), time.monotonic()
    result = render(tasks=tasks, data_dir=data_dir, allow_missing_fields=True)
    return result.rows, time.process_time() - start, time.monotonic() - wall


def compare(tasks, data_dir, rendered):
    """Counts the renders that both made, and fails on one that differs."""
    from instrux.data.rendered import RenderedSplit

    same = 0
    for task in tasks:
        if "choice" in task.template.jinja.replace("answer_choices", "") or "random" in (
            task.template.jinja
        ):
            continue
        for example in RenderedSplit(data_dir, task.name, "train").read():
            theirs = rendered.get(f"{example.example_id} {task.template.name}")
            if theirs is None:
                continue
            expected = [theirs[0], theirs[1] if theirs[1] else "<NO LABEL>"]
            if [example.inputs, example.targets] != expected:
                sys.exit(f"{example.example_id}, {task.name}: {expected} became {example}")
            same += 1
    return same


def spread(values):
    return f"{min(values):.1f} to {max(values):.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="interpreter with promptsource 0.2.3")
    parser.add_argument(
        "--rows", help="folder of dataset/config/split.jsonl; made-up rows without it"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.rows)
        return
    if arguments.rows:
        race(arguments)
        return
    from pathlib import Path

    import generated_rows

    with tempfile.TemporaryDirectory() as arguments.rows:
        generated_rows.write_prompt_rows(Path(arguments.rows))
        race(arguments)


def race(arguments):
    """Renders on both sides in turn, compares and prints the ratio; exits 1 below the goal."""
    peer = Peer(arguments.peer_python, arguments.rows) if arguments.peer_python else None
    tasks = list(prompted_tasks(arguments.rows))
    ours, theirs, renders, wall = [], [], 0, 0.0
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as data_dir:
            renders, seconds, wall = render_once(tasks, data_dir)
            ours.append(1e6 * seconds / renders)
            if peer is not None:
                count, seconds, rendered = peer.run()
                theirs.append(1e6 * seconds / count)
                same = compare(tasks, data_dir, rendered)
    print(
        f"ours: {renders:,} renders of {len(tasks)} templates, {statistics.median(ours):.1f} us of "
        f"processor time each ({spread(ours)}); {renders / wall:,.0f}/s by the clock"
    )
    if peer is not None:
        peer.end()
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(
            f"peer: {count:,} renders, {statistics.median(theirs):.1f} us each ({spread(theirs)}); "
            f"{same:,} compared, all equal"
        )
        print(f"ratio of medians: {ratio:.1f} (goal: at least {GOAL:.0f})")
        sys.exit(0 if ratio >= GOAL else 1)


if __name__ == "__main__":
    main()
