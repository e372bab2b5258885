"""The lexicon suite: 26 tasks about English words in seven clusters, ten prompts each.

The rows are computed from the tables of installed packages (`instrux.data.lexicon`), so the suite
needs no download. `lexicon_templates.csv` says of every prompt whether it is trained on:

- `train`: seven prompts of each of 23 tasks, in the order in which an ablation takes them in;
- `held_out`: the other three, which no training mixture has;
- `held_out_cluster`: all ten of the three tasks of the cluster `choosing_the_form`;
- `no_instructions`: one template a task that gives the bare fields, for the model that is trained
  without instructions.

Importing this module registers the tasks, as `lexicon_<task>_<template>`, and reads nothing but
that table.
"""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from instrux.data import registration
from instrux.data.lexicon import SPLITS
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import PythonSource
from instrux.data.task_names import task_name
from instrux.prompts import TemplateReference

DATASET = "lexicon"
PROMPTS = Path(__file__).with_name("lexicon_prompts")
_TABLE = Path(__file__).with_name("lexicon_templates.csv")

Role = Literal["train", "held_out", "held_out_cluster", "no_instructions"]


@dataclass(frozen=True)
class LexiconPrompt:
    """A row of the table of prompts.

    Attributes:
        cluster: the kind of task.
        task: the task, which is also the dataset's configuration.
        template: the template's name in `lexicon_prompts/lexicon/<task>/templates.yaml`.
        role: what the prompt is for.
        has_answer_choices: whether answers are ranked rather than generated.
    """

    cluster: str
    task: str
    template: str
    role: Role
    has_answer_choices: bool

    @property
    def name(self) -> str:
        """Its name in SeqIO."""
        return task_name(DATASET, self.task, self.template)

    def prompted_task(self) -> PromptedTask:
        """Gives the task as plain data."""
        return PromptedTask(
            name=self.name,
            source=PythonSource(
                DATASET,
                self.task,
                function="instrux.data.lexicon_rows:rows",
                split_names=SPLITS,
                arguments={"task": self.task},
            ),
            template=TemplateReference(str(PROMPTS), DATASET, self.task, self.template),
            splits={split: split for split in SPLITS},
            cluster=self.cluster,
        )


@functools.cache
def prompts() -> tuple[LexiconPrompt, ...]:
    """Gives all prompts, in the table's order."""
    with _TABLE.open(encoding="utf-8", newline="") as lines:
        return tuple(_prompt(row) for row in csv.DictReader(lines))


def prompts_of(role: Role) -> list[LexiconPrompt]:
    """Gives the prompts of one role, in the table's order."""
    return [prompt for prompt in prompts() if prompt.role == role]


def _prompt(row: Mapping[str, str]) -> LexiconPrompt:
    role, answers = row["role"], row["has_answer_choices"]
    if role not in get_args(Role) or answers not in ("yes", "no"):
        raise ValueError(f"{_TABLE.name}: {dict(row)} has an unknown value")
    return LexiconPrompt(
        row["cluster"], row["task"], row["template"], cast(Role, role), answers == "yes"
    )


def _register() -> None:
    for prompt in prompts():
        registration.add_prompted_task(prompt.prompted_task(), score_eval=prompt.has_answer_choices)


_register()
