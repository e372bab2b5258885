"""The model under a mesh of eight simulated devices, in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from flax import linen
from jax.sharding import NamedSharding, PartitionSpec as P
from instrux.models import decoding, losses, scoring, t5

assert jax.device_count() == 8
config = t5.T5Config(
    vocab_size=64, emb_dim=16, num_heads=4, head_dim=8, mlp_dim=32,
    num_encoder_layers=2, num_decoder_layers=2,
)
model = t5.T5(config)
rules = (
    ("batch", "data"), ("vocab", "tensor"), ("mlp", "tensor"), ("heads", "tensor"),
    ("joined_kv", "tensor"), ("embed", None), ("length", None), ("kv", None),
    ("layers", None), ("relpos_buckets", None),
)
random = np.random.default_rng(0)
tokens = lambda length: random.integers(2, 64, (8, length)).astype(np.int32)
batch = {
    "encoder_input_tokens": tokens(12), "decoder_target_tokens": tokens(6),
    "decoder_input_tokens": tokens(6),
}
choices, owner = tokens(3), np.arange(8)


def everything(params, batch):
    total = lambda params: losses.loss(
        model, params, batch, dropout_key=jax.random.key(1)
    ).total
    value, gradient = jax.jit(jax.value_and_grad(total))(params)
    inputs = batch["encoder_input_tokens"]
    return jax.device_get((
        value, gradient, decoding.greedy(model, params, inputs, max_decode_length=5),
        scoring.score_choices(model, params, inputs, choices, owner),
    ))


alone = everything(jax.jit(model.init)(jax.random.key(0)), batch)
mesh = jax.make_mesh((4, 2), ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
with jax.set_mesh(mesh), linen.logical_axis_rules(rules):
    table = dict(rules)
    placed = jax.tree.map(
        lambda axes: NamedSharding(mesh, P(*(table[axis] for axis in axes))),
        model.logical_axes(), is_leaf=lambda node: isinstance(node, tuple),
    )
    params = jax.jit(model.init, out_shardings=placed)(jax.random.key(0))
    kernel = params["encoder"]["layers"]["mlp"]["wi_0"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (2, 16, 16)
    rows = NamedSharding(mesh, P("data"))
    split = everything(params, jax.device_put(batch, rows))
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), alone, split)
print("equal")
"""


@pytest.mark.slow
def test_eight_devices_give_the_numbers_of_one():
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "equal" in done.stdout
