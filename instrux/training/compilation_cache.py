"""JAX's persistent compilation cache, so that a program seen before starts without compiling."""

import os
from pathlib import Path

import jax

from instrux.cache_folder import cache_folder

_MIN_COMPILE_SECS = 0.3


def enable(folder: str | Path | None = None) -> Path:
    """Turns the cache on for this process.

    Args:
        folder: where compiled programs lie; None for `jax` in the cache folder (INSTRUX_CACHE,
            else `~/.cache/instrux`), unless JAX_COMPILATION_CACHE_DIR names one.
    """
    named = folder if folder is not None else os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if named is None:
        named = cache_folder() / "jax"
    jax.config.update("jax_compilation_cache_dir", str(named))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return Path(named)
