"""What runs on the devices: initialisation, the training step and evaluation, sharded and compiled."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from instrux.data.packed_rows import TASK_IDS
from instrux.models import adapters, losses
from instrux.models.families import Model
from instrux.training import mesh as meshes
from instrux.training.train_step import (
    Batch,
    StepMetrics,
    StepSettings,
    TrainState,
    fresh_state,
    init_state,
    make_train_step,
)


class TaskLosses(NamedTuple):
    """Sums by task over target tokens, float32 `[tasks]` on the devices.

    Attributes:
        nll: negative log-likelihood.
        weight: number of tokens.
    """

    nll: jax.Array
    weight: jax.Array

    def plus(self, other: "TaskLosses") -> "TaskLosses":
        """The sums of both."""
        return TaskLosses(self.nll + other.nll, self.weight + other.weight)

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The loss a token of the tasks that have one, in the order of `names`."""
        nll, weight = jax.device_get(self)
        return {
            name: float(nll[number]) / float(weight[number])
            for number, name in enumerate(names)
            if weight[number] > 0
        }


class Program:
    """The compiled functions of one run on one mesh.

    Attributes:
        mesh: the mesh.
        abstract_state: shapes, dtypes and shardings of the state, as `jax.ShapeDtypeStruct`s.
        batch_size: rows of a global batch.
        share: which part of a batch this process reads.
    """

    def __init__(
        self,
        model: Model,
        optimizer: optax.GradientTransformation,
        learning_rate: optax.Schedule,
        *,
        mesh: Mesh,
        batch_size: int,
        settings: StepSettings,
        seed: int,
        base: Any = None,
    ) -> None:
        """Lays the state out on the mesh; nothing is compiled before it is used.

        Args:
            model: the model.
            optimizer: of the parameters that are trained.
            learning_rate: the optimiser's schedule, for the metrics.
            mesh: the mesh.
            batch_size: rows of a global batch.
            settings: how the loss is made.
            seed: of parameters and dropout.
            base: parameters, on the mesh, of a model whose adapters alone are the state; None
                where the state holds all.

        Raises:
            InputError: the batch or a parameter does not divide by the mesh, or what is to be
                frozen does not fit the model.
        """
        meshes.check_batch_size(mesh, batch_size, settings.microbatches)
        self._base = {} if base is None else base
        of_state = _with_base(model, self._base)
        settings.freezing.check(of_state.logical_axes())
        self.mesh = mesh
        self.batch_size = batch_size
        self.share = meshes.host_share(mesh, batch_size)
        self._batch_sharding = meshes.batch_sharding(mesh)
        self._seed = seed
        self._fresh_state = functools.partial(
            fresh_state, optimizer=optimizer, freezing=settings.freezing
        )
        self._init = functools.partial(
            init_state, of_state, optimizer, seed=seed, freezing=settings.freezing
        )
        shapes = jax.eval_shape(self._init)
        self._state_shardings = _state_shardings(mesh, of_state, shapes)
        self.abstract_state: TrainState = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            self._state_shardings,
        )
        copied = NamedSharding(mesh, PartitionSpec())

        def step(
            state: TrainState, batch: Batch, loss_limit: Any, base: Any
        ) -> tuple[TrainState, StepMetrics]:
            adapted = _with_base(model, base)
            train_step = make_train_step(adapted, optimizer, learning_rate, settings)
            return train_step(state, batch, loss_limit)

        def evaluate(params: Any, batch: Batch, base: Any) -> losses.Loss:
            adapted = _with_base(model, base)
            return _evaluation_sums(adapted, params, batch, z_loss=settings.z_loss)

        self._step = jax.jit(step, donate_argnums=0, out_shardings=(self._state_shardings, copied))
        self._evaluate = jax.jit(evaluate, out_shardings=copied)

        def task_losses(params: Any, batch: Batch, num_tasks: int, base: Any) -> Any:
            return _task_sums(_with_base(model, base), params, batch, num_tasks)

        self._task_losses = jax.jit(task_losses, static_argnums=2, out_shardings=copied)

    def init(self) -> TrainState:
        """The state at step 0 with random parameters, made in place on the devices."""
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        make = jax.jit(
            self._init,
            out_shardings=self._state_shardings,
            # It runs once: on a CPU optimising it takes longer than running it.
            compiler_options={"xla_backend_optimization_level": 0} if on_cpu else None,
        )
        return self._call(make)

    def start_from(self, params: Any) -> TrainState:
        """The state at step 0 with given parameters."""
        _, dropout_key = jax.random.split(jax.random.key(self._seed))
        make = jax.jit(
            lambda params: self._fresh_state(params, dropout_key=dropout_key),
            out_shardings=self._state_shardings,
        )
        return self._call(make, params)

    def step(
        self, state: TrainState, batch: Mapping[str, np.ndarray], loss_limit: float = math.inf
    ) -> tuple[TrainState, StepMetrics]:
        """Dispatches one update and returns at once; `state` must not be used again.

        A step whose loss is above `loss_limit` leaves the parameters as they were.
        """
        return self._call(self._step, state, self._place(batch), np.float32(loss_limit), self._base)

    def compile_step(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> jax.stages.Compiled:
        """Compiles the step for global batches of these shapes and runs nothing, for its memory."""
        placed = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self._batch_sharding)
            for name, leaf in batch.items()
        }
        with meshes.activate(self.mesh):
            lowered = self._step.lower(
                self.abstract_state, placed, jax.ShapeDtypeStruct((), jnp.float32), self._base
            )
            return lowered.compile()

    def evaluate(self, params: Any, batch: Mapping[str, np.ndarray]) -> losses.Loss:
        """Dispatches the loss of one batch without dropout; sums."""
        return self._call(self._evaluate, params, self._place(batch), self._base)

    def task_losses(
        self, params: Any, batch: Mapping[str, np.ndarray], task_ids: np.ndarray, num_tasks: int
    ) -> "TaskLosses":
        """Dispatches the loss of one batch by task, without dropout.

        Args:
            params: the parameters.
            batch: the batch's features.
            task_ids: int `[batch, length]`, the task of every target position, -1 for none.
            num_tasks: task ids are below it.
        """
        placed = self._place({**batch, TASK_IDS: task_ids})
        return TaskLosses(*self._call(self._task_losses, params, placed, num_tasks, self._base))

    def _place(self, batch: Mapping[str, np.ndarray]) -> Batch:
        return meshes.place_batch(self._batch_sharding, batch, self.batch_size)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with meshes.activate(self.mesh):
            return function(*arguments)


