"""What a task file should be, beyond being readable: the checks of the tasks' own repository.

Nothing here keeps a task from being used; a file that breaks a rule is worth a look. The rules and
their numbers are those of the repository's tests of 2021.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from instrux.prompts.natural_instructions_task import Task

MIN_INSTANCES, MAX_INSTANCES = 26, 6500
MIN_POSITIVE_EXAMPLES, MIN_NEGATIVE_EXAMPLES = 2, 1
FEW_LABELS = 15
MIN_LABEL_ENTROPY = 0.8
"""Of tasks with few labels: entropy of the labels over that of as many equally frequent ones."""


@dataclass(frozen=True)
class LabelStatistics:
    """How the first references of a task's instances are distributed.

    Attributes:
        labels: how many different ones there are.
        most_frequent: the most frequent one.
        share: its share of the instances.
        entropy: from 0 (one label) to 1 (all equally frequent).
    """

    labels: int
    most_frequent: str
    share: float
    entropy: float


def label_statistics(task: Task) -> LabelStatistics:
    """Counts a task's labels."""
    counts = Counter(instance.references[0] for instance in task.instances)
    total = sum(counts.values())
    (label, most), *_ = counts.most_common(1)
    bits = -sum(count / total * math.log(count / total) for count in counts.values())
    entropy = bits / math.log(len(counts)) if len(counts) > 1 else 0.0
    return LabelStatistics(len(counts), label, most / total, entropy)


def check_task(task: Task) -> list[str]:
    """Gives a sentence for every rule that a task breaks, what could not be read included."""
    return [*task.problems, *(f"{task.name}: {problem}" for problem in _problems(task))]


def _problems(task: Task) -> Iterator[str]:
    if task.name != task.name.lower():
        yield "its file's name has capitals"
    if not MIN_INSTANCES <= task.num_entries <= MAX_INSTANCES:
        yield f"{task.num_entries} instances; {MIN_INSTANCES} to {MAX_INSTANCES} are usual"
    for kind, examples, least in (
        ("positive", task.positive_examples, MIN_POSITIVE_EXAMPLES),
        ("negative", task.negative_examples, MIN_NEGATIVE_EXAMPLES),
    ):
        if len(examples) < least:
            yield f"{len(examples)} {kind} examples; {least} are the least"
    if not task.category:
        yield "field 'Categories' is empty"
    inputs = Counter(instance.input for instance in task.instances)
    repeated = [text for text, count in inputs.items() if count > 1]
    if repeated:
        yield f"{len(repeated)} inputs come more than once, such as {_short(repeated[0])}"
    for number, example in enumerate(task.positive_examples):
        if example.input in inputs:
            yield f"positive example {number} is an instance, too"
    statistics = label_statistics(task)
    if statistics.labels < 2:
        yield f"one label only, {_short(statistics.most_frequent)}"
    elif statistics.labels < FEW_LABELS and statistics.entropy < MIN_LABEL_ENTROPY:
        yield (
            f"{statistics.share:.0%} of the instances have the label"
            f" {_short(statistics.most_frequent)} (of {statistics.labels})"
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
