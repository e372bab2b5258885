"""The kernels as functions of JAX arrays."""

import jax
import jax.numpy as jnp
import numpy as np

_FLOAT32_PARTS = 3
"""A float32 operand is the sum of three bfloat16 numbers, all 24 bits of it; six products of nine
are taken, the others lie below the last bit."""


def parts_of(dtype: jax.typing.DTypeLike) -> int:
    """Into how many bfloat16 numbers operands of a compute dtype are split."""
    return 1 if dtype == jnp.bfloat16 else _FLOAT32_PARTS


def matrix_product(
    left: jax.Array,
    right: jax.Array,
    *,
    left_turned: bool = False,
    right_turned: bool = False,
    parts: int,
    dtype: jax.typing.DTypeLike,
) -> jax.Array:
    """The product of two matrices, summed in float32.

    An infinite number in a float32 operand that is taken whole makes results that are not a number.

    Args:
        left: float32 or bfloat16 `[rows, depth]`, or where turned `[depth, rows]`.
        right: float32 or bfloat16 `[depth, columns]`, or where turned `[columns, depth]`.
        left_turned: see `left`.
        right_turned: see `right`.
        parts: 1 rounds float32 operands to bfloat16; 3 takes them whole. See `parts_of`.
        dtype: of the result, float32 or bfloat16.

    Returns:
        `[rows, columns]`.
    """
    rows = left.shape[1 if left_turned else 0]
    columns = right.shape[0 if right_turned else 1]
    call = jax.ffi.ffi_call(
        "instrux_product", jax.ShapeDtypeStruct((rows, columns), dtype), vmap_method="sequential"
    )
    return call(
        left,
        right,
        left_turned=left_turned,
        right_turned=right_turned,
        parts=np.int64(parts),
    )


@jax.custom_vjp
def attention(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array | None,
) -> jax.Array:
    """Attends without scaling the logits, which exist for a block of queries at a time.

    Args:
        queries: float32 or bfloat16 `[batch, query length, heads, kv]`.
        keys: `[batch, key length, heads, kv]`, of the same dtype.
        values: the shape of `keys`.
        bias: float32 `[1, heads, query length, key length]`, or None.
        mask: bool `[batch or 1, 1, query length or 1, key length]`, or None.

    Returns:
        The shape and dtype of `queries`.
    """
    return _attention_forward(queries, keys, values, bias, mask)[0]


def inputs_step(
    queries: jax.Array, key: jax.Array, value: jax.Array, encoded: jax.Array, mask: jax.Array
) -> jax.Array:
    """A decoding step's attention to the encoder's output; see `absorbed_attention.attend_step`.

    Args:
        queries: float32 `[batch, queries, heads, kv]`, as all that follow but the mask.
        key: `[heads, kv, embed]`.
        value: `[heads, embed, kv]`.
        encoded: `[batch, length, embed]`.
        mask: bool `[batch or 1, 1, 1, length]`.

    Returns:
        `[batch, queries, heads, kv]`, not projected.
    """
    shape = jax.ShapeDtypeStruct(queries.shape, jnp.float32)
    call = jax.ffi.ffi_call("instrux_inputs_step", shape, vmap_method="sequential")
    return call(queries, key, value, encoded, mask)


def squares(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of squares over the last axis and over the one before, in one pass.

    Args:
        x: float32 `[..., rows, columns]`.

    Returns:
        float32 `[..., rows]` and `[..., columns]`.
    """
    *leading, rows, columns = x.shape
    x = x.reshape(-1, rows, columns)
    shapes = [jax.ShapeDtypeStruct((len(x), length), jnp.float32) for length in (rows, columns)]
    call = jax.ffi.ffi_call("instrux_squares", shapes, vmap_method="sequential")
    by_row, by_column = call(x)
    return by_row.reshape(*leading, rows), by_column.reshape(*leading, columns)


def scaled_squares(x: jax.Array, row_factors: jax.Array, column_factors: jax.Array) -> jax.Array:
    """Sums of the squares of matrices whose rows and columns are scaled, without making them.

    Args:
        x: float32 `[..., rows, columns]`.
        row_factors: float32 `[..., rows]`.
        column_factors: float32 `[..., columns]`.

    Returns:
        float32 `[...]`.
    """
    *leading, rows, columns = x.shape
    x = x.reshape(-1, rows, columns)
    shape = jax.ShapeDtypeStruct((len(x), rows), jnp.float32)
    call = jax.ffi.ffi_call("instrux_scaled_squares", shape, vmap_method="sequential")
    by_row = call(x, row_factors.reshape(-1, rows), column_factors.reshape(-1, columns))
    return jnp.sum(by_row, axis=1).reshape(leading)


def _attention_forward(queries, keys, values, bias, mask):
    batch, length, heads, _ = queries.shape
    shapes = (
        jax.ShapeDtypeStruct(queries.shape, queries.dtype),
        jax.ShapeDtypeStruct((batch, heads, length, 2), jnp.float32),
    )
    call = jax.ffi.ffi_call("instrux_attention", shapes, vmap_method="sequential")
    output, softmax = call(queries, keys, values, *_or_empty(bias, mask))
    return output, (queries, keys, values, bias, mask, output, softmax)


def _attention_backward(residuals, cotangent):
    queries, keys, values, bias, mask, output, softmax = residuals
    bias_or_empty, mask_or_empty = _or_empty(bias, mask)
    shapes = [
        jax.ShapeDtypeStruct(array.shape, array.dtype)
        for array in (queries, keys, values, bias_or_empty)
    ]
    call = jax.ffi.ffi_call("instrux_attention_gradient", shapes, vmap_method="sequential")
    arrays = (queries, keys, values, bias_or_empty, mask_or_empty, output, softmax, cotangent)
    *gradients, by_bias = call(*arrays)
    return *gradients, None if bias is None else by_bias, None


attention.defvjp(_attention_forward, _attention_backward)


def _or_empty(bias, mask) -> tuple[jax.Array, jax.Array]:
    """Empty arrays in place of what is not there."""
    bias = jnp.zeros((0,), jnp.float32) if bias is None else bias
    return bias, jnp.zeros((0,), bool) if mask is None else mask
