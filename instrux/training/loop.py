"""The training loop: batches in, updates dispatched, metrics logged, checkpoints written.

The loop dispatches step n+1 before it reads the metrics of step n, so the device never waits for
the host; it reads every step's metrics all the same, one step late, and notices a loss that is not
finite or out of line before anything of it is saved.
"""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from instrux.data.packed_rows import TASK_IDS
from instrux.errors import InputError
from instrux.progress import tell
from instrux.training.checkpoints import Checkpoints, Position
from instrux.training.flops import StepFlops
from instrux.training.loop_settings import BatchSource, EvalSet, LoopSettings
from instrux.training.metrics_log import Value
from instrux.training.processes import Agreement, Wishes
from instrux.training.profiling import Profiler
from instrux.training.program import Program, TaskLosses
from instrux.training.signals import StopSignal
from instrux.training.spikes import LossWatch
from instrux.training.step_log import StepLog
from instrux.training.trackers import Tracker
from instrux.training.train_step import StepMetrics, TrainState

OnNonfinite = Literal["stop", "skip", "roll_back"]


class NonFiniteLossError(InputError):
    """The loss or a gradient is not finite, or the loss out of line; nothing of it was saved."""


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
    batches_read: int
    metrics: StepMetrics
    evaluation: list[Any]  # sums on the devices, a pair for each set
    task_losses: TaskLosses | None


