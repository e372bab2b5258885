"""Words, n-grams and MinHash, against their definitions."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from instrux.data.audit_words import (
    MinHash,
    WordBatch,
    jaccard,
    ngrams,
    shingle_set,
    shingles,
    words_of,
)

TEXTS = st.lists(st.text(alphabet="ab c", max_size=40), min_size=1, max_size=6)


def test_words_are_letters_and_digits_in_lower_case():
    assert words_of("Don't stop, 3.5 (OK)_x!") == ["don", "t", "stop", "3", "5", "ok", "x"]
    assert words_of("日本 tea") == ["日", "本", "tea"]


@given(TEXTS, st.integers(1, 4))
def test_ngrams_are_equal_where_their_words_are(texts, n):
    grams = ngrams(WordBatch.of(texts), n)
    expected = []
    for text in texts:
        words = words_of(text)
        expected += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    assert len(grams.hashes) == len(expected)
    numbers = {}
    for gram, number in zip(expected, grams.hashes.tolist(), strict=True):
        assert numbers.setdefault(gram, number) == number
    assert len(set(numbers.values())) == len(numbers)


@given(TEXTS, st.integers(1, 4))
def test_both_ways_to_shingle_a_text_give_as_many(texts, n):
    flat = shingles(texts, n)
    for number, text in enumerate(texts):
        start = int(flat.starts[number])
        of_text = flat.hashes[start : start + int(flat.counts[number])]
        assert len(np.unique(of_text)) == len(shingle_set(text, n))


def test_likeness_is_the_share_in_common():
    assert jaccard(frozenset({1, 2, 3}), frozenset({2, 3, 4})) == 0.5


def test_signatures_agree_as_often_as_the_sets_are_alike():
    # Two sets of 150 words, 100 of them in common: J is 1/2. Of 512 hash functions, the share that
    # agrees is within 4 standard deviations (0.022 each) of that.
    words = [f"v{n}" for n in range(200)]
    random.Random(0).shuffle(words)
    sets = shingles([" ".join(words[:150]), " ".join(words[50:])], 1)
    one, other = MinHash(bands=128, rows=4, seed=3).signatures(sets)
    assert abs((one == other).mean() - 0.5) < 0.09


def test_rows_of_equal_texts_have_equal_keys_and_bands_do_not_meet():
    keys = MinHash(bands=20, rows=6).keys(shingles(["a b c d e f", "a b c d e f", "x"], 5))
    assert (keys[0] == keys[1]).all()
    assert not (keys[0] == keys[2]).any()
    assert len(set(keys[0].tolist())) == 20
