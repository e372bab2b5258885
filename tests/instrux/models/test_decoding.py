import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.models import decoding


def test_cached_steps_give_the_teacher_forced_logits(model, params, batch):
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    length = decoder_inputs.shape[1]

    @jax.jit
    def both(params):
        encoded = model.encode(params, inputs)
        decoder = decoding.CachedDecoder(model, params, inputs, decode_length=length)

        def step(caches, index):
            logits, caches = decoder.step(decoder_inputs[:, index], caches, index)
            return caches, logits

        stepped = jax.lax.scan(step, decoder.start(encoded), jnp.arange(length))[1]
        hidden = model.decode(params, encoded, inputs, decoder_inputs)
        return stepped.swapaxes(0, 1), model.logits(params, hidden)

    np.testing.assert_allclose(*both(params), atol=1e-5)


def naive_greedy(model, params, inputs, length):
    """Runs the whole decoder anew for every token."""

    @jax.jit
    def all_logits(tokens):
        encoded = model.encode(params, inputs)
        shifted = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)))
        return model.logits(params, model.decode(params, encoded, inputs, shifted))

    tokens = np.zeros((inputs.shape[0], length), np.int32)
    for index in range(length):
        tokens[:, index] = np.argmax(all_logits(tokens)[:, index], -1)
    return tokens


def test_greedy_takes_the_most_probable_token_and_stops(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    expected = naive_greedy(model, params, inputs, 10)
    ours = decoding.greedy(model, params, inputs, max_decode_length=10, eos_id=-5)
    np.testing.assert_array_equal(ours, expected)
    # End a row at its own third token: what follows is padding, and the other row goes on until
    # that token comes.
    eos = int(expected[0, 2])
    ended = np.asarray(decoding.greedy(model, params, inputs, max_decode_length=10, eos_id=eos))
    for row, whole in zip(ended, expected, strict=True):
        places = np.flatnonzero(whole == eos)
        end = places[0] + 1 if places.size else 10
        np.testing.assert_array_equal(row[:end], whole[:end])
        assert not row[end:].any()


def test_sampling_follows_its_key_and_top_k(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    greedy = decoding.greedy(model, params, inputs, max_decode_length=6)

    def draw(seed, **settings):
        return np.asarray(
            decoding.sample(
                model, params, inputs, jax.random.key(seed), max_decode_length=6, **settings
            )
        )

    np.testing.assert_array_equal(draw(0), draw(0))
    assert (draw(0) != draw(1)).any()
    np.testing.assert_array_equal(draw(3, top_k=1), greedy)
    np.testing.assert_array_equal(draw(3, temperature=1e-4), greedy)


def test_draws_have_the_models_probabilities(model, params, batch):
    inputs = jnp.tile(batch["encoder_input_tokens"][:1], (4000, 1))
    first = decoding.sample(
        model, params, inputs, jax.random.key(0), max_decode_length=1, temperature=2.0, eos_id=-1
    )
    encoded = model.encode(params, inputs[:1])
    hidden = model.decode(params, encoded, inputs[:1], jnp.zeros((1, 1), jnp.int32))
    expected = jax.nn.softmax(model.logits(params, hidden)[0, 0] / 2.0)
    shares = np.bincount(np.asarray(first)[:, 0], minlength=97) / 4000
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(0.25 / 4000))
    assert 0.5 * np.abs(shares - np.asarray(expected)).sum() < 0.1


def test_wrong_settings_are_told(model, params, batch):
    inputs, key = batch["encoder_input_tokens"], jax.random.key(0)
    with pytest.raises(InputError, match="max_decode_length = 0"):
        decoding.greedy(model, params, inputs, max_decode_length=0)
    with pytest.raises(InputError, match="temperature = 0"):
        decoding.sample(model, params, inputs, key, max_decode_length=2, temperature=0.0)
    with pytest.raises(InputError, match="top_k = 98: give 0 to 97"):
        decoding.sample(model, params, inputs, key, max_decode_length=2, top_k=98)
