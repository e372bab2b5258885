"""Natural Instructions encodings: definition, examples and input as one text (Tk-Instruct).

The text is that of the released collator to the byte, leading blanks before `Positive Example`,
`Output` and `Explanation` included. T5's vocabulary takes newlines and runs of blanks as one
blank, so that none of it matters to a T5; it does to other vocabularies.
"""

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from instrux.errors import InputError, did_you_mean
from instrux.prompts.natural_instructions_task import Example, Instance, Task

MAX_SOURCE_LENGTH = 1024
MAX_TARGET_LENGTH = 128
"""Tokens of a source and of a target, end of sequence included (arXiv 2204.07705, appendix D)."""

_SURELY_FITS = 16
"""Tokens by which leaving out an example may lengthen what is around it; far more than it does."""


class SourceTokenizer(Protocol):
    """What measures sources and cuts them."""

    def encode(self, text: str) -> Sequence[Any]:
        """Gives the tokens of a text, the end of sequence included where there is one."""
        ...

    def decode(self, tokens: Sequence[Any]) -> str:
        """Gives the text of tokens without special ones, as the released code prints it."""
        ...


@dataclass(frozen=True)
class Encoding:
    """Which parts of a task a source has.

    Attributes:
        add_task_name: whether the task's name stands first.
        add_task_definition: whether the definition follows.
        num_pos_examples: positive examples, the first of the file.
        num_neg_examples: negative examples, the first of the file.
        add_explanation: whether examples of both kinds have their explanations.
    """

    add_task_name: bool = False
    add_task_definition: bool = True
    num_pos_examples: int = 2
    num_neg_examples: int = 0
    add_explanation: bool = False

    def __post_init__(self) -> None:
        for name in ("num_pos_examples", "num_neg_examples"):
            if getattr(self, name) < 0:
                raise InputError(f"encoding: {name} is {getattr(self, name)}; give 0 or more")


DEFAULT_ENCODING = "instruct_pos_2_input"
ENCODINGS: Mapping[str, Encoding] = {
    "input_only": Encoding(False, False, 0, 0, False),
    "task_name_input": Encoding(True, False, 0, 0, False),
    "instruct_input": Encoding(False, True, 0, 0, False),
    "pos_1_input": Encoding(False, False, 1, 0, False),
    "pos_2_input": Encoding(False, False, 2, 0, False),
    "pos_4_input": Encoding(False, False, 4, 0, False),
    "instruct_pos_1_input": Encoding(False, True, 1, 0, False),
    "instruct_pos_2_input": Encoding(False, True, 2, 0, False),
    "instruct_pos_4_input": Encoding(False, True, 4, 0, False),
    "instruct_pos_2_neg_2_input": Encoding(False, True, 2, 2, False),
    "instruct_pos_2_explanation_input": Encoding(False, True, 2, 0, True),
    "instruct_pos_2_neg_2_explanation_input": Encoding(False, True, 2, 2, True),
}
"""The released grid of ablations by its own names (create_exps.py of Tk-Instruct), with the one
more (positive examples with explanations) that the random form draws."""

RANDOM_ENCODING = "tk_instruct"
RANDOM_CHOICES = (
    "instruct_input",
    "pos_2_input",
    "instruct_pos_2_input",
    "instruct_pos_2_neg_2_input",
    "instruct_pos_2_explanation_input",
)
"""What the random form draws from, each with the same chance."""


@dataclass(frozen=True)
class EncodedSource:
    """A source within its token limit.

    Attributes:
        text: the source.
        num_pos_examples: positive examples that it has.
        num_neg_examples: negative examples that it has.
        truncated: whether its end was cut off.
    """

    text: str
    num_pos_examples: int
    num_neg_examples: int
    truncated: bool


def encoding_named(name: str) -> Encoding:
    """Gives an encoding of the grid.

    Raises:
        InputError: there is none of that name.
    """
    if name not in ENCODINGS:
        known = [*ENCODINGS, RANDOM_ENCODING]
        raise InputError(
            f"no Natural Instructions encoding is named {name!r}.{did_you_mean(name, known)}"
            f" There are {', '.join(known)}."
        )
    return ENCODINGS[name]


def draw_encoding(rng: random.Random) -> Encoding:
    """Draws one of the five encodings of the random form."""
    return ENCODINGS[RANDOM_CHOICES[rng.randrange(len(RANDOM_CHOICES))]]


def draw_reference(instance: Instance, rng: random.Random) -> str:
    """Draws one of the instance's references, each with the same chance."""
    return instance.references[rng.randrange(len(instance.references))]


