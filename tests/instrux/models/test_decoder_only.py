import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.data.decoder_rows import language_model_features
from instrux.errors import InputError
from instrux.models import decoding, losses, scoring
from instrux.models.decoder_only import DecoderConfig, DecoderOnly

CONFIG = DecoderConfig(
    vocab_size=31,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=24,
    num_layers=2,
    positions="rotary",
    prefix_lm=True,
    dropout_rate=0.0,
)
MODEL = DecoderOnly(CONFIG)


@pytest.fixture(scope="module")
def params():
    drawn = jax.jit(MODEL.init)(jax.random.key(0))
    return jax.tree.map(lambda array: 8.0 * array if array.ndim > 1 else array, drawn)


def batch_of(prompt, target):
    """One row that holds one example."""
    tokens = np.array([[*prompt, *target]], np.int32)
    length, is_target = tokens.shape[1], np.arange(tokens.shape[1]) >= len(prompt)
    fed_prompt = np.arange(length) <= len(prompt)
    features = {
        "decoder_target_tokens": tokens,
        "decoder_input_tokens": np.pad(tokens[:, :-1], ((0, 0), (1, 0))),
        "decoder_loss_weights": is_target[None].astype(np.int32),
        "decoder_causal_attention": fed_prompt[None].astype(np.int32),
        "decoder_segment_ids": np.ones_like(tokens),
        "decoder_positions": np.arange(length, dtype=np.int32)[None],
    }
    return {name: jnp.asarray(array) for name, array in features.items()}


def seen_by(params, config, *, position):
    """Which fed positions the output at `position` depends on, by the gradient."""
    model = DecoderOnly(config)
    prefix = jnp.asarray([[1, 1, 1, 0, 0, 0]])

    def output(offsets):
        table = params["token_embedder"]["embedding"]
        # Ids of their own, so that an offset on a row of the table is one on a position.
        moved = table.at[jnp.arange(6)].add(offsets)
        changed = {**params, "token_embedder": {"embedding": moved}}
        hidden = model.decode(changed, jnp.arange(6)[None], None, None, prefix)
        return jnp.sum(hidden[0, position] * jnp.arange(1.0, 17.0))

    gradient = jax.grad(output)(jnp.zeros((6, 16)))
    return np.flatnonzero(np.abs(gradient).max(1) > 1e-7).tolist()


def test_a_prefix_lm_sees_its_whole_prompt_and_targets_are_causal(params):
    assert seen_by(params, CONFIG, position=0) == [0, 1, 2]
    assert seen_by(params, CONFIG, position=4) == [0, 1, 2, 3, 4]


def test_a_causal_model_sees_no_later_position(params):
    causal = dataclasses.replace(CONFIG, prefix_lm=False)
    assert seen_by(params, causal, position=1) == [0, 1]


def test_the_score_of_a_choice_is_minus_the_loss_of_its_target(params):
    prompt, target = [7, 8, 9, 10], [11, 12, 1]
    loss = losses.loss(MODEL, params, batch_of(prompt, target), z_loss=0.0)
    prompts = jnp.asarray([[*prompt, 0, 0], [5, 6, 0, 0, 0, 0]])
    choices, owner = np.array([[3, 1, 0, 0], [*target, 0]], np.int32), np.array([1, 0], np.int32)
    scores = scoring.score_choices(MODEL, params, prompts, choices, owner)
    np.testing.assert_allclose(scores[1], -loss.total, atol=1e-5)
    assert loss.weight == 3


def test_the_loss_of_a_joined_row_is_that_of_its_examples_alone(params):
    random = np.random.default_rng(1)
    lengths = [(5, 3), (0, 2), (4, 1), (6, 4)]
    examples = [[random.integers(2, 31, length) for length in both] for both in lengths]
    for config in (CONFIG, dataclasses.replace(CONFIG, prefix_lm=not CONFIG.prefix_lm)):
        model = DecoderOnly(config)
        loss = jax.jit(lambda batch, model=model: losses.loss(model, params, batch, z_loss=0.0))
        alone = [loss(joined_row([example], 28)) for example in examples]
        together = loss(joined_row(examples, 28))
        total = sum(float(one.total) for one in alone)
        np.testing.assert_allclose(float(together.total), total, rtol=1e-5)
        assert float(together.weight) == sum(targets for _, targets in lengths)


def joined_row(examples, length):
    """The features of one row that holds these prompts and targets."""
    row = np.zeros((3, 1, length), np.int32)
    start = 0
    for number, (prompt, target) in enumerate(examples, start=1):
        tokens = np.concatenate([prompt, target])
        place = slice(start, start + len(tokens))
        row[0, 0, place], row[1, 0, place] = tokens, number
        row[2, 0, start + len(prompt) : place.stop] = 1
        start = place.stop
    return language_model_features(*row)


def test_cached_decoding_of_a_prefix_lm_takes_the_most_probable_tokens(params):
    prompt = [7, 8, 9, 10]
    prompts = jnp.asarray([[*prompt, 0, 0]])
    ours = decoding.greedy(MODEL, params, prompts, max_decode_length=3, eos_id=-5)[0].tolist()
    # The whole row anew, its prompt seen by itself: each token has to be the best one there.
    batch = batch_of(prompt, ours)
    hidden, targets, _ = MODEL.loss_inputs(params, batch, dropout_key=None)
    best = np.argmax(MODEL.logits(params, hidden), -1)
    assert best[0, 4:].tolist() == targets[0, 4:].tolist() == ours


def test_a_prompts_weight_is_a_setting(params):
    model = DecoderOnly(dataclasses.replace(CONFIG, prefix_lm=False, prompt_loss_weight=0.5))
    batch = batch_of([7, 8, 9, 10], [11, 12, 1])
    whole = losses.loss(model, params, batch, z_loss=0.0)
    assert whole.weight == 4 * 0.5 + 3
    causal = DecoderOnly(dataclasses.replace(CONFIG, prefix_lm=False))
    targets = losses.loss(causal, params, batch, z_loss=0.0)
    prompts = losses.loss(causal, params, batch_of([], [7, 8, 9, 10]), z_loss=0.0)
    np.testing.assert_allclose(whole.total, targets.total + 0.5 * prompts.total, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_kv_heads": 3}, "give a divisor of num_heads = 2"),
        ({"head_dim": 7}, "rotary positions need an even number"),
        ({"positions": "alibi"}, "choose from learned, rotary"),
        ({"norm": "none"}, "choose from layer, rms"),
        ({"prompt_loss_weight": 1.0}, "nothing to predict in it"),
        ({"bos_id": 31}, "give an id of the vocabulary"),
        ({"num_layers": 0}, "DecoderConfig.num_layers = 0"),
    ],
)
def test_a_wrong_setting_is_told_by_name(changes, told):
    with pytest.raises(InputError, match=told):
        dataclasses.replace(CONFIG, **changes)


def test_an_answer_beyond_the_learned_positions_is_told(params):
    short = DecoderOnly(dataclasses.replace(CONFIG, positions="learned", max_positions=7))
    with pytest.raises(InputError, match="take 8 positions"):
        decoding.greedy(short, params, jnp.ones((1, 5), jnp.int32), max_decode_length=3)
