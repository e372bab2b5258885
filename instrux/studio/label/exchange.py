"""What all formats of exchange share: a task as other tools show it, and answers coming in."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from instrux.errors import InputError
from instrux.evaluation.label_records import LabelRecord
from instrux.studio.label.answers import add_answer, records_of, task_of
from instrux.studio.label.form import (
    LETTERS,
    Content,
    Question,
    TaskFacts,
    content_of,
    parse,
    questions,
    to_record,
    unanswered,
)
from instrux.studio.label.importing import task_id
from instrux.studio.label.labellers import imported
from instrux.studio.label.study import StudySettings, settings_of


@dataclass(frozen=True)
class ShownTask:
    """A task as another tool shows it: outputs under letters, in an order that is always the same.

    Attributes:
        facts: the task.
        systems: in the order of the letters.
        questions: of the form.
    """

    facts: TaskFacts
    systems: tuple[str, ...]
    questions: tuple[Question, ...]

    @property
    def letters(self) -> str:
        """The letters of its outputs."""
        return LETTERS[: len(self.systems)]


@dataclass(frozen=True, kw_only=True)
class ForeignAnswer:
    """One labeller's answer to a task, as another tool has it.

    Attributes:
        where: file and place, for errors.
        task: the task's id.
        labeller: who.
        fields: field of the form -> value, as a page would send them.
        submitted: when, ISO 8601.
        seconds: how long it took, or None.
    """

    where: str
    task: str
    labeller: str
    fields: Mapping[str, str]
    submitted: str
    seconds: float | None = None


def shown(facts: TaskFacts, settings: StudySettings) -> ShownTask:
    """A task with its outputs in a fixed order that tells nothing of the systems."""
    systems = sorted(
        facts.outputs,
        key=lambda s: hashlib.sha256(f"{settings.seed}\0{facts.id}\0{s}".encode()).hexdigest(),
    )
    return ShownTask(facts, tuple(systems), tuple(questions(facts, settings)))


def shown_tasks(database: sqlite3.Connection) -> Iterator[ShownTask]:
    """All tasks of a study."""
    settings = settings_of(database)
    for row in database.execute("SELECT id FROM tasks ORDER BY id").fetchall():
        facts = task_of(database, row["id"])
        assert facts is not None
        yield shown(facts, settings)


def answers_by_task(database: sqlite3.Connection) -> dict[str, list[LabelRecord]]:
    """The latest answers of a study, by task."""
    answers: dict[str, list[LabelRecord]] = {}
    for task, record in records_of(database):
        answers.setdefault(task.id, []).append(record)
    return answers


def import_foreign(database: sqlite3.Connection, answers: Iterable[ForeignAnswer]) -> int:
    """Puts answers from another tool into a study, and gives how many.

    Raises:
        InputError: an answer is to no task of the study, or lacks a question's answer.
    """
    settings, count = settings_of(database), 0
    for answer in answers:
        facts = task_of(database, answer.task)
        if facts is None:
            raise InputError(
                f"{answer.where}: the task {answer.task!r} is none of this study; it takes back"
                " what it exported itself."
            )
        task = shown(facts, settings)
        content = parse(answer.fields, task.questions, task.systems)
        missing = unanswered(content, task.questions, task.systems)
        if missing:
            raise InputError(
                f"{answer.where}: no answer of {answer.labeller!r} to"
                f" {', '.join(question.name for question in missing)}."
            )
        record = to_record(facts, content, task.systems)
        _check_record(record, answer.where)
        _put(
            database,
            facts,
            content,
            task.systems,
            labeller=answer.labeller,
            group="",
            guideline="",
            seconds=answer.seconds,
            submitted=answer.submitted,
        )
        count += 1
    return count


def import_records(database: sqlite3.Connection, records: Iterable[LabelRecord], where: str) -> int:
    """Puts records of our own into a study that has their prompts and outputs.

    Raises:
        InputError: a record is about outputs that make no task of the study.
    """
    count = 0
    for record in sorted(records, key=lambda record: record.time):
        facts = task_of(database, task_id(record.prompt_id, record.systems))
        if facts is None:
            raise InputError(
                f"{where}: the study has no task with the outputs of {sorted(record.systems)} for"
                f" the prompt {record.prompt_id!r}; import prompts and outputs first."
            )
        _put(
            database,
            facts,
            content_of(record),
            [rating.system for rating in record.ratings],
            labeller=record.labeller,
            group=record.group,
            guideline=record.guideline,
            seconds=record.seconds,
            submitted=record.submitted,
        )
        count += 1
    return count


def _check_record(record: LabelRecord, where: str) -> None:
    try:
        record.time  # noqa: B018
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _put(
    database: sqlite3.Connection,
    facts: TaskFacts,
    content: Content,
    systems: Sequence[str],
    *,
    labeller: str,
    group: str,
    guideline: str,
    seconds: float | None,
    submitted: str,
) -> None:
    who = imported(database, name=labeller, group=group)
    same = database.execute(
        "SELECT 1 FROM answers WHERE task = ? AND labeller = ? AND submitted = ?",
        (facts.id, who, submitted),
    )
    if same.fetchone() is None:
        add_answer(
            database,
            task=facts.id,
            labeller=who,
            view=None,
            systems=systems,
            content=content,
            guideline=guideline,
            seconds=seconds,
            submitted=submitted,
        )
