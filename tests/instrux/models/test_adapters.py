"""Soft prompts and low-rank factors: what they compute, and that the base stays what it was."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.models import adapters, decoding, scoring
from instrux.models.decoder_only import DecoderConfig, DecoderOnly
from instrux.models.t5 import T5, T5Config

SIZES = {"vocab_size": 30, "emb_dim": 8, "num_heads": 2, "head_dim": 4, "mlp_dim": 12}
T5_BASE = T5Config(**SIZES, num_encoder_layers=2, num_decoder_layers=2)
DECODER_BASE = DecoderConfig(**SIZES, num_layers=2, max_positions=32)
INPUTS = np.array([[5, 6, 7, 8], [9, 4, 0, 0]], np.int32)
CHOICES = np.array([[7, 1], [3, 1], [8, 1]], np.int32)
OWNERS = np.array([0, 0, 1], np.int32)


def with_factors(params, key=7):
    """B drawn, since at zero the factors change nothing."""

    def draw(path, leaf):
        is_b = path[-1].key == "lora_b"
        return 0.3 * jax.random.normal(jax.random.key(key), leaf.shape) if is_b else leaf

    return jax.tree_util.tree_map_with_path(draw, params)


def merged(params, scale):
    """By hand: every kernel with factors plus their product."""
    if "lora_a" in params:
        kernel = params["kernel"] + scale * params["lora_a"] @ params["lora_b"]
        rest = {name: leaf for name, leaf in params.items() if not name.startswith("lora")}
        return {**rest, "kernel": kernel}
    return {
        name: merged(child, scale) if isinstance(child, dict) else child
        for name, child in params.items()
    }


@pytest.mark.parametrize("base", [T5_BASE, DECODER_BASE], ids=["t5", "decoder"])
def test_factors_compute_what_the_merged_kernels_do(base):
    config = dataclasses.replace(
        base, lora_rank=3, lora_alpha=6.0, lora_targets=".*/(query|value|wo|wi.*)/kernel"
    )
    kind = T5 if isinstance(base, T5Config) else DecoderOnly
    model, plain = kind(config), kind(base)
    drawn = model.init(jax.random.key(0))
    original = plain.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, adapters.base_params(drawn), original)
    scores = scoring.score_choices(plain, original, INPUTS, CHOICES, OWNERS)
    unchanged = scoring.score_choices(model, drawn, INPUTS, CHOICES, OWNERS)
    np.testing.assert_allclose(unchanged, scores, atol=1e-6)
    params = with_factors(drawn)
    together = merged(params, 6.0 / 3)
    expected = scoring.score_choices(plain, together, INPUTS, CHOICES, OWNERS)
    assert np.abs(expected - scores).max() > 1e-2
    found = scoring.score_choices(model, params, INPUTS, CHOICES, OWNERS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    settings = {"max_decode_length": 5, "eos_id": 29}
    np.testing.assert_array_equal(
        decoding.greedy(model, params, INPUTS, **settings),
        decoding.greedy(plain, together, INPUTS, **settings),
    )


@pytest.mark.parametrize("base", [T5_BASE, DECODER_BASE], ids=["t5", "decoder"])
def test_a_prompt_of_tokens_embeddings_is_these_tokens(base):
    """Ranked and decoded with a cache: as the base with the tokens themselves in front."""
    kind = T5 if isinstance(base, T5Config) else DecoderOnly
    model, plain = kind(dataclasses.replace(base, prompt_length=2)), kind(base)
    params = model.init(jax.random.key(0))
    assert params["prompt"]["embedding"].shape == (2, 8)
    assert np.abs(params["prompt"]["embedding"]).max() <= 0.5
    params["prompt"]["embedding"] = params["token_embedder"]["embedding"][jnp.array([11, 12])]
    front = np.full((2, 1), 1, np.int32)
    prompted = np.concatenate([30 * front, 31 * front, INPUTS], axis=1)
    written = np.concatenate([11 * front, 12 * front, INPUTS], axis=1)
    own = adapters.base_params(params)
    np.testing.assert_allclose(
        scoring.score_choices(model, params, prompted, CHOICES, OWNERS),
        scoring.score_choices(plain, own, written, CHOICES, OWNERS),
        atol=1e-5,
    )
    settings = {"max_decode_length": 5, "eos_id": 29}
    np.testing.assert_array_equal(
        decoding.greedy(model, params, prompted, **settings),
        decoding.greedy(plain, own, written, **settings),
    )


def test_units_of_factors_are_dropped_and_the_others_scaled():
    config = dataclasses.replace(T5_BASE, lora_rank=2, lora_dropout=0.5)
    params = T5(config).init(jax.random.key(0))
    dropped = adapters.drop_units(config, params, jax.random.key(1))
    before = params["encoder"]["layers"]["attention"]["query"]
    after = dropped["encoder"]["layers"]["attention"]["query"]
    np.testing.assert_array_equal(after["kernel"], before["kernel"])
    kept = np.asarray(after["lora_a"] != 0).all(axis=-1)
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(after["lora_a"], 2 * before["lora_a"] * kept[..., None], rtol=1e-6)
    assert adapters.drop_units(config, params, None) is params


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lora_rank": -1}, "lora_rank = -1"),
        ({"lora_targets": "("}, "lora_targets = '\\(' is no regular expression"),
        ({"lora_dropout": 1.0}, "lora_dropout = 1.0"),
        ({"prompt_length": 1.5}, "prompt_length = 1.5"),
    ],
)
def test_a_wrong_setting_is_told(changes, told):
    with pytest.raises(InputError, match=told):
        dataclasses.replace(T5_BASE, **changes)
