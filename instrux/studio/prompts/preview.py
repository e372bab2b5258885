"""What a template makes of a row, or why it makes nothing of it."""

import random
from dataclasses import asdict, dataclass
from typing import Any

from instrux.errors import InputError
from instrux.prompts import Template
from instrux.studio.prompts.rows import parsed_row

_SHOWN = 20_000


@dataclass(frozen=True)
class Preview:
    """A rendering for people.

    Attributes:
        inputs: the first of two parts, or the only part; None where it failed.
        targets: the second of two parts.
        answer_choices: the choices for the row, or None.
        problem: why it failed, or what is odd about it; "" where all is well.
        failed: whether there is nothing to show.
    """

    inputs: str | None = None
    targets: str | None = None
    answer_choices: tuple[str, ...] | None = None
    problem: str = ""
    failed: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def preview(template: Template, row: str) -> Preview:
    """Renders a row that is given as JSON; random draws always start from the same state."""
    try:
        rendered = template.apply(parsed_row(row), rng=random.Random(0))
    except InputError as error:
        return Preview(problem=str(error), failed=True)
    choices = rendered.answer_choices
    shown = None if choices is None else tuple(map(_cut, choices))
    if rendered.inputs is None:
        return Preview(_cut(rendered.parts[0]), None, shown, _odd_parts(rendered.parts))
    targets = rendered.targets or ""
    problem = ""
    if not targets:
        problem = "The target is empty for this row; such a row is left out."
    elif choices is not None and targets not in choices:
        problem = "The target is none of the answer choices; ranking can never be right here."
    return Preview(_cut(rendered.inputs), _cut(targets), shown, problem)


def _odd_parts(parts: list[str]) -> str:
    if len(parts) == 1 and not parts[0]:
        return "The template prints nothing for this row: it does not apply to it."
    if len(parts) == 1:
        return "There is no ||| in what was printed, so there is no target."
    return f"The text has {len(parts)} parts; one ||| should part prompt and target."


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} … ({len(text):,} characters)"
