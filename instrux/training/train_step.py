"""One update of the parameters, as a pure function of a state and a batch.

Axes: batch, length. A batch is a dictionary of int32 arrays `[batch, length]` with SeqIO's feature
names (`encoder_input_tokens`, `decoder_target_tokens`, ...).
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from instrux.errors import InputError
from instrux.models import losses
from instrux.models.families import Model
from instrux.training.freezing import TRAIN_ALL, Freezing

Batch = Mapping[str, jax.Array]
Scalar = Any
"""A float32 scalar on the devices; a float once it was read."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "optimizer_state", "key"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TrainState:
    """All that changes from step to step.

    Attributes:
        step: updates made so far, int32 scalar.
        params: nested dictionaries of float32 arrays.
        optimizer_state: what the optimiser's `init` gave, updated.
        key: raw data of the key that dropout keys are folded from, uint32 `[2]`; it never changes.
    """

    step: jax.Array
    params: Any
    optimizer_state: Any
    key: jax.Array


@dataclass(frozen=True)
class StepSettings:
    """How the loss of a step is made.

    Attributes:
        microbatches: equal parts of the batch whose gradients are added up one after the other.
        z_loss: weight of the squared log of the softmax's normaliser; 1e-4 in T5X.
        label_smoothing: probability mass spread over the whole vocabulary.
        dropout: whether the model's dropout is on.
        on_nonfinite: `stop` ends the run at a loss or gradient that is not finite; `skip` leaves
            the parameters as they were and goes on; `roll_back` goes back to the last checkpoint
            and on with the batches behind the bad one.
        freezing: which parameters are trained.
    """

    microbatches: int = 1
    z_loss: float = 1e-4
    label_smoothing: float = 0.0
    dropout: bool = True
    on_nonfinite: Literal["stop", "skip", "roll_back"] = "stop"
    freezing: Freezing = TRAIN_ALL

    def __post_init__(self) -> None:
        if self.on_nonfinite not in ("stop", "skip", "roll_back"):
            raise InputError(
                f"on_nonfinite is {self.on_nonfinite!r}; choose 'stop', 'skip' or 'roll_back' (a step"
                " whose loss is not finite)."
            )
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"label_smoothing is {self.label_smoothing}; it is a share, 0 to below 1."
            )
        if self.z_loss < 0:
            raise InputError(f"z_loss is {self.z_loss}; it must be 0 or more.")


class StepMetrics(NamedTuple):
    """What a step tells, float32 scalars.

    Attributes:
        loss: what was minimised, z-loss included, per weighted target token, in nats.
        z_loss: the z-loss's part of it.
        accuracy: share of target tokens that the model ranks first.
        gradient_norm: global L2 norm of the gradient of `loss`.
        parameter_norm: global L2 norm of the parameters before the update.
        learning_rate: the schedule's value.
        encoder_tokens: input positions that hold a token; for a decoder-only model those of
            prompts.
        decoder_tokens: target positions that hold a token.
        padding_share: share of all positions that hold padding.
        finite: 1.0 where loss and gradient were finite, else 0.0.
        kept: 1.0 where the parameters were updated: the step is finite, and its loss at most the
            limit.
    """

    loss: Scalar
    z_loss: Scalar
    accuracy: Scalar
    gradient_norm: Scalar
    parameter_norm: Scalar
    learning_rate: Scalar
    encoder_tokens: Scalar
    decoder_tokens: Scalar
    padding_share: Scalar
    finite: Scalar
    kept: Scalar


TrainStep = Callable[..., tuple[TrainState, StepMetrics]]


def init_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    freezing: Freezing = TRAIN_ALL,
) -> TrainState:
    """Random parameters and a fresh optimiser state; a function of the seed alone."""
    init_key, dropout_key = jax.random.split(jax.random.key(seed))
    return fresh_state(model.init(init_key), optimizer, dropout_key, freezing=freezing)


def fresh_state(
    params: Any,
    optimizer: optax.GradientTransformation,
    dropout_key: jax.Array,
    *,
    freezing: Freezing = TRAIN_ALL,
) -> TrainState:
    """The state at step 0 for given parameters; what is frozen has no optimiser state."""
    return TrainState(
        step=jnp.zeros([], jnp.int32),
        params=params,
        optimizer_state=optimizer.init(freezing.trained(params)),
        key=jax.random.key_data(dropout_key),
    )


