"""A run's `metrics.jsonl` as points to draw, however long it is, and what was added since."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READ_WHOLE = 4 * 2**20
_SAMPLES = 2_000
_MAX_LINE = 1 << 20


@dataclass(frozen=True)
class Points:
    """Some lines of a run's metrics.

    Attributes:
        rows: metric -> number, with `step`; what is not a finite number is left out.
        offset: where the next reading goes on, in bytes.
        restarted: whether the file is shorter than the last reading: a run that began anew.
        sampled: whether there were too many lines to give all.
    """

    rows: list[dict[str, float]]
    offset: int
    restarted: bool = False
    sampled: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return vars(self)


def read_points(path: Path, after: int = 0) -> Points:
    """Reads the metrics behind an offset; a file that is not there has none.

    Up to 4 MiB are read whole; of a longer stretch some 2,000 lines, evenly spread, and the last.
    A line that is still being written waits for the next reading.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            restarted = after > size
            start = 0 if restarted else after
            if size - start <= _READ_WHOLE:
                file.seek(start)
                block = file.read(size - start)
                whole = block[: block.rfind(b"\n") + 1]
                lines, sampled = whole.split(b"\n"), False
                offset = start + len(whole)
            else:
                lines, offset = _sampled(file, start, size)
                sampled = True
    except OSError:
        return Points([], 0)
    rows = [row for line in lines if (row := _row(line))]
    if not sampled and len(rows) > 2 * _SAMPLES:
        stride = math.ceil(len(rows) / _SAMPLES)
        rows, sampled = [*rows[:-1:stride], rows[-1]], True
    return Points(rows, offset, restarted, sampled)


def _sampled(file: Any, start: int, size: int) -> tuple[list[bytes], int]:
    lines, end = [], start
    for place in range(_SAMPLES + 1):
        # The last sample is taken a little before the end, so as to meet the last whole line.
        wanted = start + (size - start) * place // _SAMPLES
        if wanted < end:
            continue
        file.seek(wanted)
        if wanted > start:
            file.readline(_MAX_LINE)
        line = file.readline(_MAX_LINE)
        if line.endswith(b"\n"):
            lines.append(line)
            end = file.tell()
    tail_start = max(end, size - _MAX_LINE)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    whole = tail[: tail.rfind(b"\n") + 1]
    lines += whole.split(b"\n")[-2:-1]
    return lines, tail_start + len(whole)


def _row(line: bytes) -> dict[str, float] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not _is_number(fields.get("step")):
        return None
    return {str(name): value for name, value in fields.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e300 and math.isfinite(value)
