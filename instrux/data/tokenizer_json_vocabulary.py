"""The vocabulary of a `tokenizer.json`, read by the package `tokenizers` of the extra `hf`.

All that transformers saves since its version 5 is that file, and settings beside it that say which
token ends a text. Ids are the file's, but that 0 pads: where 0 is a token of text, as Llama 3's
"!", it and the piece of the byte 0xFF have each other's ids; see `byte_pair_vocabulary`.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from instrux.data.tokenizer_json import BadTokenizerError, TokenizerContent
from instrux.data.vocabularies import PAD_ID, Vocabulary
from instrux.errors import InputError

if TYPE_CHECKING:
    import tokenizers

TOKENIZER_CONFIG = "tokenizer_config.json"
_IDS = ("config.json", "generation_config.json")


class Ends(NamedTuple):
    """The file's ids of what ends a text, and of what begins one where that is said."""

    eos_id: int
    bos_id: int | None


class TokenizerJsonVocabulary(Vocabulary):
    """A `tokenizer.json`.

    A text is encoded without tokens around it. Added tokens that it spells, such as T5's sentinels, are
    found in it as transformers finds them; but for padding and the end of sequence, which no text has.

    Pickled, it takes the file's content along.
    """

    def __init__(self, serialized: bytes, ends: Ends) -> None:
        super().__init__(hashlib.sha256(serialized).hexdigest(), extra_ids=0)
        self._serialized, self._ends = serialized, ends
        content = TokenizerContent.of(serialized)
        self.exchanged_id = _exchanged_id(content, ends)
        self.eos_id = self.exchanged(ends.eos_id)
        unk_id = content.unk_id
        self.unk_id = PAD_ID if unk_id is None else self.exchanged(unk_id)
        self._vocab_size = max(content.pieces.values()) + 1
        unspelled = {ends.eos_id} | ({PAD_ID} if self.exchanged_id is None else set())
        self._tokenizer = _opened(content, unspelled)

    def __reduce__(self) -> tuple:
        return _load, (self._serialized, self._ends)

    @property
    def vocab_size(self) -> int:
        """Number of ids, up to the highest."""
        return self._vocab_size

    def encode(self, text: str) -> list[int]:
        """Gives the token ids of `text`, without an end-of-sequence id."""
        text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are no text there
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if self.exchanged_id is None:
            return ids
        return [self.exchanged(number) for number in ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Gives `encode` of each text, on one thread (Beam and Grain bring their own)."""
        return [self.encode(text) for text in texts]

    def _decode(self, ids: list[int]) -> str:
        theirs = [self.exchanged(number) for number in ids if number != PAD_ID]
        return self._tokenizer.decode(theirs, skip_special_tokens=False)


def load(path: str) -> TokenizerJsonVocabulary:
    """Reads a `tokenizer.json` and what lies beside it of its ends.

    Raises:
        InputError: it cannot be read, no id may pad, nothing says what ends a text, or the package
            `tokenizers` is not installed.
    """
    file = Path(path).expanduser()
    try:
        serialized = file.read_bytes()
        return _load(serialized, _ends(file, TokenizerContent.of(serialized)))
    except OSError as error:
        raise InputError(
            f"vocabulary {path}: {error.strerror or error}; name the tokenizer.json of a Hugging Face"
            " folder"
        ) from error
    except ImportError as error:
        raise InputError(
            f"vocabulary {path}: a tokenizer.json is read by the package tokenizers: pip install"
            " 'instrux[hf]'"
        ) from error
    except BadTokenizerError as error:
        raise InputError(f"vocabulary {path}: {error}") from error


def config_with_ends(path: str | Path) -> str:
    """The text of a `tokenizer_config.json` that says what ends a text, to go along with a copy.

    It is that which lies beside the file, word for word, where it says so itself.

    Raises:
        InputError: see `load`.
    """
    file = Path(path).expanduser()
    beside = file.with_name(TOKENIZER_CONFIG)
    said, pieces = _object_of(beside), TokenizerContent.of(file.read_bytes()).pieces
    if _token(said, "eos_token") in pieces:
        return beside.read_text(encoding="utf-8")
    vocabulary = load(str(path))
    eos_id = vocabulary.exchanged(vocabulary.eos_id)
    piece = next(piece for piece, number in pieces.items() if number == eos_id)
    return json.dumps(said | {"eos_token": piece}, indent=2, ensure_ascii=False) + "\n"


@functools.lru_cache(maxsize=4)
def _load(serialized: bytes, ends: Ends) -> TokenizerJsonVocabulary:
    return TokenizerJsonVocabulary(serialized, ends)


def _exchanged_id(content: TokenizerContent, ends: Ends) -> int | None:
    """The id that 0 changes places with; None where 0 may pad as it is."""
    is_free = PAD_ID in content.special and PAD_ID not in ends
    may_be_unknown = content.unk_id == PAD_ID and not content.knows_every_text
    if PAD_ID not in content.pieces.values() or (is_free and not may_be_unknown):
        return None
    found = content.never_in_text()
    if found is None:
        raise BadTokenizerError(
            "no id may pad: 0 is a token of text, and no piece is the byte 0xFF's; make a tokenizer whose 0"
            " is a special token for padding"
        )
    return found


def _opened(content: TokenizerContent, unspelled: set[int]) -> "tokenizers.Tokenizer":
    """Gives the tokenizer, in which no text is spelled as `unspelled` are."""
    import tokenizers

    model = content.settings["model"]
    if model.get("type") == "Unigram" and content.unk_id is None and not content.knows_every_text:
        raise BadTokenizerError(
            "it has no unknown piece, so that not every text has tokens; make one with unk_id"
        )
    settings = content.without_spelling(unspelled)
    try:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(settings, ensure_ascii=False))
        if model.get("type") == "Unigram":
            tokenizer.model = _unigram(settings["model"])
        tokenizer.encode("a text", add_special_tokens=False)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # its panics are no Exception
        reason = str(error).strip().split("\n")[0]
        raise BadTokenizerError(
            f"tokenizers cannot read it ({reason}); copy the file anew, or give --vocabulary"
        ) from error
    tokenizer.encode_special_tokens = True
    _check_ids(content, tokenizer, unspelled)
    return tokenizer


def _unigram(model: dict[str, Any]) -> "tokenizers.models.Unigram":
    """A Unigram model with the file's scores to the bit, as transformers makes it.

    `tokenizers` itself reads numbers from JSON to the last bit but one, and runs of one character,
    which can be cut in several ways of the same score, then come out otherwise than by SentencePiece.
    """
    import tokenizers

    vocabulary = [(piece, float(score)) for piece, score in model["vocab"]]
    return tokenizers.models.Unigram(
        vocabulary, model.get("unk_id"), bool(model.get("byte_fallback"))
    )


def _check_ids(
    content: TokenizerContent, tokenizer: "tokenizers.Tokenizer", unspelled: set[int]
) -> None:
    found = tokenizer.get_vocab(with_added_tokens=True)
    for piece, number in content.pieces.items():
        if number not in unspelled and found.get(piece) != number:
            raise BadTokenizerError(
                f"{piece!r} has the id {number} there, and tokenizers gives it {found.get(piece)}; number"
                " added tokens on from the last piece"
            )


def _ends(file: Path, content: TokenizerContent) -> Ends:
    """The ends that the settings beside a file tell."""
    said = _object_of(file.with_name(TOKENIZER_CONFIG))
    bos_id = content.pieces.get(_token(said, "bos_token"))
    eos_id = content.pieces.get(_token(said, "eos_token"))
    if eos_id is not None:
        return Ends(eos_id, bos_id)
    for name in _IDS:
        named = _object_of(file.with_name(name)).get("eos_token_id")
        for number in named if isinstance(named, list) else [named]:
            # A piece of text is no end: models' configurations have ids that nobody chose.
            if type(number) is int and number in content.added:
                return Ends(number, bos_id)
    raise BadTokenizerError(
        f"nothing beside it says what ends a text; put an eos_token that it has into {TOKENIZER_CONFIG}"
    )


def _token(said: dict[str, Any], name: str) -> str:
    token = said.get(name)
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else ""


def _object_of(file: Path) -> dict[str, Any]:
    """The object of a JSON file, an empty one where there is no file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: its JSON is malformed; copy the file anew.") from error
    return found if isinstance(found, dict) else {}
