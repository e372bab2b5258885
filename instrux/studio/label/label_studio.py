"""Label Studio's tasks, out and in.

Out go `tasks.json`, to be imported into a project, and `config.xml`, its labelling interface. In
comes the project's JSON export. Ranks are choices, one an output: the ranker of Label Studio keeps
an order alone, and no ties.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from instrux.data.files import write_atomically
from instrux.errors import InputError
from instrux.evaluation.label_records import LabelRecord
from instrux.evaluation.label_scales import SCALE_OF_NAME
from instrux.studio.label.argilla import read_json
from instrux.studio.label.exchange import (
    ForeignAnswer,
    ShownTask,
    answers_by_task,
    import_foreign,
    shown_tasks,
)
from instrux.studio.label.form import (
    NOTES,
    OVERALL_NAME,
    PREFERENCE,
    Question,
    content_of,
    fields_of,
)
from instrux.studio.label.study import now

_TASK = "instrux_task"


def export(database: sqlite3.Connection, folder: Path) -> int:
    """Writes tasks with answers, and the labelling interface; gives the number of tasks.

    Raises:
        InputError: there are no tasks, or not all of them have the same questions.
    """
    tasks = list(shown_tasks(database))
    if not tasks:
        raise InputError("the study has no tasks to export; import prompts and outputs first.")
    answers = answers_by_task(database)
    widest = max(tasks, key=lambda task: len(task.questions))
    content = [_task(task, answers.get(task.facts.id, [])) for task in tasks]
    text = json.dumps(content, ensure_ascii=False)
    write_atomically(folder / "tasks.json", [text.encode()])
    write_atomically(folder / "config.xml", [config(widest, tasks).encode()])
    return len(content)


def config(widest: ShownTask, tasks: Sequence[ShownTask]) -> str:
    """The labelling interface: a question is required if every task has it."""
    everywhere = set.intersection(*({q.name for q in task.questions} for task in tasks))
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="Prompt")
    ElementTree.SubElement(view, "Text", name="prompt", value="$prompt")
    for question in widest.questions:
        if not question.letter and question.kind != PREFERENCE:
            _control(view, question, "prompt", required=True)
    for letter in widest.letters:
        name = f"output_{letter}"
        ElementTree.SubElement(view, "Header", value=f"Answer {letter}")
        ElementTree.SubElement(view, "Text", name=name, value=f"${name}")
        for question in widest.questions:
            if question.letter == letter:
                _control(view, question, name, required=question.name in everywhere)
    for question in widest.questions:
        if question.kind == PREFERENCE:
            _control(view, question, "prompt", required=True)
    ElementTree.SubElement(view, "Header", value="Notes")
    ElementTree.SubElement(
        view, "TextArea", name=NOTES, toName="prompt", rows="3", maxSubmissions="1"
    )
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _control(
    view: ElementTree.Element, question: Question, to_name: str, *, required: bool
) -> None:
    ElementTree.SubElement(view, "Header", value=_asked(question), size="5")
    shared = {"name": question.name, "toName": to_name, "required": str(required).lower()}
    if question.kind == OVERALL_NAME:
        ElementTree.SubElement(view, "Rating", shared | {"maxRating": str(len(question.options))})
        return
    choices = ElementTree.SubElement(view, "Choices", shared | {"choice": "single-radio"})
    for option in question.options:
        ElementTree.SubElement(choices, "Choice", value=option.value)


def _asked(question: Question) -> str:
    """The question; with what the values of a scale mean, as a choice shows its value alone."""
    if question.kind not in SCALE_OF_NAME:
        return question.text
    words = ", ".join(f"{o.value} {o.label}" for o in question.options if o.label)
    return f"{question.text} ({words})"


def _task(task: ShownTask, answers: Sequence[LabelRecord]) -> dict[str, Any]:
    data = {_TASK: task.facts.id, "prompt": task.facts.prompt, "use_case": task.facts.use_case}
    for letter, system in zip(task.letters, task.systems, strict=True):
        data[f"output_{letter}"] = task.facts.outputs[system]
    return {"data": data, "annotations": [_annotation(task, record) for record in answers]}


def _annotation(task: ShownTask, record: LabelRecord) -> dict[str, Any]:
    content = content_of(record)
    given = fields_of(content, task.questions, task.systems)
    result = [
        _region(question, given[question.name])
        for question in task.questions
        if question.name in given
    ]
    if content.notes:
        result.append(
            {
                "from_name": NOTES,
                "to_name": "prompt",
                "type": "textarea",
                "value": {"text": [content.notes]},
            }
        )
    return {
        "completed_by": {"email": record.labeller},
        "result": result,
        "was_cancelled": False,
        "created_at": record.submitted,
        "updated_at": record.submitted,
        "lead_time": record.seconds,
    }


def _region(question: Question, value: str) -> dict[str, Any]:
    rating = question.kind == OVERALL_NAME
    return {
        "from_name": question.name,
        "to_name": f"output_{question.letter}" if question.letter else "prompt",
        "type": "rating" if rating else "choices",
        "value": {"rating": int(value)} if rating else {"choices": [value]},
    }


def import_answers(database: sqlite3.Connection, path: Path) -> int:
    """Reads a project's JSON export back into its study, and gives the answers read.

    A labeller is known by the e-mail address that the export gives, else by the user's number.
    Cancelled annotations are passed over.

    Raises:
        InputError: the file is no such export, or an answer is incomplete.
    """
    return import_foreign(database, _foreign(path))


def _foreign(path: Path) -> Iterator[ForeignAnswer]:
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: no list of tasks; export the project as JSON.")
    for number, task in enumerate(content, 1):
        where = f"{path}, task {number}"
        try:
            known, annotations = task["data"][_TASK], task["annotations"]
            for annotation in annotations:
                if not annotation.get("was_cancelled"):
                    yield _answer(annotation, str(known), where)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise InputError(
                f"{where}: not as Label Studio exports a task of ours (data.{_TASK}, annotations):"
                f" {type(error).__name__} {error}"
            ) from error


def _answer(annotation: Mapping[str, Any], task: str, where: str) -> ForeignAnswer:
    fields: dict[str, str] = {}
    for region in annotation["result"]:
        value = region["value"]
        if region["type"] == "rating":
            fields[region["from_name"]] = str(value["rating"])
        elif region["type"] == "choices":
            fields[region["from_name"]] = str(value["choices"][0])
        elif region["type"] == "textarea":
            text = value["text"]
            fields[region["from_name"]] = "\n".join(text) if isinstance(text, list) else text
    by = annotation.get("completed_by")
    name = by.get("email", by.get("id")) if isinstance(by, dict) else by
    if name in (None, ""):
        raise ValueError("an annotation without `completed_by`")
    lead_time = annotation.get("lead_time")
    return ForeignAnswer(
        where=where,
        task=task,
        labeller=str(name),
        fields=fields,
        submitted=annotation.get("updated_at") or annotation.get("created_at") or now(),
        seconds=None if lead_time is None else float(lead_time),
    )
