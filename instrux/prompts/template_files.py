"""Reads template files: PromptSource's own YAML, and the same without tags and ids."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from instrux.prompts.compiling import program
from instrux.prompts.errors import TemplateFileError, one_line
from instrux.prompts.template import Template, TemplateMetadata

FILE_NAME = "templates.yaml"
_MAX_FILE_BYTES = 16 * 2**20
_MAX_NESTING = 64
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _TemplateLoader(_SafeLoader):
    """YAML's safe loader that also knows PromptSource's two tags, and no others."""

    def __init__(self, stream: bytes, mapping: "MakeMapping") -> None:
        super().__init__(stream)
        self.mapping = mapping


MakeMapping = Callable[[str, dict[Any, Any]], Any]
"""Makes something of a tag and the fields under it."""


def _mapping(loader: Any, node: yaml.Node) -> Any:
    return loader.mapping(node.tag, loader.construct_mapping(node, deep=True))


def _plain(tag: str, fields: dict[Any, Any]) -> dict[Any, Any]:
    return fields


_TemplateLoader.add_constructor("!Template", _mapping)
_TemplateLoader.add_constructor("!TemplateMetadata", _mapping)


def read_templates(path: Path, dataset: str, *, check: bool = True) -> dict[str, Template]:
    """Reads a template file; see `templates_in_order`, whose order this one gives up.

    Returns:
        The templates by name, in sorted order.

    Raises:
        TemplateFileError: if the file cannot be read or a template in it is wrong.
    """
    return dict(sorted(templates_in_order(path, dataset, check=check).items()))


def templates_in_order(path: Path, dataset: str, *, check: bool = True) -> dict[str, Template]:
    """Reads a template file.

    `templates` is PromptSource's mapping from id to template, a mapping from name to template, or
    a list of templates. Unknown fields are ignored; only `name` and `jinja` must be there, and a
    key serves as the name.

    Args:
        path: the file.
        dataset: `dataset` or `dataset/subset`, from the path; the file's own fields are not read,
            for those of some published files are wrong.
        check: whether every template is compiled, so that a mistake shows before a row is read.

    Returns:
        The templates by name, in the order of the file.

    Raises:
        TemplateFileError: if the file cannot be read or a template in it is wrong.
    """
    content = load_yaml(path)
    entries = content.get("templates") if isinstance(content, Mapping) else None
    if not isinstance(entries, Mapping | list):
        raise TemplateFileError(f"{path}: there is no `templates` in it; give a mapping or a list")
    pairs: Iterable[tuple[Any, Any]]
    pairs = entries.items() if isinstance(entries, Mapping) else ((None, item) for item in entries)
    templates: dict[str, Template] = {}
    for key, fields in pairs:
        template = _template(path, dataset, key, fields)
        if template.name in templates:
            raise TemplateFileError(
                f"{path}: two templates are named {template.name!r}; rename one"
            )
        if check:
            _check(path, template)
        templates[template.name] = template
    return templates


def load_yaml(path: Path, *, mapping: MakeMapping = _plain) -> Any:
    """Reads a file by YAML's safe loader and PromptSource's two tags.

    Args:
        path: the file.
        mapping: what becomes of a tagged mapping; a plain one if not given.

    Raises:
        TemplateFileError: it is no such file, too large, or cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise TemplateFileError(f"{path}: larger than {_MAX_FILE_BYTES:,} bytes; split it")
        content = path.read_bytes()
        _check_nesting(path, content)
        loader = _TemplateLoader(content, mapping)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        raise TemplateFileError(f"{path}: {error.strerror}; check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, TemplateFileError):
            raise
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise TemplateFileError(f"{path}{line}: not a template file: {problem}") from error


def _check_nesting(path: Path, content: bytes) -> None:
    """Refuses what libyaml would take minutes for: its time grows with the square of the depth."""
    depth = 0
    for event in yaml.parse(content, Loader=_SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_NESTING:
            line = event.start_mark.line + 1
            raise TemplateFileError(f"{path}, line {line}: nested more than {_MAX_NESTING} deep")


def _template(path: Path, dataset: str, key: Any, fields: Any) -> Template:
    where = f"{path}: template {key!r}" if key is not None else f"{path}: a template"
    if not isinstance(fields, Mapping):
        raise TemplateFileError(f"{where}: not a mapping; give it `name` and `jinja`")
    name = fields.get("name", key)
    if not isinstance(name, str) or not name:
        raise TemplateFileError(f"{where}: `name` must be a text")
    where = f"{path}: template {name!r}"
    jinja = fields.get("jinja")
    if not isinstance(jinja, str):
        raise TemplateFileError(f"{where}: `jinja` must be a text")
    choices = fields.get("answer_choices")
    if choices is not None and not isinstance(choices, str):
        raise TemplateFileError(
            f"{where}: `answer_choices` must be a text with ||| between choices"
        )
    own_id = fields.get("id", key if "name" in fields else None)
    return Template(
        name=name,
        jinja=jinja,
        answer_choices=choices,
        metadata=_metadata(where, fields.get("metadata")),
        id=str(own_id) if own_id is not None else _derived_id(dataset, name),
        reference=str(fields.get("reference") or ""),
        dataset=dataset,
    )


def _check(path: Path, template: Template) -> None:
    for source in (template.jinja, template.answer_choices or ""):
        try:
            program(source).draws_when_compiled()
        except Exception as error:
            raise TemplateFileError(
                one_line(error, f"{path}: template {template.name!r}")
            ) from error


def _metadata(where: str, fields: Any) -> TemplateMetadata:
    if fields is None:
        return TemplateMetadata()
    if not isinstance(fields, Mapping):
        raise TemplateFileError(f"{where}: `metadata` must be a mapping")
    return TemplateMetadata(
        original_task=_flag(where, fields, "original_task"),
        choices_in_prompt=_flag(where, fields, "choices_in_prompt"),
        metrics=_names(where, fields, "metrics"),
        languages=_names(where, fields, "languages"),
        turned_around=_flag(where, fields, "turned_around"),
    )


def _flag(where: str, fields: Mapping[str, Any], name: str) -> bool | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise TemplateFileError(f"{where}: `{name}` must be true, false or absent")
    return value


def _names(where: str, fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TemplateFileError(f"{where}: `{name}` must be a list of texts")
    return tuple(value)


def _derived_id(dataset: str, name: str) -> str:
    """An id for a template whose file gives none: the same in every process."""
    text = f"{len(dataset)}:{dataset}:{name}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
