"""Dot-product attention with an additive bias, and the masks of packed and padded rows."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from instrux.errors import InputError
from instrux.models.cpu_kernels import calls, library
from instrux.models.dropout import keep_scale
from instrux.models.relative_bias import RelativeBias
from instrux.models.sharding import mesh_axes

_MASKED = -1e10


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["queries", "keys"], meta_fields=["causal"]
)
@dataclass(frozen=True)
class Segments:
    """Which queries see which keys, without a mask `[query length, key length]`.

    Attributes:
        queries: int `[batch, query length]`; a query sees the keys with its own number.
        keys: int `[batch, key length]`.
        causal: whether a query sees no later key.
    """

    queries: jax.Array
    keys: jax.Array
    causal: bool = False


# Logits of a row (heads x queries x keys) from which on a CPU is faster row by row: measured
# 219 against 373 CPU-milliseconds, forward and backward, at 8 x 6 x 512 x 512, and 11.4 against
# 9.1 at 64 x 4 x 64 x 64.
_ROWS_FROM = 2**17
# The same for the kernel in C++.
_TILES_FROM = 2**13


def attend(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    *,
    bias: jax.Array | RelativeBias | None,
    mask: jax.Array | Segments | None,
    keep: jax.Array | None = None,
    rate: float = 0.0,
    implementation: str = "plain",
) -> jax.Array:
    """Attends without scaling the logits.

    As in T5X, attention dropout drops a key for all queries of a row and head. So it is applied
    to the values, which is the same product, costs one pass over them, and leaves the softmax to
    fused kernels that know no dropout.

    Args:
        queries: `[batch, query length, heads, kv]`.
        keys: `[batch, key length, heads, kv]`.
        values: the shape of `keys`.
        bias: float32 `[1, heads, query length, key length]` added to the logits, or None; with
            `Segments` the table that it is made from.
        mask: bool, broadcastable to `[batch, heads, query length, key length]`, True where a
            query sees a key; or None; or `Segments`, which only the `pallas` kernel takes. A query
            that sees nothing gets a finite result.
        keep: bool `[batch, heads * key length]`, False where attention dropout drops, or None.
        rate: the rate that `keep` was drawn with.
        implementation: `auto`, `plain`, `rows`, `amx`, `xla`, `cudnn` or `pallas`; see `T5Config.attention`.

    Returns:
        `[batch, query length, heads, kv]` in the dtype of `values`.
    """
    if keep is not None:
        batch, length, heads, _ = values.shape
        scale = keep_scale(keep, rate, values.dtype).reshape(batch, heads, length)
        values = values * scale.transpose(0, 2, 1)[..., None]
    if isinstance(mask, Segments):
        assert bias is None or isinstance(bias, RelativeBias)
        return _attend_fused(queries, keys, values, bias=bias, segments=mask)
    assert not isinstance(bias, RelativeBias)
    implementation = choose(
        implementation,
        dtype=queries.dtype,
        heads_and_width=(queries.shape[2], queries.shape[3]),
        lengths=(queries.shape[1], keys.shape[1]),
    )
    if implementation == "amx":
        return _attend_by_tiles(queries, keys, values, bias=bias, mask=mask)
    if implementation == "pallas":  # a mask that is no `Segments`, as a prefix's
        implementation = "plain"
    if implementation in ("plain", "rows"):
        function = attend_heads_first if implementation == "plain" else _attend_row_by_row
        queries, keys, values = map(heads_first, (queries, keys, values))
        return heads_first(function(queries, keys, values, bias=bias, mask=mask))
    return jax.nn.dot_product_attention(  # pyright: ignore[reportCallIssue]
        queries,
        keys,
        values,
        bias=None if bias is None else bias.astype(queries.dtype),
        mask=mask,
        scale=1.0,
        implementation=implementation,  # pyright: ignore[reportArgumentType]
    )


def _attend_by_tiles(queries, keys, values, *, bias, mask) -> jax.Array:
    loaded = library.load()
    if not loaded.usable:
        raise InputError(f'attention = "amx": {loaded.reason}; "auto" takes what there is')
    return calls.attention(queries, keys, values, bias, mask)


def heads_first(array: jax.Array) -> jax.Array:
    """Swaps `[batch, length, heads, kv]` and `[batch, heads, length, kv]`."""
    return jnp.swapaxes(array, 1, 2)


def attend_heads_first(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    *,
    bias: jax.Array | None,
    mask: jax.Array | None,
) -> jax.Array:
    """The plain attention, over `[batch, heads, length, kv]`; arguments as for `attend`."""
    return _attend(queries, keys, values, bias, mask, False)


def _attend_row_by_row(queries, keys, values, *, bias, mask) -> jax.Array:
    """The plain attention, one row of the batch after another: its logits stay in a CPU's cache.

    A batch that is split over devices must not be scanned over.
    """
    return _attend(queries, keys, values, bias, mask, True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attend(queries, keys, values, bias, mask, by_row: bool) -> jax.Array:
    return _attend_forward(queries, keys, values, bias, mask, by_row)[0]


def _attend_forward(queries, keys, values, bias, mask, by_row: bool):
    arrays = (queries, keys, values)
    if not by_row:
        output, softmax = _forward(*arrays, bias, mask)
    else:

        def body(_, row):
            row, row_mask = _one_row(row, mask)
            return None, jax.tree.map(lambda array: array[0], _forward(*row, bias, row_mask))

        output, softmax = jax.lax.scan(body, None, _rows(arrays, mask))[1]
    return output, (*arrays, bias, mask, output, softmax)


def _attend_backward(by_row: bool, residuals, cotangent):
    queries, keys, values, bias, mask, output, softmax = residuals
    arrays = (queries, keys, values, output, softmax, cotangent)

    def of(queries, keys, values, output, softmax, cotangent, mask):
        return _backward(queries, keys, values, bias, mask, output, softmax, cotangent)

    if not by_row:
        *gradients, by_bias = of(*arrays, mask)
    else:

        def body(by_bias, row):
            row, row_mask = _one_row(row, mask)
            *gradients, of_row = of(*row, mask=row_mask)
            by_bias = None if by_bias is None else by_bias + of_row
            return by_bias, [array[0] for array in gradients]

        zeros = None if bias is None else jnp.zeros(bias.shape, jnp.float32)
        by_bias, gradients = jax.lax.scan(body, zeros, _rows(arrays, mask))
    by_queries, by_keys, by_values = gradients
    return by_queries, by_keys.swapaxes(2, 3), by_values.swapaxes(2, 3), by_bias, None


_attend.defvjp(_attend_forward, _attend_backward)


def _rows(arrays, mask):
    """What to scan over: the arrays, and the mask where rows have masks of their own."""
    return arrays, (mask if mask is not None and mask.shape[0] > 1 else None)


def _one_row(row, mask):
    """The arrays of a row as a batch of one, and its mask."""
    arrays, row_mask = jax.tree.map(lambda array: array[None], row)
    return arrays, (mask if row_mask is None else row_mask)


class _Softmax(NamedTuple):
    """What the backward pass keeps of the softmax, float32 `[batch, heads, query length, 1]`."""

    highest: jax.Array
    normalizer: jax.Array


def _forward(queries, keys, values, bias, mask) -> tuple[jax.Array, _Softmax]:
    """The output, and what the backward pass needs beside the inputs."""
    logits = _logits(queries, keys, bias, mask)
    highest = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - highest)
    normalizer = jnp.sum(weights, axis=-1, keepdims=True)
    # Divided after the product, which is a pass over an array that is smaller.
    output = _product("bhqk,bhkd->bhqd", weights.astype(values.dtype), values) / normalizer
    return output.astype(values.dtype), _Softmax(highest, normalizer)


def _backward(queries, keys, values, bias, mask, output, softmax, cotangent):
    """The gradients by queries, keys, values and bias.

    As `jax.grad` of the plain form would give them, but the products take their operands in the
    compute dtype: differentiated, a bfloat16 product with float32 results becomes a float32 one.
    """
    dtype = queries.dtype
    logits = _logits(queries, keys, bias, mask)
    weights = jnp.exp(logits - softmax.highest)
    scaled = cotangent.astype(jnp.float32) / softmax.normalizer
    by_weights = _product("bhqd,bhkd->bhqk", scaled.astype(dtype), values)
    expected = jnp.sum(scaled * output.astype(jnp.float32), axis=-1, keepdims=True)
    by_logits = weights * (by_weights - expected)
    by_values = _over_queries(scaled.astype(dtype), weights.astype(dtype))
    by_products = by_logits if mask is None else jnp.where(mask, by_logits, 0.0)
    by_bias = None if bias is None else jnp.sum(by_products, axis=0, keepdims=True)
    by_products = by_products.astype(dtype)
    by_queries = _product("bhqk,bhkd->bhqd", by_products, keys)
    by_keys = _over_queries(queries, by_products)
    return by_queries.astype(dtype), by_keys.astype(dtype), by_values.astype(dtype), by_bias


def _logits(queries, keys, bias, mask) -> jax.Array:
    """float32 `[batch, heads, query length, key length]`."""
    logits = _product("bhqd,bhkd->bhqk", queries, keys)
    if bias is not None:
        logits = logits + bias
    return logits if mask is None else jnp.where(mask, logits, _MASKED)


def _product(subscripts: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, left, right, preferred_element_type=jnp.float32)


def _over_queries(by_query: jax.Array, weights: jax.Array) -> jax.Array:
    """`[batch, heads, q, kv]` and `[batch, heads, q, k]` to float32 `[batch, heads, kv, k]`.

    The result lies as the product gives it: turned to `[..., k, kv]` in place, XLA's CPU compiler
    would turn the weights in place of it. Queries are split in two for its sake as well: with one
    axis to sum over it takes the product as it stands, by a slow path; with two it first lays the
    smaller operand out.
    """
    length = by_query.shape[2]
    halves = 2 if length % 2 == 0 else 1
    by_query, weights = (
        array.reshape(*array.shape[:2], halves, length // halves, array.shape[3])
        for array in (by_query, weights)
    )
    return _product("bhxqd,bhxqk->bhdk", by_query, weights)


def choose(
    implementation: str,
    *,
    dtype: jax.typing.DTypeLike,
    heads_and_width: tuple[int, int],
    lengths: tuple[int, int],
) -> str:
    """Turns `auto` into the implementation for this machine and these lengths.

    cuDNN takes bfloat16 (or float16), heads whose width is a multiple of 8 up to 128, and for its
    gradient even lengths.
    """
    if implementation != "auto":
        return implementation
    (heads, width), platform = heads_and_width, jax.default_backend()
    if platform == "gpu":
        even = lengths[0] % 2 == 0 and lengths[1] % 2 == 0
        takes = dtype == jnp.bfloat16 and width % 8 == 0 and width <= 128 and even
        return "cudnn" if takes else "pallas"
    if platform == "tpu":
        return "pallas"
    logits = heads * lengths[0] * lengths[1]
    if logits >= _TILES_FROM and library.available():
        return "amx"
    return "rows" if jax.device_count() == 1 and logits >= _ROWS_FROM else "plain"


def _attend_fused(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    *,
    bias: RelativeBias | None,
    segments: Segments,
) -> jax.Array:
    """`attend` by the kernel, on every device for its own rows and heads."""
    # Imported here, as a run on a CPU need not wait for Pallas.
    from instrux.models.flash_attention import Shape, flash_attention

    platform = jax.default_backend()
    shape = Shape(
        causal=segments.causal,
        bidirectional=bias is None or bias.bidirectional,
        max_distance=128 if bias is None else bias.max_distance,
        interpret=platform == "cpu",
        triton=platform == "gpu",
    )
    function = functools.partial(flash_attention, shape=shape)
    arrays = (
        heads_first(queries),
        heads_first(keys),
        heads_first(values),
        None if bias is None else bias.table,
        segments.queries,
        segments.keys,
    )
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size > 1:
        # Compilers cannot split a kernel; rows and heads are independent.
        axes = [("batch", "heads", "length", "kv")] * 3
        axes += [("heads", "relpos_buckets"), ("batch", "length"), ("batch", "length")]
        specs = tuple(map(mesh_axes, axes))
        function = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=False
        )
    return heads_first(function(*arrays))


def encoder_segments(tokens: jax.Array, segment_ids: jax.Array | None) -> Segments:
    """What `encoder_mask` says, for the kernel."""
    if segment_ids is None:
        return Segments(jnp.ones_like(tokens), (tokens > 0).astype(tokens.dtype))
    return Segments(segment_ids, segment_ids)


def decoder_segments(tokens: jax.Array, segment_ids: jax.Array | None) -> Segments:
    """What `decoder_mask` says, for the kernel."""
    segment_ids = jnp.ones_like(tokens) if segment_ids is None else segment_ids
    return Segments(segment_ids, segment_ids, causal=True)


def cross_segments(
    encoder_tokens: jax.Array,
    encoder_segment_ids: jax.Array | None,
    decoder_tokens: jax.Array,
    decoder_segment_ids: jax.Array | None,
) -> Segments:
    """What `cross_mask` says, for the kernel."""
    if encoder_segment_ids is None or decoder_segment_ids is None:
        seen = (encoder_tokens > 0).astype(decoder_tokens.dtype)
        return Segments(jnp.ones_like(decoder_tokens), seen)
    return Segments(decoder_segment_ids, encoder_segment_ids)


def encoder_mask(tokens: jax.Array, segment_ids: jax.Array | None) -> jax.Array:
    """Which keys an encoder position sees: bool `[batch, 1, 1 or length, length]`."""
    if segment_ids is None:
        return (tokens > 0)[:, None, None, :]
    return segment_ids[:, None, :, None] == segment_ids[:, None, None, :]


def decoder_mask(
    length: int, segment_ids: jax.Array | None, prefix: jax.Array | None = None
) -> jax.Array:
    """Which keys a decoder position sees: bool `[batch or 1, 1, length, length]`.

    Positions of the bool `prefix`, `[batch, length]`, see each other whatever their order.
    """
    causal = jnp.tril(jnp.ones((length, length), bool))[None, None]
    if prefix is not None:
        causal = causal | (prefix[:, None, :, None] & prefix[:, None, None, :])
    if segment_ids is None:
        return causal
    return causal & (segment_ids[:, None, :, None] == segment_ids[:, None, None, :])


def cross_mask(
    encoder_tokens: jax.Array,
    encoder_segment_ids: jax.Array | None,
    decoder_segment_ids: jax.Array | None,
) -> jax.Array:
    """Which encoder positions a decoder position sees: bool `[batch, 1, 1 or length, length]`."""
    if encoder_segment_ids is None or decoder_segment_ids is None:
        return (encoder_tokens > 0)[:, None, None, :]
    return decoder_segment_ids[:, None, :, None] == encoder_segment_ids[:, None, None, :]
