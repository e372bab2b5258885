"""Adafactor (Shazeer & Stern 2018, arXiv 1804.04235) as T5X applies it to named parameters.

The second moment of a matrix is kept as its row means and its column means. Which two axes of a
parameter are row and column is read from its logical axis names, never guessed for stacked
parameters: an axis of scanned `layers` is neither, and every layer gets a clipping threshold and a
parameter scale of its own, as if the layers were separate parameters.

Facts taken over from T5X so that runs compare: a parameter without a layers axis is factored over
its two largest axes if both have at least `min_dim_size_to_factor` entries; a stacked one is
factored over `embed` (row) and the other axis (column) whatever its size; scales, biases and
relative-position tables are not factored.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from instrux.errors import InputError
from instrux.models.cpu_kernels import calls, library

STACKED_AXES = frozenset({"layers"})
ROW_AXES = frozenset({"embed"})
COLUMN_AXES = frozenset({"vocab", "mlp", "heads", "kv", "joined_kv"})

# Numbers in an array from which its passes through memory cost more than a call.
_LARGE = 2**16
_UNUSED = (1,)  # shape of a moment that a parameter does not need; some stores refuse empty arrays


class Factoring(NamedTuple):
    """How the second moment of one parameter is kept.

    Attributes:
        row: the axis whose means are `v_row`'s entries, or None where the moment is not factored.
        column: the axis whose means are `v_col`'s entries, or None.
        averaged: the axes that root mean squares are taken over: all but the stacked ones.
    """

    row: int | None
    column: int | None
    averaged: tuple[int, ...]


class AdafactorState(NamedTuple):
    """Optimiser state: each tree has the parameters' structure, float32.

    Attributes:
        count: updates made so far, int32 scalar.
        v_row: mean squares over the column axis; `[1]` where not factored.
        v_col: mean squares over the row axis; `[1]` where not factored.
        v: the full second moment; `[1]` where factored.
        m: momentum of the updates, or None without momentum.
    """

    count: jax.Array
    v_row: Any
    v_col: Any
    v: Any
    m: Any


class _Leaf(NamedTuple):
    update: jax.Array
    v_row: jax.Array
    v_col: jax.Array
    v: jax.Array
    m: jax.Array | None


def factoring(
    axes: tuple[str | None, ...], shape: tuple[int, ...], *, min_dim_size_to_factor: int = 128
) -> Factoring:
    """Chooses the axes to factor a parameter over, from its logical axis names and its shape."""
    averaged = tuple(axis for axis, name in enumerate(axes) if name not in STACKED_AXES)
    if len(averaged) == len(axes):
        if len(shape) < 2:
            return Factoring(None, None, averaged)
        row, column = (int(axis) for axis in np.argsort(shape, kind="stable")[-2:])
        if shape[row] < min_dim_size_to_factor:
            return Factoring(None, None, averaged)
        return Factoring(row, column, averaged)
    rows = [axis for axis in averaged if axes[axis] in ROW_AXES]
    columns = [axis for axis in averaged if axes[axis] in COLUMN_AXES]
    if len(rows) == 1 and len(columns) == 1 and len(averaged) == 2:
        return Factoring(rows[0], columns[0], averaged)
    return Factoring(None, None, averaged)


def adafactor(
    learning_rate: optax.ScalarOrSchedule,
    logical_axes: Mapping[str, Any],
    *,
    decay_rate: float = 0.8,
    step_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    momentum: float | None = None,
    weight_decay_rate: float | None = None,
    min_dim_size_to_factor: int = 128,
    epsilon1: float = 1e-30,
    epsilon2: float = 1e-3,
) -> optax.GradientTransformation:
    """Builds Adafactor for parameters with the given logical axes.

    Args:
        learning_rate: the relative step size, or a schedule of it.
        logical_axes: for every parameter a tuple of axis names, as `model.logical_axes()` gives.
        decay_rate: the second moment at the t-th update (from 1) decays by `1 - t**-decay_rate`.
        step_offset: subtracted from the update count before the decay is computed; set it to the
            step where fine-tuning starts when the optimiser state goes on counting from there.
        multiply_by_parameter_scale: whether a step is relative to the parameter's root mean square.
        clipping_threshold: largest root mean square of an update before scaling, None for no limit.
        momentum: decay of the first moment of the updates, None to keep none.
        weight_decay_rate: share of every parameter taken off at a step, as in T5X not multiplied
            by the learning rate.
        min_dim_size_to_factor: see the module's docstring.
        epsilon1: added to squared gradients.
        epsilon2: the smallest parameter scale.

    Returns:
        A gradient transformation; its `update` needs the parameters.
    """

    def plan(params: Any) -> list[Factoring]:
        leaves = jax.tree.leaves(params)
        axes = jax.tree.leaves(logical_axes, is_leaf=lambda node: isinstance(node, tuple))
        if len(axes) != len(leaves):
            raise InputError(f"adafactor: {len(leaves)} parameters, but axis names of {len(axes)}.")
        return [
            factoring(name, leaf.shape, min_dim_size_to_factor=min_dim_size_to_factor)
            for name, leaf in zip(axes, leaves, strict=True)
        ]

    def init(params: Any) -> AdafactorState:
        leaves, structure = jax.tree.flatten(params)
        moments = [
            _moments(leaf.shape, how) for leaf, how in zip(leaves, plan(params), strict=True)
        ]
        v_row, v_col, v = (structure.unflatten(column) for column in zip(*moments, strict=True))
        m = None if momentum is None else jax.tree.map(jnp.zeros_like, params)
        return AdafactorState(jnp.zeros([], jnp.int32), v_row, v_col, v, m)

    def update_leaf(
        gradient: jax.Array,
        param: jax.Array,
        how: Factoring,
        decay: jax.Array,
        rate: jax.Array,
        moments: tuple[jax.Array, jax.Array, jax.Array, jax.Array | None],
    ) -> _Leaf:
        v_row, v_col, v, m = moments
        gradient, param = gradient.astype(jnp.float32), param.astype(jnp.float32)
        direction, (v_row, v_col, v), of_direction = _normalised(
            gradient, how, decay, epsilon1, (v_row, v_col, v)
        )
        if clipping_threshold is not None:
            direction = direction / jnp.maximum(1.0, of_direction() / clipping_threshold)
        if multiply_by_parameter_scale:
            rate = rate * jnp.maximum(_root_mean_square(param, how), epsilon2)
        update = -rate * direction
        if m is not None and momentum is not None:
            update = m = momentum * m + (1.0 - momentum) * update
        if weight_decay_rate is not None:
            update = update - weight_decay_rate * param
        return _Leaf(update, v_row, v_col, v, m)

    def update(
        gradients: Any, state: AdafactorState, params: Any = None
    ) -> tuple[Any, AdafactorState]:
        if params is None:
            raise ValueError("adafactor: update needs the parameters")
        time = jnp.asarray(state.count - step_offset, jnp.float32) + 1.0
        decay = 1.0 - time ** (-decay_rate)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        leaves, structure = jax.tree.flatten(gradients)
        flat = [jax.tree.leaves(tree) for tree in (params, state.v_row, state.v_col, state.v)]
        flat.append([None] * len(leaves) if state.m is None else jax.tree.leaves(state.m))
        done = [
            update_leaf(gradient, param, how, decay, jnp.asarray(rate, jnp.float32), tuple(moments))
            for gradient, how, param, *moments in zip(leaves, plan(params), *flat, strict=True)
        ]
        updates, v_row, v_col, v, m = (
            structure.unflatten(part) for part in zip(*done, strict=True)
        )
        kept = None if state.m is None else m
        return updates, AdafactorState(state.count + 1, v_row, v_col, v, kept)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _moments(shape: tuple[int, ...], how: Factoring) -> tuple[jax.Array, jax.Array, jax.Array]:
    def zeros(of: tuple[int, ...]) -> jax.Array:
        return jnp.zeros(of, jnp.float32)

    if how.row is None or how.column is None:
        return zeros(_UNUSED), zeros(_UNUSED), zeros(shape)
    return zeros(_without(shape, how.column)), zeros(_without(shape, how.row)), zeros(_UNUSED)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _root_mean_square(array: jax.Array, how: Factoring) -> jax.Array:
    if _in_one_pass(array, how):
        total = jnp.sum(calls.squares(array)[0], axis=-1)
        return _mean_root(total, array)
    return jnp.sqrt(jnp.mean(jnp.square(array), axis=how.averaged, keepdims=True))


def _mean_root(total: jax.Array, array: jax.Array) -> jax.Array:
    """The root of a sum of squares over the last two axes, divided by their size; those axes are 1."""
    return jnp.sqrt(total / (array.shape[-2] * array.shape[-1]))[..., None, None]


def _in_one_pass(array: jax.Array, how: Factoring) -> bool:
    """Whether the CPU kernels read the array: XLA's CPU compiler writes its squares to memory first."""
    last = (array.ndim - 2, array.ndim - 1)
    matrices = how.averaged == last and {how.row, how.column} == set(last)
    return matrices and array.size >= _LARGE and library.available()


