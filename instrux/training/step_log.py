"""What a session tells of its steps: lines of metrics, the line on the screen and the summary."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from instrux.data.files import write_json_atomically
from instrux.progress import Progress, duration, tell
from instrux.training.flops import StepFlops
from instrux.training.memory import device_memory_gib, host_memory_gib
from instrux.training.metrics_log import MetricsLog, Value
from instrux.training.trackers import Tracker
from instrux.training.train_step import StepMetrics


class StepLog:
    """The log of one session; of several processes only the first one's writes.

    Attributes:
        last: the values of the last line.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        resumed_at: int,
        train_steps: int,
        tensorboard: bool,
        flops: StepFlops,
        peak_flops_per_second: float | None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        """Opens the files.

        Args:
            model_dir: the run's folder.
            resumed_at: the step that the session goes on from.
            train_steps: of the whole run.
            tensorboard: whether to write TensorBoard events.
            flops: cost of a position.
            peak_flops_per_second: of all devices together, None where unknown.
            trackers: get the same values; closed with the log.
        """
        self.last: dict[str, Value] = {}
        self._folder, self._train_steps, self._tensorboard = model_dir, train_steps, tensorboard
        self._flops, self._peak = flops, peak_flops_per_second
        self._trackers = trackers
        self._log: MetricsLog | None = None
        if jax.process_index() == 0:
            self._log = MetricsLog(model_dir, resumed_at=resumed_at, tensorboard=tensorboard)
        self._span = _Span()
        self._whole = _Span()
        self._progress: Progress | None = None
        self._started = time.monotonic()

    def waited(self, seconds: float) -> None:
        """Notes how long a step waited for its batch."""
        self._span.waited += seconds
        self._whole.waited += seconds

    def count(self, metrics: StepMetrics) -> None:
        """Notes a step's tokens."""
        self._span.count(metrics)
        self._whole.count(metrics)

    def write(
        self, step: int, metrics: StepMetrics, seconds: float, more: Mapping[str, Value]
    ) -> None:
        """Writes a line.

        Args:
            step: the step.
            metrics: its metrics.
            seconds: training time of the whole run.
            more: further values, such as an evaluation's.
        """
        tokens, work, waited = self._span.rates(self._flops)
        values: dict[str, Value] = {
            "loss": metrics.loss,
            "z_loss": metrics.z_loss,
            "accuracy": metrics.accuracy,
            "tokens_per_second": tokens,
            "model_flops_utilisation": work / self._peak if work and self._peak else None,
            "padding_share": metrics.padding_share,
            "data_wait_share": waited,
            "gradient_norm": metrics.gradient_norm,
            "parameter_norm": metrics.parameter_norm,
            "learning_rate": metrics.learning_rate,
            "host_memory_gib": host_memory_gib(),
            "device_memory_gib": device_memory_gib(),
            "seconds": seconds,
        }
        self.last = values | dict(more)
        if self._log is not None:
            for tracker in self._trackers:
                tracker.write(step, self._log.write(step, self.last))
            if not self._trackers:
                self._log.write(step, self.last)

    def roll_back(self, step: int) -> None:
        """Drops the lines of later steps."""
        if self._log is not None:
            self._log.close()
            self._log = MetricsLog(self._folder, resumed_at=step, tensorboard=self._tensorboard)

    def show(self, step: int, loss: float | None) -> None:
        """Shows the line on the screen."""
        if jax.process_index() != 0:
            return
        if self._progress is None:
            # The first step compiles; the rate of the rest is what tells the time left.
            took = duration(time.monotonic() - self._started)
            tell(f"train: step {step} of {self._train_steps:,}, ready after {took}")
            self._progress = Progress("train", total=self._train_steps, unit="steps", start=step)
            self._whole.rates(self._flops)
        self._progress.update(step, self._detail(loss))

    def finish(self, step: int, loss: float | None, *, stopped: str, seconds: float) -> None:
        """Ends the line on the screen, and writes `summary.json`."""
        if self._progress is not None:
            self._progress.finish(f"at step {step:,}, {self._detail(loss)}")
        if self._log is None:
            return
        tokens, work, waited = self._whole.rates(self._flops)
        summary = {
            "step": step,
            "stopped": stopped,
            "seconds": round(seconds, 3),
            "loss": loss,
            "tokens_per_second": tokens,
            "model_flops_utilisation": work / self._peak if work and self._peak else None,
            "data_wait_share": waited,
            "host_memory_gib": host_memory_gib(),
            "device_memory_gib": device_memory_gib(),
            **{name: value for name, value in self.last.items() if name.startswith("eval_")},
        }
        write_json_atomically(self._folder / "summary.json", summary)
        tell(f"train: {_worded(summary)}")

    def close(self) -> None:
        """Flushes the files and closes the trackers."""
        if self._log is not None:
            self._log.close()
        for tracker in self._trackers:
            tracker.close()

    def _detail(self, loss: float | None) -> str:
        shown = "none" if loss is None or not math.isfinite(loss) else f"{loss:.4f}"
        latest = self._span.latest
        return f"loss {shown}, {f'{latest:,.0f} tokens/s' if latest else 'compiling'}"


_WORTH_TELLING = 0.001


def _worded(summary: Mapping[str, Any]) -> str:
    """The summary as one line: only what is known."""
    parts = [f"trained for {duration(summary['seconds'])}"]
    if (utilisation := summary["model_flops_utilisation"] or 0.0) >= _WORTH_TELLING:
        parts.append(f"{utilisation:.1%} of the peak FLOP/s")
    if (waited := summary["data_wait_share"]) is not None:
        parts.append(f"{waited:.1%} of the time waiting for data")
    memory = summary["device_memory_gib"] or summary["host_memory_gib"]
    parts.append(f"{memory:.1f} GiB at most")
    if (loss := summary.get("eval_loss")) is not None:
        parts.append(f"eval loss {loss:.4f}")
    return ", ".join(parts)


class _Span:
    """Tokens, arithmetic and waiting since its last rates were asked for.

    Attributes:
        latest: tokens a second over the last span, None before the first.
        waited: seconds of waiting for data.
    """

    def __init__(self) -> None:
        self.latest: float | None = None
        self.waited = 0.0
        self._since: float | None = None
        self._encoder = self._decoder = 0.0

    def count(self, metrics: StepMetrics) -> None:
        """Adds a step's tokens."""
        if self._since is None:
            return
        self._encoder += metrics.encoder_tokens
        self._decoder += metrics.decoder_tokens

    def rates(self, flops: StepFlops) -> tuple[float | None, float | None, float | None]:
        """Tokens and FLOPs a second and the share of waiting; None for the first, which compiled."""
        now, since = time.monotonic(), self._since
        encoder, decoder, waited = self._encoder, self._decoder, self.waited
        self._since, self._encoder, self._decoder, self.waited = now, 0.0, 0.0, 0.0
        if since is None or now <= since:
            return None, None, None
        seconds = now - since
        self.latest = (encoder + decoder) / seconds
        return self.latest, flops.total(encoder, decoder) / seconds, min(waited / seconds, 1.0)
