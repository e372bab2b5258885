"""Folders of weights that appear whole or not at all."""

import contextlib
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from instrux.errors import InputError

_TRIES = 50  # a tenth of a second apart, to remove a folder


@contextlib.contextmanager
def appearing_whole(out: Path, size: int) -> Iterator[Path]:
    """Gives a folder beside `out` that takes its place when the block ends without an error.

    Args:
        out: the folder to be; it must not exist, or be empty.
        size: bytes that are going to be written, for a look at the disk.

    Raises:
        InputError: it exists, or cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: exists already; remove it or choose another folder.")
    partial = out.absolute().parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    try:
        partial.mkdir(parents=True)
        free = shutil.disk_usage(partial).free
        if free < size:
            raise InputError(
                f"{out}: the weights take {size / 2**30:.2f} GiB and the disk has"
                f" {free / 2**30:.2f} GiB left; free it or choose another folder."
            )
        yield partial
        if out.is_dir():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}).") from error
    finally:
        _remove(partial)


def _remove(folder: Path) -> None:
    """Removes a folder that a writer's last threads may still be writing into."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
