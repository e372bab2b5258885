"""Asks a loop to stop, or for a profile: signals, noticed between two steps.

A scheduler's SIGTERM or a person's Ctrl-C stop it; SIGUSR1 asks for a profile.
"""

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
        self._profile = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; elsewhere there is nobody to ask us to stop.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
            usual = signal.signal(signal.SIGUSR1, self._note_profile)
            self._previous[signal.SIGUSR1] = usual
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number
        self._restore()
        tell(f"train: {signal.Signals(number).name} received, saving a checkpoint and stopping")

    def _note_profile(self, _: int, __: FrameType | None) -> None:
        self._profile = True

    def profile_asked(self) -> bool:
        """Whether SIGUSR1 came since this was last asked."""
        asked, self._profile = self._profile, False
        return asked

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
