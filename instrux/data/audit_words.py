"""Words of texts as numbers, and what is made of them: n-grams, MinHash signatures, likeness.

A text's words are its runs of letters and digits in lower case; punctuation and white space do not
count (as in GPT-3's check of overlap, arXiv 2005.14165, appendix C). Han characters and kana,
which are written without spaces, are words one by one.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instrux.data.pack_blocks import ranges
from instrux.data.sampling import mixed_bits, stable_key

_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_぀-ヿ㐀-鿿]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no position of an n-gram is lost
_NGRAM_KEY = stable_key("audit n-gram")
_KNOWN_WORDS = 1 << 19

_known: dict[str, int] = {}


def words_of(text: str) -> list[str]:
    """Gives the words of a text."""
    return _WORD.findall(text.lower())


def text_hash(*texts: str) -> int:
    """Gives 64 bits of texts in their order, the same on every machine."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "replace")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")


def _word_hash(word: str) -> int:
    found = _known.get(word)
    if found is None:
        if len(_known) >= _KNOWN_WORDS:
            _known.clear()
        found = _known[word] = text_hash(word)
    return found


@dataclass(frozen=True)
class WordBatch:
    """The words of some texts.

    Attributes:
        hashes: uint64, the words of all texts one after the other.
        lengths: int64, words of each text.
    """

    hashes: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "WordBatch":
        """Takes texts apart."""
        words = [words_of(text) for text in texts]
        hashes = [_word_hash(word) for some in words for word in some]
        lengths = np.array([len(some) for some in words], np.int64)
        return cls(np.array(hashes, np.uint64), lengths)

    def padded(self, least: int) -> "WordBatch":
        """Gives texts of fewer than `least` words that many, the last ones 0."""
        lengths = np.maximum(self.lengths, least)
        hashes = np.zeros(int(lengths.sum()), np.uint64)
        starts = np.cumsum(lengths) - lengths
        hashes[ranges(starts, self.lengths)] = self.hashes
        return WordBatch(hashes, lengths)


@dataclass(frozen=True)
class NGrams:
    """The n-grams of some texts.

    Attributes:
        hashes: uint64, those of all texts one after the other; a text may have one twice.
        counts: int64, n-grams of each text; 0 where it has fewer than n words.
        n: words of each.
    """

    hashes: np.ndarray
    counts: np.ndarray
    n: int

    @property
    def rows(self) -> np.ndarray:
        """Number of the text of each n-gram, int64."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def starts(self) -> np.ndarray:
        """Where each text's n-grams start in `hashes`, int64."""
        return np.cumsum(self.counts) - self.counts


def ngrams(words: WordBatch, n: int) -> NGrams:
    """Gives the n-grams of every text, each a hash of its n words in order."""
    counts = np.maximum(words.lengths - n + 1, 0)
    starts = ranges(np.cumsum(words.lengths) - words.lengths, counts)
    hashes = np.zeros(len(starts), np.uint64)
    for place in range(n):
        hashes = hashes * _BASE + words.hashes[starts + place]
    return NGrams(mixed_bits(hashes, _NGRAM_KEY), counts, n)


def shingles(texts: Sequence[str], n: int) -> NGrams:
    """Gives the n-grams of texts; a text of fewer words has one, of all its words."""
    return ngrams(WordBatch.of(texts).padded(n), n)


def shingle_set(text: str, n: int) -> frozenset[int]:
    """Gives the same of one text as a set, for comparing; its numbers mean nothing elsewhere."""
    words = words_of(text)
    if len(words) < n:
        return frozenset([hash(tuple(words))])
    return frozenset(map(hash, zip(*(words[place:] for place in range(n)), strict=False)))


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Gives the share that two sets have in common of what they have together."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


@dataclass(frozen=True)
class MinHash:
    """Locality-sensitive hashing of sets by Jaccard's likeness (Broder 1997).

    Two texts fall together in at least one band with probability `1 - (1 - J^r)^b` for J their
    likeness, b bands and r rows a band.

    Attributes:
        bands: how many keys a text gets.
        rows: hash functions behind each key.
        seed: chooses the hash functions.
    """

    bands: int
    rows: int
    seed: int = 0

    def keys(self, sets: NGrams) -> np.ndarray:
        """Gives the keys of the texts' bands, uint64 `[texts, bands]`; every text has an n-gram."""
        signature = self.signatures(sets)
        keys = np.zeros((len(signature), self.bands), np.uint64)
        by_band = signature.reshape(len(signature), self.bands, self.rows).astype(np.uint64)
        for row in range(self.rows):
            keys = mixed_bits(keys ^ by_band[:, :, row], self.seed)
        # Equal rows in two bands must not meet.
        return mixed_bits(keys + np.arange(self.bands, dtype=np.uint64), self.seed)

    def signatures(self, sets: NGrams) -> np.ndarray:
        """Gives the least hash of each text under each function, uint32 `[texts, bands * rows]`."""
        count = self.bands * self.rows
        draws = np.random.Generator(np.random.PCG64(self.seed))
        factors = draws.integers(0, 1 << 64, count, dtype=np.uint64) | np.uint64(1)
        offsets = draws.integers(0, 1 << 64, count, dtype=np.uint64)
        signature = np.empty((count, len(sets.counts)), np.uint32)
        starts = sets.starts
        for number in range(count):
            hashed = (sets.hashes * factors[number] + offsets[number]) >> np.uint64(32)
            signature[number] = np.minimum.reduceat(hashed, starts)
        return np.ascontiguousarray(signature.T)
