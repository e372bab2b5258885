"""Views, drafts and answers: what a labeller is shown, types and sends."""

import json
import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from instrux.evaluation.label_records import LabelRecord
from instrux.studio.label.assignment import assigned
from instrux.studio.label.form import Content, TaskFacts, signed, to_record
from instrux.studio.label.labellers import Labeller
from instrux.studio.label.study import guidelines_of, now, settings_of

_RANDOM = random.SystemRandom()


@dataclass(frozen=True)
class View:
    """A task as one labeller is shown it.

    Attributes:
        id: of the view.
        systems: in the order of the page.
        opened: when it was first shown.
    """

    id: int
    systems: tuple[str, ...]
    opened: str


@dataclass(frozen=True)
class Progress:
    """How far a labeller is.

    Attributes:
        tasks: their tasks, in the order to do them.
        done: those that are answered.
    """

    tasks: tuple[str, ...]
    done: frozenset[str]

    @property
    def left(self) -> list[str]:
        """Tasks still to do, in order."""
        return [task for task in self.tasks if task not in self.done]

    def after(self, task: str) -> str | None:
        """The next task to do after one of theirs, from the start again at the end."""
        left = self.left
        if task in self.tasks:
            place = self.tasks.index(task)
            left = [t for t in (*self.tasks[place + 1 :], *self.tasks[:place]) if t in left]
        return left[0] if left else None


def progress_of(database: sqlite3.Connection, labeller: Labeller) -> Progress:
    """A labeller's tasks, those they answered among them."""
    tasks = [row["id"] for row in database.execute("SELECT id FROM tasks ORDER BY id")]
    group = database.execute(
        "SELECT name FROM labellers WHERE grp = ? AND active = 1 ORDER BY name", (labeller.group,)
    )
    answered: dict[str, set[str]] = {}
    for row in database.execute(
        "SELECT DISTINCT a.task, l.name FROM answers a JOIN labellers l ON l.id = a.labeller"
        " WHERE l.grp = ?",
        (labeller.group,),
    ):
        answered.setdefault(row["task"], set()).add(row["name"])
    mine = assigned(
        tasks,
        labeller.name,
        group=[row["name"] for row in group],
        answered=answered,
        settings=settings_of(database),
    )
    done = {task for task, names in answered.items() if labeller.name in names}
    return Progress(tuple(mine), frozenset(done))


def task_of(database: sqlite3.Connection, task: str) -> TaskFacts | None:
    """A task's prompt and outputs, or None."""
    row = database.execute(
        "SELECT t.systems, p.* FROM tasks t JOIN prompts p ON p.id = t.prompt WHERE t.id = ?",
        (task,),
    ).fetchone()
    if row is None:
        return None
    systems = json.loads(row["systems"])
    texts = {
        output["system"]: output["text"]
        for output in database.execute(
            "SELECT system, text FROM outputs WHERE prompt = ?", (row["id"],)
        )
    }
    return TaskFacts(
        id=task,
        prompt_id=row["id"],
        prompt=row["text"],
        use_case=row["use_case"],
        closed_domain=_truth(row["closed_domain"]),
        has_constraint=_truth(row["has_constraint"]),
        outputs={system: texts[system] for system in systems},
    )


