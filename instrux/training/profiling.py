"""A profile of some steps, for TensorBoard's profile page, Perfetto or XProf.

By settings for the steps a to b; or while the run goes on, by `touch <model_dir>/PROFILE` (the file
may hold how many steps; it is taken away) or the signal SIGUSR1. All processes of a run profile the
same steps, each its own devices; the trace lies in `<model_dir>/profile/`.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax

from instrux.errors import InputError
from instrux.progress import tell

REQUEST = "PROFILE"
_DEFAULT_STEPS = 5
_LOOK_EVERY_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ProfileSteps:
    """The steps to profile, both included."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise InputError(
                f"ProfileSteps: first is {self.first} and last {self.last}; give 1 <= first <= last."
            )


class Profiler:
    """Starts and stops traces between steps."""

    def __init__(self, model_dir: Path, steps: ProfileSteps | None) -> None:
        """Profiles `steps`, and more on demand."""
        self._folder = model_dir / "profile"
        self._request = model_dir / REQUEST
        self._steps = steps
        self._until: int | None = None
        self._looked = 0.0

    def asked(self) -> bool:
        """Whether the file that asks for a profile is there; looks every few seconds at most."""
        if time.monotonic() - self._looked < _LOOK_EVERY_SECONDS:
            return False
        self._looked = time.monotonic()
        return self._request.exists()

    def before(self, step: int) -> None:
        """Begins the trace that the settings ask for at this step."""
        if self._until is None and self._steps is not None and self._steps.first == step:
            self._start(step, self._steps.last)

    def start(self, step: int) -> None:
        """Begins a trace on demand, of the steps from this one on."""
        count = self._requested_steps()
        if self._until is None:
            self._start(step, step + count - 1)

    def after(self, step: int, last: jax.Array) -> None:
        """Ends the trace once its last step is done; `last` is any array of that step."""
        if self._until is not None and step >= self._until:
            jax.block_until_ready(last)
            self.close()

    def close(self) -> None:
        """Ends a trace that is going on."""
        if self._until is not None:
            self._until = None
            jax.profiler.stop_trace()
            tell(f"train: profile in {self._folder}")

    def _start(self, step: int, last: int) -> None:
        tell(f"train: profiling steps {step:,} to {last:,}")
        jax.profiler.start_trace(self._folder)
        self._until = last

    def _requested_steps(self) -> int:
        try:
            text = self._request.read_text().strip()
            if jax.process_index() == 0:
                self._request.unlink(missing_ok=True)
        except OSError:
            return _DEFAULT_STEPS
        return max(1, int(text)) if text.isdigit() else _DEFAULT_STEPS
