"""Products of rows by a kernel, forward and backward: by XLA, or by the CPU kernels where they serve."""

import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from instrux.models.cpu_kernels import calls, library

SAVED = "product"
"""Name of the products that XLA does not make, for `remat = "dots"` to keep."""

# Fewer multiplications than this, or fewer rows, are not worth laying the kernel out in tiles.
_SMALLEST = 2**18
_FEWEST_ROWS = 32
# Numbers in a kernel from which few rows by it are bound by memory, which one core does not exhaust.
_LARGEST_CACHED = 2**17


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`[..., inputs]` times `[inputs, outputs]`, in the dtype of `x`; the kernel may be float32.

    JAX's own gradient by the kernel is the transpose of `cotangent^T x`. XLA's CPU compiler then
    transposes the cotangent, and with it computes anew, in the order that is worst for the cache,
    all element-wise operations before it. `x^T cotangent` spares a third of a training step.
    """
    return _product(x, as_operand(x, kernel))


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _product_forward(x, kernel)[0]


def _product_forward(x, kernel):
    mapped = map_rows(x, kernel, x.dtype)
    if _served(
        x, *kernel.shape, few=True
    ):  # XLA's own products are known to `remat` without a name
        mapped = checkpoint_name(mapped, SAVED)
    return mapped, (x, kernel)


def _product_backward(residuals, cotangent):
    x, kernel = residuals
    return map_back(cotangent, kernel, x.dtype), sum_rows(x, cotangent, kernel.dtype)


_product.defvjp(_product_forward, _product_backward)


def as_operand(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A kernel as its product with `x` takes it: in the dtype of `x`, or for the CPU kernels as it is."""
    return kernel if _served(x, *kernel.shape, few=True) else kernel.astype(x.dtype)


def map_rows(x: jax.Array, kernel: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """`[..., inputs]` times `[inputs, outputs]`: `[..., outputs]`.

    Products are asked for in float32 and rounded afterwards, which is what matrix units do anyway:
    asked for in bfloat16, XLA's CPU compiler makes them of float32 operands, at a fifth of the rate.
    """
    if _served(x, *kernel.shape, few=True):
        return _by_rows(x, kernel, dtype, right_turned=False)
    mapped = jnp.dot(x, kernel.astype(x.dtype), preferred_element_type=jnp.float32)
    return mapped.astype(dtype)


def map_back(cotangent: jax.Array, kernel: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """`[..., outputs]` times `[inputs, outputs]` transposed: `[..., inputs]`."""
    if _served(cotangent, *kernel.shape):
        return _by_rows(cotangent, kernel, dtype, right_turned=True)
    kernel = kernel.astype(cotangent.dtype)
    return _dot(cotangent, kernel, ((cotangent.ndim - 1,), (1,))).astype(dtype)


def sum_rows(x: jax.Array, cotangent: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """`[..., inputs]` transposed times `[..., outputs]`, summed over all rows: `[inputs, outputs]`."""
    if _served(x, x.shape[-1], cotangent.shape[-1]):
        return calls.matrix_product(
            _matrix(x),
            _matrix(cotangent),
            left_turned=True,
            parts=calls.parts_of(x.dtype),
            dtype=dtype,
        )
    rows = tuple(range(x.ndim - 1))
    return _dot(x, cotangent, (rows, rows)).astype(dtype)


def _served(x: jax.Array, inputs: int, outputs: int, *, few: bool = False) -> bool:
    """Whether the CPU kernels are there, and faster for the rows of `x` by so large a matrix."""
    if x.dtype not in (jnp.float32, jnp.bfloat16):
        return False
    count = math.prod(x.shape[:-1])
    if count >= _FEWEST_ROWS:
        large = count * inputs * outputs >= _SMALLEST
    else:
        large = few and x.dtype == jnp.float32 and inputs * outputs >= _LARGEST_CACHED
    return large and library.available()


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
