"""What runs on the devices: initialisation, the training step and evaluation, sharded and compiled."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from instrux.models import losses
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
    ) -> None:
        """Lays the state out on the mesh; nothing is compiled before it is used.

        Raises:
            InputError: the batch or a parameter does not divide by the mesh, or what is to be
                frozen does not fit the model.
        """
        meshes.check_batch_size(mesh, batch_size, settings.microbatches)
        settings.freezing.check(model.logical_axes())
        self.mesh = mesh
        self.batch_size = batch_size
        self.share = meshes.host_share(mesh, batch_size)
        self._batch_sharding = meshes.batch_sharding(mesh)
        self._seed = seed
        self._fresh_state = functools.partial(
            fresh_state, optimizer=optimizer, freezing=settings.freezing
        )
        self._init = functools.partial(
            init_state, model, optimizer, seed=seed, freezing=settings.freezing
        )
        shapes = jax.eval_shape(self._init)
        self._state_shardings = _state_shardings(mesh, model, shapes)
        self.abstract_state: TrainState = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            self._state_shardings,
        )
        copied = NamedSharding(mesh, PartitionSpec())
        self._step = jax.jit(
            make_train_step(model, optimizer, learning_rate, settings),
            donate_argnums=0,
            out_shardings=(self._state_shardings, copied),
        )
        self._evaluate = jax.jit(
            functools.partial(_evaluation_sums, model, z_loss=settings.z_loss), out_shardings=copied
        )

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
        self, state: TrainState, batch: Mapping[str, np.ndarray]
    ) -> tuple[TrainState, StepMetrics]:
        """Dispatches one update and returns at once; `state` must not be used again."""
        return self._call(self._step, state, self._place(batch))

    def evaluate(self, params: Any, batch: Mapping[str, np.ndarray]) -> losses.Loss:
        """Dispatches the loss of one batch without dropout; sums."""
        return self._call(self._evaluate, params, self._place(batch))

    def _place(self, batch: Mapping[str, np.ndarray]) -> Batch:
        return meshes.place_batch(self._batch_sharding, batch, self.batch_size)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with meshes.activate(self.mesh):
            return function(*arguments)


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
