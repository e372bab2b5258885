"""Renders the same rows with PromptSource's own `Template.apply` and with ours, in turn.

    python benchmarks/render_templates.py --peer-python PYTHON           # made-up rows
    python benchmarks/render_templates.py --peer-python PYTHON --rows FOLDER

PYTHON is an interpreter (3.7 to 3.9) that has promptsource 0.2.3; FOLDER holds real rows as
`dataset/config/split.jsonl`. Outputs, draws included, are compared in every round. Seconds are the
processor's, so that a busy machine disturbs less.
The peer runs this same file with `--serve`, so it stays within Python 3.7 and the standard library.
"""

# ruff: noqa: B905  (the peer's Python has no zip(strict=))

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time


def cases(folder, rows_per_template):
    """Pairs every template of the release with some rows of its dataset."""
    from instrux.prompts import TemplateCollection

    found = []
    for dataset in TemplateCollection.load("promptsource-0.2.3").values():
        config = os.path.join(folder, dataset.dataset, dataset.subset or "default")
        if not os.path.isdir(config):
            continue
        for file_name in sorted(os.listdir(config)):
            if file_name.endswith(".jsonl"):
                break
        else:
            continue
        with open(os.path.join(config, file_name), encoding="utf-8", newline="\n") as lines:
            rows = [json.loads(line) for line, _ in zip(lines, range(rows_per_template))]
        for template in dataset:
            for row in rows:
                found.append([dataset.dataset, dataset.subset, template, row, len(found)])
    return found


def render_all(load, apply, rows):
    """Renders all cases; gives the outputs and the seconds, loading and seeding left out."""
    templates = [load(*case[:3]) for case in rows]
    outputs, elapsed = [], 0.0
    for template, (_, _, _, row, seed) in zip(templates, rows):
        rng = random.Random(seed)
        random.seed(seed)
        start = time.process_time()
        try:
            output = apply(template, row, rng)
        except Exception as error:
            output = type(error).__name__
        elapsed += time.process_time() - start
        outputs.append(output)
    return outputs, elapsed


def serve(path):
    """The peer: renders once for every line on stdin and answers with the seconds."""
    from promptsource.templates import DatasetTemplates

    known = {}

    def load(dataset, subset, name):
        if (dataset, subset) not in known:
            known[dataset, subset] = DatasetTemplates(dataset, subset)
        return known[dataset, subset][name]

    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    for _ in sys.stdin:
        outputs, seconds = render_all(load, lambda template, row, rng: template.apply(row), rows)
        print(json.dumps([outputs, seconds]), flush=True)


def ours(rows):
    """Renders with our engine in this process."""
    from instrux.prompts import TemplateCollection

    release = TemplateCollection.load("promptsource-0.2.3")

    def load(dataset, subset, name):
        return release[dataset if subset is None else dataset + "/" + subset][name]

    return render_all(load, lambda template, row, rng: template.apply(row, rng).parts, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument(
        "--rows", help="folder of dataset/config/split.jsonl; made-up rows without it"
    )
    parser.add_argument("--rows-per-template", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    import tempfile
    from pathlib import Path

    import generated_rows

    with tempfile.TemporaryDirectory() as made_up:
        if not options.rows:
            generated_rows.write_prompt_rows(Path(made_up), rows=options.rows_per_template)
        rows = cases(options.rows or made_up, options.rows_per_template)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        command = [options.peer_python, __file__, "--serve", file.name]
        peer = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        compare(rows, peer, options.rounds)
        peer.stdin.close()
        peer.wait()


def compare(rows, peer, rounds):
    """Checks that both sides render the same, then times them in turn."""
    times = {"promptsource": [], "instrux": []}
    for _ in range(rounds):
        peer.stdin.write("go\n")
        peer.stdin.flush()
        theirs, seconds = json.loads(peer.stdout.readline())
        times["promptsource"].append(seconds)
        mine, seconds = ours(rows)
        times["instrux"].append(seconds)
        different = sum(a != b for a, b in zip(theirs, mine))
        if different:
            raise SystemExit(f"{different} of {len(rows)} renderings differ")
    names = {tuple(case[:2]) for case in rows}
    print(f"{len(rows)} renderings, {len(names)} data(sub)sets, all equal, {rounds} rounds in turn")
    for side, seconds in times.items():
        rate = len(rows) / statistics.median(seconds)
        print(f"{side}: median {statistics.median(seconds):.3f} s, {rate:,.0f} rows/s")
    print(f"first round of ours (compiling): {times['instrux'][0]:.3f} s")
    ratio = statistics.median(times["promptsource"]) / statistics.median(times["instrux"])
    print(f"ratio of medians: {ratio:.1f}")


if __name__ == "__main__":
    main()
