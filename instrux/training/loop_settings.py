"""What the training loop is given: where batches come from, and when to do what."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instrux.errors import InputError
from instrux.training.profiling import ProfileSteps
from instrux.training.spikes import TELL_SPIKES, Spikes


class BatchSource(Protocol):
    """Training data: batch k is a function of the data, the seed and k.

    A packed set's `batches` also takes `task_ids`, which adds the task of every target token.
    """

    def batches(
        self,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Gives this process's rows of the batches from `start_step` on, for ever."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """When the loop does what.

    Attributes:
        train_steps: updates of the whole run.
        seed: of the data's order; parameters and dropout have it from `Program`.
        checkpoint_every_steps: steps between checkpoints; the last step always has one.
        keep_checkpoints: how many of the newest stay.
        keep_every_steps: checkpoints at its multiples stay for ever, None for none.
        log_every_steps: steps between lines of metrics; the first and the last have one.
        eval_every_steps: steps between evaluations of the loss, None for none.
        eval_batches: batches of one such evaluation.
        max_seconds: training time of the whole run after which it ends early, None for no limit.
        max_skipped_steps: with `skip`, so many steps in a row that are left out end the run.
        max_roll_backs: with `roll_back`, so many without a checkpoint in between end the run.
        spikes: which losses are out of line, and what is done then; None does not look.
        task_loss_every_steps: steps between measurements of the loss by task on the training
            batch, a forward pass each; None for none.
        eval_by_task: whether evaluations tell the loss by task too, a forward pass more.
        profile: steps to profile, None for none but those asked for while the run goes on.
        tensorboard: whether to write TensorBoard events.
    """

    train_steps: int
    seed: int = 0
    checkpoint_every_steps: int = 1000
    keep_checkpoints: int = 1
    keep_every_steps: int | None = None
    log_every_steps: int = 10
    eval_every_steps: int | None = None
    eval_batches: int = 10
    max_seconds: float | None = None
    max_skipped_steps: int = 20
    max_roll_backs: int = 3
    spikes: Spikes | None = TELL_SPIKES
    task_loss_every_steps: int | None = None
    eval_by_task: bool = False
    profile: ProfileSteps | None = None
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name in (
            "train_steps",
            "checkpoint_every_steps",
            "log_every_steps",
            "eval_every_steps",
            "eval_batches",
            "max_skipped_steps",
            "max_roll_backs",
            "task_loss_every_steps",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds is {self.max_seconds}; it must be above 0, or None.")


@dataclass(frozen=True, kw_only=True)
class EvalSet:
    """Held-out rows whose loss is measured during training.

    Attributes:
        source: the rows, read from their start at every evaluation.
        tasks: names of its tasks in the order of their numbers, empty where it tells none.
        batches: how many are read; the settings' `eval_batches` where None.
    """

    source: BatchSource
    tasks: tuple[str, ...] = ()
    batches: int | None = None