def _truth(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def open_view(database: sqlite3.Connection, task: TaskFacts, labeller: Labeller) -> View:
    """The view that is open, or a new one in an order drawn at random.

    A view stays open until it is submitted, so a page that is loaded again, on another day or
    after a crash, looks as it did.
    """
    row = database.execute(
        "SELECT * FROM views WHERE task = ? AND labeller = ? AND submitted IS NULL",
        (task.id, labeller.id),
    ).fetchone()
    if row is not None:
        return View(row["id"], tuple(json.loads(row["systems"])), row["opened"])
    systems = sorted(task.outputs)
    _RANDOM.shuffle(systems)
    opened = now()
    made = database.execute(
        "INSERT INTO views (task, labeller, systems, opened) VALUES (?, ?, ?, ?)",
        (task.id, labeller.id, json.dumps(systems), opened),
    )
    assert made.lastrowid is not None
    return View(made.lastrowid, tuple(systems), opened)


def view_of(database: sqlite3.Connection, view: int, task: str, labeller: Labeller) -> View | None:
    """A view, if it is one of this task and labeller."""
    row = database.execute(
        "SELECT * FROM views WHERE id = ? AND task = ? AND labeller = ?", (view, task, labeller.id)
    ).fetchone()
    return View(row["id"], tuple(json.loads(row["systems"])), row["opened"]) if row else None


def has_view(database: sqlite3.Connection, task: str, labeller: Labeller) -> bool:
    """Whether the labeller was ever shown the task."""
    found = database.execute(
        "SELECT 1 FROM views WHERE task = ? AND labeller = ?", (task, labeller.id)
    )
    return found.fetchone() is not None


def content_for(database: sqlite3.Connection, task: str, labeller: Labeller) -> Content:
    """What the labeller typed last: the draft, else the last answer, else nothing."""
    key = (task, labeller.id)
    row = database.execute(
        "SELECT content FROM drafts WHERE task = ? AND labeller = ?", key
    ).fetchone()
    if row is None:
        row = database.execute(
            "SELECT content FROM answers WHERE task = ? AND labeller = ? ORDER BY id DESC", key
        ).fetchone()
    return Content(**json.loads(row["content"])) if row else Content()


def save_draft(
    database: sqlite3.Connection, task: str, labeller: Labeller, content: Content
) -> None:
    """Keeps what is typed so far."""
    database.execute(
        "INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?)",
        (task, labeller.id, json.dumps(content.as_json()), now()),
    )


def submit(
    database: sqlite3.Connection, task: str, labeller: Labeller, view: View, content: Content
) -> None:
    """Keeps an answer; earlier ones stay in the file, and the latest one counts."""
    submitted = now()
    seconds = datetime.fromisoformat(submitted) - datetime.fromisoformat(view.opened)
    add_answer(
        database,
        task=task,
        labeller=labeller.id,
        view=view.id,
        systems=view.systems,
        content=content,
        guideline=guidelines_of(database)[0],
        seconds=seconds.total_seconds(),
        submitted=submitted,
    )
    database.execute("UPDATE views SET submitted = ? WHERE id = ?", (submitted, view.id))
    database.execute("DELETE FROM drafts WHERE task = ? AND labeller = ?", (task, labeller.id))


def add_answer(
    database: sqlite3.Connection,
    *,
    task: str,
    labeller: int,
    view: int | None,
    systems: Sequence[str],
    content: Content,
    guideline: str,
    seconds: float | None,
    submitted: str,
) -> None:
    """Writes one answer."""
    database.execute(
        "INSERT INTO answers (task, labeller, view, systems, content, guideline, seconds,"
        " submitted) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            task,
            labeller,
            view,
            json.dumps(list(systems)),
            json.dumps(content.as_json()),
            guideline,
            seconds,
            submitted,
        ),
    )


def records_of(
    database: sqlite3.Connection, *, every: bool = False
) -> Iterator[tuple[TaskFacts, LabelRecord]]:
    """The answers as records, with their tasks, in the order in which they were given.

    Args:
        database: the study.
        every: also those that the same labeller replaced later.
    """
    latest = (
        "" if every else (" WHERE a.id IN (SELECT max(id) FROM answers GROUP BY task, labeller)")
    )
    facts: dict[str, TaskFacts] = {}
    rows = database.execute(
        "SELECT a.*, l.name, l.grp FROM answers a JOIN labellers l ON l.id = a.labeller"
        f"{latest} ORDER BY a.id"
    )
    for row in rows:
        task = facts.get(row["task"])
        if task is None:
            task = task_of(database, row["task"])
            assert task is not None  # a foreign key holds it
            facts[row["task"]] = task
        content = Content(**json.loads(row["content"]))
        record = to_record(task, content, json.loads(row["systems"]))
        who: Mapping[str, Any] = {
            "labeller": row["name"],
            "group": row["grp"],
            "submitted": row["submitted"],
            "guideline": row["guideline"],
            "seconds": row["seconds"],
        }
        yield task, signed(record, **who)
