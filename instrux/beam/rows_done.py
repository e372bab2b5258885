"""How far the workers are, told through small files in a folder that this machine can see.

Runners on one machine share no counters while they run; every worker keeps a file of its own with
the number of renders it has done, and whoever watches adds them up.
"""

import os
import time
import uuid
from pathlib import Path

_EVERY_SECS = 0.25
_EVERY_CALLS = 64


class RowsDone:
    """Counts what one worker has done and notes it now and then.

    Attributes:
        done: how much has been done.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, uuid.uuid4().hex) if folder else ""
        self._noted = time.monotonic()
        self._calls = 0
        self.done = 0

    def add(self, done: int) -> None:
        """Counts; writes at most four times a second."""
        self.done += done
        self._calls += 1
        if self._path and self._calls % _EVERY_CALLS == 0:
            now = time.monotonic()
            if now - self._noted >= _EVERY_SECS:
                self._noted = now
                self.close()

    def close(self) -> None:
        """Notes the count. A folder that is gone or full is no reason to stop working."""
        if self._path:
            try:
                Path(self._path).write_text(str(self.done))
            except OSError:
                self._path = ""


def total_done(folder: str) -> int:
    """What all workers together have noted."""
    total = 0
    for path in Path(folder).iterdir():
        try:
            total += int(path.read_text() or 0)
        except (OSError, ValueError):  # being written at this moment
            continue
    return total
