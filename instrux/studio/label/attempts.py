"""How often somebody may try to sign in and fail.

Tokens are too long to guess; this spares the server the guessing, and the study's file a transaction
for each. It is held in memory: a server that starts again has forgotten it.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

FAILURES = 10
SECONDS = 60.0
_MOST_CLIENTS = 10_000


class Attempts:
    """The latest failures of each client."""

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Knows of no failure yet.

        Args:
            failures: so many within `seconds` are let through.
            seconds: how long a failure counts.
            clock: the time in seconds.
        """
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._of_client: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until a client may try again; 0 where it may now."""
        with self._lock:
            failed = self._of_client.get(client)
            if failed is None or len(failed) < self._failures:
                return 0.0
            return max(0.0, failed[0] + self._seconds - self._clock())

    def failed(self, client: str) -> None:
        """Notes a failure."""
        with self._lock:
            failed = self._of_client.setdefault(client, deque(maxlen=self._failures))
            failed.append(self._clock())
            self._of_client.move_to_end(client)
            while len(self._of_client) > _MOST_CLIENTS:
                self._of_client.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """Forgets a client's failures."""
        with self._lock:
            self._of_client.pop(client, None)
