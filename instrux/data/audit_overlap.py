"""Overlap of training rows with held-out rows, by word n-grams.

GPT-3's papers' way (arXiv 2005.14165, appendix C), turned round: there, evaluation rows were held
against a corpus; here, training rows are held against the evaluation's, so that they can be dropped.
Its n is between 8 and 13 words. An n-gram that many held-out rows share is a template's own text
or boilerplate and counts for nothing (there: one that more than ten training documents have).
"""

import functools
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from instrux.data.audit_pairs import different
from instrux.data.audit_words import NGrams, WordBatch, ngrams, words_of
from instrux.data.examples import RenderedExample
from instrux.data.files import as_path, write_atomically

_TABLE_BITS = 22
_SHIFT = np.uint64(64 - _TABLE_BITS)
_BATCH = 2048
_MERGED_AT = 1 << 20

PAIR = np.dtype([("hash", "<u8"), ("row", "<u4")])


def text_of(example: RenderedExample) -> str:
    """Gives what of an example is compared: inputs, then targets."""
    return f"{example.inputs}\n{example.targets}"


@dataclass(frozen=True)
class HeldOutNGrams:
    """The n-grams of held-out rows, of one n.

    Attributes:
        n: words of each.
        hashes: uint64, sorted, different.
        first: int64, one more than `hashes`: where the rows of each start in `rows`.
        rows: uint32, numbers of held-out rows.
        ignored: n-grams that too many rows share.
    """

    n: int
    hashes: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    ignored: int

    @classmethod
    def of(cls, pairs: np.ndarray, n: int, *, most_rows: int) -> "HeldOutNGrams":
        """Makes it of `PAIR`s in any order."""
        pairs = different(pairs)
        hashes, counts = np.unique(pairs["hash"], return_counts=True)
        kept = counts <= most_rows
        rows = pairs["row"][np.repeat(kept, counts)]
        ends = np.cumsum(counts[kept])
        return cls(n, hashes[kept], np.concatenate([[0], ends]), rows, int((~kept).sum()))

    @functools.cached_property
    def _table(self) -> np.ndarray:
        table = np.zeros(1 << _TABLE_BITS, bool)
        table[self.hashes >> _SHIFT] = True
        return table

    def found(self, grams: NGrams) -> tuple[np.ndarray, np.ndarray]:
        """Tells which n-grams of some texts are held out.

        Returns:
            Places in `grams.hashes`, and for each its place in `self.hashes`; int64.
        """
        if not len(self.hashes) or not len(grams.hashes):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        # Most are not: a table by the first bits spares them the search.
        places = np.flatnonzero(self._table[grams.hashes >> _SHIFT])
        wanted = grams.hashes[places]
        near = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        hit = self.hashes[near] == wanted
        return places[hit], near[hit]

    def rows_of(self, found: np.ndarray) -> np.ndarray:
        """Gives the held-out rows that have any of the n-grams at these places, sorted."""
        parts = [self.rows[self.first[i] : self.first[i + 1]] for i in np.unique(found)]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.uint32)


@dataclass(frozen=True)
class HeldOutIndex:
    """All that training rows are held against.

    Attributes:
        grams: one for each n.
        row_ids: the example id of each held-out row.
    """

    grams: tuple[HeldOutNGrams, ...]
    row_ids: tuple[str, ...]

    def write(self, path: str) -> None:
        """Writes it to one file."""
        arrays = {}
        for each in self.grams:
            for name in ("hashes", "first", "rows"):
                arrays[f"{name}_{each.n}"] = getattr(each, name)
        about = {"n": {each.n: each.ignored for each in self.grams}, "row_ids": self.row_ids}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_atomically(path, [content.getbuffer()])

    @classmethod
    def read(cls, path: str) -> "HeldOutIndex":
        """Reads what `write` wrote."""
        with np.load(io.BytesIO(as_path(path).read_bytes())) as arrays:
            about = json.loads(arrays["about"].tobytes())
            grams = tuple(
                HeldOutNGrams(
                    n=int(n),
                    hashes=arrays[f"hashes_{n}"],
                    first=arrays[f"first_{n}"],
                    rows=arrays[f"rows_{n}"],
                    ignored=ignored,
                )
                for n, ignored in about["n"].items()
            )
        return cls(grams, tuple(about["row_ids"]))


class HeldOutBuilder:
    """Gathers held-out rows; memory grows with their number, templates of a row counted once."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._rows: dict[str, int] = {}
        self._pairs: dict[int, list[np.ndarray]] = {n: [np.zeros(0, PAIR)] for n in sizes}

    def add(self, examples: Iterable[RenderedExample]) -> None:
        """Adds examples."""
        batch: list[RenderedExample] = []
        for example in examples:
            batch.append(example)
            if len(batch) == _BATCH:
                self._add(batch)
                batch = []
        self._add(batch)

    def _add(self, batch: Sequence[RenderedExample]) -> None:
        numbers = [self._rows.setdefault(each.example_id, len(self._rows)) for each in batch]
        words = WordBatch.of([text_of(each) for each in batch])
        for n, known in self._pairs.items():
            grams = ngrams(words, n)
            pairs = np.empty(len(grams.hashes), PAIR)
            pairs["hash"] = grams.hashes
            pairs["row"] = np.array(numbers, np.uint32)[grams.rows]
            known.append(pairs)
            # The templates of a row say much the same: what is new since is merged, now and then.
            if sum(map(len, known[1:])) > max(_MERGED_AT, len(known[0])):
                known[:] = [different(np.concatenate(known))]

    def index(self, *, most_rows: int) -> HeldOutIndex:
        """Gives the index of what was added.

        Args:
            most_rows: n-grams that more rows have are ignored.
        """
        grams = tuple(
            HeldOutNGrams.of(np.concatenate(known), n, most_rows=most_rows)
            for n, known in self._pairs.items()
        )
        return HeldOutIndex(grams, tuple(self._rows))


@dataclass(frozen=True)
class Overlap:
    """A training row that shares n-grams with held-out rows.

    Attributes:
        row: its number in the batch.
        matches: n-grams it shares.
        held_out: numbers of the held-out rows, sorted.
        text: the first n-gram that it shares, in words.
    """

    row: int
    matches: int
    held_out: np.ndarray
    text: str


def overlaps(texts: Sequence[str], words: WordBatch, held_out: HeldOutNGrams) -> list[Overlap]:
    """Finds the texts that share n-grams with held-out rows.

    Args:
        texts: the texts.
        words: their words.
        held_out: what they are held against.
    """
    grams = ngrams(words, held_out.n)
    places, found = held_out.found(grams)
    rows, starts = grams.rows[places], grams.starts
    result = []
    for row in map(int, np.unique(rows)):
        of_row = rows == row
        first = int(places[of_row][0] - starts[row])
        result.append(
            Overlap(
                row=row,
                matches=int(of_row.sum()),
                held_out=held_out.rows_of(found[of_row]),
                text=" ".join(words_of(texts[row])[first : first + held_out.n]),
            )
        )
    return result
