"""The training loop: batches in, updates dispatched, metrics logged, checkpoints written.

The loop dispatches step n+1 before it reads the metrics of step n, so the device never waits for
the host; it reads every step's metrics all the same, one step late, and notices a loss that is not
finite before anything of it is saved.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils

from instrux.errors import InputError
from instrux.progress import Progress, duration, tell
from instrux.training.checkpoints import Checkpoints, Position
from instrux.training.flops import StepFlops
from instrux.training.metrics_log import MetricsLog
from instrux.training.program import Program
from instrux.training.signals import StopSignal
from instrux.training.train_step import StepMetrics, TrainState

_AGREE_EVERY_STEPS = 16  # how often several processes ask each other whether to stop


class NonFiniteLossError(InputError):
    """The loss or a gradient is not finite; nothing of the step was kept."""


class BatchSource(Protocol):
    """Training data: batch k is a function of the data, the seed and k."""

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
        max_skipped_steps: with `skip`, so many steps in a row that are not finite end the run.
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
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name in (
            "train_steps",
            "checkpoint_every_steps",
            "log_every_steps",
            "eval_every_steps",
            "eval_batches",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds is {self.max_seconds}; it must be above 0, or None.")


class TrainResult(NamedTuple):
    """How a session of a run ended.

    Attributes:
        step: updates made in all.
        stopped: why it ended: `train_steps` or `max_seconds` reached (the run is complete), or a
            `signal` (a checkpoint was written; the same command goes on).
        seconds: training time of the run so far, all sessions.
        loss: the last loss read, None where no step was made.
        signal: the signal's number, where that ended it.
    """

    step: int
    stopped: Literal["train_steps", "max_seconds", "signal"]
    seconds: float
    loss: float | None = None
    signal: int | None = None


class _Dispatched(NamedTuple):
    step: int
    metrics: StepMetrics
    evaluation: Any  # sums on the devices, or None


class Session:
    """One process's stretch of a run, from a restored state to its end."""

    def __init__(
        self,
        program: Program,
        settings: LoopSettings,
        checkpoints: Checkpoints,
        *,
        model_dir: Path,
        state: TrainState,
        position: Position,
        on_nonfinite: Literal["stop", "skip"],
        flops: StepFlops,
        peak_flops_per_second: float | None,
        eval_source: BatchSource | None = None,
    ) -> None:
        """Takes up a run.

        Args:
            program: the compiled functions.
            settings: when to do what.
            checkpoints: where checkpoints go.
            model_dir: the run's folder.
            state: the state to go on from.
            position: where the run stands.
            on_nonfinite: what a step does whose loss is not finite.
            flops: cost of a position.
            peak_flops_per_second: of all devices together, None where unknown.
            eval_source: held-out rows, read from their start at every evaluation.
        """
        self._program, self._settings, self._checkpoints = program, settings, checkpoints
        self._state, self._on_nonfinite = state, on_nonfinite
        self._flops, self._peak = flops, peak_flops_per_second
        self._eval_source = eval_source
        self._step = position.batches_read
        self._seconds_before = position.seconds
        self._log = None
        if jax.process_index() == 0:
            self._log = MetricsLog(
                model_dir, resumed_at=self._step, tensorboard=settings.tensorboard
            )
        self._saved_step = self._step if self._step else None
        self._skipped_in_a_row = 0
        self._loss: float | None = None
        self._rate = _Rate()
        self._progress: Progress | None = None

    def run(self, source: BatchSource) -> TrainResult:
        """Trains until the run is complete or a signal asks to stop; the last state is saved.

        Raises:
            NonFiniteLossError: a loss was not finite, and the settings say to stop.
            CheckpointError: a checkpoint could not be written.
        """
        self._started = time.monotonic()
        with StopSignal() as stop:
            try:
                reason = self._train(source, stop)
                self._save()
            finally:
                self._checkpoints.close()
                if self._log is not None:
                    self._log.close()
        if self._progress is not None:
            self._progress.finish(f"at step {self._step:,}, {self._detail()}")
        number = stop.number if reason == "signal" else None
        return TrainResult(self._step, reason, self._seconds(), self._loss, number)

    def _train(
        self, source: BatchSource, stop: StopSignal
    ) -> Literal["train_steps", "max_seconds", "signal"]:
        share = self._program.share
        batches = source.batches(
            self._program.batch_size, self._settings.seed, self._step, share.index, share.count
        )
        dispatched: _Dispatched | None = None
        while self._step < self._settings.train_steps:
            self._state, metrics = self._program.step(self._state, next(batches))
            self._step += 1
            before, dispatched = dispatched, _Dispatched(self._step, metrics, self._evaluate())
            if before is not None:
                self._read(before)
            reason = self._reason_to_stop(stop)
            if reason is not None or self._step % self._settings.checkpoint_every_steps == 0:
                self._read(dispatched)
                dispatched = None
                self._save()
            if reason is not None:
                return reason
        if dispatched is not None:
            self._read(dispatched)
        return "train_steps"

    def _read(self, dispatched: _Dispatched) -> None:
        """Waits for a step's metrics, checks and logs them."""
        metrics = StepMetrics(*map(float, jax.device_get(dispatched.metrics)))
        self._loss = metrics.loss
        self._rate.count(metrics)
        if metrics.finite:
            self._skipped_in_a_row = 0
        settings, step = self._settings, dispatched.step
        if (
            step % settings.log_every_steps == 0
            or step in (1, settings.train_steps)
            or dispatched.evaluation is not None
            or not metrics.finite
        ):
            self._write(step, metrics, dispatched.evaluation)
        if not metrics.finite:
            self._handle_nonfinite(step)
        self._show(step)

    def _write(self, step: int, metrics: StepMetrics, evaluation: Any) -> None:
        if self._log is None:
            return
        tokens, work = self._rate.per_second(self._flops)
        values: dict[str, float | None] = {
            "loss": metrics.loss,
            "z_loss": metrics.z_loss,
            "accuracy": metrics.accuracy,
            "tokens_per_second": tokens,
            "model_flops_utilisation": work / self._peak if work and self._peak else None,
            "padding_share": metrics.padding_share,
            "gradient_norm": metrics.gradient_norm,
            "parameter_norm": metrics.parameter_norm,
            "learning_rate": metrics.learning_rate,
            "seconds": self._seconds(),
        }
        if evaluation is not None:
            sums = jax.device_get(evaluation)
            weight = max(float(sums.weight), 1.0)
            values["eval_loss"] = float(sums.nll) / weight
            values["eval_accuracy"] = float(sums.correct) / weight
        self._log.write(step, values)

    def _handle_nonfinite(self, step: int) -> None:
        self._skipped_in_a_row += 1
        kept = (
            "no checkpoint was written yet"
            if self._saved_step is None
            else (f"the checkpoint of step {self._saved_step} is kept")
        )
        if self._on_nonfinite == "stop":
            raise NonFiniteLossError(
                f"step {step}: the loss or a gradient is not finite; {kept}. Lower the learning rate,"
                " look at the data, or set on_nonfinite='skip'."
            )
        tell(f"train: step {step} is not finite: the parameters stay as they were")
        if self._skipped_in_a_row >= self._settings.max_skipped_steps:
            raise NonFiniteLossError(
                f"step {step}: {self._skipped_in_a_row} steps in a row were not finite; {kept}. Lower"
                " the learning rate or look at the data."
            )

    def _evaluate(self) -> Any:
        """Dispatches the evaluation that is due after this step; None where none is."""
        every = self._settings.eval_every_steps
        if self._eval_source is None or every is None:
            return None
        if self._step % every and self._step != self._settings.train_steps:
            return None
        share = self._program.share
        batches = self._eval_source.batches(
            self._program.batch_size, 0, 0, share.index, share.count
        )
        sums = [
            self._program.evaluate(self._state.params, next(batches))
            for _ in range(self._settings.eval_batches)
        ]
        return jax.tree.map(lambda *values: sum(values[1:], start=values[0]), *sums)

    def _save(self) -> None:
        if self._step == self._saved_step or self._step == 0:
            return
        self._checkpoints.save(self._state, Position(self._step, self._seconds()))
        self._saved_step = self._step

    def _reason_to_stop(self, stop: StopSignal) -> Literal["max_seconds", "signal"] | None:
        limit = self._settings.max_seconds
        signalled = stop.number is not None
        timed_out = limit is not None and self._seconds() >= limit
        if jax.process_count() > 1:
            # Every process must leave the loop at the same step, or the others wait for ever.
            if self._step % _AGREE_EVERY_STEPS:
                return None
            answers = multihost_utils.process_allgather(np.array([signalled, timed_out]))
            by_process = np.reshape(answers, (-1, 2))
            signalled, timed_out = bool(by_process[:, 0].any()), bool(by_process[:, 1].any())
        return "signal" if signalled else "max_seconds" if timed_out else None

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _show(self, step: int) -> None:
        if jax.process_index() != 0:
            return
        if self._progress is None:
            # The first step compiles; the rate of the rest is what tells the time left.
            took = duration(time.monotonic() - self._started)
            tell(f"train: step {step} of {self._settings.train_steps:,}, ready after {took}")
            total = self._settings.train_steps
            self._progress = Progress("train", total=total, unit="steps", start=step)
        self._progress.update(step, self._detail())

    def _detail(self) -> str:
        loss = (
            "none" if self._loss is None or not math.isfinite(self._loss) else f"{self._loss:.4f}"
        )
        tokens = f"{self._rate.latest:,.0f} tokens/s" if self._rate.latest else "compiling"
        return f"loss {loss}, {tokens}"


class _Rate:
    """Tokens and arithmetic done since the last line of metrics.

    Attributes:
        latest: tokens a second over the last span, None before the first.
    """

    def __init__(self) -> None:
        self.latest: float | None = None
        self._since: float | None = None
        self._encoder = self._decoder = 0.0

    def count(self, metrics: StepMetrics) -> None:
        """Adds a step's tokens."""
        if self._since is None:
            return
        self._encoder += metrics.encoder_tokens
        self._decoder += metrics.decoder_tokens

    def per_second(self, flops: StepFlops) -> tuple[float | None, float | None]:
        """Tokens and FLOPs a second since the last call; None for the first, which compiled."""
        now, since = time.monotonic(), self._since
        encoder, decoder = self._encoder, self._decoder
        self._since, self._encoder, self._decoder = now, 0.0, 0.0
        if since is None or now <= since:
            return None, None
        self.latest = (encoder + decoder) / (now - since)
        return self.latest, flops.total(encoder, decoder) / (now - since)
