"""Packing for ranking: every choice once, in a row of its own input, few shapes, little padding."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.evaluation.packed_choices import packed_choices_batches

EOS = 1

tokens = st.lists(st.integers(2, 99), max_size=150)
choice = st.lists(st.integers(2, 99), max_size=30).map(lambda ids: [*ids, EOS])
examples = st.lists(st.tuples(tokens, st.lists(choice, max_size=9)), max_size=25)


def _packed(inputs, choices, **settings):
    settings = {"batch_size": 4, "inputs_length": 160, "eos_id": EOS} | settings
    return list(packed_choices_batches(inputs, choices, **settings))


@given(examples, st.integers(1, 6), st.sampled_from([2, 4]))
def test_every_choice_lies_once_in_a_row_that_belongs_to_its_input(drawn, batch_size, steps):
    inputs, choices = [ids for ids, _ in drawn], [group for _, group in drawn]
    seen = {}
    for batch in _packed(inputs, choices, batch_size=batch_size, length_steps=steps):
        assert batch.inputs.shape == batch.input_segments.shape
        assert len(batch.inputs) <= batch_size and batch.inputs.shape[1] <= 160
        assert batch.choices.shape == batch.choice_segments.shape == batch.choice_owners.shape
        np.testing.assert_array_equal(batch.inputs > 0, batch.input_segments > 0)
        for place in batch.places:
            span = slice(place.start, place.stop)
            (segment,) = set(batch.choice_owners[place.row, span])
            owner = batch.owners[place.row]
            read = batch.inputs[owner][batch.input_segments[owner] == segment]
            assert read.tolist() == (inputs[place.example] or [EOS])
            (own,) = set(batch.choice_segments[place.row, span])
            written = batch.choices[place.row][batch.choice_segments[place.row] == own]
            assert (place.example, place.choice) not in seen
            seen[place.example, place.choice] = written.tolist()
        assert set(batch.examples) == {place.example for place in batch.places}
        held = sum(place.stop - place.start for place in batch.places)
        assert held == np.count_nonzero(batch.choices)
    assert seen == {(i, n): ids for i, group in enumerate(choices) for n, ids in enumerate(group)}


@pytest.mark.parametrize(("steps", "shapes", "fill"), [(2, 5, 0.8), (4, 16, 0.85)])
def test_little_is_padding_and_few_shapes_are_compiled(steps, shapes, fill):
    draw = random.Random(0)
    inputs = [[5] * draw.randint(20, 300) for _ in range(600)]
    choices = [[[5] * draw.randint(5, 8)] * draw.choice([2, 2, 3, 4, 12]) for _ in inputs]
    batches = _packed(inputs, choices, batch_size=16, inputs_length=512, length_steps=steps)
    held = sum(map(len, inputs)) + sum(len(ids) for group in choices for ids in group)
    computed = sum(batch.inputs.size + batch.choices.size for batch in batches)
    assert len({(b.inputs.shape, b.choices.shape) for b in batches}) <= shapes
    assert held / computed > fill


def test_short_choices_do_not_lie_in_rows_made_for_long_ones():
    inputs = [[5] * 100 for _ in range(20)]
    choices = [[[6, EOS]] * 2 for _ in range(19)] + [[[7] * 200]]
    lengths = {batch.choices.shape[1] for batch in _packed(inputs, choices)}
    assert min(lengths) == 8 and max(lengths) >= 200


def test_an_example_with_very_many_choices_is_alone_in_its_row():
    inputs, choices = [[5], [6]], [[[7, EOS]] * 1000, [[8, EOS]] * 2]
    (batch,) = _packed(inputs, choices)
    owners = {place.example: batch.owners[place.row] for place in batch.places}
    assert owners[0] != owners[1]


def test_nothing_to_rank_is_no_batch():
    assert _packed([], []) == _packed([[5]], [[]]) == []
