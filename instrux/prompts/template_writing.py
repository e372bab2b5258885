"""Changes template files, and writes them as PromptSource's own page does, to the byte.

A file is kept as plain data between reading and writing: fields that Instrux does not know stay in
it, and a published file that is read and written again is the same file.
"""

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from instrux.errors import InputError
from instrux.prompts.compiling import program
from instrux.prompts.errors import TemplateFileError, one_line
from instrux.prompts.template_files import FILE_NAME, load_yaml

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_FIELD = 2**18
# Characters that YAML cannot hold, or that a form's line breaks stand for.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class _Tagged(dict[str, Any]):
    """A mapping with one of PromptSource's tags."""


class _TemplateFields(_Tagged):
    tag = "!Template"


class _MetadataFields(_Tagged):
    tag = "!TemplateMetadata"


class _Dumper(yaml.SafeDumper):
    """Writes the two tags; all else is PyYAML's default, which PromptSource uses."""


def _represent(dumper: yaml.SafeDumper, fields: Any) -> yaml.Node:
    return dumper.represent_mapping(fields.tag, fields)


_Dumper.add_representer(_TemplateFields, _represent)
_Dumper.add_representer(_MetadataFields, _represent)


@dataclass(frozen=True, kw_only=True)
class TemplateDraft:
    """What somebody typed: the fields of a template, as PromptSource's page has them.

    Attributes:
        name: unique in its dataset.
        jinja: the text, with `|||` between prompt and target.
        answer_choices: a Jinja expression that prints the choices, or "" for none.
        reference: who wrote it, or the paper it comes from.
        original_task: whether it asks what the dataset was made to ask, or None.
        choices_in_prompt: whether the prompt shows the choices, or None.
        metrics: names of metrics.
        languages: languages of the prompt.
    """

    name: str
    jinja: str
    answer_choices: str = ""
    reference: str = ""
    original_task: bool | None = None
    choices_in_prompt: bool | None = None
    metrics: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks all that can be checked without a row.

        Raises:
            InputError: the name or text is empty, a field is too long or holds a control
                character, or the Jinja of one does not compile.
        """
        if not self.name.strip() or self.name != self.name.strip():
            raise InputError("the name is empty or has spaces around it; give another")
        if "\n" in self.name:
            raise InputError("the name has several lines; give it one")
        if not self.jinja.strip():
            raise InputError("the template is empty; give it a text, with ||| before the target")
        texts = {
            "name": self.name,
            "template": self.jinja,
            "answer choices": self.answer_choices,
            "reference": self.reference,
            "metrics": " ".join(self.metrics),
            "languages": " ".join(self.languages),
        }
        for what, text in texts.items():
            if len(text) > _MAX_FIELD:
                raise InputError(f"the {what} has over {_MAX_FIELD:,} characters; shorten it")
            if found := _CONTROL.search(text):
                raise InputError(
                    f"the {what} holds the character {found[0]!r}, which YAML cannot; remove it"
                )
        for what in ("template", "answer choices"):
            try:
                program(texts[what]).draws_when_compiled()
            except Exception as error:
                raise InputError(one_line(error, f"the {what}")) from error


@dataclass
class TemplateFile:
    """A template file as it is to be written.

    Attributes:
        path: where it lies.
        dataset: what the file says of its dataset.
        subset: what the file says of its subset; None where there is none.
        templates: id -> fields.
        rest: fields of the file besides those.
    """

    path: Path
    dataset: str
    subset: str | None
    templates: dict[str, _TemplateFields] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)

    def put(self, draft: TemplateDraft, *, replacing: str | None = None) -> None:
        """Adds a template, or replaces the one of a name; its id and unknown fields stay.

        Raises:
            InputError: the draft is wrong, there is no template to replace, or the name is taken.
        """
        draft.check()
        key = None if replacing is None else self._key(replacing)
        for other, fields in self.templates.items():
            if fields.get("name") == draft.name and other != key:
                raise InputError(f"there is a template named {draft.name!r}; give another name")
        key = key or str(uuid.uuid4())
        self.templates[key] = _filled(self.templates.get(key), key, draft)

    def remove(self, name: str) -> None:
        """Takes a template out.

        Raises:
            InputError: there is none of that name.
        """
        del self.templates[self._key(name)]

    def content(self) -> bytes:
        """The file's bytes, as PromptSource writes them."""
        document: dict[str, Any] = {**self.rest, "dataset": self.dataset}
        if self.subset is not None:
            document["subset"] = self.subset
        document["templates"] = self.templates
        return yaml.dump(document, Dumper=_Dumper).encode("ascii")

    def _key(self, name: str) -> str:
        for key, fields in self.templates.items():
            if fields.get("name") == name:
                return key
        raise InputError(f"{self.path}: there is no template {name!r}; it may have been renamed")


