"""Optimisers by description: plain dataclasses that gin can bind and a run can record.

A description does not know the parameters. `build` turns it into an Optax gradient transformation
for a learning rate schedule and the logical axes of a model's parameters.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import optax

from instrux.errors import InputError, did_you_mean
from instrux.training.adafactor import adafactor


class Optimizer(Protocol):
    """What the training loop asks of an optimiser's description."""

    def build(
        self, learning_rate: optax.Schedule, logical_axes: Mapping[str, Any]
    ) -> optax.GradientTransformation:
        """Gives the gradient transformation for parameters with these logical axes."""
        ...


@dataclass(frozen=True)
class Adafactor:
    """Adafactor with T5X's defaults; see `instrux.training.adafactor.adafactor` for the fields.

    `gradient_clip_norm` clips the global norm of the gradients first, None for no limit.
    """

    decay_rate: float = 0.8
    step_offset: int = 0
    multiply_by_parameter_scale: bool = True
    clipping_threshold: float | None = 1.0
    momentum: float | None = None
    weight_decay_rate: float | None = None
    min_dim_size_to_factor: int = 128
    epsilon1: float = 1e-30
    epsilon2: float = 1e-3
    gradient_clip_norm: float | None = None

    def build(
        self, learning_rate: optax.Schedule, logical_axes: Mapping[str, Any]
    ) -> optax.GradientTransformation:
        """Gives Adafactor for parameters with these logical axes."""
        built = adafactor(
            learning_rate,
            logical_axes,
            decay_rate=self.decay_rate,
            step_offset=self.step_offset,
            multiply_by_parameter_scale=self.multiply_by_parameter_scale,
            clipping_threshold=self.clipping_threshold,
            momentum=self.momentum,
            weight_decay_rate=self.weight_decay_rate,
            min_dim_size_to_factor=self.min_dim_size_to_factor,
            epsilon1=self.epsilon1,
            epsilon2=self.epsilon2,
        )
        return _clipped(built, self.gradient_clip_norm)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay, which spares scales and other vectors (one axis a layer).

    The betas are InstructGPT's (arXiv 2203.02155, appendix C); Tk-Instruct took 0.9 and 0.999.
    """

    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.0
    gradient_clip_norm: float | None = 1.0

    def build(
        self, learning_rate: optax.Schedule, logical_axes: Mapping[str, Any]
    ) -> optax.GradientTransformation:
        """Gives AdamW; a parameter with one axis beside `layers` is not decayed."""
        built = optax.adamw(
            learning_rate,
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            weight_decay=self.weight_decay,
            mask=_matrices(logical_axes),
        )
        return _clipped(built, self.gradient_clip_norm)


@dataclass(frozen=True)
class OptaxOptimizer:
    """Any optimiser that Optax has under `name`, such as `lion`, with its own keyword arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    gradient_clip_norm: float | None = None

    def build(
        self, learning_rate: optax.Schedule, logical_axes: Mapping[str, Any]
    ) -> optax.GradientTransformation:
        """Gives Optax's optimiser of this name.

        Raises:
            InputError: Optax has no optimiser of this name, or it refuses the arguments.
        """
        known = [name for name in dir(optax) if _is_optimizer(getattr(optax, name))]
        if self.name not in known:
            raise InputError(
                f"optimizer: Optax has no {self.name!r}.{did_you_mean(self.name, known)}"
            )
        try:
            built = getattr(optax, self.name)(learning_rate=learning_rate, **dict(self.arguments))
        except TypeError as error:
            raise InputError(f"optimizer: optax.{self.name} does not take {error}.") from error
        return _clipped(built, self.gradient_clip_norm)


def _is_optimizer(value: Any) -> bool:
    return inspect.isfunction(value) and "learning_rate" in inspect.signature(value).parameters


def _matrices(logical_axes: Any) -> Any:
    """True for every parameter with at least two axes beside `layers`; same tree."""
    if isinstance(logical_axes, tuple):
        return sum(name != "layers" for name in logical_axes) > 1
    return {name: _matrices(branch) for name, branch in logical_axes.items()}


def _clipped(
    built: optax.GradientTransformation, norm: float | None
) -> optax.GradientTransformation:
    return built if norm is None else optax.chain(optax.clip_by_global_norm(norm), built)
