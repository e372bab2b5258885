import dataclasses
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.data.packed_rows import model_features
from instrux.errors import InputError
from instrux.models.t5 import T5
from instrux.training.optimizers import Adafactor
from instrux.training.schedules import constant
from instrux.training.train_step import (
    StepSettings,
    init_state,
    loss_and_gradients,
    make_train_step,
)


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny_run = _load("tiny_run")
MODEL = T5(dataclasses.replace(tiny_run.CONFIG, num_encoder_layers=1, num_decoder_layers=1))
OPTIMIZER = Adafactor().build(constant(0.1), MODEL.logical_axes())
KEY = jax.random.key(3)
FAST = {"xla_backend_optimization_level": 0}  # compiling is most of the time of these tests


@pytest.fixture(scope="module")
def batch():
    rows = model_features(tiny_run.packed_rows()[:8])
    # Very unequal weights: a mean of the microbatches' means would show.
    rows["decoder_loss_weights"][:5] = 0
    return {name: jnp.asarray(rows) for name, rows in rows.items()}


@pytest.fixture(scope="module")
def state():
    return jax.jit(lambda: init_state(MODEL, OPTIMIZER, seed=0), compiler_options=FAST)()


@pytest.fixture(scope="module")
def step():
    return jax.jit(
        make_train_step(MODEL, OPTIMIZER, constant(0.1), StepSettings()), compiler_options=FAST
    )


def gradients_of(state, batch, **settings):
    made = StepSettings(**settings)
    function = jax.jit(
        lambda params, batch: loss_and_gradients(MODEL, params, batch, settings=made, key=KEY),
        compiler_options=FAST,
    )
    return function(state.params, batch)


def test_microbatches_add_up_to_the_full_batch(state, batch):
    whole, whole_sums = gradients_of(state, batch, dropout=False)
    parts, parts_sums = gradients_of(state, batch, dropout=False, microbatches=4)
    np.testing.assert_allclose(parts_sums, whole_sums, rtol=1e-5)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
        parts,
        whole,
    )
    assert float(whole_sums.weight) == float(jnp.sum(batch["decoder_loss_weights"]))


def test_microbatches_have_dropout_masks_of_their_own(state, batch):
    # Two equal halves: with one mask for both, the loss of the whole would be twice a half's.
    # Microbatch i takes every second row, so the halves are interleaved.
    doubled = jax.tree.map(lambda rows: jnp.repeat(rows[4:], 2, axis=0), batch)
    half = jax.tree.map(lambda rows: rows[4:], batch)
    _, sums = gradients_of(state, doubled, microbatches=2)
    _, one = gradients_of(state, half)
    assert float(sums.weight) == 2 * float(one.weight)
    assert abs(float(sums.total) - 2 * float(one.total)) > 1e-3


def test_a_step_is_a_function_of_its_state(step, state, batch):
    first, metrics = step(state, batch)
    again, same = step(state, batch)
    assert metrics == same
    assert int(first.step) == int(again.step) == 1
    _, next_metrics = step(dataclasses.replace(state, step=jnp.int32(1)), batch)
    assert float(next_metrics.loss) != float(metrics.loss)  # dropout goes with the step number


def test_metrics_tell_means_and_shares(step, state, batch):
    _, metrics = step(state, batch)
    targets, inputs = batch["decoder_target_tokens"], batch["encoder_input_tokens"]
    tokens = np.count_nonzero(inputs) + np.count_nonzero(targets)
    assert float(metrics.encoder_tokens + metrics.decoder_tokens) == tokens
    assert float(metrics.padding_share) == pytest.approx(
        1 - tokens / (inputs.size + targets.size), abs=1e-6
    )
    # Random logits over 264 ids: about ln 264 nats a token, from below by no more than a bit.
    assert np.log(264) - 0.5 < float(metrics.loss) < np.log(264) + 3
    squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(state.params))
    assert float(metrics.parameter_norm) == pytest.approx(np.sqrt(squares), rel=1e-5)
    assert float(metrics.learning_rate) == pytest.approx(0.1)
    assert float(metrics.finite) == 1.0


def test_the_parameters_follow_the_gradient(step, state, batch):
    losses, current = [], state
    for _ in range(15):
        current, metrics = step(current, batch)
        losses.append(float(metrics.loss))
    assert losses[-1] < losses[0] - 1.0


def test_a_loss_that_is_not_finite_leaves_the_parameters_alone(step, state, batch):
    broken = jax.tree.map(lambda leaf: leaf, state.params)
    broken["token_embedder"]["embedding"] = jnp.full_like(
        broken["token_embedder"]["embedding"], jnp.nan
    )
    before = dataclasses.replace(state, params=broken)
    after, metrics = step(before, batch)
    assert float(metrics.finite) == 0.0 and not np.isfinite(metrics.loss)
    jax.tree.map(np.testing.assert_array_equal, after.params, before.params)
    # Counts go on, so that the schedule keeps pace; moments stay.
    assert int(after.step) == 1 and int(after.optimizer_state.count) == 1
    jax.tree.map(np.testing.assert_array_equal, after.optimizer_state.v, before.optimizer_state.v)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"on_nonfinite": "ignore"}, "on_nonfinite is 'ignore'"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"z_loss": -1.0}, "z_loss is -1.0"),
    ],
)
def test_impossible_settings_are_refused(settings, told):
    with pytest.raises(InputError, match=told):
        StepSettings(**settings)
