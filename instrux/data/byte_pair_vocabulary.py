"""GPT-2's vocabulary: the ids of its byte-level pieces, which follow from the merges alone.

GPT-2 has no id to spare for padding: its id 0 is "!". Everywhere here 0 pads. So "!" and the piece
of the byte 0xFF, which no UTF-8 text holds, have each other's ids; a model of GPT-2's gets the same
two rows of its embeddings exchanged when it is read, and again when it is written. Nothing is
added, and no probability changes.
"""

from collections.abc import Sequence
from pathlib import Path

from instrux.data.byte_pairs import BytePairs, byte_characters, unused_character
from instrux.data.tokenizer_json import BadTokenizerError, TokenizerContent
from instrux.data.vocabularies import PAD_ID, Vocabulary
from instrux.errors import InputError


class BytePairVocabulary(Vocabulary):
    """GPT-2's ids, but that 0 pads. `<|endoftext|>`, the last of them, ends a sequence."""

    unk_id = PAD_ID

    def __init__(self, pairs: BytePairs, digest: str) -> None:
        super().__init__(digest, extra_ids=0)
        self._pairs = pairs
        self._released = {piece: number for number, piece in enumerate(_pieces(pairs))}
        self.eos_id = len(self._released)
        self.exchanged_id = self._released[unused_character()]
        self._ids = {piece: self.exchanged(number) for piece, number in self._released.items()}
        self._by_id = {number: piece for piece, number in self._ids.items()}

    def __reduce__(self) -> tuple:
        return BytePairVocabulary, (self._pairs, self.digest)

    @property
    def vocab_size(self) -> int:
        """Number of ids: bytes, merges and the end of sequence."""
        return self.eos_id + 1

    def released_ids(self) -> dict[str, int]:
        """GPT-2's own ids by piece, as its `vocab.json` has them."""
        return {**self._released, "<|endoftext|>": self.eos_id}

    def merges(self) -> list[tuple[str, str]]:
        """The merges in the order of their rank."""
        return self._pairs.merges()

    def encode(self, text: str) -> list[int]:
        """Gives the token ids of `text`, without an end-of-sequence id."""
        return [self._ids[piece] for piece in self._pairs.encode(text)]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Gives `encode` of each text."""
        return [self.encode(text) for text in texts]

    def _decode(self, ids: list[int]) -> str:
        return self._pairs.decode([self._by_id[number] for number in ids if number != PAD_ID])


def is_gpt_2s(path: str) -> bool:
    """Whether a `tokenizer.json` cuts texts as GPT-2 does, into pieces with the ids that GPT-2 gives them."""
    file = Path(path).expanduser()
    try:
        pieces = TokenizerContent.of(file.read_bytes()).pieces
        return pieces == BytePairVocabulary(BytePairs.load(file), "").released_ids()
    except (OSError, KeyError, InputError, BadTokenizerError):
        return False


def _pieces(pairs: BytePairs) -> list[str]:
    """All pieces in the order of their ids: those of bytes that print, other bytes, then merges."""
    characters = byte_characters()
    printing = [character for byte, character in enumerate(characters) if ord(character) == byte]
    others = [character for byte, character in enumerate(characters) if ord(character) != byte]
    return [*printing, *others, *(left + right for left, right in pairs.merges())]
