"""The table of T0's data: datasets, sizes, groups and templates, as facts in two CSV files.

`t0_datasets.csv` holds T0's own table of data(sub)sets (task type, training and evaluation
groups, number of training examples) with the splits that each has; `t0_templates.csv` holds
what registration must know of a template without reading it: its name, whether it is flagged
as an original task, whether it has answer choices, and its metrics, in PromptSource 0.2.3.

`python -m tasks.t0_table` writes the second file anew from the release of templates.
"""

import csv
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RELEASE = "promptsource-0.2.3"
"""Names and texts of T0's templates are the same in 0.1.0, which the paper used; four
`answer_choices` of wiqa were null there."""

LARGE_DATASET = 500_000
"""Above so many training examples a data(sub)set shares one rate among its templates."""

_FOLDER = Path(__file__).parent
_DATASETS_FILE = _FOLDER / "t0_datasets.csv"
_TEMPLATES_FILE = _FOLDER / "t0_templates.csv"
_TEMPLATE_COLUMNS: tuple[str, ...] = (
    "dataset",
    "subset",
    "template",
    "original_task",
    "has_answer_choices",
    "metrics",
)

Group = Literal["BASE", "GPT_EVAL", "SGLUE", "BIAS_FAIRNESS", ""]


@dataclass(frozen=True)
class T0Template:
    """What registration knows of a template.

    Attributes:
        name: its name, byte for byte (some have outer spaces).
        original_task: it asks for what the dataset was made for.
        has_answer_choices: rank classification can score it.
        metrics: PromptSource's names of its metrics.
    """

    name: str
    original_task: bool
    has_answer_choices: bool
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class T0Dataset:
    """A data(sub)set of T0's table.

    Attributes:
        dataset: name on the Hugging Face Hub in 2021.
        subset: its configuration, or None.
        task_type: T0's task type, such as `NLI`.
        train_group: `BASE` (trains T0), `GPT_EVAL` (added for T0+), `SGLUE` (added for T0++)
            or empty.
        eval_group: `BASE` (held-out evaluation), `BIAS_FAIRNESS` or empty.
        train_examples: number of training examples, None where the table has none.
        splits: names of the splits that it has.
        templates: all templates of PromptSource 0.2.3, sorted by name.
    """

    dataset: str
    subset: str | None
    task_type: str
    train_group: Group
    eval_group: Group
    train_examples: int | None
    splits: tuple[str, ...]
    templates: tuple[T0Template, ...]

    @property
    def rate(self) -> int:
        """The mixing rate of each of its tasks.

        The number of training examples; above 500,000, that number of examples divided by the
        number of all templates, so that the cap holds for the dataset and not for a task.
        """
        if self.train_examples is None:
            return 0
        if self.train_examples > LARGE_DATASET:
            return LARGE_DATASET // len(self.templates)
        return self.train_examples


@functools.cache
def datasets() -> tuple[T0Dataset, ...]:
    """Gives the 66 rows of the table, sorted by dataset and subset."""
    templates: dict[tuple[str, str], list[T0Template]] = {}
    for row in _rows(_TEMPLATES_FILE):
        templates.setdefault((row["dataset"], row["subset"]), []).append(_template(row))
    return tuple(
        T0Dataset(
            dataset=row["dataset"],
            subset=row["subset"] or None,
            task_type=row["task_type"],
            train_group=row["train_group"],  # type: ignore[arg-type]
            eval_group=row["eval_group"],  # type: ignore[arg-type]
            train_examples=int(row["train_examples"]) if row["train_examples"] else None,
            splits=tuple(row["splits"].split()),
            templates=tuple(templates.get((row["dataset"], row["subset"]), ())),
        )
        for row in _rows(_DATASETS_FILE)
    )


def template_rows() -> Iterator[dict[str, str | int]]:
    """Gives the rows of `t0_templates.csv` as the release of templates has them."""
    from instrux.prompts import TemplateCollection

    collection = TemplateCollection.load(RELEASE)
    for dataset in datasets():
        key = dataset.dataset if dataset.subset is None else f"{dataset.dataset}/{dataset.subset}"
        templates = collection[key] if key in collection else {}
        for name in sorted(templates):
            template = templates[name]
            yield {
                "dataset": dataset.dataset,
                "subset": dataset.subset or "",
                "template": name,
                "original_task": int(bool(template.metadata.original_task)),
                "has_answer_choices": int(template.answer_choices is not None),
                "metrics": ";".join(template.metadata.metrics or ()),
            }


def write(rows: Iterable[dict[str, str | int]], path: Path = _TEMPLATES_FILE) -> None:
    """Writes rows of `template_rows` as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _TEMPLATE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _template(row: dict[str, str]) -> T0Template:
    return T0Template(
        name=row["template"],
        original_task=row["original_task"] == "1",
        has_answer_choices=row["has_answer_choices"] == "1",
        metrics=tuple(row["metrics"].split(";")) if row["metrics"] else (),
    )


if __name__ == "__main__":
    write(list(template_rows()))
