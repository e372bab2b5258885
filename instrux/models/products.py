"""Products of rows by a kernel, forward and backward: by XLA, or by the CPU kernels where they serve."""

import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from instrux.models.cpu_kernels import calls, library

SAVED = "product"
"""Name of what `remat = "dots"` keeps of products that XLA does not make."""

# Fewer multiplications than this, or fewer rows, are not worth laying the kernel out in tiles.
_SMALLEST = 2**18
_FEWEST_ROWS = 32


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`[..., inputs]` times `[inputs, outputs]`, in the dtype of `x`.

    JAX's own gradient by the kernel is the transpose of `cotangent^T x`. XLA's CPU compiler then
    transposes the cotangent, and with it computes anew, in the order that is worst for the cache,
    all element-wise operations before it. `x^T cotangent` spares a third of a training step.
    """
    return _product_forward(x, kernel)[0]


def _product_forward(x, kernel):
    mapped = map_rows(x, kernel, x.dtype)
    # Only inside of what remat computes anew does the name mean anything.
    return checkpoint_name(mapped, SAVED), (x, kernel)


def _product_backward(residuals, cotangent):
    x, kernel = residuals
    return map_back(cotangent, kernel, x.dtype), sum_rows(x, cotangent, kernel.dtype)


product.defvjp(_product_forward, _product_backward)


def as_operand(kernel: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """A float32 kernel as a product in `dtype` takes it: rounded, or for the CPU kernels as it is."""
    return kernel if library.available() else kernel.astype(dtype)


def map_rows(x: jax.Array, kernel: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """`[..., inputs]` times `[inputs, outputs]`: `[..., outputs]`.

    Products are asked for in float32 and rounded afterwards, which is what matrix units do anyway:
    asked for in bfloat16, XLA's CPU compiler makes them of float32 operands, at a fifth of the rate.
    """
    if _tiled(x, kernel):
        return _by_rows(x, kernel, dtype, right_turned=False)
    mapped = jnp.dot(x, kernel.astype(x.dtype), preferred_element_type=jnp.float32)
    return mapped.astype(dtype)


def map_back(cotangent: jax.Array, kernel: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """`[..., outputs]` times `[inputs, outputs]` transposed: `[..., inputs]`."""
    if _tiled(cotangent, kernel):
        return _by_rows(cotangent, kernel, dtype, right_turned=True)
    kernel = kernel.astype(cotangent.dtype)
    return _dot(cotangent, kernel, ((cotangent.ndim - 1,), (1,))).astype(dtype)


def sum_rows(x: jax.Array, cotangent: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """`[..., inputs]` transposed times `[..., outputs]`, summed over all rows: `[inputs, outputs]`."""
    if _tiled(x, cotangent):
        return calls.matrix_product(
            _matrix(x),
            _matrix(cotangent),
            left_turned=True,
            parts=calls.parts_of(x.dtype),
            dtype=dtype,
        )
    rows = tuple(range(x.ndim - 1))
    return _dot(x, cotangent, (rows, rows)).astype(dtype)


def _tiled(rows: jax.Array, other: jax.Array) -> bool:
    count, width = math.prod(rows.shape[:-1]), rows.shape[-1]
    columns = math.prod(other.shape) // max(1, width if other.ndim == 2 else count)
    floats = rows.dtype in (jnp.float32, jnp.bfloat16)
    large = count >= _FEWEST_ROWS and count * width * columns >= _SMALLEST
    return floats and large and library.available()


def _by_rows(rows, kernel, dtype, *, right_turned: bool) -> jax.Array:
    mapped = calls.matrix_product(
        _matrix(rows),
        kernel,
        right_turned=right_turned,
        parts=calls.parts_of(rows.dtype),
        dtype=dtype,
    )
    return mapped.reshape(*rows.shape[:-1], mapped.shape[-1])


def _matrix(array: jax.Array) -> jax.Array:
    return array.reshape(-1, array.shape[-1])


def _dot(left, right, axes) -> jax.Array:
    return jax.lax.dot_general(left, right, (axes, ((), ())), preferred_element_type=jnp.float32)
