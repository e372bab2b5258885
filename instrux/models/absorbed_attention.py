"""Attention of few queries to many positions, whose keys and values are never computed.

A query's logit for position t is `q . (W_k e_t)`, which is `(W_k^T q) . e_t`; and the weighted sum of
values is `W_v` times the weighted sum of the positions. With fewer queries than a head is wide, to
map the queries costs less than to map the positions. A layer of T5 1.1 small over 8 inputs of 512
tokens took 37 CPU-milliseconds with keys and values; without them 13 for 16 queries an input, 23 for
32, and 49 for 64, as many as a head is wide.

Cached decoding gains by what it reads as well: a step reads the keys and values of every layer (100 MB
at that size), or the one encoder output that all layers share (8 MB, and where
XLA makes the products as many transposed).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from instrux.models.cpu_kernels import calls, library
from instrux.models.layers import Attention
from instrux.models.t5 import T5Config

_MASKED = -1e10


def pays(config: T5Config, queries: int) -> bool:
    """Whether so many queries of one input are few enough.

    For `L` positions of width `E`, `H` heads of width `D` and `P` queries, keys and values cost
    `4 L E H D` operations and attention to them `4 L P H D`; what is here costs `4 L P H E`, and a
    little that does not grow with `L`. Adapters are beside the kernels that are used here, so a
    model that has them goes the usual way.
    """
    return queries < config.head_dim and not getattr(config, "lora_rank", 0)


def pays_at_once(config: T5Config, queries: int) -> bool:
    """The same for queries that are all there at once, as those of choices.

    The CPU kernels make keys and values faster than XLA does what is here: 21 CPU-milliseconds a
    layer (as above) for any number of queries, against 13 for 16, 20 for 24 and 28 for 32.
    """
    most = config.head_dim * 3 // 8 if library.available() else config.head_dim
    return queries < most and pays(config, queries)


def attend(
    attention: Attention, queries: jax.Array, encoded: jax.Array, mask: jax.Array
) -> jax.Array:
    """Attends to the encoder's output as `Attention.output` does to its keys and values.

    Args:
        attention: a decoder layer's attention to the encoder.
        queries: `[batch, queries, heads, kv]`.
        encoded: `[batch, length, embed]`.
        mask: bool `[batch, 1, 1 or queries, length]`, True where a query sees a position.

    Returns:
        `[batch, queries, embed]`, projected.
    """
    batch, count, heads, width = queries.shape
    into = attention.key.kernel[...].astype(queries.dtype).reshape(-1, heads, width)
    asked = jnp.einsum("bphd,ehd->bhpe", queries, into).reshape(batch, heads * count, -1)
    logits = jnp.einsum("bqe,ble->bql", asked, encoded, preferred_element_type=jnp.float32)
    sees = mask[:, 0] if mask.shape[2] == 1 else jnp.tile(mask[:, 0], (1, heads, 1))
    weights = jax.nn.softmax(jnp.where(sees, logits, _MASKED), axis=-1)
    seen = jnp.einsum("bql,ble->bqe", weights.astype(encoded.dtype), encoded)
    outof = attention.value.kernel[...].astype(seen.dtype).reshape(-1, heads, width)
    seen = seen.reshape(batch, heads, count, -1)
    return attention.project(jnp.einsum("bhpe,ehd->bphd", seen, outof))


class StepKernels(NamedTuple):
    """A layer's maps as `attend_step` reads them, one head after another.

    Attributes:
        key: `[heads, kv, embed]`.
        value: `[heads, embed, kv]`.
    """

    key: jax.Array
    value: jax.Array


def step_kernels(attention: Attention) -> StepKernels:
    """Lays a layer's key and value kernels out for `attend_step`, once for all steps."""
    key, value = (
        dense.kernel[...]
        .astype(dense.dtype)
        .reshape(dense.kernel.shape[0], attention.num_heads, -1)
        for dense in (attention.key, attention.value)
    )
    return StepKernels(key.transpose(1, 2, 0), value.transpose(1, 0, 2))


class StepInputs(NamedTuple):
    """The encoder's output as `attend_step` reads it.

    Attributes:
        encoded: `[batch, length, embed]`.
        transposed: the same as `[batch, embed, length]`, laid out so in memory; None where a step is
            one call of the CPU kernels, which read the output as it lies.
    """

    encoded: jax.Array
    transposed: jax.Array | None


def step_inputs(encoded: jax.Array) -> StepInputs:
    """Lays the encoder's output `[batch, length, embed]` out for `attend_step`, once for all steps."""
    one_call = encoded.dtype == jnp.float32 and library.available()
    return StepInputs(encoded, None if one_call else encoded.swapaxes(1, 2))


def attend_step(
    queries: jax.Array, kernels: StepKernels, inputs: StepInputs, mask: jax.Array
) -> jax.Array:
    """Attends with a step's few queries, as `attend` does, by products that a CPU does at their best.

    Args:
        queries: `[batch, queries, heads, kv]`.
        kernels: the layer's, by `step_kernels`.
        inputs: by `step_inputs`.
        mask: bool `[batch, 1, 1, length]`, True where a query sees a position.

    Returns:
        `[batch, queries, heads, kv]`, not projected.
    """
    encoded, transposed = inputs
    if transposed is None:
        return calls.inputs_step(queries, kernels.key, kernels.value, encoded, mask)
    batch, count, heads, _ = queries.shape
    dtype = queries.dtype
    by_head = queries.transpose(2, 0, 1, 3).reshape(heads, batch * count, -1)
    asked = _product("hnd,hde->hne", by_head, kernels.key).astype(dtype)
    asked = asked.reshape(heads, batch, count, -1).transpose(1, 0, 2, 3)
    asked = asked.reshape(batch, heads * count, -1)
    logits = _product("bqe,bel->bql", asked, transposed)
    weights = jax.nn.softmax(jnp.where(mask[:, 0], logits, _MASKED), axis=-1)
    seen = _product("bql,ble->bqe", weights.astype(dtype), encoded).astype(dtype)
    seen = seen.reshape(batch, heads, count, -1).transpose(1, 0, 2, 3)
    seen = seen.reshape(heads, batch * count, -1)
    attended = _product("hne,hed->hnd", seen, kernels.value).astype(dtype)
    return attended.reshape(heads, batch, count, -1).transpose(1, 2, 0, 3)


def _product(subscripts: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, left, right, preferred_element_type=jnp.float32)
