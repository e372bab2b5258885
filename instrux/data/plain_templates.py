"""Templates that are no Jinja: text that goes on, and prompts that are used as they are."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from instrux.errors import InputError


class Parts(NamedTuple):
    """What a template made of a row; see `instrux.prompts`' `Rendered`.

    Attributes:
        parts: inputs and targets, or () where the template says nothing about the row.
        answer_choices: what is ranked, or None.
        references: all acceptable answers, or None.
    """

    parts: tuple[str, ...]
    answer_choices: tuple[str, ...] | None = None
    references: tuple[str, ...] | None = None


NOTHING = Parts(())


@dataclasses.dataclass(frozen=True)
class ContinuationTemplate:
    """Running text cut in two: a model reads the first part and learns to go on.

    That is how T5 was adapted to language modelling (arXiv 2104.08691, section 3.1), and it needs no
    instruction. The place of the cut is drawn, by seed and row.

    Attributes:
        field: the field that holds the text.
        inputs_words: words read, at most.
        targets_words: words written, at most.
        name: what reports call it.
    """

    field: str
    inputs_words: int = 64
    targets_words: int = 32
    name: str = "continuation"
    draws = True

    def apply(self, row: Mapping[str, Any], *, rng: Any, **_: Any) -> Parts:
        """Gives the words before and after a drawn place; nothing for a text of one word.

        Raises:
            InputError: the row has no such text.
        """
        text = row.get(self.field)
        if not isinstance(text, str):
            raise InputError(f"the field {self.field!r} holds no text")
        words = text.split()
        if len(words) < 2:
            return NOTHING
        cut = rng.randint(1, len(words) - 1)
        before = words[max(0, cut - self.inputs_words) : cut]
        return Parts((" ".join(before), " ".join(words[cut : cut + self.targets_words])))


@dataclasses.dataclass(frozen=True)
class InstructionTemplate:
    """An instruction and its input, as Self-Instruct asks for an answer.

    Instruction, an empty line, `Input: ...`, `Output:`; without an input there is no such line
    (evaluation prompt of yizhongw/self-instruct).

    Attributes:
        name: what reports call it.
    """

    name: str = "instruction and input"
    draws = False

    def apply(self, row: Mapping[str, Any], **_: Any) -> Parts:
        """Gives the prompt, and the person's answer.

        Raises:
            InputError: the row has no `instruction`.
        """
        instruction = row.get("instruction")
        if not isinstance(instruction, str):
            raise InputError("the row has no text `instruction`")
        asked = f"Input: {row['input']}\nOutput:" if row.get("input") else "Output:"
        return Parts((f"{instruction}\n\n{asked}", row.get("output") or ""))