def encode(
    task: Task,
    instance: Instance,
    *,
    add_task_name: bool = False,
    add_task_definition: bool = True,
    num_pos_examples: int = 2,
    num_neg_examples: int = 0,
    add_explanation: bool = False,
) -> str:
    """Gives the released text of an instance, with all its examples and uncut.

    Args:
        task: the task.
        instance: one of its instances.
        add_task_name: whether the task's name stands first.
        add_task_definition: whether the definition follows.
        num_pos_examples: positive examples, the first of the file.
        num_neg_examples: negative examples, the first of the file.
        add_explanation: whether examples of both kinds have their explanations.
    """
    encoding = Encoding(
        add_task_name, add_task_definition, num_pos_examples, num_neg_examples, add_explanation
    )
    return _Parts.of(task, instance, encoding).joined()


def encode_within(
    task: Task,
    instance: Instance,
    encoding: Encoding,
    tokenizer: SourceTokenizer,
    *,
    max_source_length: int = MAX_SOURCE_LENGTH,
) -> EncodedSource:
    """Gives the text of an instance within a number of tokens, as the released collator does.

    Examples are taken while they fit beside definition and input; the first that does not fit
    ends its kind, and no shorter one behind it is tried. Should the source still be too long (the
    task's name is not counted until now), its end is cut off, and with it `Output:`.

    Args:
        task: the task.
        instance: one of its instances.
        encoding: which parts it has.
        tokenizer: measures and cuts.
        max_source_length: the limit in tokens.
    """
    parts = _Parts.of(task, instance, encoding)
    if len(tokenizer.encode(parts.joined(" "))) + _SURELY_FITS > max_source_length:
        parts = parts.within(tokenizer, max_source_length)
    text = parts.joined()
    tokens = tokenizer.encode(text)
    truncated = len(tokens) > max_source_length
    if truncated:
        text = tokenizer.decode(tokens[:max_source_length])
    return EncodedSource(text, len(parts.positive), len(parts.negative), truncated)


def text_to_text(text: str) -> str:
    """Gives the form of the tab-separated files for TPU training: every run of blanks is one.

    Their sources end in `Output:` with no blank. The budget of those files was counted with
    GPT-2's vocabulary.
    """
    return " ".join(text.split())


def text_to_text_line(source: str, target: str) -> str:
    """Gives a line of those files, newline included: source, tab, target, both in that form."""
    return f"{text_to_text(source)}\t{text_to_text(target)}\n"


@dataclass(frozen=True)
class _Parts:
    """The parts of a source, rendered."""

    task_name: str
    definition: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    query: str

    @classmethod
    def of(cls, task: Task, instance: Instance, encoding: Encoding) -> "_Parts":
        """Renders the parts of an instance."""
        definition = ""
        if encoding.add_task_definition:
            definition = _dot("Definition: " + task.definition.strip()) + "\n\n"
        return cls(
            task_name=f"{task.name}. " if encoding.add_task_name else "",
            definition=definition,
            positive=_examples(
                "Positive",
                task.positive_examples[: encoding.num_pos_examples],
                explained=encoding.add_explanation,
            ),
            negative=_examples(
                "Negative",
                task.negative_examples[: encoding.num_neg_examples],
                explained=encoding.add_explanation,
            ),
            query=_dot(f"Now complete the following example -\nInput: {instance.input.strip()}")
            + "\nOutput: ",
        )

    def joined(self, between_examples: str = "") -> str:
        """The source, or what the released code measures in its place."""
        positive, negative = (
            between_examples.join(self.positive),
            between_examples.join(self.negative),
        )
        return self.task_name + self.definition + positive + negative + self.query

    def within(self, tokenizer: SourceTokenizer, limit: int) -> "_Parts":
        """The same with the examples that fit."""
        positive = self._fitting(self.definition, self.positive, tokenizer, limit)
        before = self.definition + " ".join(positive)
        negative = self._fitting(before, self.negative, tokenizer, limit)
        return _Parts(self.task_name, self.definition, positive, negative, self.query)

    def _fitting(
        self, before: str, examples: Sequence[str], tokenizer: SourceTokenizer, limit: int
    ) -> tuple[str, ...]:
        kept: list[str] = []
        for example in examples:
            measured = before + " ".join(kept) + example + self.query
            if len(tokenizer.encode(measured)) > limit:
                break
            kept.append(example)
        return tuple(kept)


def _examples(kind: str, examples: Sequence[Example], *, explained: bool) -> tuple[str, ...]:
    return tuple(
        _example(f" {kind} Example {number} -\n", example, explained=explained)
        for number, example in enumerate(examples, start=1)
    )


def _example(heading: str, example: Example, *, explained: bool) -> str:
    text = _dot(f"{heading}Input: {example.input.strip()}") + "\n"
    # The period looks at the whole text so far: an empty output becomes " Output: .".
    text = _dot(f"{text} Output: {example.output.strip()}") + "\n"
    if explained and example.explanation is not None:
        text = _dot(f"{text} Explanation: {example.explanation.strip()}") + "\n"
    return text + "\n"


def _dot(text: str) -> str:
    """Ends a text with a period unless it ends in ASCII punctuation."""
    return text if text[-1] in string.punctuation else text + "."
