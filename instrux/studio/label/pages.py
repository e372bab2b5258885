"""What the label pages' templates need, put together from the study."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from instrux.studio.label.answers import Progress, View
from instrux.studio.label.form import (
    LETTERS,
    PREFERENCE,
    RANK,
    Content,
    Question,
    TaskFacts,
    fields_of,
    noun_of,
    questions,
)
from instrux.studio.label.labellers import Labeller
from instrux.studio.label.study import FORM, PAIRS, StudySettings


@dataclass(frozen=True)
class ShownOutput:
    """An output as a page shows it: a letter, a text, and the questions about it alone."""

    letter: str
    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class TaskPage:
    """The page of one task.

    Attributes:
        facts: the task.
        view: order of the outputs.
        content: what is answered so far.
        settings: of the study.
        progress: the labeller's.
    """

    facts: TaskFacts
    view: View
    content: Content
    settings: StudySettings
    progress: Progress

    @cached_property
    def asked(self) -> list[Question]:
        """All questions in order."""
        return questions(self.facts, self.settings)

    @cached_property
    def given(self) -> Mapping[str, str]:
        """Field -> value of what is answered."""
        return fields_of(self.content, self.asked, self.view.systems)

    @property
    def is_pair(self) -> bool:
        """Whether two outputs stand side by side."""
        return self.settings.mode == PAIRS

    @property
    def has_flags(self) -> bool:
        """Whether there are yes/no questions about each output."""
        return self.settings.mode == FORM

    @property
    def is_answered(self) -> bool:
        """Whether it was submitted before."""
        return self.facts.id in self.progress.done

    @property
    def outputs(self) -> list[ShownOutput]:
        """The outputs in the order of the view.

        White space around a text is left out: it is how some systems begin, and would tell them
        apart.
        """
        return [
            ShownOutput(
                letter,
                self.facts.outputs[system].strip(),
                tuple(q for q in self.asked if q.letter == letter and q.kind != RANK),
            )
            for letter, system in zip(LETTERS, self.view.systems, strict=False)
        ]

    def excerpt(self, letter: str) -> str:
        """The beginning of an output, on one line."""
        text = self.facts.outputs[self.view.systems[LETTERS.index(letter)]]
        return " ".join(text.split())[:100] or "(empty)"

    @property
    def noun(self) -> str:
        """What an output is called."""
        return noun_of(self.settings)

    @property
    def opening(self) -> list[Question]:
        """The questions about the prompt."""
        return [q for q in self.asked if not q.letter and q.kind != PREFERENCE]

    @property
    def closing(self) -> list[Question]:
        """The questions about all outputs together: ranks, or the preference."""
        return [q for q in self.asked if q.kind in (RANK, PREFERENCE)]


@dataclass(frozen=True)
class GivenAnswer:
    """An answer in the list of one's own."""

    task: str
    excerpt: str
    submitted: str


def summary_of(database: sqlite3.Connection, labeller: Labeller) -> list[GivenAnswer]:
    """A labeller's answers, the latest first."""
    rows = database.execute(
        "SELECT a.task, max(a.submitted) AS submitted, p.text FROM answers a"
        " JOIN tasks t ON t.id = a.task JOIN prompts p ON p.id = t.prompt"
        " WHERE a.labeller = ? GROUP BY a.task ORDER BY max(a.id) DESC",
        (labeller.id,),
    )
    return [
        GivenAnswer(row["task"], " ".join(row["text"].split())[:140], row["submitted"])
        for row in rows
    ]
