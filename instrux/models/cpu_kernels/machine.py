"""What the CPU kernels need of a machine; read without JAX."""

import os
import platform
import shutil
from pathlib import Path

SWITCH = "INSTRUX_CPU_KERNELS"
"""Environment variable: `off` leaves all products to XLA."""

NEEDED = frozenset(
    {"amx_tile", "amx_bf16", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"}
)
"""Features of the processor, as `/proc/cpuinfo` names them."""


def lacks() -> str | None:
    """What this machine lacks for the kernels, or None."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no", "false"):
        return f"{SWITCH} is off"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "they are for x86-64 Linux"
    missing = sorted(NEEDED - processor_features())
    if missing:
        return f"this CPU has no {missing[0]}"
    if compiler() is None:
        return "no C++ compiler was found (g++, clang++ or c++; CXX names another)"
    return None


def compiler() -> str | None:
    """The C++ compiler: `CXX`, else the first of g++, clang++ and c++ that is there."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def processor_features() -> set[str]:
    """The features of the first processor; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return set(next(lines, "").partition(":")[2].split())
