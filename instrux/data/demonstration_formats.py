"""Rows of public instruction sets, as demonstrations.

    instrux          our own JSON lines (`instrux.data.demonstrations`)
    dolly            instruction, context, response, category
    oasst            a message tree a row (`instrux.data.message_trees` has rows of single messages)
    no_robots        messages, category
    self_instruct    instruction, instances of input and output
    alpaca           instruction, input, output
    messages         messages of role and content
    prompt_response  prompt, response

Every function takes a row and the id it gets if it brings none, and raises an `InputError` that says
which field is wrong, without its value: a row may hold personal data.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from instrux.data.demonstrations import (
    KINDS,
    SOURCES,
    Demonstration,
    optional_text,
    required_text,
)
from instrux.data.message_trees import conversations
from instrux.errors import InputError, did_you_mean

ReadRow = Callable[[Mapping[str, Any], str], list[Demonstration]]

_CITATION = re.compile(r"\[\d+\]")
_DOLLY_USE_CASES = {
    "brainstorming": "brainstorming",
    "classification": "classification",
    "closed_qa": "closed_qa",
    "creative_writing": "generation",
    "general_qa": "open_qa",
    "information_extraction": "extract",
    "open_qa": "open_qa",
    "summarization": "summarization",
}
_NO_ROBOTS_USE_CASES = {
    "brainstorm": "brainstorming",
    "chat": "chat",
    "classify": "classification",
    "closed qa": "closed_qa",
    "coding": "other",
    "extract": "extract",
    "generation": "generation",
    "open qa": "open_qa",
    "rewrite": "rewrite",
    "summarize": "summarization",
}
_SPEAKERS = {"user": "Human", "human": "Human", "assistant": "AI", "prompter": "Human"}
"""Who speaks in a prompt of several turns; the names of the chat prompts in the paper's appendix."""


def find_format(name: str) -> ReadRow:
    """Gives what reads a row of a format.

    Raises:
        InputError: there is no such format.
    """
    if name not in FORMATS:
        raise InputError(
            f"no format {name!r} of demonstrations.{did_you_mean(name, FORMATS)} "
            f"Formats: {', '.join(FORMATS)}."
        )
    return FORMATS[name]


def joined(instruction: str, text: str) -> str:
    """An instruction and the text it is about, a blank line between them."""
    return f"{instruction}\n\n{text}" if text.strip() else instruction


def from_turns(turns: Sequence[tuple[str, str]], *, id: str, **known: Any) -> Demonstration:
    """Makes a demonstration of a conversation that ends with the assistant.

    One question and its answer are prompt and completion as they are. A longer conversation, or
    one with a system's message, is written out with who speaks.

    Args:
        turns: roles and texts.
        id: the demonstration's.
        **known: other fields.

    Raises:
        InputError: the last turn is not the assistant's, or nothing comes before it.
    """
    if len(turns) < 2 or turns[-1][0] != "assistant":
        raise InputError("a conversation must end with the assistant's answer to somebody")
    *before, (_, completion) = turns
    if len(before) == 1 and before[0][0] in ("user", "human", "prompter"):
        return Demonstration(id=id, prompt=before[0][1], completion=completion, **known)
    lines = [text if role == "system" else f"{_speaker(role)}: {text}" for role, text in before]
    return Demonstration(id=id, prompt="\n\n".join([*lines, "AI:"]), completion=completion, **known)


def _speaker(role: str) -> str:
    if role not in _SPEAKERS:
        raise InputError(f"a message's role is none of system, {', '.join(_SPEAKERS)}")
    return _SPEAKERS[role]


