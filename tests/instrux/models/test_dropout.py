import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.models import dropout
from instrux.models.config import T5Config
from instrux.models.decoder_config import DecoderConfig
from instrux.models.decoder_layers import LanguageModelLayer
from instrux.models.layers import DecoderLayer, EncoderLayer
from instrux.models.parts import stack_masks

SIZES = {"vocab_size": 9, "emb_dim": 8, "num_heads": 2, "head_dim": 4, "mlp_dim": 12}
DECODER = DecoderConfig(**SIZES, num_layers=2, dropout_rate=0.2)
T5 = T5Config(**SIZES, num_encoder_layers=2, num_decoder_layers=2, dropout_rate=0.2)


def test_masks_keep_the_share_asked_for():
    masks = dropout.keep_masks(jax.random.key(0), 0.1, {"a": 300, "b": 200}, leading=(20, 50))
    assert masks["a"].shape == (20, 50, 300) and masks["b"].shape == (20, 50, 200)
    for mask in masks.values():  # 5 standard deviations of 200,000 draws
        assert np.mean(mask) == pytest.approx(0.9, abs=0.0034)


def test_dropping_keeps_the_mean():
    keep = jnp.asarray([[True, False, True, True]])
    dropped = dropout.drop(jnp.ones((1, 3, 4)), keep, 0.25)
    np.testing.assert_allclose(dropped, np.tile([4 / 3, 0, 4 / 3, 4 / 3], (1, 3, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "widths", "branches"),
    [
        (DECODER, LanguageModelLayer.mask_widths(DECODER, 5), {"attention", "mlp"}),
        (T5, EncoderLayer.mask_widths(T5, 5), {"attention", "mlp"}),
        (T5, DecoderLayer.mask_widths(T5, 5, 7), {"self_attention", "cross_attention", "mlp"}),
    ],
    ids=["language model", "encoder", "decoder"],
)
def test_residual_dropout_is_on_the_branches_alone_and_in_training_alone(config, widths, branches):
    both = {"num_layers": 2, "batch": 3}
    everywhere, edges = stack_masks(config, jax.random.key(0), widths, **both)
    assert set(everywhere) > branches and edges
    config = dataclasses.replace(config, residual_dropout_only=True)
    masks, edges = stack_masks(config, jax.random.key(0), widths, **both)
    assert set(masks) == branches and not edges
    assert all(mask.shape == (2, 3, 8) for mask in masks.values())
    assert stack_masks(config, None, widths, **both) == ({}, {})
