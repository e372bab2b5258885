"""Several processes that train or evaluate as one, through `jax.distributed`.

On TPU pods, under Slurm, Open MPI and Kubernetes' indexed jobs JAX finds out by itself who takes
part. Anywhere else the environment says so, the same on every process but for its number:

    JAX_COORDINATOR_ADDRESS=host0:1234 JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=0
"""

import os
import time
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from instrux.errors import InputError

_ADDRESS, _COUNT, _INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_HEARTBEAT_SECONDS = 60
_AGREE_EVERY_SECONDS = 2.0
_MOST_STEPS_BETWEEN = 64


def join_cluster(*, heartbeat_seconds: int = _HEARTBEAT_SECONDS) -> None:
    """Makes this process one of a cluster's; to be called before a device is used.

    Args:
        heartbeat_seconds: a process not heard of for so long is dead, and the others end with an
            error; where they wait for a sum with it, most often at once.

    Raises:
        InputError: the environment names no cluster, or names one in part.
    """
    if jax.distributed.is_initialized():
        return
    try:
        jax.distributed.initialize(
            num_processes=_number(_COUNT),
            process_id=_number(_INDEX),
            heartbeat_timeout_seconds=heartbeat_seconds,
        )
    except (ValueError, RuntimeError) as error:
        text = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"distributed: no cluster to join ({text}); where JAX recognises none, set {_ADDRESS},"
            f" {_COUNT} and {_INDEX}."
        ) from error


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} is {text!r}; give a whole number.") from None


class Wishes(NamedTuple):
    """What a process would have the loop do after a step; of several processes, what any wants.

    Attributes:
        signal: number of the signal that asks to stop, 0 for none.
        timed_out: whether the time of the run is used up.
        profile: whether somebody asked for a profile.
    """

    signal: int = 0
    timed_out: bool = False
    profile: bool = False


class Agreement:
    """Has all processes do the same after the same step, or the others would wait for ever.

    They ask one another about every two seconds, as to ask costs a round over the network.
    """

    def __init__(self) -> None:
        self._next = 1
        self._last_step = 0
        self._last_time = time.monotonic()

    def of(self, wishes: Wishes, step: int) -> Wishes:
        """What all processes are to do after this step; nothing at most steps of several processes."""
        if jax.process_count() == 1:
            return wishes
        if step < self._next:
            return Wishes()
        pace = (time.monotonic() - self._last_time) / max(1, step - self._last_step)
        told = np.asarray([*wishes, pace], np.float32)
        answers = np.reshape(multihost_utils.process_allgather(told), (-1, len(told)))
        signalled, timed_out, profile, slowest = answers.max(axis=0)
        steps = int(_AGREE_EVERY_SECONDS / max(float(slowest), 1e-6))
        self._next = step + min(max(steps, 1), _MOST_STEPS_BETWEEN)
        self._last_step, self._last_time = step, time.monotonic()
        return Wishes(int(signalled), bool(timed_out), bool(profile))
