"""A T5 that takes no time, and parameters for it."""

import jax
import numpy as np

from instrux.models.t5 import T5, T5Config


def tiny_t5(*, vocab_size, layers=1, **sizes):
    """Settings of a T5 of one or a few layers, 8 wide where `sizes` does not say otherwise."""
    small = {"emb_dim": 8, "num_heads": 2, "head_dim": 4, "mlp_dim": 16} | sizes
    return T5Config(
        vocab_size=vocab_size, num_encoder_layers=layers, num_decoder_layers=layers, **small
    )


def drawn(config):
    """Parameters of a T5, float32, drawn without compiling anything."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(T5(config).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: random.standard_normal(leaf.shape, np.float32), shapes)
