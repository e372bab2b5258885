"""Real prompts and targets from the development data, for benchmarks of tokenised text."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Pair = tuple[str, str]
END_OF_TEXT = "<|endoftext|>"


def p3(folder: Path) -> Iterator[Pair]:
    """P3 as another group rendered it: PromptSource templates over the first 200 train rows."""
    with tarfile.open(folder / "p3_rendered" / "rendered.tar.xz") as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            file = archive.extractfile(member) if member.isfile() else None
            for line in file.read().decode().splitlines() if file is not None else ():
                row = json.loads(line)
                yield row["prompt"].strip(), row["completion"].replace(END_OF_TEXT, "").strip()


def natural_instructions(folder: Path) -> Iterator[Pair]:
    """Super-NaturalInstructions: the definition and the input."""
    for path in sorted((folder / "natural_instructions" / "tasks").glob("*.json")):
        task = json.loads(path.read_text())
        definition = " ".join(task["Definition"])
        for instance in task["Instances"]:
            inputs = f"Definition: {definition}\n\nInput: {instance['input']}\nOutput:"
            yield inputs, instance["output"][0]


def flan_cot(folder: Path) -> Iterator[Pair]:
    """Chain of thought: the question; the rationale and the answer."""
    for path in sorted((folder / "flan_cot").glob("*.tsv")):
        for line in path.read_text().splitlines():
            question, answer, rationale = line.replace("\\n", "\n").split("\t")[:3]
            yield question, f"{rationale} {answer}"


def instruct(folder: Path) -> Iterator[Pair]:
    """Demonstrations written by people."""
    path = folder / "instruct" / "dolly_hhrlhf_train_small.jsonl"
    for line in path.read_text().splitlines():
        row = json.loads(line)
        yield row["prompt"], row["response"]


SETS = {
    "p3": (p3,),
    "natural_instructions": (natural_instructions,),
    "flan_cot": (flan_cot,),
    "instruct": (instruct,),
    "cot and natural_instructions": (flan_cot, natural_instructions),
    "all": (p3, natural_instructions, flan_cot, instruct),
}


def load(folder: Path, name: str, *, seed: int = 0) -> list[Pair]:
    """Gives the pairs of a set in shuffled order."""
    pairs = [pair for source in SETS[name] for pair in source(folder)]
    order = np.random.default_rng(seed).permutation(len(pairs))
    return [pairs[index] for index in order]
