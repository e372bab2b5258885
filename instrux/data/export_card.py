"""The card of an exported mixture: a README.md that people and the Hugging Face hub can read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from instrux.data.export_files import FIELDS, LIST_FIELDS, Format
from instrux.data.left_out import LeftOutTask

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
_MEANINGS = {
    "task": "the task's name: dataset and template",
    "dataset": "the dataset that the row was made from, with its configuration",
    "template": "the template's own name",
    "inputs": "the prompt",
    "targets": "the answer that is trained on",
    "answer_choices": "all answers there are to choose from; null where a template has none",
    "references": "all answers that are right; null where only `targets` is",
    "example_id": "`dataset/configuration/split/row`, the same for every template of the row",
}


@dataclass(frozen=True, kw_only=True)
class CardTask:
    """A task of the mixture, as the card lists it.

    Attributes:
        name: its name in the mixture.
        dataset: `dataset` or `dataset/config`.
        cluster: the kind of task.
        rows: rows written.
        available: examples that were rendered.
        rate: its mixing rate.
        probability: its rate over the sum of the rates of what was exported.
        licence: the licence tag of its dataset, or `unknown`.
    """

    name: str
    dataset: str
    cluster: str
    rows: int
    available: int
    rate: float
    probability: float
    licence: str


@dataclass(frozen=True, kw_only=True)
class HeldOutData:
    """A dataset that a mixture is meant to be evaluated on, and does not train on.

    Attributes:
        dataset: `dataset` or `dataset/config`.
        cluster: the kind of task.
        prompts: number of tasks that evaluate on it.
    """

    dataset: str
    cluster: str
    prompts: int


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card says.

    Attributes:
        mixture: the mixture's name.
        split: the split that was exported.
        format: of the files.
        tasks: in the order of the mixture.
        rows: rows in all.
        file_bytes: bytes of all files.
        text_bytes: bytes of the rows' text, unpacked.
        left_out: tasks of the mixture that are not in it.
        held_out: what the mixture is evaluated on.
        sampled: how rows were drawn, in words; "" where every example is there once.
        made_by: what wrote it, as `instrux 0.1.0`.
        excluded: rendered examples that lists of rows exclude.
    """

    mixture: str
    split: str
    format: Format
    tasks: Sequence[CardTask]
    rows: int
    file_bytes: int
    text_bytes: int
    left_out: Sequence[LeftOutTask]
    held_out: Sequence[HeldOutData]
    sampled: str
    made_by: str
    excluded: int = 0

    def to_markdown(self) -> str:
        """Gives the README: front matter, then text."""
        front = yaml.safe_dump(self._front_matter(), sort_keys=False, allow_unicode=True)
        sections = [
            f"# {self.mixture}, {self.split}",
            self._summary(),
            "## Fields",
            _table(("field", "what it is"), [(f"`{name}`", _MEANINGS[name]) for name in FIELDS]),
            "## How it was made",
            self._how(),
            "## Tasks",
            self._tasks(),
            "## Licences",
            self._licences(),
            "## Held out",
            self._held_out(),
        ]
        return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"

    def _front_matter(self) -> dict[str, Any]:
        features = [
            {"name": name, "sequence" if name in LIST_FIELDS else "dtype": "string"}
            for name in FIELDS
        ]
        files = {"split": self.split, "path": f"{self.split}-*.{self.format}"}
        split = {"name": self.split, "num_bytes": self.text_bytes, "num_examples": self.rows}
        return {
            "license": sorted({tag for task in self.tasks for tag in task.licence.split(", ")}),
            "language": ["en"],
            "pretty_name": self.mixture,
            "task_categories": ["text-generation"],
            "tags": ["instruction-tuning"],
            "size_categories": [size_category(self.rows)],
            "dataset_info": {
                "features": features,
                "splits": [split],
                "download_size": self.file_bytes,
                "dataset_size": self.text_bytes,
            },
            "configs": [{"config_name": "default", "data_files": [files]}],
        }

    def _summary(self) -> str:
        datasets = len({task.dataset for task in self.tasks})
        return (
            f"Split `{self.split}` of the mixture `{self.mixture}`: {self.rows:,} rows of "
            f"{_count(len(self.tasks), 'task')} over {_count(datasets, 'dataset')}, as prompts "
            "and answers in plain text."
        )

    def _how(self) -> str:
        drawn = self.sampled or (
            "Every rendered example is there once, task after task: to train on it, draw tasks by "
            "the column `probability` below, and shuffle."
        )
        text = [
            f"Written by {self.made_by} (`instrux export`): each row of each dataset was put "
            "through a template by `instrux render`. Rows to which a template does not apply are "
            "left out.",
            drawn,
        ]
        if self.excluded:
            text.append(
                f"{_count(self.excluded, 'rendered example')} that a list names, such as one of "
                "duplicates or of rows that overlap with an evaluation, are not in it."
            )
        if self.left_out:
            lost = sum(task.share for task in self.left_out)
            text.append(
                f"**Not in it:** {_count(len(self.left_out), 'task')} of the mixture, {lost:.1%} "
                "of its rate; the probabilities below are those without them."
            )
            rows = [(f"`{each.name}`", f"{each.share:.3%}", each.reason) for each in self.left_out]
            text.append(_table(("task left out", "share", "why"), rows))
        return "\n\n".join(text)

    def _tasks(self) -> str:
        return _table(
            ("task", "dataset", "kind", "rows", "examples", "rate", "probability", "licence"),
            [
                (
                    f"`{task.name}`",
                    task.dataset,
                    task.cluster,
                    f"{task.rows:,}",
                    f"{task.available:,}",
                    f"{task.rate:,.10g}",
                    f"{task.probability:.4%}",
                    task.licence,
                )
                for task in self.tasks
            ],
        )

    def _licences(self) -> str:
        rows: dict[str, tuple[int, set[str]]] = {}
        for task in self.tasks:
            count, datasets = rows.get(task.licence, (0, set()))
            rows[task.licence] = count + task.rows, datasets | {task.dataset}
        table = _table(
            ("licence", "rows", "datasets"),
            [
                (licence, f"{count:,}", ", ".join(sorted(datasets)))
                for licence, (count, datasets) in sorted(rows.items())
            ],
        )
        return (
            "Each dataset keeps its own licence, given here as its card on the hub has it; "
            "`unknown` and `other` ask you to look it up. Some forbid commercial use or changes."
            f"\n\n{table}"
        )

    def _held_out(self) -> str:
        if not self.held_out:
            return "No evaluation is declared for this mixture."
        table = _table(
            ("dataset", "kind", "prompts"),
            [(each.dataset, each.cluster, str(each.prompts)) for each in self.held_out],
        )
        return f"The mixture is evaluated on these, and none of them is in it:\n\n{table}"


def size_category(rows: int) -> str:
    """Gives the hub's word for a number of rows, such as `1K<n<10K`."""
    return next((word for limit, word in _SIZES if rows < limit), "100M<n<1B")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
