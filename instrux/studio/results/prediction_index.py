"""Where each line of a file of predictions begins, and what it got: pages of a million lines.

One reading in a thread of its own notes of every line its offset, whether it is right, its credit
and a hash of its example; nothing of the texts is kept: 21 bytes a line. Pages read their own lines
alone, and can be had while the reading still goes on.
"""

import hashlib
import re
import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instrux.errors import InputError
from instrux.evaluation.predictions import Prediction, parse_prediction

RIGHT, WRONG, NEITHER = 1, 0, -1
_MAX_LINE = 8 * 2**20
_KEPT_FILES = 24
_ID = re.compile(rb'"example_id":\s*"((?:[^"\\]|\\.)*)"')
# Within a text a quote is escaped, so these bytes can only be the fields themselves.
_OUTCOME = re.compile(
    rb'"correct":\s*(true|false|null)\s*,\s*"credit":\s*(-?[0-9.]+(?:[eE][-+]?\d+)?)'
)
_CORRECT = {b"true": RIGHT, b"false": WRONG, b"null": NEITHER}


@dataclass(frozen=True)
class Lines:
    """What an index knows so far; all arrays are of one length.

    Attributes:
        offsets: uint64, where each line begins.
        correct: int8, `RIGHT`, `WRONG` or `NEITHER`.
        credits: float32, what each got, 0 to 100.
        examples: uint64, a hash of each line's example id.
        complete: whether the whole file was read.
        share: of the file that was read, 0 to 1.
    """

    offsets: np.ndarray
    correct: np.ndarray
    credits: np.ndarray
    examples: np.ndarray
    complete: bool
    share: float

    def __len__(self) -> int:
        return len(self.offsets)


class PredictionIndex:
    """The index of one file, in the making or complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = path.stat().st_size
        self._arrays = array("Q"), array("b"), array("f"), array("Q")
        self._read = 0
        self._done = threading.Event()
        self._final: Lines | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._build, name=f"index {path.name}", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Waits until the whole file was read, or the time is over; whether it was."""
        return self._done.wait(seconds)

    def lines(self) -> Lines:
        """What is known so far."""
        with self._lock:
            if self._final is None:
                return self._known()
            return self._final

    def _known(self) -> Lines:
        complete = self._done.is_set()
        # The last array is appended to last: its length is that of whole entries.
        known = len(self._arrays[-1])
        types = np.uint64, np.int8, np.float32, np.uint64
        copies = [np.array(a[:known], dtype=t) for a, t in zip(self._arrays, types, strict=True)]
        share = 1.0 if complete or not self._size else self._read / self._size
        lines = Lines(*copies, complete=complete, share=min(share, 1.0))
        if complete:
            self._final = lines
            self._arrays = array("Q"), array("b"), array("f"), array("Q")
        return lines

    def read(self, numbers: np.ndarray) -> list[Prediction | str]:
        """The predictions at line numbers (from 0); a line that is none becomes its problem."""
        offsets = self.lines().offsets
        found: list[Prediction | str] = []
        try:
            with self.path.open("rb") as file:
                for number in map(int, numbers):
                    file.seek(int(offsets[number]))
                    line = file.readline(_MAX_LINE)
                    found.append(_prediction(line, f"{self.path.name}, line {number + 1}"))
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error}).") from error
        return found

    def _build(self) -> None:
        try:
            with self.path.open("rb") as file:
                while line := file.readline(_MAX_LINE):
                    self._note(line)
                    while not line.endswith(b"\n") and len(line) == _MAX_LINE:
                        line = file.readline(_MAX_LINE)  # the rest of an endless line
                        self._read += len(line)
        except OSError:
            pass  # what was read until then can be shown
        finally:
            self._done.set()

    def _note(self, line: bytes) -> None:
        offsets, correct, credits, examples = self._arrays
        outcome = _OUTCOME.search(line, max(line.rfind(b'"correct":'), 0))
        example = _ID.search(line)
        name = example[1] if example else b""
        offsets.append(self._read)
        correct.append(_CORRECT[outcome[1]] if outcome else NEITHER)
        credits.append(_number(outcome[2]) if outcome else 0.0)
        self._read += len(line)
        digest = hashlib.blake2b(name, digest_size=8).digest()
        examples.append(int.from_bytes(digest, "little"))


class Indices:
    """The indices of files that were looked at; a file that changed is read anew."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], PredictionIndex] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: Path) -> PredictionIndex:
        """The index of a file, which is begun where there is none.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            status = path.stat()
            key = (str(path), status.st_size, status.st_mtime_ns)
            with self._lock:
                if key not in self._kept:
                    self._kept[key] = PredictionIndex(path)
                self._kept.move_to_end(key)
                while len(self._kept) > _KEPT_FILES:
                    self._kept.popitem(last=False)
                return self._kept[key]
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error}).") from error


def _number(text: bytes) -> float:
    try:
        return min(max(float(text), -1e30), 1e30)
    except ValueError:
        return 0.0


def _prediction(line: bytes, where: str) -> Prediction | str:
    try:
        return parse_prediction(line.decode("utf-8"), where)
    except UnicodeDecodeError:
        return f"{where}: not UTF-8 text."
    except InputError as error:
        return str(error)
