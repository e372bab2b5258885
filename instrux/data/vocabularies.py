"""Vocabularies without TensorFlow: SentencePiece, bytes, with SeqIO's own ids; GPT-2's, `tokenizer.json`.

A `VocabularySpec` is plain data (it travels to Beam workers, into manifests and into a run's
`model.json`); `load()` turns it into a `Vocabulary` that encodes and decodes. Ids are those of
`seqio.SentencePieceVocabulary` and `seqio.ByteVocabulary`: 0 pads, and extra ids stand on top of
the model's own, counted downwards, so that `<extra_id_0>` has the highest id of all.
"""

import abc
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from instrux.data.byte_pairs import BytePairs, default_merges_path
from instrux.data.vocabulary_release import t5_vocabulary_path
from instrux.errors import InputError

if TYPE_CHECKING:
    import sentencepiece
    import seqio

PAD_ID = 0
DEFAULT_EXTRA_IDS = 100
"""T5's number of sentinels (arXiv 1910.10683, section 3.1.4)."""

Kind = Literal["sentencepiece", "bytes", "byte_pairs", "tokenizer_json"]

_BYTE_SPECIAL_IDS = 3  # padding, end of sequence, unknown
_BYTES = 256


class Vocabulary(abc.ABC):
    """Text to token ids and back.

    Attributes:
        digest: sha256 of the model file's content in hexadecimal; the same for every byte
            vocabulary. Extra ids are not part of it.
        extra_ids: how many sentinels stand on top of the model's own ids.
        exchanged_id: the id of a model's own file that has changed places with its 0, so that 0 pads
            here; None where nothing had to.
    """

    pad_id: int = PAD_ID
    exchanged_id: int | None = None
    eos_id: int
    unk_id: int

    def __init__(self, digest: str, extra_ids: int) -> None:
        self.digest = digest
        self.extra_ids = extra_ids

    def exchanged(self, number: int) -> int:
        """Gives our id of the file's, or the file's of ours."""
        if number == self.exchanged_id:
            return PAD_ID
        return number if number != PAD_ID or self.exchanged_id is None else self.exchanged_id

    @property
    @abc.abstractmethod
    def vocab_size(self) -> int:
        """Number of ids, extra ids included."""

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Gives the token ids of `text`, without an end-of-sequence id."""

    @abc.abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Gives `encode` of each text, faster than one call a text."""

    @abc.abstractmethod
    def _decode(self, ids: list[int]) -> str:
        """Gives the text of ids that are all in range."""

    def decode(self, ids: Iterable[int]) -> str:
        """Gives the text of `ids` up to the first end-of-sequence id; ids out of range are unknown."""
        clean: list[int] = []
        for token in map(int, ids):
            if token == self.eos_id:
                break
            clean.append(token if 0 <= token < self.vocab_size else self.unk_id)
        return self._decode(clean)


