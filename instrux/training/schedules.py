"""Learning rate schedules: functions from a step number to a learning rate.

A step number counts the updates made before it, so the first update asks for step 0. Every function
here returns an Optax schedule, which any optimiser of `instrux.training.optimizers` takes.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from instrux.errors import InputError, did_you_mean


def constant(value: float = 1e-3) -> optax.Schedule:
    """The same learning rate at every step; 1e-3 is T0's (arXiv 2110.08207, section 5)."""
    return optax.constant_schedule(_positive("value", value))


def linear_warmup(peak: float, warmup_steps: int) -> optax.Schedule:
    """Rises in a straight line from 0 to `peak` over `warmup_steps`, then stays."""
    _not_negative("warmup_steps", warmup_steps)
    return optax.warmup_constant_schedule(0.0, _positive("peak", peak), warmup_steps)


def linear_decay(
    peak: float, *, total_steps: int, warmup_steps: int = 0, floor_share: float = 0.0
) -> optax.Schedule:
    """Warms up to `peak`, then falls in a straight line to `floor_share * peak` at `total_steps`."""
    _check_span(total_steps, warmup_steps, floor_share)
    falling = optax.linear_schedule(
        _positive("peak", peak), peak * floor_share, total_steps - warmup_steps
    )
    return _after_warmup(falling, peak=peak, warmup_steps=warmup_steps)


def inverse_square_root(scale: float = 1.0, *, warmup_steps: int = 10_000) -> optax.Schedule:
    """`scale / sqrt(max(step, warmup_steps))`, T5's pre-training schedule (arXiv 1910.10683, 3.1.2)."""
    if warmup_steps < 1:
        raise InputError(
            f"inverse_square_root: warmup_steps is {warmup_steps}; it must be 1 or more."
        )
    _positive("scale", scale)
    return lambda step: scale / jnp.sqrt(jnp.maximum(jnp.asarray(step, jnp.float32), warmup_steps))


def cosine(
    peak: float, *, total_steps: int, warmup_steps: int = 0, floor_share: float = 0.1
) -> optax.Schedule:
    """Warms up to `peak`, then falls along half a cosine to `floor_share * peak` at `total_steps`.

    With no warm-up and a floor of a tenth it is InstructGPT's SFT schedule (arXiv 2203.02155,
    appendix C.1).
    """
    _check_span(total_steps, warmup_steps, floor_share)
    falling = optax.cosine_decay_schedule(
        _positive("peak", peak), total_steps - warmup_steps, alpha=floor_share
    )
    return _after_warmup(falling, peak=peak, warmup_steps=warmup_steps)


def factors(
    product: str = "constant * linear_warmup * rsqrt_decay",
    *,
    base_learning_rate: float = 0.5,
    warmup_steps: int = 1000,
    decay_factor: float = 0.5,
    steps_per_decay: int = 20_000,
    steps_per_cycle: int = 100_000,
    step_offset: int = 0,
    min_learning_rate: float = 1e-8,
) -> optax.Schedule:
    """T5X's `create_learning_rate_scheduler`: a product of factors, for its users' gin files.

    With s the step less `step_offset` (0 at least) and w the warm-up steps: `constant` is the base
    rate; `linear_warmup` is min(1, s / w); `linear_decay` is the base rate times
    min(s / w, 1 + decay_factor * (w - s)); `rsqrt_decay` is 1 / sqrt(max(s, w)), and
    `rsqrt_normalized_decay` that times sqrt(w); `decay_every` is decay_factor to the power of
    s // steps_per_decay; `cosine_decay` is a cosine from 1 to 0 in every cycle after the warm-up.
    The rate is never below `min_learning_rate`.

    Raises:
        InputError: there is no such factor.
    """
    names = [name.strip() for name in product.split("*")]
    if warmup_steps < 1:
        raise InputError(f"factors: warmup_steps is {warmup_steps}; it must be 1 or more.")

    def each(step: jax.Array) -> dict[str, jax.Array]:
        flat = 1.0 / jnp.sqrt(jnp.maximum(step, warmup_steps))
        cycle = jnp.maximum(0.0, (step - warmup_steps) / steps_per_cycle) % 1.0
        falling = 1.0 + decay_factor * (warmup_steps - step)
        return {
            "constant": jnp.float32(base_learning_rate),
            "linear_warmup": jnp.minimum(1.0, step / warmup_steps),
            "linear_decay": base_learning_rate * jnp.minimum(step / warmup_steps, falling),
            "rsqrt_decay": flat,
            "rsqrt_normalized_decay": flat * jnp.sqrt(jnp.float32(warmup_steps)),
            "decay_every": decay_factor ** (step // steps_per_decay),
            "cosine_decay": 0.5 * (1.0 + jnp.cos(jnp.pi * cycle)),
        }

    known = each(jnp.float32(1))
    for name in names:
        if name not in known:
            raise InputError(
                f"factors: there is no factor {name!r}.{did_you_mean(name, known)} There are:"
                f" {', '.join(known)}."
            )

    def schedule(step: Any) -> jax.Array:
        values = each(jnp.maximum(jnp.asarray(step, jnp.float32) - step_offset, 0.0))
        rate = math.prod((values[name] for name in names), start=jnp.float32(1.0))
        return jnp.maximum(rate, min_learning_rate)

    return schedule


def _after_warmup(schedule: optax.Schedule, *, peak: float, warmup_steps: int) -> optax.Schedule:
    if warmup_steps == 0:
        return schedule
    rising = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([rising, schedule], [warmup_steps])


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise InputError(f"learning rate schedule: {name} is {value}; it must be above 0.")
    return value


def _not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise InputError(f"learning rate schedule: {name} is {value}; it must be 0 or more.")


def _check_span(total_steps: int, warmup_steps: int, floor_share: float) -> None:
    _not_negative("warmup_steps", warmup_steps)
    if total_steps <= warmup_steps:
        raise InputError(
            f"learning rate schedule: total_steps is {total_steps} and warmup_steps {warmup_steps};"
            " the warm-up must end before the schedule does."
        )
    if not 0 <= floor_share <= 1:
        raise InputError(
            f"learning rate schedule: floor_share is {floor_share}; it is a share of the peak, 0 to 1."
        )
