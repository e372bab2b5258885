"""Which rows are paired, against looking at every pair."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from instrux.data.audit_pairs import (
    BAND,
    PAIR,
    TEXT,
    candidates,
    different,
    joined,
    place,
    reference,
    same_texts,
)


def test_a_rows_name_tells_its_file_and_byte():
    (ref,) = reference(7, np.array([123_456_789_012]))
    assert place(int(ref)) == (7, 123_456_789_012)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=25))
def test_repeats_are_rows_whose_inputs_and_targets_an_earlier_one_has(texts):
    rows = np.zeros(len(texts), TEXT)
    for ref, (inputs, targets) in enumerate(texts):
        rows[ref] = inputs, 10 * inputs + targets, ref
    found = same_texts(joined([rows.tobytes()], TEXT))
    expected = [
        (ref, texts.index(text)) for ref, text in enumerate(texts) if texts.index(text) < ref
    ]
    assert found.repeats.tolist() == expected
    first = {}
    for inputs, targets in texts:
        first.setdefault(inputs, targets)
    others = [ref for ref, (inputs, targets) in enumerate(texts) if targets != first[inputs]]
    assert found.other_targets.tolist() == others


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=25), st.integers(1, 30))
def test_candidates_are_rows_of_equal_keys_and_different_ids(bands, most):
    rows = np.zeros(len(bands), BAND)
    for ref, (key, row) in enumerate(bands):
        rows[ref] = key, row, ref
    found = candidates(joined([rows.tobytes()], BAND), most=most)
    together = {
        (later, earlier)
        for later in range(len(bands))
        for earlier in range(later)
        if bands[later][0] == bands[earlier][0]
    }
    pairs = set(map(tuple, found.pairs.tolist()))
    expected = {(a, b) for a, b in together if bands[a][1] != bands[b][1]}
    if most >= len(bands):
        assert pairs == expected
        assert found.not_compared == 0
    assert pairs <= expected
    assert len(expected) - len(pairs) <= found.not_compared <= len(together)


def test_different_sorts_and_gives_each_once():
    pairs = np.array([(2, 1), (1, 5), (2, 1), (1, 0)], PAIR)
    assert different(pairs).tolist() == [(1, 0), (1, 5), (2, 1)]
    assert different(pairs[:0]).tolist() == []
