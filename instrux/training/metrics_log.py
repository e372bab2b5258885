"""A run's metrics on disk: `metrics.jsonl`, one JSON object a logged step, and TensorBoard events.

Keys of a line (T5X users: values are of the step itself, not means since the last line):

- step: updates made when it was measured, from 1.
- loss, z_loss, accuracy: per target token, in nats; see `train_step.StepMetrics`.
- tokens_per_second: input and target tokens without padding, since the line before.
- model_flops_utilisation: share of the devices' peak, see `flops`; null where the peak is unknown.
- padding_share: share of the batch's positions that hold padding.
- data_wait_share: share of the time since the line before that was spent waiting for batches.
- gradient_norm, parameter_norm, learning_rate.
- host_memory_gib, device_memory_gib: most held by the process, and on one of its devices (null on
  a CPU).
- seconds: time spent training, over all sessions of the run.
- eval_loss, eval_accuracy: only on steps that evaluate.
- task_loss, eval_task_loss: task -> negative log-likelihood a target token, where asked for.
- batches_left_out: batches that a rolled back run went past, only where there are any.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from instrux.errors import InputError

Value = float | None | Mapping[str, float]


class MetricsLog:
    """Appends lines to `<folder>/metrics.jsonl` and scalars to TensorBoard's event file there."""

    def __init__(self, folder: Path, *, resumed_at: int, tensorboard: bool = True) -> None:
        """Opens the log and drops what was logged past the step that the run goes on from.

        Args:
            folder: the run's folder; it exists.
            resumed_at: the step of the restored checkpoint, 0 for a new run.
            tensorboard: whether to write event files too.
        """
        self._path = folder / "metrics.jsonl"
        keep_lines_up_to(self._path, resumed_at)
        self._file = self._path.open("a", encoding="utf-8")
        self._failed = False
        self._writer = _event_writer(folder, resumed_at) if tensorboard else None

    def write(self, step: int, values: Mapping[str, Value]) -> dict[str, float]:
        """Writes one step's values; what is None or not finite is null in JSON.

        Returns:
            The values as TensorBoard has them: numbers alone, those of a group as `group/name`.

        Raises:
            InputError: the files cannot be written, as on a full disk.
        """
        line = {"step": step} | {name: _finite(value) for name, value in values.items()}
        with self._telling_failure():
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        del line["step"]
        numbers = dict(_numbers(line))
        if self._writer is not None:
            with self._telling_failure():
                for name, value in numbers.items():
                    self._writer.add_scalar(name, value, step)
        return numbers

    def close(self) -> None:
        """Flushes both files.

        Raises:
            InputError: they cannot be written; not if that was told before.
        """
        if self._failed:
            return
        with self._telling_failure():
            self._file.close()
            if self._writer is not None:
                self._writer.close()

    @contextlib.contextmanager
    def _telling_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failed = True
            with contextlib.suppress(OSError):  # what could not be written is still to be flushed
                self._file.close()
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror or error}); mend that and give the"
                " same command again: it goes on from the last checkpoint."
            ) from error


def read_metrics(model_dir: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; a last line cut short by a kill is left out."""
    path = Path(model_dir) / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [_parsed(path, number, line) for number, line in enumerate(lines[:-1], 1)]


def keep_lines_up_to(path: Path, step: int) -> None:
    """Rewrites a log without the lines past `step`, atomically."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path.parent) if line["step"] <= step]
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("step"), int):
        raise InputError(
            f"{path}: line {number} is no JSON object with a step; mend it or move the file away."
        )
    return values


def _finite(value: Value) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if value is None or not math.isfinite(value) else float(value)


def _numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{of}", v) for of, v in value.items() if v is not None)
        elif value is not None:
            yield f"train/{name}", value


def _event_writer(folder: Path, resumed_at: int) -> Any:
    from tensorboardX import SummaryWriter  # slow to import, and not needed with tensorboard=False

    # TensorBoard leaves out the events of earlier files from purge_step on.
    return SummaryWriter(str(folder), purge_step=resumed_at + 1 if resumed_at else None)