def _with_base(model: Model, base: Any) -> Any:
    """The model of the state's parameters: the whole one, or its adapters beside a base."""
    return adapters.Adapted(model, base) if base else model


def _state_shardings(mesh: Mesh, model: Model, shapes: TrainState) -> TrainState:
    copied = NamedSharding(mesh, PartitionSpec())
    params = meshes.parameter_shardings(mesh, model.logical_axes(), shapes.params)
    return TrainState(
        step=copied,  # pyright: ignore[reportArgumentType]
        params=params,
        optimizer_state=meshes.optimizer_shardings(
            mesh, shapes.optimizer_state, params, shapes.params
        ),
        key=copied,  # pyright: ignore[reportArgumentType]
    )


def _evaluation_sums(model: Model, params: Any, batch: Batch, *, z_loss: float) -> losses.Loss:
    sums = losses.loss(
        model, params, dict(batch), z_loss=z_loss, label_smoothing=0.0, dropout_key=None
    )
    return jax.tree.map(lambda value: value.astype(jnp.float32), sums)


def _task_sums(
    model: Model, params: Any, batch: Batch, num_tasks: int
) -> tuple[jax.Array, jax.Array]:
    features = dict(batch)
    task_ids = features.pop(TASK_IDS)
    hidden, targets, weights = model.loss_inputs(params, features, dropout_key=None)
    hidden, kernel = model.logits_projection(params, hidden)
    found = losses.log_probabilities(
        hidden, kernel, targets, chunk_mib=model.config.logits_chunk_mib
    )
    # Padding's id is -1; its weight is 0, so that it may count for any task.
    ids = jnp.maximum(task_ids, 0).ravel()
    sums = (
        jax.ops.segment_sum((values * weights).ravel(), ids, num_segments=num_tasks)
        for values in (-found, jnp.ones_like(found))
    )
    nll, weight = sums
    return nll, weight
