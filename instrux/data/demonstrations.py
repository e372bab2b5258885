"""Demonstrations: a prompt and the answer that a person wrote for it, with what is known of both.

The fields are those that InstructGPT's tables count by (arXiv 2203.02155, appendix A). One JSON line
of our own format is one `Demonstration`, its fields by name.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from instrux.errors import InputError, did_you_mean

SOURCES = ("labeler", "customer")
KINDS = ("plain", "few_shot", "user_based", "api")
USE_CASES = (
    "generation",
    "open_qa",
    "brainstorming",
    "chat",
    "rewrite",
    "summarization",
    "classification",
    "other",
    "closed_qa",
    "extract",
)
"""The ten of table 1, most frequent first."""
LABELS = (
    "ambiguous",
    "sensitive",
    "identity_dependent",
    "closed_domain",
    "continuation_style",
    "asks_opinion",
    "asks_moral_judgment",
    "explicit_safety_constraint",
    "other_explicit_constraint",
)
"""Labels of a prompt, as table 7 has them."""
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Shot:
    """A query and its response, of a few-shot prompt."""

    query: str
    response: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A prompt with the answer to be learnt.

    Attributes:
        id: its name, one of a kind.
        prompt: what the model reads; for a few-shot demonstration with `shots` the instruction.
        completion: what the model should write; may be empty.
        source: who wrote the prompt: `labeler` or `customer`.
        kind: `plain`, `few_shot`, `user_based`, or `api` for what customers submitted.
        use_case: one of `USE_CASES`, or None where nobody said.
        user_id: who submitted or wrote the prompt, or None where unknown.
        labels: label -> whether it holds; a label may be absent.
        language: its code, such as `en`, or None.
        split: the split that its publisher gave it, or that preparation gave it, or None.
        shots: pairs of which few-shot prompts are made; with them `completion` is not used.
    """

    id: str
    prompt: str
    completion: str
    source: str = "labeler"
    kind: str = "plain"
    use_case: str | None = None
    user_id: str | None = None
    labels: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    language: str | None = None
    split: str | None = None
    shots: tuple[Shot, ...] = ()

    @property
    def unit(self) -> str:
        """What a split is drawn by: the user, or the demonstration itself where none is known."""
        return f"user {self.user_id}" if self.user_id is not None else f"prompt {self.id}"

    def to_row(self) -> dict[str, Any]:
        """As plain data; fields that say nothing are left out."""
        row = dataclasses.asdict(self)
        return {name: value for name, value in row.items() if value not in (None, {}, (), [])}

    @classmethod
    def from_row(cls, row: Mapping[str, Any], *, default_id: str) -> "Demonstration":
        """Reads a row of our own format.

        Args:
            row: the fields; unknown ones are an error.
            default_id: the id where the row has none.

        Raises:
            InputError: a field is absent, unknown, or not what it must be. No value of the row
                is in the message, as it may hold personal data.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in row:
            if name not in known:
                raise InputError(f"field {name!r} is unknown.{did_you_mean(str(name), known)}")
        shots = _shots(row.get("shots"))
        return cls(
            id=_text(row, "id", default_id),
            prompt=required_text(row, "prompt"),
            completion=_text(row, "completion", "") if shots else required_text(row, "completion"),
            source=_one_of(row, "source", SOURCES, "labeler"),
            kind=_one_of(row, "kind", KINDS, "few_shot" if shots else "plain"),
            use_case=_optional_one_of(row, "use_case", USE_CASES),
            user_id=_identifier(row, "user_id"),
            labels=_labels(row.get("labels")),
            language=_optional_text(row, "language"),
            split=_optional_one_of(row, "split", SPLITS),
            shots=shots,
        )


def required_text(row: Mapping[str, Any], name: str) -> str:
    """Gives a field that must be a text.

    Raises:
        InputError: it is absent or no text.
    """
    if row.get(name) is None:
        raise InputError(f"field {name!r} is absent")
    return _checked_text(row, name)


def optional_text(row: Mapping[str, Any], name: str) -> str:
    """Gives a field that is a text, or "" where it is absent or null."""
    return "" if row.get(name) is None else _checked_text(row, name)


def _checked_text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise InputError(f"field {name!r} is a {type(value).__name__}, not a text")
    return value


def _text(row: Mapping[str, Any], name: str, default: str) -> str:
    found = _identifier(row, name) if name == "id" else optional_text(row, name)
    return found or default


def _optional_text(row: Mapping[str, Any], name: str) -> str | None:
    return optional_text(row, name) or None


def _identifier(row: Mapping[str, Any], name: str) -> str | None:
    """A name that people write as a text or as a whole number."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return optional_text(row, name) or None


def _one_of(row: Mapping[str, Any], name: str, known: Sequence[str], default: str) -> str:
    return _optional_one_of(row, name, known) or default


def _optional_one_of(row: Mapping[str, Any], name: str, known: Sequence[str]) -> str | None:
    value = optional_text(row, name)
    if value and value not in known:
        raise InputError(f"field {name!r} is none of {', '.join(known)}")
    return value or None


def _labels(value: Any) -> Mapping[str, bool]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(v, bool) for v in value.values()):
        raise InputError("field 'labels' is no object of true and false")
    for name in value:
        if name not in LABELS:
            raise InputError(f"label {name!r} is unknown.{did_you_mean(str(name), LABELS)}")
    return {name: value[name] for name in LABELS if name in value}


def _shots(value: Any) -> tuple[Shot, ...]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError("field 'shots' is no list of objects with query and response")
    for shot in value:
        if not isinstance(shot, Mapping):
            raise InputError("field 'shots' is no list of objects with query and response")
    return tuple(
        Shot(required_text(shot, "query"), required_text(shot, "response")) for shot in value
    )