class _RollBackError(Exception):
    """Asks the loop to go back to the last checkpoint, past the batch of this step."""

    def __init__(self, step: int, batches_read: int, what: str) -> None:
        super().__init__(what)
        self.step, self.batches_read, self.what = step, batches_read, what


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
        on_nonfinite: OnNonfinite,
        flops: StepFlops,
        peak_flops_per_second: float | None,
        eval_sets: Sequence[EvalSet] = (),
        tasks: Sequence[str] = (),
        trackers: Sequence[Tracker] = (),
    ) -> None:
        """Takes up a run.

        Args:
            program: the compiled functions.
            settings: when to do what.
            checkpoints: where checkpoints go.
            model_dir: the run's folder.
            state: the state to go on from.
            position: where the run stands.
            on_nonfinite: what is done about a step whose loss is not finite.
            flops: cost of a position.
            peak_flops_per_second: of all devices together, None where unknown.
            eval_sets: held-out rows.
            tasks: names of the training data's tasks in the order of their numbers.
            trackers: get every line of metrics; closed at the end.
        """
        self._program, self._settings, self._checkpoints = program, settings, checkpoints
        self._state, self._on_nonfinite = state, on_nonfinite
        self._eval_sets, self._tasks = eval_sets, tasks
        self._step = int(state.step)
        self._batches_read = position.batches_read
        self._seconds_before = position.seconds
        spikes = settings.spikes
        self._watch = None if spikes is None else LossWatch(spikes, position.recent_losses)
        self._log = StepLog(
            model_dir,
            resumed_at=self._step,
            train_steps=settings.train_steps,
            tensorboard=settings.tensorboard,
            flops=flops,
            peak_flops_per_second=peak_flops_per_second,
            trackers=trackers,
        )
        self._profiler = Profiler(model_dir, settings.profile)
        self._saved_step = self._step if self._step else None
        self._left_out_in_a_row = self._roll_backs = 0
        self._spiking = False
        self._evaluated: tuple[int, dict[str, float]] = (0, {})
        self._loss: float | None = None
        self._signal: int | None = None
        self._profile_asked = False
        self._agreement = Agreement()

    def run(self, source: BatchSource) -> TrainResult:
        """Trains until the run is complete or a signal asks to stop; the last state is saved.

        Raises:
            NonFiniteLossError: a loss was not finite or out of line, and the settings say to stop.
            CheckpointError: a checkpoint could not be written.
        """
        self._started = time.monotonic()
        with StopSignal() as stop:
            try:
                reason = self._train(source, stop)
                self._save()
                seconds = self._seconds()  # waiting for the last write is no training
            finally:
                self._profiler.close()
                self._checkpoints.close()
                self._log.close()
        self._log.finish(self._step, self._loss, stopped=reason, seconds=seconds)
        return TrainResult(self._step, reason, seconds, self._loss, self._signal)

    def _train(
        self, source: BatchSource, stop: StopSignal
    ) -> Literal["train_steps", "max_seconds", "signal"]:
        while True:
            try:
                return self._train_on(self._batches(source), stop)
            except _RollBackError as asked:
                self._roll_back(asked)

    def _batches(self, source: BatchSource) -> Iterator[dict[str, np.ndarray]]:
        share = self._program.share
        place = (self._program.batch_size, self._settings.seed, self._batches_read)
        more: dict[str, Any] = {}
        if self._settings.task_loss_every_steps is not None:
            more["task_ids"] = True
        return source.batches(*place, share.index, share.count, **more)

    def _train_on(
        self, batches: Iterator[dict[str, np.ndarray]], stop: StopSignal
    ) -> Literal["train_steps", "max_seconds", "signal"]:
        dispatched: _Dispatched | None = None
        while self._step < self._settings.train_steps:
            before, dispatched = dispatched, self._dispatch(batches)
            if before is not None:
                self._read(before)
            self._profiler.after(self._step, dispatched.metrics.loss)
            wishes = self._wishes(stop)
            reason = "signal" if wishes.signal else "max_seconds" if wishes.timed_out else None
            if wishes.profile:
                self._profiler.start(self._step + 1)
            if reason is not None or self._step % self._settings.checkpoint_every_steps == 0:
                self._read(dispatched)
                dispatched = None
                self._save()
            if reason is not None:
                self._signal = wishes.signal or None
                return reason
        if dispatched is not None:
            self._read(dispatched)
        return "train_steps"

    def _dispatch(self, batches: Iterator[dict[str, np.ndarray]]) -> _Dispatched:
        """Starts the next step, and what else is due with it."""
        number = self._step + 1
        self._profiler.before(number)
        asked = time.monotonic()
        batch = dict(next(batches))
        self._log.waited(time.monotonic() - asked)
        task_ids = batch.pop(TASK_IDS, None)
        every = self._settings.task_loss_every_steps
        task_losses = None
        if every is not None and task_ids is not None and (number % every == 0 or number == 1):
            task_losses = self._program.task_losses(
                self._state.params, batch, task_ids, len(self._tasks)
            )
        limit = math.inf
        if self._watch is not None and self._action_on_spike == "skip":
            limit = self._watch.limit(number)
        self._state, metrics = self._program.step(self._state, batch, limit)
        self._step, self._batches_read = number, self._batches_read + 1
        return _Dispatched(number, self._batches_read, metrics, self._evaluate(), task_losses)

    @property
    def _action_on_spike(self) -> str:
        return "tell" if self._settings.spikes is None else self._settings.spikes.action

    def _read(self, dispatched: _Dispatched) -> None:
        """Waits for a step's metrics, checks and logs them."""
        metrics = StepMetrics(*map(float, jax.device_get(dispatched.metrics)))
        self._loss = metrics.loss
        self._log.count(metrics)
        settings, step = self._settings, dispatched.step
        limit = math.inf if self._watch is None else self._watch.limit(step)
        out_of_line = bool(metrics.finite) and metrics.loss > limit
        if self._watch is not None and metrics.finite and metrics.kept:
            self._watch.add(step, metrics.loss)
        if (
            step % settings.log_every_steps == 0
            or step in (1, settings.train_steps)
            or dispatched.evaluation
            or dispatched.task_losses is not None
            or not metrics.finite
            or out_of_line
        ):
            self._log.write(step, metrics, self._seconds(), self._more(dispatched))
            self._checkpoints.check()
        if not metrics.finite:
            self._handle_nonfinite(dispatched)
        elif out_of_line:
            self._handle_spike(dispatched, metrics.loss, limit)
        else:
            self._left_out_in_a_row, self._spiking = 0, False
        self._log.show(step, self._loss)

    def _more(self, dispatched: _Dispatched) -> dict[str, Value]:
        """What a line tells beside the step's own metrics."""
        more: dict[str, Value] = {}
        if left_out := dispatched.batches_read - dispatched.step:
            more["batches_left_out"] = float(left_out)
        if dispatched.task_losses is not None:
            more["task_loss"] = dispatched.task_losses.by_name(self._tasks)
        if dispatched.evaluation:
            evaluated = self._read_evaluation(dispatched.evaluation)
            numbers = {k: v for k, v in evaluated.items() if isinstance(v, float)}
            self._evaluated = (dispatched.step, numbers)
            more |= evaluated
        return more

    def _read_evaluation(self, evaluation: list[Any]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        sums = [jax.device_get(of_set) for of_set, _ in evaluation]
        weight = max(sum(float(of_set.weight) for of_set in sums), 1.0)
        values["eval_loss"] = sum(float(of_set.nll) for of_set in sums) / weight
        values["eval_accuracy"] = sum(float(of_set.correct) for of_set in sums) / weight
        by_task: dict[str, float] = {}
        for held_out, (_, task_losses) in zip(self._eval_sets, evaluation, strict=True):
            if task_losses is not None:
                by_task |= task_losses.by_name(held_out.tasks)
        if by_task:
            values["eval_task_loss"] = by_task
        return values

    def _handle_nonfinite(self, dispatched: _Dispatched) -> None:
        what = f"step {dispatched.step}: the loss or a gradient is not finite"
        if self._on_nonfinite == "roll_back":
            raise _RollBackError(dispatched.step, dispatched.batches_read, what)
        if self._on_nonfinite == "stop":
            raise NonFiniteLossError(
                f"{what}; {self._kept()}. Lower the learning rate, look at the data, or set"
                " on_nonfinite='skip'."
            )
        tell(f"train: step {dispatched.step} is not finite: the parameters stay as they were")
        self._count_left_out(dispatched.step, "were not finite")

    def _handle_spike(self, dispatched: _Dispatched, loss: float, limit: float) -> None:
        what = f"step {dispatched.step}: the loss is {loss:.4f}, out of line (above {limit:.4f})"
        action = self._action_on_spike
        if action == "roll_back":
            raise _RollBackError(dispatched.step, dispatched.batches_read, what)
        if action == "stop":
            raise NonFiniteLossError(
                f"{what}; {self._kept()}. Lower the learning rate, look at the data, or set"
                " Spikes.action='skip' or 'roll_back'."
            )
        if action == "skip":
            tell(f"train: {what}: the parameters stay as they were")
            self._count_left_out(dispatched.step, "were out of line")
        elif not self._spiking:
            tell(f"train: {what}")
        self._spiking = True

    def _count_left_out(self, step: int, why: str) -> None:
        self._left_out_in_a_row += 1
        if self._left_out_in_a_row >= self._settings.max_skipped_steps:
            raise NonFiniteLossError(
                f"step {step}: {self._left_out_in_a_row} steps in a row {why}; {self._kept()}. Lower"
                " the learning rate or look at the data."
            )

    def _kept(self) -> str:
        if self._saved_step is None:
            return "no checkpoint was written yet"
        return f"the checkpoint of step {self._saved_step} is kept"

    def _roll_back(self, asked: _RollBackError) -> None:
        """Goes on from the last checkpoint with the batches behind the bad one."""
        self._roll_backs += 1
        if self._saved_step is None or self._roll_backs > self._settings.max_roll_backs:
            told = f"rolled back {self._roll_backs - 1} times since" if self._saved_step else "and"
            raise NonFiniteLossError(
                f"{asked.what}; {told} {self._kept()}. Lower the learning rate or look at the data."
            )
        self._checkpoints.wait()
        restored = self._checkpoints.restore(self._program.abstract_state, self._saved_step)
        self._state, self._step = restored.state, self._saved_step
        self._batches_read = asked.batches_read
        if self._watch is not None:
            self._watch.forget_after(self._step)
        self._log.roll_back(self._step)
        left_out = self._batches_read - restored.position.batches_read
        tell(
            f"train: {asked.what}: back to the checkpoint of step {self._step}, past the"
            f" {left_out} batches since"
        )

    def _evaluate(self) -> list[Any]:
        """Dispatches the evaluation that is due after this step: a pair of sums for each set."""
        every = self._settings.eval_every_steps
        if every is None or (self._step % every and self._step != self._settings.train_steps):
            return []
        return [self._evaluate_on(held_out) for held_out in self._eval_sets]

    def _evaluate_on(self, held_out: EvalSet) -> tuple[Any, TaskLosses | None]:
        share, by_task = self._program.share, self._settings.eval_by_task
        place = (self._program.batch_size, 0, 0, share.index, share.count)
        more: dict[str, Any] = {"task_ids": True} if by_task else {}
        batches = held_out.source.batches(*place, **more)
        sums, task_losses = [], None
        for _ in range(held_out.batches or self._settings.eval_batches):
            batch = dict(next(batches))
            task_ids = batch.pop(TASK_IDS, None)
            sums.append(self._program.evaluate(self._state.params, batch))
            if task_ids is not None:
                found = self._program.task_losses(
                    self._state.params, batch, task_ids, len(held_out.tasks)
                )
                task_losses = found if task_losses is None else task_losses.plus(found)
        return jax.tree.map(lambda *values: sum(values[1:], start=values[0]), *sums), task_losses

    def _save(self) -> None:
        if self._step == self._saved_step or self._step == 0:
            return
        recent = [] if self._watch is None else self._watch.recent()
        position = Position(self._batches_read, self._seconds(), recent_losses=recent)
        step, metrics = self._evaluated
        self._checkpoints.save(self._state, position, metrics if step == self._step else None)
        self._saved_step, self._roll_backs = self._step, 0

    def _wishes(self, stop: StopSignal) -> Wishes:
        """What all processes are to do after this step."""
        limit = self._settings.max_seconds
        timed_out = limit is not None and self._seconds() >= limit
        self._profile_asked |= self._profiler.asked() or stop.profile_asked()
        own = Wishes(stop.number or 0, timed_out, self._profile_asked)
        agreed = self._agreement.of(own, self._step)
        if agreed.profile:
            self._profile_asked = False
        return agreed

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started
