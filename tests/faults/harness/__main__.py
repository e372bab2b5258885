"""Runs many rounds and writes what came of them into docs/reliability.md.

python -m tests.faults.harness --rounds 300 --costly_rounds 10
"""

import argparse
import os
import platform
import re
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.faults.harness import damage, disturbed, fuzz, hostile, trials
from tests.faults.harness.trials import Kind, Outcome, Result

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: made by the harness -->", "<!-- end of figures -->"


def main() -> None:
    """Runs the rounds; ends with status 1 if a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="trials of each kind")
    parser.add_argument("--costly_rounds", type=int, default=10, help="where a trial takes seconds")
    parser.add_argument("--seed", type=int, default=0, help="the first trial's number")
    parser.add_argument("--only", default="", help="part of a kind's name")
    parser.add_argument("--seconds", type=float, default=1e9, help="of each kind, at most")
    options = parser.parse_args()
    kinds = [k for k in every_kind() if options.only in k.name]
    results: dict[Kind, list[Result]] = {}
    for kind in kinds:
        results[kind] = _rounds(kind, options)
        if not options.only:  # after each, so that a run that is stopped leaves what it found
            write_page(table(results), options)
    sys.exit(any(r.outcome is Outcome.FAULT for each in results.values() for r in each))


def every_kind() -> list[Kind]:
    """All kinds of faults, in the order of the table."""
    return [*damage.kinds(), *fuzz.kinds(), *hostile.kinds(), *disturbed.kinds()]


def _rounds(kind: Kind, options: argparse.Namespace) -> list[Result]:
    count = options.costly_rounds if kind.costly else options.rounds
    began, results = time.monotonic(), []
    for seed in range(options.seed, options.seed + count):
        results.append(trials.run(kind, seed))
        if time.monotonic() - began > options.seconds:
            break
    counts = Counter(result.outcome.name for result in results)
    print(f"{kind.name}: {dict(counts)}, {time.monotonic() - began:.0f} s", flush=True)
    for result in results:
        if result.outcome is Outcome.FAULT:
            print(f"  trial {result.seed}: {result.what}", flush=True)
    return results


def table(results: dict[Kind, list[Result]]) -> str:
    """The figures as Markdown."""
    columns = list(Outcome)
    lines = ["| fault | tried | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 2) + "|"]
    for group in dict.fromkeys(kind.group for kind in results):
        lines.append(f"| **{group}** |" + " |" * (len(columns) + 1))
        for kind in (kind for kind in results if kind.group == group):
            counts = Counter(result.outcome for result in results[kind])
            cells = [f"{counts[column]:,}" for column in columns]
            lines.append(f"| {kind.name} | {len(results[kind]):,} | " + " | ".join(cells) + " |")
    total = Counter(result.outcome for each in results.values() for result in each)
    cells = [f"{total[column]:,}" for column in columns]
    lines.append(f"| all | {sum(total.values()):,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(figures: str, options: argparse.Namespace) -> None:
    """Puts the figures into the page, between their marks."""
    how = (
        f"`python -m tests.faults.harness --rounds {options.rounds} --costly_rounds"
        f" {options.costly_rounds} --seed {options.seed}"
        + (f" --seconds {options.seconds:.0f}" if options.seconds < 1e9 else "")
        + f"`, Python {platform.python_version()},"
        f" {time.strftime('%Y-%m-%d', time.gmtime())}:"
    )
    text = PAGE.read_text()
    made = f"{BEGIN}\n{how}\n\n{figures}\n{END}"
    new = re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: made, text, flags=re.DOTALL)
    PAGE.write_text(new)


if __name__ == "__main__":
    main()
