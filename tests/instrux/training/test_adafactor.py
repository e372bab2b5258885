"""Adafactor against the paper's formulas, recomputed in float64 NumPy (arXiv 1804.04235)."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from instrux.errors import InputError
from instrux.models.cpu_kernels import library
from instrux.training.adafactor import adafactor, factoring

EPSILON1, EPSILON2 = 1e-30, 1e-3


def root_mean_square(array):
    return np.sqrt(np.mean(np.square(array)))


class PaperMatrix:
    """Algorithm 4 for a matrix, with the sums of rows and columns that the paper writes."""

    def __init__(self, shape):
        self.row_sums, self.column_sums = np.zeros(shape[0]), np.zeros(shape[1])

    def normalised(self, gradient, decay):
        squared = gradient**2 + EPSILON1
        self.row_sums = decay * self.row_sums + (1 - decay) * squared.sum(axis=1)
        self.column_sums = decay * self.column_sums + (1 - decay) * squared.sum(axis=0)
        second = np.outer(self.row_sums, self.column_sums) / self.row_sums.sum()
        return gradient / np.sqrt(second)


class PaperVector:
    """Algorithm 5: the second moment of a vector is kept whole."""

    def __init__(self, shape):
        self.second = np.zeros(shape)

    def normalised(self, gradient, decay):
        self.second = decay * self.second + (1 - decay) * (gradient**2 + EPSILON1)
        return gradient / np.sqrt(self.second)


def paper_step(moment, param, gradient, *, time, rho=1e-2, threshold=1.0):
    """One step with the hyper-parameters of algorithm 6; `time` counts from 1."""
    direction = moment.normalised(gradient, 1 - time**-0.8)
    direction = direction / max(1.0, root_mean_square(direction) / threshold)
    return param - max(EPSILON2, root_mean_square(param)) * rho * direction


def run(params, axes, gradients, **options):
    optimizer = adafactor(1e-2, axes, **options)
    state, seen = optimizer.init(params), []
    step = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = step(gradient, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen, state


def random_tree(rng, shapes, scale=1.0):
    return {name: scale * rng.standard_normal(shape) for name, shape in shapes.items()}


def as_float32(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def test_a_matrix_and_a_vector_follow_the_paper_step_by_step():
    rng = np.random.default_rng(0)
    shapes = {"kernel": (130, 140), "scale": (130,), "table": (4, 130)}
    axes = {"kernel": ("embed", "mlp"), "scale": ("embed",), "table": ("relpos_buckets", "heads")}
    params = random_tree(rng, shapes, scale=0.05)
    # The second gradient is far larger than the first, so that clipping bites.
    gradients = [random_tree(rng, shapes, scale=scale) for scale in (1.0, 50.0, 0.1, 1.0)]
    seen, _ = run(as_float32(params), axes, as_float32(gradients))
    # 4 is below min_dim_size_to_factor, so the table is kept whole like a vector.
    moments = {
        "kernel": PaperMatrix(shapes["kernel"]),
        "scale": PaperVector(shapes["scale"]),
        "table": PaperVector(shapes["table"]),
    }
    for time, (gradient, ours) in enumerate(zip(gradients, seen, strict=True), 1):
        for name in shapes:
            params[name] = paper_step(moments[name], params[name], gradient[name], time=time)
            np.testing.assert_allclose(ours[name], params[name], rtol=2e-5, atol=1e-7)


def test_stacked_layers_are_optimised_as_if_they_were_separate():
    rng = np.random.default_rng(1)
    shapes = {"kernel": (3, 6, 10), "out": (3, 10, 6), "scale": (3, 6)}
    axes = {
        "kernel": ("layers", "embed", "joined_kv"),
        "out": ("layers", "joined_kv", "embed"),
        "scale": ("layers", "embed"),
    }
    sizes = np.array([0.01, 1.0, 30.0])  # the layers' parameters differ in scale
    params = random_tree(rng, shapes)
    params = {name: (leaf.T * sizes).T for name, leaf in params.items()}
    gradients = [random_tree(rng, shapes, scale=scale) for scale in (1.0, 20.0, 1.0)]
    seen, _ = run(as_float32(params), axes, as_float32(gradients))
    moment_of = {"kernel": PaperMatrix, "out": PaperMatrix, "scale": PaperVector}
    for name, shape in shapes.items():
        for layer in range(3):
            moment, param = moment_of[name](shape[1:]), params[name][layer]
            for time, (gradient, ours) in enumerate(zip(gradients, seen, strict=True), 1):
                param = paper_step(moment, param, gradient[name][layer], time=time)
                np.testing.assert_allclose(ours[name][layer], param, rtol=3e-5, atol=1e-7)


def test_a_parameter_of_zeros_moves_by_epsilon2():
    # alpha = max(epsilon2, RMS(0)) * rho, and a first update has root mean square 1.
    gradients = [{"w": jnp.full((4,), 7.0)}]
    seen, _ = run({"w": jnp.zeros((4,))}, {"w": ("embed",)}, gradients)
    np.testing.assert_allclose(seen[0]["w"], -1e-3 * 1e-2, rtol=1e-6)


def test_a_zero_gradient_changes_nothing_and_stays_finite():
    params = {"w": jnp.ones((2, 3, 4)), "s": jnp.ones((4,))}
    axes = {"w": ("layers", "embed", "mlp"), "s": ("embed",)}
    seen, _ = run(params, axes, [jax.tree.map(jnp.zeros_like, params)] * 2)
    assert bool(jnp.all(seen[-1]["w"] == 1.0)) and bool(jnp.all(seen[-1]["s"] == 1.0))


def test_the_step_offset_restarts_the_decay():
    # At t = 1 the decay is 0: the first gradient alone makes the second moment.
    optimizer = adafactor(1e-2, {"w": ("embed",)}, step_offset=1000)
    params = {"w": jnp.ones((4,))}
    state = optimizer.init(params)._replace(
        count=jnp.int32(1000), v={"w": jnp.full((4,), 1e6, jnp.float32)}
    )
    _, after = optimizer.update({"w": jnp.full((4,), 2.0)}, state, params)
    np.testing.assert_allclose(after.v["w"], 4.0)


def test_momentum_averages_the_updates():
    params, axes = {"w": jnp.ones((4,))}, {"w": ("embed",)}
    gradients = [{"w": jnp.ones((4,))}] * 2
    options = {"momentum": 0.9, "multiply_by_parameter_scale": False}
    seen, _ = run(params, axes, gradients, **options)
    # Updates are both -0.01, so momentum takes 0.1 and then 0.19 of them.
    np.testing.assert_allclose(seen[0]["w"], 1 - 0.001, rtol=1e-6)
    np.testing.assert_allclose(seen[1]["w"], 1 - 0.001 - 0.0019, rtol=1e-6)


def test_weight_decay_takes_its_share_of_a_parameter():
    params, axes = {"w": jnp.full((4,), 2.0)}, {"w": ("embed",)}
    seen, _ = run(params, axes, [{"w": jnp.zeros((4,))}], weight_decay_rate=0.25)
    np.testing.assert_allclose(seen[0]["w"], 1.5)


def test_the_schedule_is_asked_for_the_number_of_updates_before():
    optimizer = adafactor(
        lambda count: 0.5 + count, {"w": ("embed",)}, multiply_by_parameter_scale=False
    )
    params = {"w": jnp.ones((4,))}
    updates, state = optimizer.update({"w": jnp.ones((4,))}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.5)
    updates, _ = optimizer.update({"w": jnp.ones((4,))}, state, params)
    np.testing.assert_allclose(updates["w"], -1.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("axes", "shape", "row", "column"),
    [
        (("vocab", "embed"), (32128, 512), 1, 0),  # the larger of the two is the column
        (("embed", "mlp"), (512, 1024), 0, 1),
        (("relpos_buckets", "heads"), (32, 512), None, None),
        (("embed",), (512,), None, None),
        (("layers", "embed", "joined_kv"), (512, 8, 16), 1, 2),  # never over layers
        (("layers", "mlp", "embed"), (2, 16, 8), 2, 1),
        (("layers", "embed"), (24, 512), None, None),
    ],
)
def test_axes_are_chosen_by_name(axes, shape, row, column):
    how = factoring(axes, shape)
    assert (how.row, how.column) == (row, column)
    assert how.averaged == tuple(axis for axis, name in enumerate(axes) if name != "layers")


def test_factored_moments_take_the_room_of_a_row_and_a_column():
    params = {"w": jnp.ones((3, 8, 16))}
    state = adafactor(1e-3, {"w": ("layers", "embed", "mlp")}).init(params)
    assert state.v_row["w"].shape == (3, 8) and state.v_col["w"].shape == (3, 16)
    assert state.v["w"].shape == (1,)


def test_axis_names_of_another_model_are_refused():
    with pytest.raises(InputError, match="2 parameters, but axis names of 1"):
        adafactor(1e-3, {"w": ("embed",)}).init({"w": jnp.ones(3), "b": jnp.ones(3)})


T5X_AXES = {
    "table": ("vocab", "embed"),
    "stacked": ("embed", "layers", "mlp"),
    "scale": ("embed", "layers"),
    "norm": ("embed",),
    "relpos": ("heads", "relpos_buckets"),
}
T5X_SHAPES = {
    "table": (6, 4),
    "stacked": (4, 2, 5),
    "scale": (4, 2),
    "norm": (4,),
    "relpos": (2, 5),
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("default", {}),
        ("momentum", {"momentum": 0.9}),
        ("weight_decay", {"weight_decay_rate": 0.01}),
        ("absolute", {"multiply_by_parameter_scale": False, "clipping_threshold": None}),
    ],
)
def test_three_steps_are_those_that_t5x_made(name, settings):
    recorded = json.loads(Path(__file__).with_name("adafactor_of_t5x.json").read_text())[name]

    def values(seed):
        generator = np.random.default_rng(seed)
        drawn = {of: generator.standard_normal(shape) for of, shape in T5X_SHAPES.items()}
        return {of: jnp.asarray(value, jnp.float32) for of, value in drawn.items()}

    optimizer = adafactor(0.1, T5X_AXES, min_dim_size_to_factor=4, **settings)
    params = values(0)
    state = optimizer.init(params)
    for step in (1, 2, 3):
        updates, state = optimizer.update(values(step), state, params)
        params = optax.apply_updates(params, updates)
    for of in T5X_SHAPES:
        np.testing.assert_allclose(
            np.ravel(params[of]), recorded[of], rtol=1e-5, atol=1e-6, err_msg=of
        )


@pytest.mark.skipif(library.why_not() is not None, reason=str(library.why_not()))
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (("vocab", "embed"), (600, 128)),
        (("layers", "embed", "mlp"), (3, 130, 210)),
        (("layers", "mlp", "embed"), (2, 210, 200)),
    ],
)
def test_large_matrices_are_read_by_the_kernels_to_the_paper_s_result(axes, shape):
    random = np.random.default_rng(0)
    param = random.normal(size=shape)
    gradients = [random.normal(size=shape) * scale for scale in (1.0, 3.0, 1e-3)]
    optimizer = adafactor(1e-2, {"w": axes})
    lowered = jax.jit(optimizer.update).lower(
        {"w": jnp.zeros(shape)}, optimizer.init({"w": jnp.zeros(shape)}), {"w": jnp.zeros(shape)}
    )
    assert "instrux_scaled_squares" in lowered.as_text()
    seen, _ = run(
        as_float32({"w": param}), {"w": axes}, as_float32([{"w": each} for each in gradients])
    )
    got = seen[-1]["w"]
    layers = param if len(shape) == 3 else param[None]
    for layer, expected in enumerate(layers):
        moment = PaperMatrix(expected.shape)
        for time, gradient in enumerate(gradients, start=1):
            of_layer = gradient[layer] if len(shape) == 3 else gradient
            expected = paper_step(moment, expected, of_layer, time=time)
        ours = got[layer] if len(shape) == 3 else got
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-6)
