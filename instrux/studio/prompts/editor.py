"""Writes templates of one's own folder: a form's fields in, a whole file out."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from instrux.data.files import write_atomically
from instrux.errors import InputError
from instrux.prompts import Template
from instrux.prompts.template_writing import (
    TemplateDraft,
    TemplateFile,
    new_template_file,
    open_template_file,
    template_path,
)

METRICS = (
    "BLEU", "ROUGE", "Squad", "Trivia QA", "Accuracy", "Pearson Correlation",
    "Spearman Correlation", "MultiRC", "AUC", "COQA F1", "Edit Distance",
    "Mean Reciprocal Rank", "Other",
)  # fmt: skip
"""The metrics that PromptSource's page offers."""
_FLAGS = {"yes": True, "no": False, "": None}
_writing = threading.Lock()


def draft_of(fields: Mapping[str, str]) -> TemplateDraft:
    """What a form holds; its line breaks are LF."""

    def text(name: str) -> str:
        return fields.get(name, "").replace("\r\n", "\n").replace("\r", "\n")

    return TemplateDraft(
        name=text("name").strip(),
        jinja=text("jinja"),
        answer_choices=text("answer_choices") if text("answer_choices").strip() else "",
        reference=text("reference"),
        original_task=_FLAGS.get(fields.get("original_task", "")),
        choices_in_prompt=_FLAGS.get(fields.get("choices_in_prompt", "")),
        metrics=_list(fields.get("metrics", "")),
        languages=_list(fields.get("languages", "")),
    )


def draft_from(template: Template) -> TemplateDraft:
    """The draft that would write a template as it is."""
    metadata = template.metadata
    return TemplateDraft(
        name=template.name,
        jinja=template.jinja,
        answer_choices=template.answer_choices or "",
        reference=template.reference,
        original_task=metadata.original_task,
        choices_in_prompt=metadata.choices_in_prompt,
        metrics=metadata.metrics,
        languages=metadata.languages,
    )


def template_of(draft: TemplateDraft, dataset: str) -> Template:
    """A template to render the draft with."""
    return Template(
        name=draft.name,
        jinja=draft.jinja,
        answer_choices=draft.answer_choices or None,
        dataset=dataset,
    )


def stamp(folder: Path, dataset: str) -> str:
    """A digest of a dataset's file, by which a form tells which state it was made from."""
    path = template_path(folder, dataset)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def save(
    folder: Path, dataset: str, draft: TemplateDraft, *, replacing: str | None, seen: str
) -> None:
    """Adds a template to a dataset's file, or replaces one; the file is written whole or not at all.

    Args:
        folder: the folder of one's own templates.
        dataset: `dataset` or `dataset/subset`.
        draft: the template.
        replacing: the name of the one that it replaces, or None for a new one.
        seen: the file's `stamp` when the form was made.

    Raises:
        InputError: the draft is wrong, or the file changed since.
    """
    _change(folder, dataset, seen, lambda file: file.put(draft, replacing=replacing))


def delete(folder: Path, dataset: str, name: str, *, seen: str) -> None:
    """Removes a template; with the last one of a dataset its file goes, as PromptSource has it.

    Raises:
        InputError: there is none of that name, or the file changed since.
    """
    _change(folder, dataset, seen, lambda file: file.remove(name))


def _change(folder: Path, dataset: str, seen: str, change: Callable[[TemplateFile], None]) -> None:
    with _writing:
        path = template_path(folder, dataset)
        if stamp(folder, dataset) != seen:
            raise InputError(
                "the file was changed meanwhile, by another page or by hand; nothing was written."
                " Copy your text, and open the template again"
            )
        there = path.is_file()
        file = open_template_file(path) if there else new_template_file(folder, dataset)
        change(file)
        if file.templates:
            write_atomically(path, [file.content()])
        else:
            _remove(path)


def _remove(path: Path) -> None:
    path.unlink()
    if not any(path.parent.iterdir()):
        shutil.rmtree(path.parent)


def _list(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
