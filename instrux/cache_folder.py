"""Where everything that is fetched or compiled once lies."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Gives the cache folder: `INSTRUX_CACHE`, else `~/.cache/instrux`."""
    named = os.environ.get("INSTRUX_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "instrux"
