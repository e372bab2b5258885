"""What an audit counts of a task: lengths, truncation, targets. Sums only, so any order will do."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instrux.data.audit_words import text_hash
from instrux.data.examples import RenderedExample
from instrux.data.prompted_task import NO_LABEL

_EXACT_LENGTHS = 4096
_STEPS_PER_DOUBLING = 64  # beyond, a length is known to within 1.1 %
_MAX_LENGTH = 1 << 40
KEPT_TARGETS = 64
_SHOWN_CHARACTERS = 120
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def length_bin(length: np.ndarray) -> np.ndarray:
    """Gives the bin of each length, int64: the length itself up to 4,096, then 64 a doubling."""
    beyond = np.maximum(length, _EXACT_LENGTHS) / _EXACT_LENGTHS
    steps = np.floor(np.log2(beyond) * _STEPS_PER_DOUBLING).astype(np.int64)
    return np.where(length < _EXACT_LENGTHS, length, _EXACT_LENGTHS + steps).astype(np.int64)


def bin_length(number: int) -> int:
    """Gives the least length of a bin."""
    if number < _EXACT_LENGTHS:
        return number
    return round(_EXACT_LENGTHS * 2 ** ((number - _EXACT_LENGTHS) / _STEPS_PER_DOUBLING))


@dataclass
class SideStats:
    """Lengths in tokens of one side (inputs or targets), and what training would cut of it.

    Attributes:
        histogram: bin of lengths -> number of examples.
        tokens: tokens of all examples, uncut.
        cut_examples: examples that are longer than the room.
        cut_tokens: tokens that would be lost.
        longest: the largest length.
    """

    histogram: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    cut_examples: int = 0
    cut_tokens: int = 0
    longest: int = 0

    def count(self, lengths: np.ndarray, room: int) -> None:
        """Counts examples of these lengths, int64, where training has so much room."""
        bins, counts = np.unique(length_bin(lengths), return_counts=True)
        self.histogram.update(dict(zip(bins.tolist(), counts.tolist(), strict=True)))
        over = np.maximum(lengths - room, 0)
        self.tokens += int(lengths.sum())
        self.cut_examples += int((over > 0).sum())
        self.cut_tokens += int(over.sum())
        self.longest = max(self.longest, int(lengths.max(initial=0)))

    def add(self, other: "SideStats") -> None:
        """Adds what another worker counted."""
        self.histogram.update(other.histogram)
        self.tokens += other.tokens
        self.cut_examples += other.cut_examples
        self.cut_tokens += other.cut_tokens
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> int:
        """Gives the least length that this share of the examples does not exceed."""
        if share >= 1.0:
            return self.longest
        wanted = share * sum(self.histogram.values())
        seen = 0
        for number in sorted(self.histogram):
            seen += self.histogram[number]
            if seen >= wanted:
                return bin_length(number)
        return 0

    def summary(self, examples: int) -> dict[str, Any]:
        """Gives counts, shares and quantiles as plain data."""
        return {
            "tokens": self.tokens,
            "mean": self.tokens / examples if examples else 0.0,
            "quantiles": {f"{share:g}": self.quantile(share) for share in QUANTILES},
            "cut_examples": self.cut_examples,
            "cut_examples_share": self.cut_examples / examples if examples else 0.0,
            "cut_tokens": self.cut_tokens,
            "cut_tokens_share": self.cut_tokens / self.tokens if self.tokens else 0.0,
        }


@dataclass
class TaskStats:
    """What is counted of one task.

    Attributes:
        examples: how many there are.
        inputs: lengths of the inputs.
        targets: lengths of the targets.
        empty_targets: targets that are blank, or the `<NO LABEL>` that stands for a blank one.
        with_choices: examples that have answer choices.
        missing_choice: of these, those whose target is none of them.
        places: place of the right choice among the choices -> examples.
        targets_seen: text of a target, shortened -> examples. Where a file has more than 64
            different ones, its 64 most frequent, so that any that is more than a 64th of every
            file is counted in full.
        targets_pruned: whether some were left out of `targets_seen`.
        overlap: n -> examples that share an n-gram with a held-out row.
    """

    examples: int = 0
    inputs: SideStats = field(default_factory=SideStats)
    targets: SideStats = field(default_factory=SideStats)
    empty_targets: int = 0
    with_choices: int = 0
    missing_choice: int = 0
    places: Counter[int] = field(default_factory=Counter)
    targets_seen: Counter[str] = field(default_factory=Counter)
    targets_pruned: bool = False
    overlap: Counter[int] = field(default_factory=Counter)

    def count_targets(self, examples: Sequence[RenderedExample]) -> None:
        """Counts the targets of examples and where they stand among the choices."""
        self.examples += len(examples)
        for example in examples:
            self.targets_seen[_shortened(example.targets)] += 1
            self.empty_targets += is_empty(example)
            if example.answer_choices is None:
                continue
            self.with_choices += 1
            place = choice_place(example)
            if place is None:
                self.missing_choice += 1
            else:
                self.places[place] += 1

    def prune(self) -> None:
        """Keeps the most frequent targets; called once for a file, when all of it is counted."""
        if len(self.targets_seen) <= KEPT_TARGETS:
            return
        by_count = sorted(self.targets_seen.items(), key=lambda item: (-item[1], item[0]))
        self.targets_seen = Counter(dict(by_count[:KEPT_TARGETS]))
        self.targets_pruned = True

    @property
    def kept_tokens(self) -> int:
        """Tokens that training keeps, both sides."""
        return sum(side.tokens - side.cut_tokens for side in (self.inputs, self.targets))

    def add(self, other: "TaskStats") -> "TaskStats":
        """Adds what another worker counted, and gives the sum."""
        self.examples += other.examples
        self.inputs.add(other.inputs)
        self.targets.add(other.targets)
        self.empty_targets += other.empty_targets
        self.with_choices += other.with_choices
        self.missing_choice += other.missing_choice
        self.places.update(other.places)
        self.targets_seen.update(other.targets_seen)
        self.targets_pruned = self.targets_pruned or other.targets_pruned
        self.overlap.update(other.overlap)
        return self

    def summary(self) -> dict[str, Any]:
        """Gives all of it as plain data."""
        labels = sorted(self.targets_seen.items(), key=lambda item: (-item[1], item[0]))
        most_frequent, count = labels[0] if labels else ("", 0)
        return {
            "examples": self.examples,
            "inputs": self.inputs.summary(self.examples),
            "targets": self.targets.summary(self.examples),
            "empty_targets": self.empty_targets,
            "with_choices": self.with_choices,
            "missing_choice": self.missing_choice,
            "constant": self.examples > 1 and count == self.examples,
            "different_targets": None if self.targets_pruned else len(self.targets_seen),
            "most_frequent_target": most_frequent,
            "most_frequent_share": count / self.examples if self.examples else 0.0,
            "labels": None if self.targets_pruned else dict(labels[:KEPT_TARGETS]),
            "places": {str(place): self.places[place] for place in sorted(self.places)},
            "overlap": {str(n): self.overlap[n] for n in sorted(self.overlap)},
        }


def is_empty(example: RenderedExample) -> bool:
    """Whether an example's target is blank."""
    return not example.targets.strip() or example.targets == NO_LABEL


