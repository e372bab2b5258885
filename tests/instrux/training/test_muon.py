import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.training.muon import Muon
from instrux.training.schedules import constant

AXES = {"kernel": ("layers", "embed", "mlp"), "table": ("vocab", "embed"), "scale": ("embed",)}


def updates_of(gradients, optimizer=None, learning_rate=0.1):
    built = (optimizer or Muon()).build(constant(learning_rate), AXES)
    params = jax.tree.map(jnp.ones_like, gradients)
    return built.update(gradients, built.init(params), params)[0]


@pytest.fixture
def gradients():
    rng = np.random.default_rng(0)
    return {
        "kernel": jnp.asarray(rng.normal(size=(2, 8, 16)), jnp.float32),
        "table": jnp.asarray(rng.normal(size=(12, 8)), jnp.float32),
        "scale": jnp.asarray(rng.normal(size=(8,)), jnp.float32),
    }


def test_updates_of_matrices_are_nearly_orthogonal(gradients):
    """Newton and Schulz's five steps bring singular values near 1; 0.2 sqrt(16) scales them."""
    kernel = np.asarray(updates_of(gradients)["kernel"])
    for layer, gradient in zip(kernel, gradients["kernel"], strict=True):
        values = np.linalg.svd(layer, compute_uv=False) / (0.1 * 0.2 * 4)
        assert values.min() > 0.6 and values.max() < 1.3
        assert np.linalg.cond(gradient) > 2  # so the gradient itself was not orthogonal
        assert (layer * gradient).sum() < 0  # downhill


def test_stacked_layers_are_taken_one_by_one(gradients):
    first = updates_of(gradients, Muon(gradient_clip_norm=None))["kernel"]
    other = gradients | {"kernel": gradients["kernel"].at[1].multiply(-3.0)}
    second = updates_of(other, Muon(gradient_clip_norm=None))["kernel"]
    np.testing.assert_allclose(first[0], second[0], atol=1e-6)
    np.testing.assert_allclose(first[1], -second[1], atol=1e-3)


def test_tables_and_scales_are_left_to_adam(gradients):
    updates = updates_of(gradients)
    # Adam's first step is the gradient's sign; Nesterov's look ahead, with decay 0.9, makes it
    # 0.9 * 0.1 / (1 - 0.9 ** 2) + 1 of that.
    for name in ("table", "scale"):
        expected = -0.1 * (0.09 / 0.19 + 1) * np.sign(gradients[name])
        np.testing.assert_allclose(updates[name], expected, rtol=1e-3)


def test_no_newton_schulz_step_is_refused():
    with pytest.raises(InputError, match="newton_schulz_steps is 0"):
        Muon(newton_schulz_steps=0).build(constant(0.1), AXES)
