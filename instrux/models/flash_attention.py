"""Attention with T5's relative position bias as one Pallas kernel, forward and backward.

Neither the logits nor the bias exist outside a block: the bias is read from the table
`[heads, buckets]` by the distance of query and key, which is a step function of the distance, and
its gradient leaves the kernel as `[heads, buckets]` a block of queries. What a query sees is said
by segment ids and an order, so that no mask `[length, length]` exists either.

Queries and keys are padded to whole blocks. Each program of the grid holds one block of one head
of one row, and loops over the blocks of the other side.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from instrux.models.relative_bias import relative_position_bucket

_MASKED = -1e10
_BLOCK = 128  # queries or keys of a block: the width of a TPU's matrix unit
_NO_QUERY, _NO_KEY = -1, -2  # segment ids of the padding that fills blocks


@dataclass(frozen=True)
class Shape:
    """What is fixed of one attention.

    Attributes:
        causal: whether a query sees no later key.
        bidirectional: whether keys after the query have buckets of their own.
        max_distance: distance from which on all positions share the last bucket.
        interpret: run the kernel as ordinary JAX, for tests on a CPU.
        triton: compile by way of Triton, for a GPU.
        block: queries or keys of a block.
    """

    causal: bool = False
    bidirectional: bool = True
    max_distance: int = 128
    interpret: bool = False
    triton: bool = False
    block: int = _BLOCK


def flash_attention(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    table: jax.Array | None,
    query_segments: jax.Array,
    key_segments: jax.Array,
    shape: Shape,
) -> jax.Array:
    """Attends without scaling the logits.

    Args:
        queries: `[batch, heads, query length, kv]`.
        keys: `[batch, heads, key length, kv]`.
        values: the shape of `keys`.
        table: float32 `[heads, buckets]` of the bias, or None for none.
        query_segments: int32 `[batch, query length]`, 0 or more; a query sees the keys of its own.
        key_segments: int32 `[batch, key length]`.
        shape: what is fixed.

    Returns:
        `[batch, heads, query length, kv]` in the dtype of `values`. A query that sees no key gets
        a finite result and passes no gradient on.
    """
    return _flash(queries, keys, values, table, query_segments, key_segments, shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def _flash(queries, keys, values, table, query_segments, key_segments, shape):
    return _flash_forward(queries, keys, values, table, query_segments, key_segments, shape)[0]


def _flash_forward(queries, keys, values, table, query_segments, key_segments, shape):
    arrays = _padded(queries, keys, values, query_segments, key_segments, shape.block)
    output, log_normalizer = _call(
        _forward_kernel, arrays, _tables(table, queries), shape, over="queries"
    )
    residuals = (queries, keys, values, table, query_segments, key_segments)
    output = output[:, :, : queries.shape[2]]
    return output, (*residuals, output, log_normalizer)


def _flash_backward(shape, residuals, cotangent):
    queries, keys, values, table, query_segments, key_segments, output, log_normalizer = residuals
    arrays = _padded(queries, keys, values, query_segments, key_segments, shape.block)
    product = cotangent.astype(jnp.float32) * output.astype(jnp.float32)
    expected = _pad(jnp.sum(product, axis=-1, keepdims=True), 2, shape.block)
    more = (_pad(cotangent, 2, shape.block), log_normalizer, expected)
    tables = _tables(table, queries)
    by_queries, by_table = _call(_queries_kernel, arrays, tables, shape, over="queries", more=more)
    by_keys, by_values = _call(_keys_kernel, arrays, tables, shape, over="keys", more=more)
    length, key_length = queries.shape[2], keys.shape[2]
    gradients = (
        by_queries[:, :, :length],
        by_keys[:, :, :key_length],
        by_values[:, :, :key_length],
    )
    of_table = None if table is None else jnp.sum(by_table, axis=(0, 2))[:, 0].astype(table.dtype)
    return *gradients, of_table, None, None


_flash.defvjp(_flash_forward, _flash_backward)


def _tables(table: jax.Array | None, queries: jax.Array) -> tuple[jax.Array, bool]:
    """The table as `[heads, 1, buckets]`, and whether there is one."""
    if table is None:
        return jnp.zeros((queries.shape[1], 1, 1), jnp.float32), False
    return table.astype(jnp.float32)[:, None], True


def _padded(queries, keys, values, query_segments, key_segments, block):
    """All arrays filled up to whole blocks; segments as a column and as a row."""
    return (
        _pad(queries, 2, block),
        _pad(keys, 2, block),
        _pad(values, 2, block),
        _pad(query_segments[:, :, None].astype(jnp.int32), 1, block, _NO_QUERY),
        _pad(key_segments[:, None, :].astype(jnp.int32), 2, block, _NO_KEY),
    )


def _pad(array: jax.Array, axis: int, block: int, value: int = 0) -> jax.Array:
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, -array.shape[axis] % block)
    return jnp.pad(array, widths, constant_values=value)


def _call(kernel, arrays, tables, shape: Shape, *, over: str, more: tuple = ()) -> Any:
    """Runs a kernel over blocks of queries or of keys; the other side is there in whole."""
    queries, keys, values, query_segments, key_segments = arrays
    table, has_table = tables
    batch, heads, query_length, width = queries.shape
    key_length, block = keys.shape[2], shape.block
    by_query = over == "queries"
    q_block, k_block = (block, key_length) if by_query else (query_length, block)

    def rows(length: int, columns: int, moves: bool) -> pl.BlockSpec:
        return pl.BlockSpec(
            (None, None, length, columns), lambda b, h, i: (b, h, i if moves else 0, 0)
        )

    def of_query(columns: int) -> pl.BlockSpec:
        return rows(q_block, columns, by_query)

    def of_key(columns: int) -> pl.BlockSpec:
        return rows(k_block, columns, not by_query)

    in_specs = [
        of_query(width),
        of_key(width),
        of_key(width),
        pl.BlockSpec((None, q_block, 1), lambda b, h, i: (b, i if by_query else 0, 0)),
        pl.BlockSpec((None, 1, k_block), lambda b, h, i: (b, 0, 0 if by_query else i)),
        pl.BlockSpec((None, 1, table.shape[2]), lambda b, h, i: (h, 0, 0)),
    ]
    in_specs += [of_query(width), of_query(1), of_query(1)][: len(more)]
    float32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    if kernel is _keys_kernel:
        out_specs = [of_key(width), of_key(width)]
        out_shape = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (keys, values)]
    elif kernel is _queries_kernel:
        buckets, blocks = table.shape[2], query_length // block
        by_block = pl.BlockSpec((None, None, None, 1, buckets), lambda b, h, i: (b, h, i, 0, 0))
        out_specs = [of_query(width), by_block]
        out_shape = [
            jax.ShapeDtypeStruct(queries.shape, queries.dtype),
            float32((batch, heads, blocks, 1, buckets)),
        ]
    else:
        out_specs = [of_query(width), of_query(1)]
        out_shape = [
            jax.ShapeDtypeStruct(queries.shape, values.dtype),
            float32((*queries.shape[:3], 1)),
        ]
    return pl.pallas_call(
        functools.partial(kernel, shape=shape, has_table=has_table),
        grid=(batch, heads, (query_length if by_query else key_length) // block),
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        interpret=shape.interpret,
        compiler_params=_triton_parameters() if shape.triton else None,
    )(queries, keys, values, query_segments, key_segments, table, *more)


def _triton_parameters() -> Any:
    from jax.experimental.pallas import triton

    return triton.CompilerParams(num_warps=4, num_stages=1)


def _forward_kernel(q, k, v, q_segments, k_segments, table, out, log_normalizer, **fixed):
    """One block of queries over all keys, the softmax rescaled as higher logits come."""
    block = q.shape[0]
    query, start = q[...], pl.program_id(2) * block

    def over_keys(number, carry):
        highest, normalizer, total = carry
        at = pl.ds(pl.multiple_of(number * block, block), block)
        logits, _ = _block_logits(
            query, k[at, :], q_segments[...], k_segments[:, at], table, start, at.start, **fixed
        )
        higher = jnp.maximum(highest, jnp.max(logits, axis=1, keepdims=True))
        weights, rescale = jnp.exp(logits - higher), jnp.exp(highest - higher)
        normalizer = normalizer * rescale + jnp.sum(weights, axis=1, keepdims=True)
        value = v[at, :]
        total = total * rescale + _dot(weights.astype(value.dtype), value)
        return higher, normalizer, total

    column = (block, 1)
    carry = (
        jnp.full(column, 2 * _MASKED, jnp.float32),
        jnp.zeros(column, jnp.float32),
        jnp.zeros(q.shape, jnp.float32),
    )
    highest, normalizer, total = jax.lax.fori_loop(0, k.shape[0] // block, over_keys, carry)
    out[...] = (total / normalizer).astype(out.dtype)
    log_normalizer[...] = highest + jnp.log(normalizer)


def _queries_kernel(
    q, k, v, q_segments, k_segments, table, do, log_normalizer, expected, by_q, by_table, **fixed
):
    """Gradients by one block of queries, and its share of the table's."""
    block = q.shape[0]
    query, start, cotangent = q[...], pl.program_id(2) * block, do[...]

    def over_keys(number, carry):
        by_query, of_table = carry
        at = pl.ds(pl.multiple_of(number * block, block), block)
        key = k[at, :]
        logits, seen = _block_logits(
            query, key, q_segments[...], k_segments[:, at], table, start, at.start, **fixed
        )
        weights = jnp.where(seen, jnp.exp(logits - log_normalizer[...]), 0.0)
        by_logits = weights * (_dot_transposed(cotangent, v[at, :]) - expected[...])
        by_query = by_query + _dot(by_logits.astype(key.dtype), key)
        if fixed["has_table"]:
            distance = _distances(logits.shape, start, at.start)
            of_table = of_table + _by_bucket(by_logits, distance, table.shape[1], fixed["shape"])
        return by_query, of_table

    carry = (jnp.zeros(q.shape, jnp.float32), jnp.zeros((1, table.shape[1]), jnp.float32))
    by_query, of_table = jax.lax.fori_loop(0, k.shape[0] // block, over_keys, carry)
    by_q[...] = by_query.astype(by_q.dtype)
    by_table[...] = of_table


def _keys_kernel(
    q, k, v, q_segments, k_segments, table, do, log_normalizer, expected, by_k, by_v, **fixed
):
    """Gradients by one block of keys and values."""
    block = k.shape[0]
    key, value, start = k[...], v[...], pl.program_id(2) * block

    def over_queries(number, carry):
        by_key, by_value = carry
        at = pl.ds(pl.multiple_of(number * block, block), block)
        query, cotangent = q[at, :], do[at, :]
        logits, seen = _block_logits(
            query, key, q_segments[at, :], k_segments[...], table, at.start, start, **fixed
        )
        weights = jnp.where(seen, jnp.exp(logits - log_normalizer[at, :]), 0.0)
        by_logits = weights * (_dot_transposed(cotangent, value) - expected[at, :])
        by_value = by_value + _dot(weights.astype(value.dtype).T, cotangent)
        by_key = by_key + _dot(by_logits.astype(query.dtype).T, query)
        return by_key, by_value

    carry = (jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32))
    by_key, by_value = jax.lax.fori_loop(0, q.shape[0] // block, over_queries, carry)
    by_k[...] = by_key.astype(by_k.dtype)
    by_v[...] = by_value.astype(by_v.dtype)


def _block_logits(
    query, key, q_segments, k_segments, table, q_start, k_start, *, shape: Shape, has_table: bool
):
    """The logits of a block of queries and one of keys, and which of them are seen."""
    logits = _dot_transposed(query, key)
    distance = _distances(logits.shape, q_start, k_start)
    if has_table:
        logits = logits + _bias(table, distance, shape)
    seen = q_segments == k_segments
    if shape.causal:
        seen = seen & (distance <= 0)
    return jnp.where(seen, logits, _MASKED), seen


def _distances(block_shape: tuple[int, ...], q_start, k_start) -> jax.Array:
    """Key position less query position, int32."""
    queries = q_start + jax.lax.broadcasted_iota(jnp.int32, block_shape, 0)
    return k_start + jax.lax.broadcasted_iota(jnp.int32, block_shape, 1) - queries


@functools.cache
def _steps(buckets: int, bidirectional: bool, max_distance: int) -> list[tuple[int, int]]:
    """The distances from which on each bucket holds, ascending; the first holds from anywhere."""
    distances = np.arange(-max_distance - 1, max_distance + 2)
    bucket = relative_position_bucket(
        distances, bidirectional=bidirectional, num_buckets=buckets, max_distance=max_distance
    )
    first = np.flatnonzero(np.diff(bucket, prepend=-1))
    return [(int(distances[at]), int(bucket[at])) for at in first]


def _bias(table, distance: jax.Array, shape: Shape) -> jax.Array:
    """The bias of a block: one comparison and one choice a bucket, which any device can do."""
    (_, bucket), *steps = _steps(table.shape[1], shape.bidirectional, shape.max_distance)
    bias = jnp.broadcast_to(table[:, bucket : bucket + 1], distance.shape)
    for low, bucket in steps:
        bias = jnp.where(distance >= low, table[:, bucket : bucket + 1], bias)
    return bias


def _by_bucket(by_logits: jax.Array, distance: jax.Array, buckets: int, shape: Shape) -> jax.Array:
    """Sums a block's gradients by bucket: float32 `[1, buckets]`."""
    steps = _steps(buckets, shape.bidirectional, shape.max_distance)
    column = jax.lax.broadcasted_iota(jnp.int32, (1, buckets), 1)
    sums = jnp.zeros((1, buckets), jnp.float32)
    for index, (low, bucket) in enumerate(steps):
        inside = distance >= low if index else jnp.full(distance.shape, True)
        if index + 1 < len(steps):
            inside = inside & (distance < steps[index + 1][0])
        total = jnp.sum(jnp.where(inside, by_logits, 0.0))
        sums = jnp.where(column == bucket, total, sums)
    return sums


def _dot(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.dot(left, right, preferred_element_type=jnp.float32)


def _dot_transposed(left: jax.Array, right: jax.Array) -> jax.Array:
    """`left @ right.T` in float32."""
    dimensions = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(left, right, dimensions, preferred_element_type=jnp.float32)
