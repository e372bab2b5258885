"""Argilla's records (its version 2), out and in.

Out goes a folder as `Dataset.to_disk` of Argilla's SDK lays it out: `records.json`, and settings
under `.argilla/`. In comes `records.json`, as `Dataset.to_disk` or `records.to_json` writes it.
Ranks are rating questions, one an output: a ranking question of the SDK keeps an order alone, and
no ties. A dataset has the same fields for all records, so where tasks have fewer outputs, the
missing ones are empty and their questions not required.
"""

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instrux.data.files import write_atomically
from instrux.errors import InputError
from instrux.evaluation.label_records import LabelRecord
from instrux.studio.label.exchange import (
    ForeignAnswer,
    ShownTask,
    answers_by_task,
    import_foreign,
    shown_tasks,
)
from instrux.studio.label.form import (
    ACCEPTABLE,
    LETTERS,
    NOTES,
    OVERALL_NAME,
    RANK,
    Question,
    content_of,
    fields_of,
)
from instrux.studio.label.study import guidelines_of, now

_USER_SPACE = uuid.UUID("6f0c5cb6-2e7b-5a6e-9d7c-0d9d1a4c8b52")
"""Labellers' ids in Argilla are made from their names within this space."""
_NUMBERS = (OVERALL_NAME, RANK, "continuity")
"""Kinds whose options are 1 and up, as Argilla's ratings are."""


def user_id(name: str) -> str:
    """The id that a labeller's answers carry in Argilla."""
    return str(uuid.uuid5(_USER_SPACE, name))


def export(database: sqlite3.Connection, folder: Path) -> int:
    """Writes tasks and answers as an Argilla dataset on disk, and gives the number of records."""
    tasks = list(shown_tasks(database))
    if not tasks:
        raise InputError("the study has no tasks to export; import prompts and outputs first.")
    answers = answers_by_task(database)
    records = [_record(task, answers.get(task.facts.id, []), _widest(tasks)) for task in tasks]
    _, guidelines = guidelines_of(database)
    for name, content in (
        ("records.json", records),
        (".argilla/settings.json", settings(tasks, guidelines)),
        (".argilla/dataset.json", _dataset(guidelines)),
        ("labellers.json", _labellers(answers)),
    ):
        write_atomically(folder / name, [json.dumps(content, ensure_ascii=False).encode()])
    return len(records)


def _widest(tasks: Sequence[ShownTask]) -> int:
    return max(len(task.systems) for task in tasks)


def _labellers(answers: Mapping[str, list[LabelRecord]]) -> dict[str, str]:
    names = sorted({record.labeller for given in answers.values() for record in given})
    return {user_id(name): name for name in names}


def _record(task: ShownTask, answers: Sequence[LabelRecord], widest: int) -> dict[str, Any]:
    fields = {"prompt": task.facts.prompt}
    for letter, system in zip(task.letters, task.systems, strict=True):
        fields[f"output_{letter.lower()}"] = task.facts.outputs[system]
    for letter in LETTERS[len(task.systems) : widest]:
        fields[f"output_{letter.lower()}"] = ""
    responses: dict[str, list[dict[str, Any]]] = {}
    for record in answers:
        for name, value in _values(task, record).items():
            responses.setdefault(name, []).append(
                {"value": value, "user_id": user_id(record.labeller), "status": "submitted"}
            )
    return {
        "id": task.facts.id,
        "fields": fields,
        "metadata": {"use_case": task.facts.use_case} if task.facts.use_case else {},
        "suggestions": {},
        "responses": responses,
        "vectors": {},
        "_server_id": None,
    }


def _values(task: ShownTask, record: LabelRecord) -> dict[str, str | int]:
    content = content_of(record)
    given = fields_of(content, task.questions, task.systems)
    kinds = {question.name: question.kind for question in task.questions}
    values: dict[str, str | int] = {
        name.lower(): int(value) if kinds[name] in _NUMBERS else value
        for name, value in given.items()
    }
    if content.notes:
        values[NOTES] = content.notes
    return values


