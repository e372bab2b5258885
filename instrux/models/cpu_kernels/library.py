"""Compiles the C++ kernels for this machine, loads them, and makes them known to XLA.

A compiled library lies in the cache folder under a name made of what it was compiled from, so a new
version of Instrux, of jaxlib or of the compiler compiles anew. It takes six seconds on two cores,
once.
"""

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax
import jaxlib

from instrux.cache_folder import cache_folder
from instrux.models.cpu_kernels import machine

_FLAGS = [
    *("-std=c++17", "-O3", "-fPIC", "-DNDEBUG", "-mfma"),
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16"),
    *("-mamx-tile", "-mamx-bf16"),
]
_TARGETS = {
    "instrux_product": "InstruxProduct",
    "instrux_attention": "InstruxAttention",
    "instrux_attention_gradient": "InstruxAttentionGradient",
    "instrux_inputs_step": "InstruxInputsStep",
    "instrux_squares": "InstruxSquares",
    "instrux_scaled_squares": "InstruxScaledSquares",
}
# arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux lets a process use tiles on request.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


@dataclass(frozen=True)
class Kernels:
    """Whether the kernels can be used in this process.

    Attributes:
        usable: they can.
        reason: why not, or where the compiled library lies, for people.
    """

    usable: bool
    reason: str


def available() -> bool:
    """Whether the kernels can be used; the first call compiles and loads them."""
    return load().usable


@functools.cache
def load() -> Kernels:
    """Compiles the kernels where that was not done before, loads and registers them.

    They serve one CPU alone: XLA cannot split a call of them over devices.
    """
    missing = why_not()
    if missing is not None:
        return Kernels(False, missing)
    try:
        path = _compiled()
        library = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        reason = f"the CPU kernels could not be compiled and loaded: {_told(error)}"
        warnings.warn(
            f"{reason}; products are left to XLA ({machine.SWITCH}=off does not try)", stacklevel=2
        )
        return Kernels(False, reason)
    if ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) != 0:
        return Kernels(False, "the system does not let this process use the CPU's matrix units")
    for target, symbol in _TARGETS.items():
        handler = jax.ffi.pycapsule(getattr(library, symbol))
        jax.ffi.register_ffi_target(target, handler, platform="cpu")
    return Kernels(True, str(path))


def _told(error: Exception) -> str:
    """The line that tells what is wrong: a compiler's first with `error` in it, else the first."""
    lines = [*(getattr(error, "stderr", None) or "").splitlines(), *str(error).splitlines()]
    return next((line for line in lines if "error" in line), lines[0] if lines else repr(error))


def why_not() -> str | None:
    """Why the kernels are not for this process, or None; compiles nothing."""
    missing = machine.lacks()
    if missing is None and (jax.default_backend() != "cpu" or jax.device_count() != 1):
        return "they serve a single CPU device"
    return missing


def _compiled() -> Path:
    """The compiled library's path; compiles it if it is not there."""
    sources = sorted(Path(__file__).parent.glob("*.cc"))
    command = [str(machine.compiler()), *_FLAGS, "-isystem", jax.ffi.include_dir()]
    version = _run([command[0], "--version"])
    digest = hashlib.sha256("\0".join([*_FLAGS, version, jaxlib.__version__]).encode())
    for source in sorted([*sources, *Path(__file__).parent.glob("*.h")]):
        digest.update(source.read_bytes())
    path = cache_folder() / "cpu_kernels" / f"{digest.hexdigest()[:24]}.so"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        objects = [Path(folder) / f"{source.stem}.o" for source in sources]
        compiles = [
            [*command, "-c", "-o", str(made), str(source)]
            for made, source in zip(objects, sources, strict=True)
        ]
        with ThreadPoolExecutor(len(compiles)) as threads:  # each waits for a process of its own
            list(threads.map(_run, compiles))
        made = Path(folder) / path.name
        _run([*command, "-shared", "-o", str(made), *map(str, objects)])
        os.replace(made, path)
    return path


def _run(command: Sequence[str]) -> str:
    """Gives what a command prints; raises where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