def make_train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    settings: StepSettings,
) -> TrainStep:
    """Gives the function `(state, batch, loss_limit) -> (state, metrics)`, to be jitted.

    A step whose loss is above `loss_limit` leaves the parameters as they were; without it there is
    no limit.
    The optimiser is one for the parameters that `settings.freezing` says are trained.
    """
    freezing = settings.freezing

    def train_step(
        state: TrainState, batch: Batch, loss_limit: Scalar = jnp.inf
    ) -> tuple[TrainState, StepMetrics]:
        gradients, sums = loss_and_gradients(
            model, state.params, batch, settings=settings, key=_step_key(state)
        )
        weight = jnp.maximum(sums.weight, 1.0)
        gradients = jax.tree.map(lambda gradient: gradient / weight, gradients)
        gradient_norm = optax.global_norm(gradients)
        loss = sums.total / weight
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
        kept = finite & (loss <= loss_limit)
        trained = freezing.trained(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, trained)
        updated = _choose(kept, optax.apply_updates(trained, updates), trained)
        encoder_tokens, decoder_tokens, positions = _count_tokens(batch)
        metrics = StepMetrics(
            loss=loss,
            z_loss=sums.z_loss / weight,
            accuracy=sums.correct / weight,
            gradient_norm=gradient_norm,
            parameter_norm=optax.global_norm(state.params),
            learning_rate=jnp.asarray(learning_rate(state.step), jnp.float32),
            encoder_tokens=encoder_tokens,
            decoder_tokens=decoder_tokens,
            padding_share=1.0 - (encoder_tokens + decoder_tokens) / positions,
            finite=finite.astype(jnp.float32),
            kept=kept.astype(jnp.float32),
        )
        new_state = TrainState(
            step=state.step + 1,
            params=freezing.joined(updated, state.params),
            optimizer_state=_choose(kept, optimizer_state, state.optimizer_state),
            key=state.key,
        )
        return new_state, metrics

    return train_step


def loss_and_gradients(
    model: Model, params: Any, batch: Batch, *, settings: StepSettings, key: jax.Array
) -> tuple[Any, losses.Loss]:
    """Sums (not means) of the gradients and of the loss over all microbatches of a batch.

    The gradients' tree is that of the parameters that are trained.
    """
    count, freezing = settings.microbatches, settings.freezing

    def gradient_of(part: Batch, number: Any) -> tuple[Any, losses.Loss]:
        def total(trained: Any) -> tuple[jax.Array, losses.Loss]:
            loss = losses.loss(
                model,
                freezing.joined(trained, params),
                dict(part),
                z_loss=settings.z_loss,
                label_smoothing=settings.label_smoothing,
                dropout_key=jax.random.fold_in(key, number) if settings.dropout else None,
            )
            return loss.total, loss

        differentiated = jax.value_and_grad(total, has_aux=True)
        (_, loss), gradients = differentiated(freezing.trained(params))
        return gradients, loss

    if count == 1:
        return gradient_of(batch, 0)
    parts = jax.tree.map(lambda rows: _split_rows(rows, count), dict(batch))

    def add(carry: Any, part_and_number: tuple[Batch, jax.Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, carry, gradient_of(*part_and_number)), None

    shapes = jax.eval_shape(gradient_of, {name: rows[0] for name, rows in parts.items()}, 0)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(add, zeros, (parts, jnp.arange(count)))[0]


def _split_rows(rows: jax.Array, count: int) -> jax.Array:
    """`[batch, length]` to `[count, batch / count, length]`.

    Microbatch i takes every `count`-th row from i: where rows are split over devices, each device
    then holds its share of every microbatch and nothing travels.
    """
    return rows.reshape(rows.shape[0] // count, count, *rows.shape[1:]).swapaxes(0, 1)


def _step_key(state: TrainState) -> jax.Array:
    return jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)


def _count_tokens(batch: Batch) -> tuple[jax.Array, jax.Array, int]:
    """Tokens of inputs and of targets, and all positions."""
    targets = batch["decoder_target_tokens"]
    if "encoder_input_tokens" in batch:
        inputs = batch["encoder_input_tokens"]
        return _count(inputs), _count(targets), inputs.size + targets.size
    held = _count(batch["decoder_segment_ids"])
    of_targets = _count(batch["decoder_loss_weights"])
    return held - of_targets, of_targets, targets.size


def _count(tokens: jax.Array) -> jax.Array:
    return jnp.sum(tokens != 0).astype(jnp.float32)


def _choose(kept: jax.Array, new: Any, old: Any) -> Any:
    """The new tree where the step is kept, else the old one with the new counts.

    Counts (integers) go on, so that schedules keep pace with the step number.
    """

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return new if jnp.issubdtype(new.dtype, jnp.integer) else jnp.where(kept, new, old)

    return jax.tree.map(choose, new, old)
