"""Tells a loss that is out of line with those before it.

Out of line is a loss further above the median of the last ones than so many of their deviations
(the median absolute deviation, scaled to a standard deviation). The limit of step n is made of the
losses up to step n - 2, as the loss of n - 1 is not known yet when step n begins: so it is the same
whether a run was stopped in between or not.
"""

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from instrux.errors import InputError

Action = Literal["tell", "stop", "skip", "roll_back"]
_ACTIONS = ("tell", "stop", "skip", "roll_back")
_TO_STANDARD_DEVIATION = 1.4826
_LEAST_SHARE = 0.01  # of the median: losses that hardly differ are no reason to be narrow


@dataclass(frozen=True, kw_only=True)
class Spikes:
    """What counts as a spike of the loss, and what is done about it.

    Attributes:
        action: `tell` only; `stop` the run; `skip` the step, whose update is then not made; or
            `roll_back` to the last checkpoint and go on with the batches behind the bad one.
        deviations: how many deviations above the median.
        window: losses that the median is of.
        fewest: losses before any is judged.
    """

    action: Action = "tell"
    deviations: float = 10.0
    window: int = 100
    fewest: int = 20

    def __post_init__(self) -> None:
        if self.action not in _ACTIONS:
            raise InputError(f"Spikes.action is {self.action!r}; choose one of {_ACTIONS}.")
        if not self.deviations > 0:
            raise InputError(f"Spikes.deviations is {self.deviations}; give a number above 0.")
        if not 2 <= self.fewest <= self.window:
            raise InputError(
                f"Spikes.fewest is {self.fewest} of a window of {self.window}; give 2 to the window."
            )


TELL_SPIKES = Spikes()
"""A spike is told, and nothing done about it."""


class LossWatch:
    """The losses of the last steps."""

    def __init__(self, spikes: Spikes, recent: Sequence[Sequence[float]] = ()) -> None:
        """Goes on with what a checkpoint held."""
        self._spikes = spikes
        self._losses = deque(((int(step), loss) for step, loss in recent), maxlen=spikes.window + 1)

    def limit(self, step: int) -> float:
        """The highest loss that is in line at this step; infinite while too few are known."""
        known = [loss for at, loss in self._losses if at <= step - 2][-self._spikes.window :]
        if len(known) < self._spikes.fewest:
            return math.inf
        middle = statistics.median(known)
        deviation = statistics.median(abs(loss - middle) for loss in known)
        spread = max(_TO_STANDARD_DEVIATION * deviation, _LEAST_SHARE * abs(middle))
        return middle + self._spikes.deviations * spread

    def add(self, step: int, loss: float) -> None:
        """Notes a finite loss."""
        self._losses.append((step, loss))

    def forget_after(self, step: int) -> None:
        """Forgets the losses of later steps, to which the run was rolled back."""
        kept = [entry for entry in self._losses if entry[0] <= step]
        self._losses = deque(kept, maxlen=self._losses.maxlen)

    def recent(self) -> list[list[float]]:
        """Step and loss of the last steps, for a checkpoint."""
        return [[step, loss] for step, loss in self._losses]
