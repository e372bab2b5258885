"""GPT-2's byte-level pieces, from its merges alone: of `merges.txt`, or of `tokenizer.json`.

The cross-lingual ROUGE-L of Natural Instructions counts these pieces, and the text-to-text files
of Tk-Instruct were cut by them. Pieces are texts in GPT-2's own spelling, where every byte is one
printable character and a blank is `Ġ`; neither use needs their numbers,
which `byte_pair_vocabulary` has.
"""

import functools
import itertools
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from instrux.cache_folder import cache_folder
from instrux.errors import InputError

_WORDS_KEPT = 1 << 18


class BytePairs:
    """Splits text into GPT-2's pieces.

    Pickled, it takes the merges along.
    """

    def __init__(self, merges: Iterable[tuple[str, str]]) -> None:
        """Takes the merges in the order of their rank."""
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._known: dict[str, tuple[str, ...]] = {}

    def __reduce__(self) -> tuple:
        return BytePairs, (self.merges(),)

    @classmethod
    def load(cls, path: str | Path | None = None) -> "BytePairs":
        """Reads `merges.txt`, by default the one in the cache folder (`vocab/gpt2/`).

        Args:
            path: that file, or a `tokenizer.json`, in which transformers keeps the merges since its
                version 5; they are told apart by their content.

        Raises:
            InputError: there is no such file, it holds no merges, or it splits text another way.
        """
        return _load(str(default_merges_path() if path is None else Path(path).expanduser()))

    def merges(self) -> list[tuple[str, str]]:
        """Gives the merges in the order of their rank."""
        return list(self._ranks)

    def encode(self, text: str) -> list[str]:
        """Gives the pieces of a text, in order."""
        return [piece for word in _words().findall(text) for piece in self._pieces(word)]

    def decode(self, tokens: Sequence[str]) -> str:
        """Gives the text of some pieces; a character cut in half becomes the replacement mark."""
        values = _byte_values()
        return bytes(values[c] for c in "".join(tokens)).decode("utf-8", "replace")

    def _pieces(self, word: str) -> tuple[str, ...]:
        found = self._known.get(word)
        if found is None:
            found = self._merged(word)
            if len(self._known) >= _WORDS_KEPT:
                self._known.clear()
            self._known[word] = found
        return found

    def _merged(self, word: str) -> tuple[str, ...]:
        characters = byte_characters()
        pieces = [characters[byte] for byte in word.encode("utf-8", "replace")]
        while len(pieces) > 1:
            ranks = [self._ranks.get(pair) for pair in itertools.pairwise(pieces)]
            best = min((rank for rank in ranks if rank is not None), default=None)
            if best is None:
                break
            joined, place = [], 0
            while place < len(pieces):
                if place < len(ranks) and ranks[place] == best:
                    joined.append(pieces[place] + pieces[place + 1])
                    place += 2
                else:
                    joined.append(pieces[place])
                    place += 1
            pieces = joined
        return tuple(pieces)


def is_tokenizer_json(path: str | Path) -> bool:
    """Whether a file that can be read is a `tokenizer.json` and no `merges.txt`."""
    with Path(path).open("rb") as file:
        return file.read(1) == b"{"


def default_merges_path() -> Path:
    """Where GPT-2's merges are looked for, whether or not they are there."""
    return cache_folder() / "vocab" / "gpt2" / "merges.txt"


@functools.lru_cache(maxsize=4)
def _load(path: str) -> BytePairs:
    try:
        text = Path(path).read_text(encoding="utf-8")
        is_json = is_tokenizer_json(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(
            f"{path}: GPT-2's merges cannot be read ({reason}); `instrux fetch gpt2` gets them."
        ) from error
    merges = _merges_of_json(text, path) if is_json else _merges_of_lines(text, path)
    if not merges:
        raise InputError(f"{path}: holds no merges.")
    return BytePairs(merges)


def _merges_of_json(text: str, path: str) -> list[tuple[str, str]]:
    """The merges of a `tokenizer.json`, if it splits text into words as GPT-2 does."""
    try:
        content = json.loads(text)
        words, model = content["pre_tokenizer"], content["model"]
        splits = (words["type"], words.get("use_regex", True), words["add_prefix_space"])
        gpt_2s = splits == ("ByteLevel", True, False) and not content.get("normalizer")
        if model["type"] != "BPE":
            raise ValueError
        merges = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
        pairs = [(left, right) for left, right in merges]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not a tokenizer.json of byte pairs.") from error
    if not gpt_2s:
        raise InputError(
            f"{path}: splits text into words otherwise than GPT-2, and such a tokenizer is not known here."
        )
    return pairs


def _merges_of_lines(text: str, path: str) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#version"):
            continue
        pair = line.split(" ")
        if len(pair) != 2:
            raise InputError(f"{path}, line {number}: a merge is two pieces, and this is {line!r}.")
        merges.append((pair[0], pair[1]))
    return merges


@functools.cache
def byte_characters() -> tuple[str, ...]:
    """GPT-2's printable character for every byte: itself where it prints, else one from 256 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return tuple(chr(byte) if byte in printable else chr(next(others)) for byte in range(256))


def unused_character() -> str:
    """The character of the byte 0xFF, which no UTF-8 text holds."""
    return byte_characters()[0xFF]


@functools.cache
def _byte_values() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(byte_characters())}


@functools.cache
def _words() -> re.Pattern[str]:
    """GPT-2's first split: contractions, then runs of letters, of numbers, of others, of blanks."""
    letters, numbers = _category("L"), _category("N")
    return re.compile(
        rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{letters}]+| ?[{numbers}]+"
        rf"| ?[^\s{letters}{numbers}]+|\s+(?!\S)|\s+"
    )


def _category(kind: str) -> str:
    """The inside of a character class for a Unicode category, which `re` has no name for."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)).startswith(kind):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
