"""The template of demonstrations: prompt and completion as they are."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from instrux.errors import InputError


class _Parts(NamedTuple):
    parts: tuple[str, str]
    answer_choices: None = None


@dataclasses.dataclass(frozen=True)
class DemonstrationTemplate:
    """Prompt and completion as they are: InstructGPT has no wrapper around them.

    Attributes:
        name: what reports call it.
    """

    name: str = "demonstration"
    draws = False

    def apply(self, row: Mapping[str, Any], **_: Any) -> _Parts:
        """Gives prompt and completion.

        Raises:
            InputError: the row has none.
        """
        try:
            return _Parts((row["prompt"], row.get("completion", "")))
        except (KeyError, TypeError) as error:
            raise InputError("a demonstration needs the texts `prompt` and `completion`") from error
