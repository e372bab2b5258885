"""Memory in use, for the metrics."""

import resource
import sys

import jax

_GIB = 2**30
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere


def device_memory_gib() -> float | None:
    """The most memory that one of this process's devices has used, None where it is not told."""
    told = [device.memory_stats() for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in told if stats and "peak_bytes_in_use" in stats]
    return max(peaks) / _GIB if peaks else None


def host_memory_gib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT / _GIB
