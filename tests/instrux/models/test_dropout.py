import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.models import dropout


def test_masks_keep_the_share_asked_for():
    masks = dropout.keep_masks(jax.random.key(0), 0.1, {"a": 300, "b": 200}, leading=(20, 50))
    assert masks["a"].shape == (20, 50, 300) and masks["b"].shape == (20, 50, 200)
    for mask in masks.values():  # 5 standard deviations of 200,000 draws
        assert np.mean(mask) == pytest.approx(0.9, abs=0.0034)


def test_dropping_keeps_the_mean():
    keep = jnp.asarray([[True, False, True, True]])
    dropped = dropout.drop(jnp.ones((1, 3, 4)), keep, 0.25)
    np.testing.assert_allclose(dropped, np.tile([4 / 3, 0, 4 / 3, 4 / 3], (1, 3, 1)), rtol=1e-6)
