"""The template of Natural Instructions tasks: an encoding of the grid, within a token budget.

It stands where other tasks have a PromptSource template: `PromptedTask.render` calls `apply`.
"""

import dataclasses
import functools
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from instrux.data.byte_pairs import default_merges_path
from instrux.data.files import as_path
from instrux.data.released_tokenizers import (
    ReleasedGpt2Tokenizer,
    ReleasedT5Tokenizer,
    VocabularyTokenizer,
)
from instrux.data.vocabularies import VocabularySpec
from instrux.data.vocabulary_release import T5_VOCABULARY
from instrux.errors import InputError
from instrux.prompts import natural_instructions as ni

Budget = Literal["vocabulary", "gpt2"]


@dataclasses.dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer by what it does; where its file lies is no part of that.

    Attributes:
        kind: `vocabulary` (the one that models read with) or `gpt2`.
        digest: of the file's content.
        path: its place: a vocabulary as `VocabularySpec.parse` reads it, or a `merges.txt`.
    """

    kind: Budget
    digest: str
    path: str = dataclasses.field(compare=False)

    def load(self) -> ni.SourceTokenizer:
        """Gives the tokenizer; its file is read once a process."""
        return _tokenizer(self.kind, self.path)


@dataclasses.dataclass(frozen=True)
class RenderedInstance:
    """What the template makes of a row.

    Attributes:
        inputs: the source.
        targets: the reference that was drawn.
        references: all of them.
    """

    inputs: str
    targets: str
    references: tuple[str, ...]
    answer_choices: None = None

    @property
    def parts(self) -> list[str]:
        """Inputs and targets."""
        return [self.inputs, self.targets]


@dataclasses.dataclass(frozen=True)
class NaturalInstructionsTemplate:
    """Encodes an instance as Tk-Instruct does. Reads no file until it is resolved.

    Attributes:
        encoding: a name of `ni.ENCODINGS`, or `tk_instruct` to draw one of five for every example.
        max_source_length: the limit in tokens, end of sequence included; None for no limit.
        budget: what counts the tokens: the models' vocabulary, or GPT-2's as for TPU training.
        text_to_text: whether every run of blanks is one blank, in sources and in targets, as in the
            files for TPU training.
        draw_reference: whether the target is drawn among the references, as in training; else it
            is the first.
        tokenizer: what counts, once it is resolved.
    """

    encoding: str = ni.DEFAULT_ENCODING
    max_source_length: int | None = ni.MAX_SOURCE_LENGTH
    budget: Budget = "vocabulary"
    text_to_text: bool = False
    draw_reference: bool = True
    tokenizer: TokenizerFile | None = None

    fixed_answer_choices = None
    answer_choices = None

    def __post_init__(self) -> None:
        if self.encoding != ni.RANDOM_ENCODING:
            ni.encoding_named(self.encoding)
        if self.max_source_length is not None and self.max_source_length < 1:
            raise InputError(
                f"encoding {self.encoding}: max_source_length is {self.max_source_length}; "
                "give 1 or more, or None"
            )

    @property
    def name(self) -> str:
        """The encoding's name."""
        return self.encoding

    @property
    def draws(self) -> bool:
        """Whether there is something to draw."""
        return self.draw_reference or self.encoding == ni.RANDOM_ENCODING

    def resolve(self) -> "NaturalInstructionsTemplate":
        """The same with its tokenizer found.

        Raises:
            InputError: the tokenizer's file cannot be read.
        """
        if self.max_source_length is None or self.tokenizer is not None:
            return self
        return dataclasses.replace(self, tokenizer=_tokenizer_file(self.budget))

    def apply(
        self,
        row: Mapping[str, Any],
        *,
        rng: random.Random | None = None,
        truncate: bool = True,
        strip: bool = True,
    ) -> RenderedInstance:
        """Encodes a row of a `NaturalInstructionsSource`.

        Args:
            row: the row.
            rng: of the draws; needed where `draws`.
            truncate: has no meaning here; there is the budget.
            strip: has none either: the released text is what it is.

        Raises:
            InputError: the row is not one of Natural Instructions.
        """
        del truncate, strip
        task, instance = _task_of(row)
        encoding = self._encoding(rng)
        if self.max_source_length is None:
            source = ni.encode(task, instance, **dataclasses.asdict(encoding))
        else:
            tokenizer = self.resolve().tokenizer
            assert tokenizer is not None
            source = ni.encode_within(
                task,
                instance,
                encoding,
                tokenizer.load(),
                max_source_length=self.max_source_length,
            ).text
        target = instance.references[0]
        if self.draw_reference:
            target = ni.draw_reference(instance, _given(rng))
        return RenderedInstance(
            inputs=ni.text_to_text(source) if self.text_to_text else source,
            targets=ni.text_to_text(target) if self.text_to_text else target,
            references=instance.references,
        )

    def _encoding(self, rng: random.Random | None) -> ni.Encoding:
        if self.encoding == ni.RANDOM_ENCODING:
            return ni.draw_encoding(_given(rng))
        return ni.ENCODINGS[self.encoding]


def _given(rng: random.Random | None) -> random.Random:
    if rng is None:
        raise TypeError("this template draws: it needs an rng")
    return rng


def _task_of(row: Mapping[str, Any]) -> tuple[ni.Task, ni.Instance]:
    try:
        instance = ni.Instance(
            id=row["Instance"]["id"],
            input=row["Instance"]["input"],
            references=tuple(row["Instance"]["output"]),
            position=row.get("position", 0),
        )
        task = ni.Task(
            name=row["Task"],
            definitions=tuple(row["Definition"]),
            positive_examples=_examples(row["Positive Examples"]),
            negative_examples=_examples(row["Negative Examples"]),
            instances=(instance,),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"not a row of Natural Instructions ({type(error).__name__}: {error}); it has the"
            f" fields {sorted(row)}."
        ) from error
    return task, instance


def _examples(items: Sequence[Mapping[str, Any]]) -> tuple[ni.Example, ...]:
    return tuple(
        ni.Example(item["input"], item["output"], item.get("explanation")) for item in items
    )


def _tokenizer_file(budget: Budget) -> TokenizerFile:
    if budget == "gpt2":
        path = default_merges_path()
        ReleasedGpt2Tokenizer.load(path)
        return TokenizerFile("gpt2", _digest(str(path)), str(path))
    spec = VocabularySpec.default()
    return TokenizerFile("vocabulary", spec.digest(), str(spec))


def _digest(path: str) -> str:
    import hashlib

    return hashlib.sha256(as_path(path).read_bytes()).hexdigest()


@functools.lru_cache(maxsize=4)
def _tokenizer(kind: Budget, path: str) -> ni.SourceTokenizer:
    if kind == "gpt2":
        return ReleasedGpt2Tokenizer.load(path)
    spec = VocabularySpec.parse(path)
    vocabulary = spec.load()
    # Only T5's own was published with its released code, whose tokenizer adds a blank.
    if vocabulary.digest == T5_VOCABULARY.sha256:
        return ReleasedT5Tokenizer(vocabulary)
    return VocabularyTokenizer(vocabulary)