def open_template_file(path: Path) -> TemplateFile:
    """Reads a template file so as to change it.

    Raises:
        TemplateFileError: it cannot be read, or is not in PromptSource's own layout.
    """
    content = load_yaml(path, mapping=_tagged)
    templates = content.get("templates") if isinstance(content, Mapping) else None
    if not isinstance(templates, Mapping) or not all(
        isinstance(key, str) and isinstance(fields, _TemplateFields) and "name" in fields
        for key, fields in templates.items()
    ):
        raise TemplateFileError(
            f"{path}: not in PromptSource's layout (templates by id, tagged !Template), which alone"
            " can be changed here; change it by hand"
        )
    rest = {key: value for key, value in content.items() if key not in _KNOWN}
    subset = content.get("subset")
    return TemplateFile(
        path=path,
        dataset=str(content.get("dataset", path.parent.name)),
        subset=None if subset is None else str(subset),
        templates=dict(templates),
        rest=rest,
    )


_KNOWN = {"dataset", "subset", "templates"}


def new_template_file(folder: Path, dataset: str) -> TemplateFile:
    """The file of a dataset in a folder, not yet written.

    Args:
        folder: of template files.
        dataset: `dataset` or `dataset/subset`, as a collection names it.

    Raises:
        InputError: it is not such a name.
    """
    path = template_path(folder, dataset)
    name, _, subset = dataset.partition("/")
    return TemplateFile(path=path, dataset=name, subset=subset or None)


def template_path(folder: Path, dataset: str) -> Path:
    """Where the templates of a dataset lie in a folder; never outside it.

    Raises:
        InputError: the name is not `dataset` or `dataset/subset`, or a link leads elsewhere.
    """
    parts = dataset.split("/")
    if len(parts) > 2 or not all(_PART.fullmatch(part) for part in parts):
        raise InputError(
            f"{dataset!r} is no name of a dataset; give `dataset` or `dataset/subset`, of letters,"
            " digits, dots, hyphens and underscores"
        )
    path = folder.joinpath(*parts, FILE_NAME)
    if not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
        raise InputError(f"{path}: leads out of {folder}; remove the link")
    return path


def _tagged(tag: str, fields: dict[Any, Any]) -> Any:
    return {"!Template": _TemplateFields, "!TemplateMetadata": _MetadataFields}[tag](fields)


def _filled(before: Mapping[str, Any] | None, key: str, draft: TemplateDraft) -> _TemplateFields:
    """The fields of a template; of one that was there, what the draft does not speak of stays."""
    old = dict(before or {})
    old_metadata = old.get("metadata")
    metadata = dict(old_metadata) if isinstance(old_metadata, Mapping) else {}
    said = {
        "original_task": draft.original_task,
        "choices_in_prompt": draft.choices_in_prompt,
        "metrics": list(draft.metrics) or None,
        "languages": list(draft.languages) or None,
    }
    for name, value in said.items():
        # An old file may lack a field, or have an empty list for it; both say nothing.
        if value is not None or metadata.get(name):
            metadata[name] = value
        elif before is None:
            metadata[name] = None
    fields = {
        "id": key,
        "name": draft.name,
        "jinja": draft.jinja,
        "reference": draft.reference,
        "answer_choices": draft.answer_choices or None,
        "metadata": _MetadataFields(metadata),
    }
    if not draft.answer_choices and before is not None and not old.get("answer_choices"):
        fields["answer_choices"] = old.get("answer_choices")
    return _TemplateFields(old | fields)