def choice_place(example: RenderedExample) -> int | None:
    """Gives the place of the right one among an example's choices, None where none is right."""
    choices = example.answer_choices or ()
    return next((n for n, choice in enumerate(choices) if example.accepts(choice)), None)


def _shortened(text: str) -> str:
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    # With a hash, so that long targets which start alike are not taken for one.
    return f"{text[:_SHOWN_CHARACTERS]}… [{text_hash(text):016x}]"


def pooled(stats: Iterable[TaskStats]) -> TaskStats:
    """Adds up the counts of several tasks."""
    total = TaskStats()
    for each in stats:
        total.add(each)
    return total


def to_json(stats: TaskStats) -> dict[str, Any]:
    """As plain data, for `from_json`."""
    # `dataclasses.asdict` would count the items of a Counter anew.
    return vars(stats) | {"inputs": vars(stats.inputs), "targets": vars(stats.targets)}


def from_json(content: Mapping[str, Any]) -> TaskStats:
    """Reads what `to_json` gave, by way of JSON."""
    sides = {
        name: SideStats(**content[name] | {"histogram": _by_number(content[name]["histogram"])})
        for name in ("inputs", "targets")
    }
    counts = {name: _by_number(content[name]) for name in ("places", "overlap")}
    texts = Counter(content["targets_seen"])
    return TaskStats(**{**content, **sides, **counts, "targets_seen": texts})


def _by_number(counts: Mapping[str, int]) -> Counter[int]:
    return Counter({int(number): count for number, count in counts.items()})