def settings(tasks: Sequence[ShownTask], guidelines: str) -> dict[str, Any]:
    """The dataset's settings, as `Settings.from_json` of the SDK reads them."""
    widest = _widest(tasks)
    everywhere = {
        name
        for task in tasks[:1]
        for name in (question.name for question in task.questions)
        if all(name in {q.name for q in other.questions} for other in tasks)
    }
    asked: dict[str, Question] = {}
    for task in sorted(tasks, key=lambda task: -len(task.systems)):
        for question in task.questions:
            asked.setdefault(question.name, question)
    fields = [_field("prompt", "Prompt", required=True)]
    fields += [
        _field(f"output_{letter.lower()}", f"Answer {letter}", required=letter == "A")
        for letter in LETTERS[:widest]
    ]
    return {
        "guidelines": guidelines,
        "fields": fields,
        "questions": [
            *(_question(q, required=q.name in everywhere) for q in asked.values()),
            {
                "name": NOTES,
                "title": "Notes",
                "description": None,
                "required": False,
                "settings": {"type": "text", "use_markdown": False},
            },
        ],
        "vectors": [],
        "metadata": [
            {
                "name": "use_case",
                "title": "Use case",
                "visible_for_annotators": True,
                "settings": {"type": "terms", "values": None},
            }
        ],
        "allow_extra_metadata": True,
    }


def _field(name: str, title: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "required": required,
        "settings": {"type": "text", "use_markdown": False},
    }


def _question(question: Question, *, required: bool) -> dict[str, Any]:
    if question.kind in _NUMBERS:
        options: list[dict[str, Any]] = [
            {"value": int(option.value)} for option in question.options
        ]
        kind = "rating"
    else:
        options = [
            {"value": option.value, "text": option.label, "description": None}
            for option in question.options
        ]
        kind = "label_selection"
    of_output = question.letter and question.kind not in (RANK, ACCEPTABLE)
    about = f"Answer {question.letter}: " if of_output else ""
    made: dict[str, Any] = {"type": kind, "options": options}
    if kind == "label_selection" and len(options) > 2:
        made["visible_options"] = len(options)
    return {
        "name": question.name.lower(),
        "title": f"{about}{question.text}",
        "description": None,
        "required": required,
        "settings": made,
    }


def _dataset(guidelines: str) -> dict[str, Any]:
    return {
        "name": "instrux_labels",
        "guidelines": guidelines,
        "allow_extra_metadata": True,
        "status": "draft",
        "distribution": {"strategy": "overlap", "min_submitted": 1},
    }


def import_answers(database: sqlite3.Connection, path: Path) -> int:
    """Reads `records.json` back into the study it was exported from, and gives the answers read.

    Argilla knows users by id; names come from `labellers.json` beside the file, where there is
    one, else the id is the name. Its export has no times, so that of the import is taken.

    Raises:
        InputError: the file is no list of Argilla's records, or an answer is incomplete.
    """
    return import_foreign(database, _foreign(path))


def _foreign(path: Path) -> Iterator[ForeignAnswer]:
    names = _names(path.with_name("labellers.json"))
    submitted = now()
    for number, record in enumerate(_records(path), 1):
        where = f"{path}, record {number}"
        responses = record.get("responses")
        if not isinstance(responses, dict) or not isinstance(record.get("id"), str):
            raise InputError(f"{where}: no record of Argilla (id, responses).")
        for user, fields in _by_user(responses, where).items():
            yield ForeignAnswer(
                where=where,
                task=record["id"],
                labeller=names.get(user, user),
                fields=fields,
                submitted=submitted,
            )


def _by_user(responses: Mapping[str, Any], where: str) -> dict[str, dict[str, str]]:
    users: dict[str, dict[str, str]] = {}
    for question, given in responses.items():
        for response in given if isinstance(given, list) else [None]:
            if not isinstance(response, dict) or not isinstance(response.get("user_id"), str):
                raise InputError(f"{where}: a response to {question!r} without a `user_id`.")
            is_sent = response.get("status") in ("submitted", None)
            if is_sent and response.get("value") is not None:
                fields = users.setdefault(response["user_id"], {})
                fields[_field_name(question)] = str(response["value"])
    return users


def _field_name(question: str) -> str:
    """The form's field: the letter at the end is a capital there."""
    stem, _, letter = question.rpartition("_")
    return f"{stem}_{letter.upper()}" if stem and len(letter) == 1 else question


def _records(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise InputError(f"{path}: no list of records; export it with `records.to_json`.")
    return content


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}).") from error


def _names(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    content = read_json(path)
    return {str(key): str(value) for key, value in content.items()} if content else {}
