"""The fused kernel against the plain attention, interpreted on the CPU, and lowered for devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from instrux.models import losses
from instrux.models.flash_attention import Shape, flash_attention
from instrux.models.relative_bias import relative_position_bucket

BUCKETS = 8


def arrays(dtype, *, queries=37, keys=50):
    """Two rows of two heads; the lengths are no multiples of a block of 16."""
    random = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(random.normal(size=shape), dtype)

    table = jnp.asarray(random.normal(size=(2, BUCKETS)), jnp.float32)
    return normal(2, 2, queries, 8), normal(2, 2, keys, 8), normal(2, 2, keys, 8), table


def segments(length):
    """Three packed examples and padding in the first row, one example in the second."""
    first = np.repeat([1, 2, 3, 0], [10, 9, 12, length - 31])
    return jnp.asarray(np.stack([first, np.ones(length, np.int64)]), jnp.int32)


def reference(queries, keys, values, table, query_segments, key_segments, shape):
    distance = np.arange(keys.shape[2])[None, :] - np.arange(queries.shape[2])[:, None]
    mask = query_segments[:, None, :, None] == key_segments[:, None, None, :]
    if shape.causal:
        mask = mask & (distance <= 0)
    bias = 0.0
    if table is not None:
        bucket = relative_position_bucket(
            distance,
            bidirectional=shape.bidirectional,
            num_buckets=BUCKETS,
            max_distance=shape.max_distance,
        )
        bias = table[:, bucket][None]
    logits = jnp.einsum("bhqd,bhkd->bhqk", queries, keys, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(mask, logits + bias, -1e10), axis=-1)
    return jnp.einsum("bhqk,bhkd->bhqd", weights.astype(values.dtype), values)


def gradients(function, *inputs):
    queries, keys, values, table = inputs

    def total(queries, keys, values, table):
        output = function(queries, keys, values, table)
        return jnp.sum(jnp.sin(output.astype(jnp.float32))), output

    wanted = (0, 1, 2) if table is None else (0, 1, 2, 3)
    return jax.jit(jax.grad(total, argnums=wanted, has_aux=True))(queries, keys, values, table)


CASES = {
    "encoder": (Shape(max_distance=20, block=16, interpret=True), "float32", True, 50),
    "encoder in bfloat16": (Shape(max_distance=20, block=16, interpret=True), "bfloat16", True, 50),
    "decoder": (
        Shape(causal=True, bidirectional=False, max_distance=20, block=16, interpret=True),
        "float32",
        True,
        37,
    ),
    "cross-attention": (Shape(block=16, interpret=True), "float32", False, 50),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_the_plain_attentions(case):
    shape, dtype, has_table, keys = CASES[case]
    *inputs, table = arrays(dtype, keys=keys)
    table = table if has_table else None
    of = {"query_segments": segments(37), "key_segments": segments(keys), "shape": shape}
    ours, output = gradients(functools.partial(flash_attention, **of), *inputs, table)
    theirs, expected = gradients(functools.partial(reference, **of), *inputs, table)
    tolerance = {"rtol": 0, "atol": 2e-5 if dtype == "float32" else 0.06}
    np.testing.assert_allclose(
        output.astype(jnp.float32), expected.astype(jnp.float32), **tolerance
    )
    for gradient, wanted in zip(ours, theirs, strict=True):
        assert gradient.dtype == wanted.dtype and jnp.any(wanted != 0)
        scale = float(jnp.max(jnp.abs(wanted)))
        np.testing.assert_allclose(
            gradient.astype(jnp.float32) / scale, wanted.astype(jnp.float32) / scale, **tolerance
        )


# Newer versions of JAX ask what a Triton kernel is lowered for.
DEVICES = {
    "tpu": None,
    "cuda": AbstractDevice(device_kind="NVIDIA H100", num_cores=None, platform="gpu"),
}


@pytest.mark.parametrize("platform", DEVICES)
def test_the_kernel_is_lowered_for_devices_that_are_not_here(platform):
    half = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.bfloat16)
    whole = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    shape = Shape(triton=platform == "cuda")

    def gradient(queries, keys, values, table, query_segments, key_segments):
        def total(*arrays):
            attended = flash_attention(*arrays, query_segments, key_segments, shape)
            return jnp.sum(attended.astype(jnp.float32))

        return jax.grad(total, argnums=(0, 1, 2, 3))(queries, keys, values, table)

    arrays = (half((2, 4, 256, 64)), half((2, 4, 512, 64)), half((2, 4, 512, 64)))
    table = jax.ShapeDtypeStruct((4, 32), jnp.float32)
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=DEVICES[platform])):
        traced = jax.jit(gradient).trace(*arrays, table, whole((2, 256)), whole((2, 512)))
        text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert text.count("tpu_custom_call" if platform == "tpu" else "xla.gpu.triton") >= 3


def test_a_training_step_is_lowered_for_tpus_with_the_kernel_in_it(
    model, params, batch, monkeypatch
):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")

    def gradient(params):
        return jax.grad(lambda params: losses.loss(model, params, batch).total)(params)

    text = jax.jit(gradient).trace(params).lower(lowering_platforms=("tpu",)).as_text()
    # Forward in encoder, decoder and cross-attention, and two kernels backward for each.
    assert text.count("tpu_custom_call") >= 9
