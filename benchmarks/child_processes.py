"""Runs both sides of a benchmark in processes of their own, in turn, and prints the ratio.

For what a process does once: starting, holding memory, a whole command. A child says what it
measured of itself as the last line of its output, JSON; its whole time, processor seconds and
memory are measured here. Children belong to this process's group, so what stops it stops them.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

_POLL_SECS = 0.1


@dataclass(frozen=True)
class Run:
    """One run of a child.

    Attributes:
        wall: seconds from start to end.
        cpu: processor seconds of it and its children.
        peak_mb: the most memory that it held (resident), with its children.
        told: what it measured of itself.
        killed: whether it was ended because it held more than the limit.
    """

    wall: float
    cpu: float
    peak_mb: float
    told: Mapping[str, Any] = field(default_factory=dict)
    killed: bool = False


def run_child(
    command: Sequence[str],
    *,
    memory_limit_mb: float = float("inf"),
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Runs a command to its end, or until it holds more memory than it may.

    Raises:
        SystemExit: the command failed; what it said is printed.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            list(command), stdout=said, stderr=errors, env={**os.environ, **(environment or {})}
        )
        peak, killed, usage, status = 0.0, False, None, 0
        while usage is None:
            held = _held_mb(child.pid)
            peak = max(peak, held)
            if held > memory_limit_mb and not killed:
                killed = True
                child.kill()
            pid, status, found = os.wait4(child.pid, os.WNOHANG)
            usage = found if pid else None
            if usage is None:
                time.sleep(_POLL_SECS)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        errors.seek(0)
        output = said.read().strip()
        if child.returncode and not killed:
            sys.exit(f"{' '.join(command)}\nfailed:\n{output[-2000:]}\n{errors.read()[-4000:]}")
    told = {} if killed or not output else json.loads(output.splitlines()[-1])
    peak = max(peak, usage.ru_maxrss / 1024)
    return Run(wall, usage.ru_utime + usage.ru_stime, peak, told, killed)


def held_mb() -> float:
    """Resident memory of this process now, in MB."""
    return psutil.Process().memory_info().rss / 2**20


def _held_mb(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(each.memory_info().rss for each in family) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def middle(values: Sequence[float]) -> str:
    """The median and what it lies between."""
    return f"{statistics.median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f})"


def ratio(peer: Sequence[float], ours: Sequence[float]) -> float:
    """The peer's median over ours."""
    return statistics.median(peer) / statistics.median(ours)


def report(what: str, ours: Sequence[Run], peer: Sequence[Run], *, told: str = "") -> float:
    """Prints both sides and the ratios of medians; gives that of processor seconds.

    Args:
        what: what is compared.
        ours: runs of ours.
        peer: runs of the peer.
        told: compares `<told>_wall` and `<told>_cpu` of what the children measured themselves, in
            place of the whole processes.
    """

    def values(runs: Sequence[Run], which: str) -> list[float]:
        if told:
            return [run.told[f"{told}_{which}"] for run in runs]
        return [getattr(run, which) for run in runs]

    print(what)
    for name, runs in (("ours", ours), ("peer", peer)):
        print(f"  {name} {middle(values(runs, 'wall'))} s, {middle(values(runs, 'cpu'))} CPU-s")
    wall, cpu = (ratio(values(peer, which), values(ours, which)) for which in ("wall", "cpu"))
    print(
        f"  ratio {wall:.2f} of wall medians, {cpu:.2f} of CPU medians; n = {len(ours)}", flush=True
    )
    return cpu