def _mean_squares(
    gradient: jax.Array, how: Factoring, epsilon1: float
) -> tuple[jax.Array, jax.Array]:
    """Means over the column axis and over the row axis of the squares, `epsilon1` added to each."""
    if not _in_one_pass(gradient, how):
        squared = jnp.square(gradient) + epsilon1
        return jnp.mean(squared, axis=how.column), jnp.mean(squared, axis=how.row)
    over_last, over_first = calls.squares(gradient)
    over_last, over_first = (
        over_last / gradient.shape[-1] + epsilon1,
        over_first / gradient.shape[-2] + epsilon1,
    )
    return (over_last, over_first) if how.column == gradient.ndim - 1 else (over_first, over_last)


def _normalised(
    gradient: jax.Array,
    how: Factoring,
    decay: jax.Array,
    epsilon1: float,
    moments: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array], Callable[[], jax.Array]]:
    """Divides a gradient by the root of its second moment (algorithm 4).

    Returns:
        The quotient, the new moments, and a function that gives the quotient's root mean square.
    """
    v_row, v_col, v = moments
    if how.row is None or how.column is None:
        v = decay * v + (1.0 - decay) * (jnp.square(gradient) + epsilon1)
        direction = gradient * jax.lax.rsqrt(v)
        return direction, (v_row, v_col, v), lambda: _root_mean_square(direction, how)
    mean_row, mean_col = _mean_squares(gradient, how, epsilon1)
    v_row = decay * v_row + (1.0 - decay) * mean_row
    v_col = decay * v_col + (1.0 - decay) * mean_col
    row = jnp.expand_dims(v_row, how.column)
    column = jnp.expand_dims(v_col, how.row)
    # The outer product of both means over their common total; divided first, so that a product of
    # two tiny means cannot underflow.
    row = jax.lax.rsqrt(row / jnp.mean(row, axis=how.row, keepdims=True))
    column = jax.lax.rsqrt(column)
    direction = gradient * row * column

    def of_direction() -> jax.Array:
        if not _in_one_pass(gradient, how):
            return _root_mean_square(direction, how)
        of_rows = how.column == gradient.ndim - 1
        factors = (row, column) if of_rows else (column, row)
        return _mean_root(calls.scaled_squares(gradient, factors[0], factors[1]), gradient)

    return direction, (v_row, v_col, v), of_direction
