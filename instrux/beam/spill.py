"""Blobs that wait on a local disk until the file that they belong to is written.

Beam's runner on this machine keeps in memory all that goes from one stage to the next, and hands
it through its own process. Where that would be much, workers write their blobs to files of their
own and only say where they are.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from instrux.beam.blobs import Blob
from instrux.errors import InputError

_REFERENCE = struct.Struct(">QQQQ16s")  # place and records as a blob has them; offset, length, file
_PREFIX = ".spill-"
_LOCK = "lock"


@contextmanager
def spill_folder(data_dir: str) -> Iterator[str]:
    """A folder for `SpillFile`s that goes when the job ends, beside what the job renders.

    There is room for as much again, and a system's folder for temporary files may be in memory.
    What jobs left that were killed is removed. An object store takes no such files: for one, the
    folder is among this machine's temporary files.
    """
    if "://" in data_dir:
        with tempfile.TemporaryDirectory(prefix="instrux-spill-") as folder:
            yield folder
        return
    parent = Path(data_dir).absolute() / "rendered"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        _remove_if_nobodys(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as folder:
        started = Path(folder) / f"{_LOCK}.new"
        with started.open("w") as lock:
            with contextlib.suppress(OSError):  # a file system without locks: nobody else gets one
                fcntl.flock(lock, fcntl.LOCK_EX)
            started.rename(started.with_name(_LOCK))
            yield folder


def _remove_if_nobodys(lock: Path) -> None:
    with contextlib.suppress(OSError), lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.parent, ignore_errors=True)


class SpillFile:
    """Takes blobs and gives references, which sort as the blobs do.

    A worker that is retried writes another file; what nobody refers to is not read.
    """

    def __init__(self, folder: str) -> None:
        """Opens a file in a spill folder.

        Raises:
            InputError: it cannot be written.
        """
        self._name = uuid.uuid4()
        self._path = os.path.join(folder, self._name.hex)
        self._offset = 0
        with self._told():
            self._file = open(self._path, "wb")  # `close` closes it

    def put(self, blob: bytes) -> bytes:
        """Writes a blob and gives its reference.

        Raises:
            InputError: the disk takes no more.
        """
        place, records, body = Blob.from_bytes(blob)
        with self._told():
            self._file.write(body)
        reference = _REFERENCE.pack(place, records, self._offset, len(body), self._name.bytes)
        self._offset += len(body)
        return reference

    def close(self) -> None:
        """Writes what is still held.

        Raises:
            InputError: the disk takes no more.
        """
        with self._told():
            self._file.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self._path}: what is rendered cannot be written there for the time being "
                f"({error.strerror or error}); free that disk."
            ) from error


def spilled_bodies(references: Iterable[bytes], folder: str) -> Iterator[bytes]:
    """Reads the bodies of the blobs that are referred to, in the order given.

    Raises:
        InputError: a file is gone or cut.
    """
    opened, file = b"", None
    try:
        for reference in references:
            _, _, offset, length, name = _REFERENCE.unpack(reference)
            path = os.path.join(folder, uuid.UUID(bytes=name).hex)
            try:
                if name != opened or file is None:
                    if file is not None:
                        file.close()
                    file, opened = open(path, "rb"), name  # closed below
                body = os.pread(file.fileno(), length, offset)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
            if len(body) != length:
                raise InputError(f"{path}: it was cut while the job ran; run it again.")
            yield body
    finally:
        if file is not None:
            file.close()
