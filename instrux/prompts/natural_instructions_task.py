"""A task of Natural Instructions as its file has it (arXiv 2204.07705, section 2).

A file is one JSON object, named after its task. The schema of the final release and the older one
(`Definition` a bare string, instances without ids) are both read. What is wrong with an example or
an instance is told by task, place and field; that one is left out and the rest goes on. Only a
file without a definition, or with no instance that can be read, is no task at all.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from instrux.errors import InputError, did_you_mean

_TASK_NUMBER = re.compile(r"task\d+")


@dataclass(frozen=True)
class Example:
    """A positive or negative example of a task.

    Attributes:
        input: what is asked.
        output: the answer; a wrong one in a negative example.
        explanation: why it is right or wrong; None where the file says nothing.
    """

    input: str
    output: str
    explanation: str | None = None


@dataclass(frozen=True)
class Instance:
    """An instance of a task.

    Attributes:
        id: `task020-` and 32 hexadecimal digits; `task020-17` where an old file has none.
        input: what is asked.
        references: all acceptable answers, at least one.
        position: its place in the file, from 0.
    """

    id: str
    input: str
    references: tuple[str, ...]
    position: int


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: the file's stem, such as `task020_mctaco_span_based_question`.
        definitions: texts of the instruction; encodings use the first.
        positive_examples: examples with right answers, in the file's order.
        negative_examples: examples with wrong answers.
        instances: those that could be read, in the file's order.
        categories: the kind of task; the first counts.
        sources: datasets that it was made from; tasks that share one may leak into each other.
        domains: where its texts come from.
        reasoning: skills that it asks for.
        input_languages: languages of the inputs, as in `English`.
        output_languages: languages of the answers.
        instruction_languages: languages of the definition.
        licenses: licences of the instances.
        bad_instances: place in the file and complaint of every instance that was left out.
        problems: what was wrong with all parts that were left out, one sentence each.
    """

    name: str
    definitions: tuple[str, ...]
    positive_examples: tuple[Example, ...]
    negative_examples: tuple[Example, ...]
    instances: tuple[Instance, ...]
    categories: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    input_languages: tuple[str, ...] = ()
    output_languages: tuple[str, ...] = ()
    instruction_languages: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    bad_instances: tuple[tuple[int, str], ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def num_entries(self) -> int:
        """Instances in the file, those left out counted."""
        return len(self.instances) + len(self.bad_instances)

    @property
    def definition(self) -> str:
        """The definition that encodings use."""
        return self.definitions[0]

    @property
    def category(self) -> str:
        """The kind of task, "" where the file does not say."""
        return self.categories[0] if self.categories else ""

    def instance(self, key: str | int) -> Instance:
        """Gives the instance of an id, or at a place in the file.

        Raises:
            InputError: there is none.
        """
        found = self._by_key.get(key)
        if found is None:
            ids = [each.id for each in self.instances]
            raise InputError(
                f"{self.name}: no instance {key!r} among {len(ids)}."
                + did_you_mean(str(key), ids[:1000])
            )
        return found

    @cached_property
    def _by_key(self) -> Mapping[str | int, Instance]:
        by_id: dict[str | int, Instance] = {each.id: each for each in self.instances}
        return by_id | {each.position: each for each in self.instances}


def load_task(path: str | Path) -> Task:
    """Reads a task file.

    Raises:
        InputError: it cannot be read, or is no task.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return parse_task(content, name=path.stem, where=str(path))


def parse_task(content: bytes, *, name: str, where: str | None = None) -> Task:
    """Reads the content of a task file.

    Args:
        content: the file's bytes.
        name: the task's name.
        where: what to call the file in messages; its task's name if None.

    Raises:
        InputError: the content is no task; says what is missing.
    """
    label = name if where is None else where
    try:
        fields = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are both
        raise InputError(f"{label}: not a JSON file ({_first_line(error)}).") from error
    if not isinstance(fields, dict):
        raise InputError(f"{label}: a task is a JSON object, and this is {_kind(fields)}.")
    return _TaskReader(name, label, fields).read()


class _TaskReader:
    """Reads the fields of one file and keeps what is wrong with them."""

    def __init__(self, name: str, label: str, fields: Mapping[str, Any]) -> None:
        self._name = name
        self._label = label
        self._fields = fields
        self._problems: list[str] = []
        self._bad_instances: list[tuple[int, str]] = []

    def read(self) -> Task:
        """Reads all fields."""
        definitions = self._texts("Definition")
        if not definitions:
            raise InputError(f"{self._label}: field 'Definition' has no text.")
        positive = self._examples("Positive Examples")
        negative = self._examples("Negative Examples")
        instances = tuple(self._instances())
        if not instances:
            first = f" ({self._problems[0]})" if self._problems else ""
            raise InputError(f"{self._label}: field 'Instances' has no instance to read{first}.")
        return Task(
            name=self._name,
            definitions=definitions,
            positive_examples=positive,
            negative_examples=negative,
            instances=instances,
            categories=self._texts("Categories"),
            sources=self._texts("Source"),
            domains=self._texts("Domains"),
            reasoning=self._texts("Reasoning"),
            input_languages=self._texts("Input_language"),
            output_languages=self._texts("Output_language"),
            instruction_languages=self._texts("Instruction_language"),
            licenses=self._texts("Instance License"),
            bad_instances=tuple(self._bad_instances),
            problems=tuple(self._problems),
        )

    def _tell(self, where: str, what: str) -> None:
        self._problems.append(f"{self._name}: {where}: {what}")

    def _texts(self, field: str) -> tuple[str, ...]:
        """A list of texts; old files have a bare text in some places."""
        value = self._fields.get(field, [])
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list):
            self._tell(f"field {field!r}", f"should be a list of texts, and is {_kind(value)}")
            return ()
        for number, item in enumerate(value):
            if not isinstance(item, str):
                self._tell(f"field {field!r}, entry {number}", f"is {_kind(item)}, not text")
        return tuple(item for item in value if isinstance(item, str))

    def _list(self, field: str) -> Sequence[Any]:
        value = self._fields.get(field, [])
        if isinstance(value, list):
            return value
        self._tell(f"field {field!r}", f"should be a list, and is {_kind(value)}")
        return ()

    def _examples(self, field: str) -> tuple[Example, ...]:
        found = []
        for number, item in enumerate(self._list(field)):
            where = f"{field!r}, example {number}"
            if not isinstance(item, dict):
                self._tell(where, f"should be an object, and is {_kind(item)}")
                continue
            asked = self._text_of(item, "input", where)
            # Some old files have the answer of an example in a list, as instances do.
            answers = self._references(item, where, may_be_empty=True)
            explanation = item.get("explanation")
            if explanation is not None and not isinstance(explanation, str):
                self._tell(f"{where}, field 'explanation'", f"is {_kind(explanation)}, not text")
                explanation = None
            if asked is not None and answers is not None:
                found.append(Example(asked, answers[0], explanation))
        return tuple(found)

    def _instances(self) -> Iterator[Instance]:
        number = _TASK_NUMBER.match(self._name)
        prefix = number[0] if number else self._name
        for position, item in enumerate(self._list("Instances")):
            told = len(self._problems)
            if not isinstance(item, dict):
                self._tell(f"instance {position}", f"should be an object, and is {_kind(item)}")
                self._bad_instances.append((position, self._problems[told]))
                continue
            own_id = item.get("id")
            instance_id = own_id if isinstance(own_id, str) and own_id else f"{prefix}-{position}"
            where = f"instance {position} ({instance_id})"
            asked = self._text_of(item, "input", where)
            references = self._references(item, where)
            if asked is not None and references is not None:
                yield Instance(instance_id, asked, references, position)
            else:
                self._bad_instances.append((position, self._problems[told]))

    def _text_of(self, item: Mapping[str, Any], field: str, where: str) -> str | None:
        value = item.get(field)
        if isinstance(value, str):
            return value
        self._tell(f"{where}, field {field!r}", _wrong(item, field, "text"))
        return None

    def _references(
        self, item: Mapping[str, Any], where: str, *, may_be_empty: bool = False
    ) -> tuple[str, ...] | None:
        value = item.get("output")
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not value:
            what = "an empty list" if value == [] else None
            self._tell(
                f"{where}, field 'output'",
                f"is {what}" if what else _wrong(item, "output", "a list of texts"),
            )
            return None
        bad = next((i for i, text in enumerate(value) if not isinstance(text, str)), None)
        if bad is not None:
            self._tell(f"{where}, field 'output'", f"entry {bad} is {_kind(value[bad])}, not text")
            return None
        if not may_be_empty and not any(value):
            self._tell(f"{where}, field 'output'", "all references are empty")
            return None
        return tuple(value)


def _wrong(item: Mapping[str, Any], field: str, expected: str) -> str:
    return f"is {_kind(item[field])}, not {expected}" if field in item else "is missing"


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean"}
    if value is None:
        return "null"
    return kinds.get(type(value), "a number")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
