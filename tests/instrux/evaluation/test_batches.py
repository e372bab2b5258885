"""Batching: every example once, no choice parted from its input, few shapes, little padding."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.evaluation.batches import inputs_batches, inputs_bucket, length_bucket, ranked_batches

EOS = 1


@pytest.mark.parametrize(
    ("length", "expected"), [(0, 32), (32, 32), (33, 64), (64, 64), (65, 100), (100, 100)]
)
def test_lengths_are_rounded_up_to_powers_of_two(length, expected):
    assert length_bucket(length, shortest=32, longest=100) == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, 32), (33, 48), (48, 48), (49, 64), (65, 96), (97, 128), (385, 512), (525, 700)],
)
def test_inputs_have_a_length_between_powers_of_two_as_well(length, expected):
    assert inputs_bucket(length, longest=700) == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, 32), (33, 40), (63, 64), (65, 72), (132, 144), (497, 512), (525, 576), (641, 700)],
)
def test_large_models_have_eight_lengths_between_powers_of_two(length, expected):
    assert inputs_bucket(length, longest=700, steps=8) == expected


tokens = st.lists(st.integers(2, 99), max_size=70)
choice = st.lists(st.integers(2, 99), max_size=11).map(lambda ids: [*ids, EOS])
examples = st.lists(st.tuples(tokens, st.lists(choice, max_size=9)), max_size=25)


@given(examples, st.integers(1, 6))
def test_every_choice_of_every_example_is_scored_once_beside_its_input(given_examples, batch_size):
    inputs = [ids for ids, _ in given_examples]
    choices = [group for _, group in given_examples]
    seen = {}
    for batch in ranked_batches(
        inputs, choices, batch_size=batch_size, inputs_length=70, choice_length=12, eos_id=EOS
    ):
        assert batch.inputs.shape[0] == batch_size
        row = 0
        for position, (example, count) in enumerate(
            zip(batch.examples, batch.choice_counts, strict=True)
        ):
            assert example not in seen
            rows = batch.choices[row : row + count].tolist()
            assert set(batch.owners[row : row + count]) <= {position}
            stored = batch.inputs[position].tolist()
            seen[example] = (
                stored[: len(inputs[example])],
                [ids[: len(c)] for ids, c in zip(rows, choices[example], strict=True)],
            )
            assert not any(stored[max(1, len(inputs[example])) :])
            row += count
        assert not batch.choices[row:].any()
        assert batch.inputs.any(axis=1).all()  # no row is all padding
        most = max(len(choices[i]) for i in batch.examples)
        held = np.bincount(batch.owners, minlength=batch_size)
        assert held.max() <= max(most, -(-len(batch.owners) // batch_size))
    assert seen == dict(enumerate(zip(inputs, choices, strict=True)))


@given(st.lists(tokens, max_size=25), st.integers(1, 6))
def test_every_input_is_read_once(inputs, batch_size):
    seen = {}
    for batch in inputs_batches(inputs, batch_size=batch_size, inputs_length=70, eos_id=EOS):
        for example, row in zip(batch.examples, batch.inputs.tolist(), strict=False):
            seen[example] = row[: len(inputs[example])]
    assert seen == dict(enumerate(inputs))


def test_mixed_numbers_of_choices_waste_little_and_compile_little():
    draw = random.Random(0)
    inputs = [[5] * draw.randint(20, 120) for _ in range(500)]
    choices = [[[5] * draw.randint(1, 4)] * draw.choice([2, 2, 2, 3, 4, 12]) for _ in inputs]
    batches = list(
        ranked_batches(
            inputs, choices, batch_size=16, inputs_length=512, choice_length=64, eos_id=EOS
        )
    )
    shapes = {(b.inputs.shape, b.choices.shape) for b in batches}
    assert len(shapes) <= 14
    assert sum(map(len, inputs)) / sum(b.inputs.size for b in batches) > 0.75
    assert sum(map(len, choices)) / sum(len(b.choices) for b in batches) > 0.85
    assert len(batches) <= 1.35 * len(inputs) / 16


def test_an_example_with_very_many_choices_gets_a_batch_of_its_own():
    inputs, choices = [[5], [6]], [[[7, EOS]] * 1000, [[8, EOS]] * 2]
    batches = list(
        ranked_batches(inputs, choices, batch_size=2, inputs_length=8, choice_length=4, eos_id=EOS)
    )
    assert {b.examples: len(b.choices) for b in batches}[(0,)] == 1024
