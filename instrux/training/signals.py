"""Asks a loop to stop: a scheduler's SIGTERM or a person's Ctrl-C, noticed between two steps."""

import signal
import threading
from types import FrameType
from typing import Any, Self

from instrux.progress import tell

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """While entered, the first SIGTERM or SIGINT is noted; a second one acts as it always does.

    Attributes:
        number: the signal that came, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; elsewhere there is nobody to ask us to stop.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number
        self._restore()
        tell(f"train: {signal.Signals(number).name} received, saving a checkpoint and stopping")

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