def _turns(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    messages = row.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise InputError("field 'messages' is no list of messages")
    for message in messages:
        if not isinstance(message, Mapping):
            raise InputError("field 'messages' is no list of objects with role and content")
    return [(required_text(each, "role"), required_text(each, "content")) for each in messages]


def _own(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    return [Demonstration.from_row(row, default_id=default_id)]


def _dolly(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    category = optional_text(row, "category")
    if category and category not in _DOLLY_USE_CASES:
        raise InputError("field 'category' is none of Dolly's eight")
    context = _CITATION.sub("", optional_text(row, "context"))
    return [
        Demonstration(
            id=default_id,
            prompt=joined(required_text(row, "instruction"), context),
            completion=required_text(row, "response"),
            use_case=_DOLLY_USE_CASES.get(category),
        )
    ]


def _oasst(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    del default_id  # messages have their own
    return [
        from_turns(
            [(message.role, message.text) for message in path],
            id=f"oasst/{path[-1].id}",
            user_id=path[0].user_id,
            language=path[-1].language,
        )
        for path in conversations(row)
    ]


def _no_robots(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    category = optional_text(row, "category").lower()
    if category and category not in _NO_ROBOTS_USE_CASES:
        raise InputError("field 'category' is none of No Robots' ten")
    id = optional_text(row, "prompt_id")
    return [
        from_turns(
            _turns(row),
            id=f"no_robots/{id}" if id else default_id,
            use_case=_NO_ROBOTS_USE_CASES.get(category),
        )
    ]


def _self_instruct(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    instruction = required_text(row, "instruction")
    instances = row.get("instances")
    if not isinstance(instances, Sequence) or isinstance(instances, str) or not instances:
        raise InputError("field 'instances' is no list of input and output")
    id = optional_text(row, "id") or default_id
    made = []
    for number, instance in enumerate(instances):
        if not isinstance(instance, Mapping):
            raise InputError("field 'instances' is no list of objects with input and output")
        made.append(
            Demonstration(
                id=id if len(instances) == 1 else f"{id}/{number}",
                prompt=joined(instruction, optional_text(instance, "input")),
                completion=required_text(instance, "output"),
                use_case="classification" if row.get("is_classification") is True else None,
            )
        )
    return made


def _alpaca(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    return [
        Demonstration(
            id=default_id,
            prompt=joined(required_text(row, "instruction"), optional_text(row, "input")),
            completion=required_text(row, "output"),
        )
    ]


def _messages(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    return [from_turns(_turns(row), id=optional_text(row, "id") or default_id)]


def _prompt_response(row: Mapping[str, Any], default_id: str) -> list[Demonstration]:
    prompt, response = required_text(row, "prompt"), required_text(row, "response")
    return [Demonstration(id=default_id, prompt=prompt, completion=response)]


FORMATS: Mapping[str, ReadRow] = {
    "instrux": _own,
    "dolly": _dolly,
    "oasst": _oasst,
    "no_robots": _no_robots,
    "self_instruct": _self_instruct,
    "alpaca": _alpaca,
    "messages": _messages,
    "prompt_response": _prompt_response,
}

LICENCES: Mapping[str, str] = {
    # Cards on the hub: databricks/databricks-dolly-15k (commit 3b861f1), OpenAssistant/oasst1 (c267a21),
    # HuggingFaceH4/no_robots (8387154), yizhongw/self_instruct (2d662b8).
    "dolly": "cc-by-sa-3.0",
    "oasst": "apache-2.0",
    "no_robots": "cc-by-nc-4.0",
    "self_instruct": "apache-2.0",
}
"""Format -> licence tag of the one published set that has it; the other formats are anybody's."""


@dataclasses.dataclass(frozen=True)
class DemonstrationInput:
    """A file of demonstrations.

    Attributes:
        format: one of `FORMATS`.
        path: a file or a glob: JSON lines (also `.gz`), a JSON list, Parquet or CSV.
        source: who wrote its prompts, where the rows do not say.
        kind: what they are, where the rows do not say.
    """

    format: str
    path: str
    source: str | None = None
    kind: str | None = None

    @classmethod
    def parse(cls, text: str) -> "DemonstrationInput":
        """Reads `FORMAT=PATH`, `FORMAT:SOURCE=PATH` or `FORMAT:SOURCE:KIND=PATH`.

        Raises:
            InputError: it is not of that form, or there is no such format, source or kind.
        """
        head, _, path = text.partition("=")
        format, *said = head.split(":")
        if not path or len(said) > 2:
            raise InputError(
                f"input {text!r}: write FORMAT=PATH, such as dolly=databricks-dolly-15k.jsonl, or "
                "FORMAT:SOURCE:KIND=PATH, such as prompt_response:customer:api=prompts.jsonl."
            )
        return cls(format, path, *said)

    def __post_init__(self) -> None:
        find_format(self.format)
        for value, known in ((self.source, SOURCES), (self.kind, KINDS)):
            if value is not None and value not in known:
                raise InputError(
                    f"input {self.path}: {value!r} is none of {', '.join(known)}."
                    f"{did_you_mean(value, known)}"
                )

    def complete(self, demonstration: Demonstration) -> Demonstration:
        """Fills in who wrote a prompt and of what kind it is."""
        said = {"source": self.source, "kind": self.kind}
        if self.format == "instrux":
            return demonstration
        return dataclasses.replace(demonstration, **{k: v for k, v in said.items() if v})
