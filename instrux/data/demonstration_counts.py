"""Counts of demonstrations as the tables of InstructGPT's appendix A have them, mergeable.

Tables 6 and 8 (prompts and users), 1 (use cases), 7 (labels) and 9 to 11 (lengths). Lengths are kept
as counts of every length, so that means and quartiles are exact however the work was divided.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instrux.data.demonstrations import LABELS, SPLITS, USE_CASES, Demonstration

ALL = "all"
UNKNOWN = "unknown"
Key = tuple[str, ...]


@dataclass
class DemonstrationCounts:
    """What was read, left out and kept.

    Attributes:
        rows: input -> rows read.
        dead: reason -> rows that could not be read.
        dropped: reason -> demonstrations left out on purpose.
        removed: kind of personal data -> how often it was taken out.
        prompts: (split, table, value) -> demonstrations, where the table is `source`, `kind`,
            `use_case`, `language`, `label` or `flag`.
        users: (split, source) -> users who are known.
        lengths: (split, table, value, side, tokens) -> demonstrations; the side is `prompt` or
            `completion`.
    """

    rows: Counter[Key] = field(default_factory=Counter)
    dead: Counter[Key] = field(default_factory=Counter)
    dropped: Counter[Key] = field(default_factory=Counter)
    removed: Counter[Key] = field(default_factory=Counter)
    prompts: Counter[Key] = field(default_factory=Counter)
    users: Counter[Key] = field(default_factory=Counter)
    lengths: Counter[Key] = field(default_factory=Counter)

    def count(self, demonstration: Demonstration, *, prompt: int, completion: int) -> None:
        """Counts one that is kept, with its lengths in tokens."""
        split = demonstration.split or "train"
        tables = {
            "source": demonstration.source,
            "kind": demonstration.kind,
            "use_case": demonstration.use_case or UNKNOWN,
            "language": demonstration.language or UNKNOWN,
        }
        for table, value in tables.items():
            self.prompts[split, table, value] += 1
        for label, holds in demonstration.labels.items():
            self.prompts[split, "label", label] += holds
        if not demonstration.completion:
            self.prompts[split, "flag", "empty completion"] += 1
        for table, value in (
            (ALL, ALL),
            ("source", tables["source"]),
            ("use_case", tables["use_case"]),
        ):
            self.lengths[split, table, value, "prompt", str(prompt)] += 1
            self.lengths[split, table, value, "completion", str(completion)] += 1

    def add(self, other: "DemonstrationCounts") -> None:
        """Adds what another part of the work counted."""
        for name, counter in vars(self).items():
            counter.update(getattr(other, name))

    def to_bytes(self) -> bytes:
        """As JSON, the same for equal counts."""
        content = {
            name: sorted([*key, value] for key, value in counter.items())
            for name, counter in vars(self).items()
        }
        return json.dumps(content).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "DemonstrationCounts":
        """Reads what `to_bytes` wrote."""
        content: Mapping[str, Sequence[Any]] = json.loads(data)
        return cls(
            **{
                name: Counter({tuple(key): value for *key, value in rows})
                for name, rows in content.items()
            }
        )

    def kept(self, split: str) -> int:
        """Demonstrations of a split."""
        return sum(self.by("source", split).values())

    def by(self, table: str, split: str) -> dict[str, int]:
        """Demonstrations of a split by the values of a table."""
        return {
            key[2]: count
            for key, count in sorted(self.prompts.items())
            if key[:2] == (split, table) and count
        }

    def tables(self) -> dict[str, Any]:
        """The paper's tables as plain data, for a manifest and for programs."""
        splits = [split for split in SPLITS if self.kept(split)]
        return {
            "sizes": {
                split: self.by("source", split) | {"total": self.kept(split)} for split in splits
            },
            "kinds": {split: self.by("kind", split) for split in splits},
            "users": {split: self._users(split) for split in splits},
            "use_cases": {
                split: _in_order(self.by("use_case", split), USE_CASES) for split in splits
            },
            "labels": {split: _in_order(self.by("label", split), LABELS) for split in splits},
            "languages": {split: self.by("language", split) for split in splits},
            "lengths": {split: self._lengths(split) for split in splits},
            "empty_completions": sum(
                count
                for key, count in self.prompts.items()
                if key[1:] == ("flag", "empty completion")
            ),
        }

    def _users(self, split: str) -> dict[str, int]:
        return {key[1]: count for key, count in sorted(self.users.items()) if key[0] == split}

    def _lengths(self, split: str) -> list[dict[str, Any]]:
        found: dict[Key, Counter[int]] = {}
        for (of_split, table, value, side, tokens), count in self.lengths.items():
            if of_split == split and value != UNKNOWN:
                found.setdefault((table, value, side), Counter())[int(tokens)] += count
        return [
            {"of": value, "table": table, "side": side, **length_row(counts)}
            for (table, value, side), counts in sorted(found.items(), key=_place)
        ]


def length_row(counts: Mapping[int, int]) -> dict[str, float]:
    """Number, mean, standard deviation, least, quartiles and most of some lengths."""
    lengths = np.repeat(list(counts), list(counts.values()))
    low, median, high = np.percentile(lengths, [25, 50, 75])
    return {
        "n": len(lengths),
        "mean": round(float(lengths.mean()), 3),
        "sd": round(float(lengths.std(ddof=1)), 3) if len(lengths) > 1 else 0.0,
        "min": int(lengths.min()),
        "25%": float(low),
        "50%": float(median),
        "75%": float(high),
        "max": int(lengths.max()),
    }


def add_up(parts: Iterable[bytes]) -> DemonstrationCounts:
    """Adds counts that travelled as bytes."""
    total = DemonstrationCounts()
    for part in parts:
        total.add(DemonstrationCounts.from_bytes(part))
    return total


def _in_order(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    ordered = {name: counts[name] for name in names if name in counts}
    return ordered | {name: count for name, count in counts.items() if name not in ordered}


def _place(item: tuple[Key, Any]) -> tuple[int, int, str]:
    (table, value, side), _ = item
    place = USE_CASES.index(value) if value in USE_CASES else -1
    return [ALL, "source", "use_case"].index(table), place, f"{value} {side == 'completion'}"