class SentencePieceVocabulary(Vocabulary):
    """A SentencePiece model and its extra ids.

    Pickled, it takes the model along: a worker needs no file.
    """

    def __init__(
        self,
        processor: "sentencepiece.SentencePieceProcessor",
        *,
        serialized: bytes,
        extra_ids: int,
    ) -> None:
        super().__init__(_sha256(serialized), extra_ids)
        self._processor = processor
        self._serialized = serialized
        self.eos_id = processor.eos_id()
        self.unk_id = processor.unk_id()

    def __reduce__(self) -> tuple:
        return _load_sentencepiece, (self._serialized, self.extra_ids)

    @property
    def vocab_size(self) -> int:
        """Number of ids, extra ids included."""
        return self._processor.GetPieceSize()

    def encode(self, text: str) -> list[int]:
        """Gives the token ids of `text`, without an end-of-sequence id."""
        return self._processor.EncodeAsIds(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Gives `encode` of each text, on one thread (Beam and Grain bring their own)."""
        return self._processor.Encode(list(texts), out_type=int, num_threads=1)

    def _decode(self, ids: list[int]) -> str:
        return self._processor.DecodeIds(ids)


class ByteVocabulary(Vocabulary):
    """UTF-8 bytes: the id of a byte is its value plus 3 (ByT5, arXiv 2105.13626)."""

    eos_id = 1
    unk_id = 2

    @property
    def vocab_size(self) -> int:
        """Number of ids, extra ids included."""
        return _BYTE_SPECIAL_IDS + _BYTES + self.extra_ids

    def encode(self, text: str) -> list[int]:
        """Gives the token ids of `text`, without an end-of-sequence id."""
        return [byte + _BYTE_SPECIAL_IDS for byte in text.encode("utf-8")]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Gives `encode` of each text."""
        return [self.encode(text) for text in texts]

    def _decode(self, ids: list[int]) -> str:
        top = _BYTE_SPECIAL_IDS + _BYTES
        values = bytes(i - _BYTE_SPECIAL_IDS for i in ids if _BYTE_SPECIAL_IDS <= i < top)
        return values.decode("utf-8", errors="ignore")


@dataclass(frozen=True)
class VocabularySpec:
    """Names a vocabulary.

    Attributes:
        kind: `sentencepiece`, `bytes`, `byte_pairs` (GPT-2's, see `byte_pair_vocabulary`) or
            `tokenizer_json` (any other's, see `tokenizer_json_vocabulary`).
        path: the SentencePiece model file, or GPT-2's `merges.txt` or `tokenizer.json`, or another
            `tokenizer.json`; None for bytes.
        extra_ids: sentinels on top of the model's own ids; T5 has 100, the last two kinds have none.
    """

    kind: Kind
    path: str | None = None
    extra_ids: int = DEFAULT_EXTRA_IDS

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(
                f"vocabulary kind {self.kind!r} is none of {', '.join(map(repr, get_args(Kind)))}"
            )
        if (self.kind == "bytes") != (self.path is None):
            raise InputError(
                f"vocabulary of kind {self.kind!r} with path {self.path!r}: a path goes with all but"
                " 'bytes'"
            )
        if self.extra_ids < 0:
            raise InputError(f"vocabulary {self}: extra_ids is {self.extra_ids}; give 0 or more")
        if self.extra_ids and self.kind == "byte_pairs":
            raise InputError(f"vocabulary {self}: GPT-2's byte pairs have no extra ids; give 0")
        if self.extra_ids and self.kind == "tokenizer_json":
            raise InputError(f"vocabulary {self}: a tokenizer.json holds its extra ids; give 0")

    @classmethod
    def parse(cls, text: str) -> "VocabularySpec":
        """Reads `bytes`, `/folder/name.model`, or either with `:N` for N extra ids (else 100).

        `/folder/merges.txt` is GPT-2's vocabulary, and `gpt2` that of the cache folder. So is a
        `tokenizer.json` with GPT-2's pieces and ids; any other is one of its own.
        """
        match = re.fullmatch(r"(?P<name>.+?)(?::(?P<extra_ids>\d+))?", text.strip(), re.DOTALL)
        if match is None:
            raise InputError(
                "vocabulary: the name is empty; give 'bytes' or the path of a SentencePiece model"
            )
        name = str(default_merges_path()) if match["name"] == "gpt2" else match["name"]
        if name.endswith("merges.txt"):
            return cls("byte_pairs", name, int(match["extra_ids"] or 0))
        if name.endswith("tokenizer.json"):
            from instrux.data.byte_pair_vocabulary import is_gpt_2s

            kind = "byte_pairs" if is_gpt_2s(name) else "tokenizer_json"
            return cls(kind, name, int(match["extra_ids"] or 0))
        extra_ids = DEFAULT_EXTRA_IDS if match["extra_ids"] is None else int(match["extra_ids"])
        if match["name"] == "bytes":
            return cls("bytes", None, extra_ids)
        return cls("sentencepiece", match["name"], extra_ids)

    @classmethod
    def default(cls) -> "VocabularySpec":
        """Gives the vocabulary named by INSTRUX_VOCABULARY, else T5's in the cache folder."""
        named = os.environ.get("INSTRUX_VOCABULARY")
        if named:
            return cls.parse(named)
        return cls("sentencepiece", str(t5_vocabulary_path()))

    def __str__(self) -> str:
        return f"{self.path or 'bytes'}:{self.extra_ids}"

    def digest(self) -> str:
        """Gives the digest that the loaded vocabulary will have.

        Raises:
            InputError: the model file cannot be read.
        """
        if self.path is None:
            return _sha256(b"instrux byte vocabulary")
        return _sha256(_read_model(self.path))

    def load(self) -> Vocabulary:
        """Gives the vocabulary; one of the same content is loaded once a process.

        Raises:
            InputError: the model file is absent, is not what `kind` says, does not pad with 0 (and
                could have it in a text), or has no end of sequence.
        """
        if self.path is None:
            return ByteVocabulary(self.digest(), self.extra_ids)
        if self.kind == "byte_pairs":
            from instrux.data.byte_pair_vocabulary import BytePairVocabulary

            return BytePairVocabulary(BytePairs.load(self.path), self.digest())
        if self.kind == "tokenizer_json":
            from instrux.data import tokenizer_json_vocabulary

            return tokenizer_json_vocabulary.load(self.path)
        serialized = _read_model(self.path)
        try:
            return _load_sentencepiece(serialized, self.extra_ids)
        except _BadModelError as error:
            raise InputError(f"vocabulary {self.path}: {error}") from error

    def to_seqio(self) -> "seqio.Vocabulary":
        """Gives SeqIO's vocabulary of the same ids (imports SeqIO, hence TensorFlow).

        Raises:
            InputError: it is GPT-2's or of a `tokenizer.json`, which SeqIO does not have.
        """
        if self.kind == "tokenizer_json":
            raise InputError(
                f"vocabulary {self}: SeqIO has none of a tokenizer.json; use `instrux pack`"
            )
        if self.kind == "byte_pairs":
            raise InputError(
                f"vocabulary {self}: SeqIO has no GPT-2 vocabulary; use `instrux pack`"
            )
        import seqio

        if self.path is None:
            return seqio.ByteVocabulary(extra_ids=self.extra_ids)
        return seqio.SentencePieceVocabulary(
            str(Path(self.path).expanduser()), extra_ids=self.extra_ids
        )

    @classmethod
    def from_seqio(cls, vocabulary: "seqio.Vocabulary") -> "VocabularySpec | None":
        """Gives the specification of SeqIO's vocabulary; None if ours could not give its ids."""
        import seqio

        if type(vocabulary) is seqio.ByteVocabulary:
            return cls("bytes", None, vocabulary.extra_ids)
        if type(vocabulary) is not seqio.SentencePieceVocabulary:
            return None
        path = vocabulary.sentencepiece_model_file
        same = cls("sentencepiece", path, vocabulary.extra_ids)
        # Equal to what `to_seqio` makes: no other normaliser, no other order of the extra ids.
        return same if vocabulary == same.to_seqio() else None


class _BadModelError(ValueError):
    """Bytes that are no SentencePiece model that we can use."""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_model(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InputError(
            f"vocabulary {path}: {error.strerror or error}; `instrux fetch vocab` gets T5's, "
            "`instrux vocab` trains one"
        ) from error


@functools.lru_cache(maxsize=8)
def _load_sentencepiece(serialized: bytes, extra_ids: int) -> SentencePieceVocabulary:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(_with_extra_ids(serialized, extra_ids))
    except RuntimeError as error:
        raise _BadModelError(f"not a SentencePiece model ({_first_line(error)})") from error
    if processor.pad_id() != PAD_ID and not _never_encodes_padding(processor):
        raise _BadModelError(
            f"its padding id is {processor.pad_id()}, not 0; train it with pad_id=0 as `instrux vocab` does"
        )
    if processor.eos_id() < 0:
        raise _BadModelError(
            "it has no end-of-sequence id; train it with eos_id=1 as `instrux vocab` does"
        )
    return SentencePieceVocabulary(processor, serialized=serialized, extra_ids=extra_ids)


def _never_encodes_padding(processor: "sentencepiece.SentencePieceProcessor") -> bool:
    """Whether no text has the id that pads: Llama's 0 is the unknown piece, and bytes stand for it."""
    return (
        processor.pad_id() < 0
        and processor.unk_id() == PAD_ID
        and all(processor.PieceToId(f"<0x{byte:02X}>") != PAD_ID for byte in range(256))
    )


def _with_extra_ids(serialized: bytes, extra_ids: int) -> bytes:
    """Adds sentinels as user-defined pieces, the last of them `<extra_id_0>`, as SeqIO does."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2
    try:
        model = proto.ModelProto.FromString(serialized)
    except DecodeError as error:
        raise _BadModelError(
            "not a SentencePiece model (its protocol buffer cannot be read)"
        ) from error
    for number in reversed(range(extra_ids)):
        model.pieces.add(
            piece=f"▁<extra_id_{number}>",
            score=0.0,
            type=proto.ModelProto.SentencePiece.USER_DEFINED,
        )
    return model.SerializeToString()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
