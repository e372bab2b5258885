"""Times ours and a peer alternately in one process, and prints the ratio.

Wall time is what counts on a quiet machine. On a busy one compare the CPU seconds: other
processes' share of the cores is printed so that a reader can tell.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Timings:
    """Seconds of each repetition of one side."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, run: Callable[[], object]) -> None:
        """Runs once and keeps its time."""
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    def __str__(self) -> str:
        low, middle, high = np.percentile(self.wall, [0, 50, 100])
        return f"{middle:8.3f} s ({low:.3f} to {high:.3f}), {np.median(self.cpu):.3f} CPU-s"


def race(ours: Callable[[], object], peer: Callable[[], object], *, repetitions: int) -> None:
    """Runs both once to warm up, then alternately, and prints medians and the ratio."""
    ours()
    peer()
    our_timings, peer_timings = Timings(), Timings()
    busy_before, total_before = _machine_ticks()
    own_before = sum(os.times()[:2])
    started = time.perf_counter()
    for _ in range(repetitions):
        for timings, run in ((our_timings, ours), (peer_timings, peer)):
            time.sleep(0.3)  # threads of the other side's pool go to sleep
            timings.add(run)
    elapsed = time.perf_counter() - started
    busy, total = _machine_ticks()
    own = sum(os.times()[:2]) - own_before
    others = (busy - busy_before) / max(1, total - total_before) - own / elapsed / _cores()
    wall = np.median(peer_timings.wall) / np.median(our_timings.wall)
    cpu = np.median(peer_timings.cpu) / np.median(our_timings.cpu)
    print(f"ours {our_timings}")
    print(f"peer {peer_timings}")
    print(f"ratio {wall:.2f} of wall medians, {cpu:.2f} of CPU medians; n = {repetitions}")
    verdict = "quiet" if others < 0.15 else "too noisy: believe the CPU ratio at most"
    print(f"other processes took {max(0.0, others):.0%} of {_cores()} cores: {verdict}")


def _cores() -> int:
    return os.cpu_count() or 1


def _machine_ticks() -> tuple[int, int]:
    """Busy and total ticks of all cores since the machine started."""
    with open("/proc/stat") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)
