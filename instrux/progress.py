"""Progress on stderr for whatever takes longer than a moment.

On a terminal one live line; elsewhere (a log file, a cloud runner) one plain line every few
seconds. Results go to stdout and never through here.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PLAIN_EVERY_SECS = 10.0


def tell(message: str) -> None:
    """Prints one line to stderr."""
    print(message, file=sys.stderr, flush=True)


def duration(secs: float) -> str:
    """Words a duration in seconds: `42s`, `3m05s`, `2h14m`."""
    whole = max(0, round(secs))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Counts work done and shows a rate and an estimate of the time left.

    Attributes:
        label: what is being done, such as `render`.
        total: units of work in all, or None where that is not known.
        unit: what is counted, in the plural, such as `rows`.
        done: units done so far.
        start: units that were done before, and so say nothing about the rate.
    """

    def __init__(
        self, label: str, *, total: int | None = None, unit: str = "items", start: int = 0
    ) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = self.start = start
        self._live = sys.stderr.isatty()
        self._every_secs = 0.2 if self._live else _PLAIN_EVERY_SECS
        self._started = self._shown = time.monotonic()

    def line(self, detail: str = "") -> str:
        """Words the present state in one line."""
        elapsed = time.monotonic() - self._started
        rate = (self.done - self.start) / elapsed if elapsed > 0 else 0.0
        total = f"/{self.total:,}" if self.total is not None else ""
        text = f"{self.label}: {self.done:,}{total} {self.unit}, {rate:,.1f}/s"
        if self.total is not None and rate > 0:
            text += f", {duration((self.total - self.done) / rate)} left"
        return f"{text}, {detail}" if detail else text

    def update(self, done: int, detail: str = "") -> None:
        """Sets the units done; shows the line if the last one is old enough."""
        self.done = done
        now = time.monotonic()
        if now - self._shown < self._every_secs:
            return
        self._shown = now
        if self._live:
            sys.stderr.write("\r\x1b[K" + self.line(detail))
            sys.stderr.flush()
        else:
            tell(self.line(detail))

    def finish(self, detail: str = "") -> None:
        """Ends the live line with what was done and how long it took."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
        took = duration(time.monotonic() - self._started)
        text = f"{self.label}: {self.done - self.start:,} {self.unit} in {took}"
        tell(f"{text}, {detail}" if detail else text)


@contextmanager
def progress(label: str, *, total: int | None = None, unit: str = "items") -> Iterator[Progress]:
    """Gives a `Progress`, and finishes it when the block ends without an error."""
    shown = Progress(label, total=total, unit=unit)
    yield shown
    shown.finish()
