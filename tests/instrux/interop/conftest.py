import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from instrux.interop.parameters import Weights, flatten, parameters
from instrux.models.families import model_of
from instrux.models.t5 import T5Config

TINY = T5Config(
    vocab_size=48,
    emb_dim=8,
    num_heads=2,
    head_dim=3,
    mlp_dim=12,
    num_encoder_layers=3,
    num_decoder_layers=2,
)


class Held(Weights):
    """Random weights in memory, other ones at every place."""

    def __init__(self, config, *, step=7, seed=0):
        self.path, self.config, self.step = Path("held"), config, step
        random = np.random.default_rng(seed)
        self.arrays = {
            p.name: random.standard_normal(p.stacked_shape, np.float32) for p in parameters(config)
        }

    def read(self, name, layer):
        return self.arrays[name] if layer is None else self.arrays[name][layer]


@pytest.fixture
def held():
    return Held(TINY)


@pytest.fixture
def held_of():
    """Makes weights of `TINY` with changed settings."""
    return lambda **changes: Held(dataclasses.replace(TINY, **changes))


@pytest.fixture
def held_for():
    """Makes weights of any model."""
    return Held


@pytest.fixture
def assert_same():
    """Compares two sets of weights bit for bit."""

    def compare(ours, theirs):
        for parameter in parameters(ours.config):
            for layer in parameter.layers:
                np.testing.assert_array_equal(
                    theirs.read(parameter.name, layer),
                    ours.read(parameter.name, layer),
                    err_msg=f"{parameter.name}, {layer}",
                )

    return compare


@pytest.fixture
def abstract():
    """The shapes of a model's parameters, all on one device."""

    def shapes(config):
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(model_of(config).init, jax.random.key(0)),
        )

    return shapes


@pytest.fixture
def flat():
    return lambda tree: dict(flatten(tree))
