import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.training.optimizers import Adafactor, AdamW, OptaxOptimizer
from instrux.training.schedules import constant

AXES = {"kernel": ("layers", "embed", "mlp"), "scale": ("layers", "embed")}
PARAMS = {"kernel": jnp.ones((2, 3, 4)), "scale": jnp.ones((2, 3))}
ZEROS = {"kernel": jnp.zeros((2, 3, 4)), "scale": jnp.zeros((2, 3))}


def first_updates(optimizer, gradients):
    built = optimizer.build(constant(0.1), AXES)
    return built.update(gradients, built.init(PARAMS), PARAMS)[0]


def test_adamw_decays_matrices_and_spares_scales():
    updates = first_updates(AdamW(weight_decay=0.5), ZEROS)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(updates["scale"], 0.0)


def test_adamw_clips_the_global_norm_first():
    # One step of Adam is g / (|g| + eps): with a large eps the size of the clipped g shows.
    huge = {"kernel": jnp.full((2, 3, 4), 1e6), "scale": jnp.zeros((2, 3))}
    updates = first_updates(AdamW(eps=1.0, gradient_clip_norm=1.0), huge)
    clipped = 1 / np.sqrt(24)
    np.testing.assert_allclose(updates["kernel"], -0.1 * clipped / (clipped + 1), rtol=1e-5)


def test_adafactor_passes_its_settings_on():
    built = Adafactor(weight_decay_rate=0.25, gradient_clip_norm=1.0).build(constant(0.1), AXES)
    updates, _ = built.update(ZEROS, built.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["kernel"], -0.25)


def test_any_optimiser_of_optax_by_name():
    gradients = {"kernel": jnp.full((2, 3, 4), 5.0), "scale": jnp.full((2, 3), -5.0)}
    updates = first_updates(OptaxOptimizer("sgd", {"momentum": 0.0}), gradients)
    np.testing.assert_allclose(updates["kernel"], -0.5)


def test_an_unknown_optimiser_is_told_with_a_near_name():
    with pytest.raises(InputError, match=r"no 'adamax_'.*Did you mean.*'adamax'"):
        OptaxOptimizer("adamax_").build(constant(0.1), AXES)


def test_an_argument_that_optax_does_not_take_is_told():
    with pytest.raises(InputError, match=r"optax\.sgd does not take.*momentun"):
        OptaxOptimizer("sgd", {"momentun": 0.9}).build(constant(0.1), AXES)
