"""Products by XLA and by the CPU kernels: the same values and gradients, whichever is taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.models import products
from instrux.models.cpu_kernels import library

needs_kernels = pytest.mark.skipif(library.why_not() is not None, reason=str(library.why_not()))


def _gradients(x, kernel):
    def total(x, kernel):
        return jnp.sum(jnp.sin(products.product(x, kernel).astype(jnp.float32)))

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(x, kernel)


def _inputs(dtype):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(4, 16, 96)), dtype)
    return x, jnp.asarray(random.normal(size=(96, 80)) * 0.1, jnp.float32)


@needs_kernels
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_the_kernels_give_what_xla_gives(dtype, tolerance, monkeypatch):
    x, kernel = _inputs(dtype)
    assert "instrux_product" in jax.jit(products.product).lower(x, kernel).as_text()
    value, gradients = _gradients(x, kernel)
    monkeypatch.setattr(library, "available", lambda: False)
    assert (
        "instrux_product"
        not in jax.jit(lambda *given: products.product(*given)).lower(x, kernel).as_text()
    )
    expected, by_xla = _gradients(x, kernel)
    np.testing.assert_allclose(value, expected, rtol=tolerance)
    for ours, theirs in zip(gradients, by_xla, strict=True):
        assert ours.dtype == theirs.dtype
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
        np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max())


@needs_kernels
def test_small_products_and_other_dtypes_are_left_to_xla():
    def lowered(x, kernel):
        return jax.jit(products.product).lower(x, kernel).as_text()

    assert "instrux_product" not in lowered(jnp.ones((4, 8, 16)), jnp.ones((16, 16)))
    assert "instrux_product" not in lowered(jnp.ones((64, 96), jnp.float16), jnp.ones((96, 80)))
    # Few rows by a large matrix are read in one pass, in float32 alone.
    assert "instrux_product" in lowered(jnp.ones((2, 1, 512)), jnp.ones((512, 256)))
    assert "instrux_product" not in lowered(
        jnp.ones((2, 1, 512), jnp.bfloat16), jnp.ones((512, 256))
    )


@needs_kernels
def test_remat_of_dots_keeps_the_products_of_the_kernels():
    from instrux.models.parts import _rematerialize

    x, kernel = _inputs("float32")

    def calls_of(policy):
        def total(x, kernel):
            layer = _rematerialize(lambda x: jnp.sin(products.product(jnp.cos(x), kernel)), policy)
            return jnp.sum(layer(x))

        return (
            jax.jit(jax.value_and_grad(total)).lower(x, kernel).as_text().count("@instrux_product")
        )

    # Forward and the gradient by x; `full` makes the product once more.
    assert (calls_of("none"), calls_of("dots"), calls_of("full")) == (2, 2, 3)
