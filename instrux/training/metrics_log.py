"""A run's metrics on disk: `metrics.jsonl`, one JSON object a logged step, and TensorBoard events.

Keys of a line (T5X users: values are of the step itself, not means since the last line):

- step: updates made when it was measured, from 1.
- loss, z_loss, accuracy: per target token, in nats; see `train_step.StepMetrics`.
- tokens_per_second: input and target tokens without padding, since the line before.
- model_flops_utilisation: share of the devices' peak, see `flops`; null where the peak is unknown.
- padding_share: share of the batch's positions that hold padding.
- gradient_norm, parameter_norm, learning_rate.
- seconds: time spent training, over all sessions of the run.
- eval_loss, eval_accuracy: only on steps that evaluate.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instrux.errors import InputError


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
        self._writer = _event_writer(folder, resumed_at) if tensorboard else None

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Writes one step's values; what is None or not finite is null in JSON."""
        line = {"step": step} | {name: _finite(value) for name, value in values.items()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in line.items():
                if name != "step" and value is not None:
                    self._writer.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        """Flushes both files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()


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


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _event_writer(folder: Path, resumed_at: int) -> Any:
    from tensorboardX import SummaryWriter  # slow to import, and not needed with tensorboard=False

    # TensorBoard leaves out the events of earlier files from purge_step on.
    return SummaryWriter(str(folder), purge_step=resumed_at + 1 if resumed_at else None)
