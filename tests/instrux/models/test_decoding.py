import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.models import absorbed_attention, decoding, scoring, t5
from instrux.models.decoding_settings import DecodingSettings


@pytest.mark.parametrize("absorbed", [True, False])
def test_cached_steps_give_the_teacher_forced_logits(model, params, batch, absorbed):
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    length = decoder_inputs.shape[1]
    decode_length = length if absorbed else model.config.head_dim
    assert absorbed_attention.pays(model.config, decode_length) == absorbed

    @jax.jit
    def both(params):
        encoded = model.encode(params, inputs)
        decoder = decoding.CachedDecoder(model, params, inputs, decode_length=decode_length)

        def step(caches, index):
            logits, caches = decoder.step(decoder_inputs[:, index], caches, index)
            return caches, logits

        stepped = jax.lax.scan(step, decoder.start(), jnp.arange(length))[1]
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
    settings = {"temperature": 1e-4, "num_decodes": 2}
    drawn = decode(model, params, inputs, eos_id=1, **settings)
    np.testing.assert_array_equal(drawn.tokens, np.stack([greedy, greedy], axis=1))


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


def decode(model, params, inputs, *, length=6, **given):
    settings = {k: given.pop(k) for k in list(given) if k in DecodingSettings.__dataclass_fields__}
    decoded = decoding.decode(
        model, params, inputs, DecodingSettings(**settings), max_decode_length=length, **given
    )
    return jax.tree.map(np.asarray, decoded)


@pytest.fixture(scope="module")
def eos(model, params, batch):
    """A token that greedy decoding gives, so that some targets end early."""
    inputs = batch["encoder_input_tokens"]
    return int(decoding.greedy(model, params, inputs, max_decode_length=6, eos_id=-5)[0, 2])


@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 3, "num_decodes": 2, "length_penalty": 0.0}]
)
def test_scores_are_those_of_the_same_targets_as_choices(model, params, batch, eos, settings):
    inputs = batch["encoder_input_tokens"]
    decoded = decode(model, params, inputs, eos_id=eos, **settings)
    copies = decoded.tokens.shape[1]
    owner = np.repeat(np.arange(2), copies)
    expected = scoring.score_choices(
        model, params, inputs, decoded.tokens.reshape(2 * copies, -1), owner
    )
    np.testing.assert_allclose(decoded.scores.ravel(), expected, atol=1e-4)
    np.testing.assert_allclose(decoded.token_scores.sum(-1), decoded.scores, atol=1e-4)
    assert (np.diff(decoded.scores, axis=1) <= 0).all()
    if not settings:
        greedy = decoding.greedy(model, params, inputs, max_decode_length=6, eos_id=eos)
        np.testing.assert_array_equal(decoded.tokens[:, 0], greedy)


def test_tables_of_relative_positions_may_differ_from_layer_to_layer(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    own = t5.T5(dataclasses.replace(model.config, relpos_per_layer=True))

    def with_tables(table_of):
        tree = dict(params)
        for stack, layers in (("encoder", 3), ("decoder", 2)):
            part = dict(params[stack])
            shared = part.pop("relpos_bias")["rel_embedding"]
            tables = {"rel_embedding": jnp.stack([table_of(shared, n) for n in range(layers)])}
            tree[stack] = part | {"layers": part["layers"] | {"relpos_bias": tables}}
        return tree

    same = with_tables(lambda table, layer: table)
    drawn = jax.eval_shape(own.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, same)
    np.testing.assert_allclose(own.encode(same, inputs), model.encode(params, inputs), atol=1e-5)

    different = with_tables(lambda table, layer: jnp.roll(table, layer, axis=1))
    decoded = decode(own, different, inputs, eos_id=-5)
    np.testing.assert_array_equal(
        decoded.tokens[:, 0], naive_greedy(own, different, inputs, length=6)
    )
    assert (decoded.tokens != decode(model, params, inputs, eos_id=-5).tokens).any()
    scores = scoring.score_choices(own, different, inputs, decoded.tokens[:, 0], np.arange(2))
    np.testing.assert_allclose(decoded.scores[:, 0], scores, atol=1e-4)


def test_several_draws_of_a_prompt_differ_and_do_not_depend_on_its_batch(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    settings = {"temperature": 2.0, "top_p": 0.95, "num_decodes": 3, "seed": 4}
    both = decode(model, params, inputs, draw_ids=np.array([8, 3]), **settings)
    assert len({tuple(target) for target in both.tokens[0].tolist()}) == 3
    assert (np.diff(both.scores, axis=1) <= 0).all()
    alone = decode(model, params, inputs[1:], draw_ids=np.array([3]), **settings)
    np.testing.assert_array_equal(alone.tokens[0], both.tokens[1])
    other = decode(model, params, inputs, draw_ids=np.array([8, 3]), **settings | {"seed": 5})
    assert (other.tokens != both.tokens).any()


def test_a_given_prefix_is_continued_as_if_it_had_been_decoded(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    free = decode(model, params, inputs, eos_id=-5)
    prefix = np.array([[40, 41, 0], [int(free.tokens[1, 0, 0]), 0, 0]])
    decoded = decode(model, params, inputs, eos_id=-5, target_prefix=prefix)
    assert decoded.tokens[0, 0, :2].tolist() == [40, 41]
    assert not decoded.token_scores[0, 0, :2].any() and decoded.token_scores[0, 0, 2] < 0
    np.testing.assert_array_equal(decoded.tokens[1], free.tokens[1])
    # What follows has to be the most probable behind that prefix.
    fed = jnp.pad(decoded.tokens[:, 0, :-1], ((0, 0), (1, 0)))
    hidden = model.decode(params, model.encode(params, inputs), inputs, fed)
    best = np.argmax(model.logits(params, hidden), -1)
    np.testing.assert_array_equal(decoded.tokens[0, 0, 2:], best[0, 2:])


def test_a_callback_changes_the_logits(model, params, batch):
    inputs = batch["encoder_input_tokens"]

    def only_even_and_in_the_third_place_seven(logits, progress):
        assert progress.tokens.shape == (2, 6)
        tokens = jnp.arange(logits.shape[-1])
        allowed = jnp.where(progress.index == 2, tokens == 7, tokens % 2 == 0)
        return jnp.where(allowed, logits, -jnp.inf)

    tokens = decode(
        model, params, inputs, logit_callback=only_even_and_in_the_third_place_seven, eos_id=-5
    ).tokens
    assert (tokens[:, 0, 2] == 7).all()
    assert not (np.delete(tokens, 2, axis=2) % 2).any()


def test_a_stop_token_ends_its_row_and_the_loop_ends_with_the_last_row(model, params, batch):
    inputs = batch["encoder_input_tokens"]
    whole = decode(model, params, inputs, length=10, eos_id=-5).tokens[:, 0]
    stops = np.zeros(97, bool)
    stops[whole[:, 3]] = True  # each row's fourth token at the latest
    ends = [int(np.flatnonzero(stops[row])[0]) + 1 for row in whole]
    steps = []

    def count(logits, progress):
        jax.debug.callback(lambda index: steps.append(int(index)), progress.index)
        return logits

    ended = decode(
        model, params, inputs, length=10, eos_id=-5, stops=stops, logit_callback=count
    ).tokens[:, 0]
    jax.effects_barrier()
    for row, before, end in zip(ended, whole, ends, strict=True):
        np.testing.assert_array_equal(row[:end], before[:end])
        assert not row[end:].any()
    assert sorted(steps) == list(range(max(ends))) and max(ends) <= 4
