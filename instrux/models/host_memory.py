"""How this process asks the operating system for memory."""

import ctypes
import sys

# The parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory for the next allocation. Call it before the first step.

    By default glibc returns every large array to the operating system, and the next step pays a
    page fault for each 4 KiB of it again. On CPU that is most of the cost of operations that
    write large arrays. The price is that the process keeps the most memory it ever held.

    Returns:
        Whether it is in force; False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, -1),
        (_M_TOP_PAD, 256 * 2**20),
    )
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])
