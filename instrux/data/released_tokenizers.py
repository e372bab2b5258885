"""Tokenizers that measure and cut sources as the code that released Tk-Instruct does.

They differ from a plain vocabulary in what the released code's library does: T5's tokenizer gives
one token more where a text ends in a blank, and text that is decoded has its blanks before
punctuation taken away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from instrux.data.byte_pairs import BytePairs
from instrux.data.vocabularies import Vocabulary, VocabularySpec

_LONE_BLANK = 3  # T5's piece "▁"
_CLEANED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


@dataclass(frozen=True)
class ReleasedT5Tokenizer:
    """T5's vocabulary as the released collator uses it.

    Attributes:
        vocabulary: T5's.
    """

    vocabulary: Vocabulary

    @classmethod
    def load(cls, path: str | Path | None = None) -> "ReleasedT5Tokenizer":
        """Reads the vocabulary of a path, else that of `VocabularySpec.default`."""
        spec = VocabularySpec.default() if path is None else VocabularySpec.parse(str(path))
        return cls(spec.load())

    def encode(self, text: str) -> list[int]:
        """Gives token ids with the end of sequence, and that one more for a blank at the end."""
        blank = [_LONE_BLANK] if text[-1:].isspace() else []
        return [*self.vocabulary.encode(text), *blank, self.vocabulary.eos_id]

    def decode(self, tokens: Sequence[int]) -> str:
        """Gives the text of token ids; unknown ones and the end of sequence have none."""
        special = (self.vocabulary.unk_id, self.vocabulary.eos_id, self.vocabulary.pad_id)
        return without_blanks_before_punctuation(
            self.vocabulary.decode([token for token in tokens if token not in special])
        )


@dataclass(frozen=True)
class VocabularyTokenizer:
    """Any other vocabulary, which no released code ever measured with.

    Attributes:
        vocabulary: what counts.
    """

    vocabulary: Vocabulary

    def encode(self, text: str) -> list[int]:
        """Gives token ids with the end of sequence."""
        return [*self.vocabulary.encode(text), self.vocabulary.eos_id]

    def decode(self, tokens: Sequence[int]) -> str:
        """Gives the text of token ids."""
        return self.vocabulary.decode(tokens)


@dataclass(frozen=True)
class ReleasedGpt2Tokenizer:
    """GPT-2's pieces as the released text-to-text files use them; there is no end of sequence.

    Attributes:
        pieces: GPT-2's.
    """

    pieces: BytePairs

    @classmethod
    def load(cls, merges: str | Path | None = None) -> "ReleasedGpt2Tokenizer":
        """Reads GPT-2's `merges.txt`, by default the one in the cache folder."""
        return cls(BytePairs.load(merges))

    def encode(self, text: str) -> list[str]:
        """Gives the pieces of a text."""
        return self.pieces.encode(text)

    def decode(self, tokens: Sequence[str]) -> str:
        """Gives the text of some pieces."""
        return without_blanks_before_punctuation(self.pieces.decode(tokens))


def without_blanks_before_punctuation(text: str) -> str:
    """Takes away the blanks that tokenised English has, as decoding does by default there."""
    for spaced in _CLEANED:
        text = text.replace(spaced, spaced.strip())
    return text
