"""Audits made-up rows of about 70 words and prints rows a second and the memory it took.

    python benchmarks/audit_rows.py --rows 200000 --vocabulary t5_32000.model

One row in twenty repeats another, one in twenty differs from another in a word, and one in a
hundred holds ten words of a held-out row. What is planted is printed beside what is found.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from instrux.data.audit_settings import AuditSettings, AuditTask
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.prompts import Template
from pipelines.audit import audit
from pipelines.render import render

_WORDS = 50_000
_HELD_OUT = 2_000


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--vocabulary", default="bytes")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planted = _render(Path(folder), options.rows)
        before, started, cpu = _peak(), time.monotonic(), time.process_time()
        result = audit(
            AuditSettings(mixture="made_up", vocabulary=VocabularySpec.parse(options.vocabulary)),
            data_dir=folder,
            tasks=[AuditTask(name="train", rendered="train", rate=1.0, dataset="made_up")],
            held_out=["held_out"],
            beam_args=[f"--direct_num_workers={options.workers}"],
        )
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    lists = result.results["lists"]
    print(f"{options.rows:,} rows in {seconds:.0f} s, {cpu:.0f} s of this process's CPU")
    if options.workers == 1:
        print(f"{options.rows / cpu:,.0f} rows a CPU second")
    print(f"peak memory {before:,.0f} MB before, {_peak():,.0f} MB after")
    print(f"planted {planted}")
    print(f"found {dict(lists)}")


def _peak() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def _render(folder: Path, rows: int) -> dict[str, int]:
    draw = random.Random(0)
    held_out = [_sentence(draw) for _ in range(_HELD_OUT)]
    made: list[str] = []
    planted = {"exact": 0, "near": 0, "overlap": 0}
    for number in range(rows):
        chance = number % 100
        text = _sentence(draw)
        if made and chance % 20 == 7:
            text = draw.choice(made)
            planted["exact"] += 1
        elif made and chance % 20 == 13:
            words = draw.choice(made).split()
            words[len(words) // 2] = "other"
            text = " ".join(words)
            planted["near"] += 1
        elif chance == 50:
            words = draw.choice(held_out).split()
            text += " " + " ".join(words[5:15])
            planted["overlap"] += 1
        made.append(text)
    tasks = []
    for name, texts, split in (("train", made, "train"), ("held_out", held_out, "validation")):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        source = JsonLinesSource("made_up", name, {split: str(path)})
        template = Template(name="plain", jinja="{{text}} ||| yes")
        tasks.append(PromptedTask(name, source, template, {split: split}))
    render(tasks=tasks, data_dir=str(folder))
    return planted


def _sentence(draw: random.Random) -> str:
    return " ".join(f"word{draw.randrange(_WORDS)}" for _ in range(draw.randrange(40, 100)))


if __name__ == "__main__":
    main()
