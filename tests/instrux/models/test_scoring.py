import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.models import absorbed_attention, scoring, t5

CHOICES = np.array(
    [[5, 1, 0, 0], [7, 8, 9, 1], [20, 21, 1, 0], [5, 1, 0, 0], [90, 3, 1, 0]], np.int32
)
OWNER = np.array([1, 0, 1, 0, 1], np.int32)  # two choices for row 0 and three for row 1, mixed


def score_pair(model, params, inputs, choice):
    """One input and one choice through a plain teacher-forced pass."""
    choice = choice[choice > 0][None]
    encoded = model.encode(params, inputs)
    shifted = jnp.pad(choice[:, :-1], ((0, 0), (1, 0)))
    logits = model.logits(params, model.decode(params, encoded, inputs, shifted))
    each = jnp.take_along_axis(jax.nn.log_softmax(logits), choice[..., None], -1)
    return float(each.sum())


@pytest.fixture(scope="module")
def expected(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    return [
        score_pair(model, params, inputs[row : row + 1], choice)
        for row, choice in zip(OWNER, CHOICES, strict=True)
    ]


@pytest.mark.parametrize("scan_layers", [True, False])
def test_scores_are_those_of_each_pair_alone(model, params, batch, expected, scan_layers):
    model = t5.T5(dataclasses.replace(model.config, scan_layers=scan_layers))
    scores = scoring.score_choices(model, params, batch["encoder_input_tokens"], CHOICES, OWNER)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_short_choices_need_no_keys_of_their_inputs(model, params, batch, expected):
    short = [0, 2, 4]
    choices, owner = CHOICES[short, :3], OWNER[short]
    assert absorbed_attention.pays(model.config, 4 * 3)
    assert not absorbed_attention.pays(model.config, 4 * 4)  # as everywhere else here
    scores = scoring.score_choices(model, params, batch["encoder_input_tokens"], choices, owner)
    np.testing.assert_allclose(scores, np.asarray(expected)[short], atol=1e-4)


@pytest.mark.parametrize("length", [14, 8])  # without keys and values of the inputs, and with them
def test_choices_that_share_rows_score_as_each_pair_alone(model, params, batch, expected, length):
    inputs = np.asarray(batch["encoder_input_tokens"])
    first, second = (row[row > 0] for row in inputs)
    shared = np.concatenate([second, first, [0, 0]])[None]
    segments = np.repeat([1, 2, 0], [len(second), len(first), 2])[None]
    arrays = np.zeros((3, -(-14 // length), length), np.int32)  # tokens, numbers, owners
    places, row, start = [], 0, 0
    for number, (ids, owner) in enumerate(zip(CHOICES, OWNER, strict=True), start=1):
        held = np.count_nonzero(ids)
        row, start = (row, start) if start + held <= length else (row + 1, 0)
        arrays[:, row, start : start + held] = np.broadcast_to(
            [ids[:held], [number] * held, [2 - owner] * held], (3, held)
        )
        places.append((row, slice(start, start + held)))
        start += held
    assert absorbed_attention.pays(model.config, arrays[0].size) == (length == 14)
    owners = np.zeros(len(arrays[0]), np.int32)
    scores = scoring.score_packed_choices(
        model, params, shared, arrays[0], owners, scoring.ChoiceSegments(segments, *arrays[1:])
    )
    found = [float(scores[place].sum()) for place in places]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(scores)[arrays[0] == 0], 0.0)


def test_padding_choices_score_nothing_and_change_nothing(model, params, batch, expected):
    choices = np.concatenate([CHOICES, np.zeros((3, 4), np.int32)])
    owner = np.concatenate([OWNER, np.zeros(3, np.int32)])
    scores = scoring.score_choices(model, params, batch["encoder_input_tokens"], choices, owner)
    np.testing.assert_allclose(scores[:5], expected, atol=1e-4)
    np.testing.assert_array_equal(scores[5:], 0.0)


def test_no_choices_no_scores(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    scores = scoring.score_choices(model, params, inputs, CHOICES[:0], OWNER[:0])
    assert scores.shape == (0,)


def test_an_owner_out_of_the_batch_is_told(model, params, batch):
    with pytest.raises(InputError, match="rows 0 to 2 of 2"):
        scoring.score_choices(
            model, params, batch["encoder_input_tokens"], CHOICES[:2], np.array([0, 2])
        )
