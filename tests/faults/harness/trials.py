"""One trial: a fault is made, something is run, and what came of it is judged."""

import contextlib
import enum
import logging
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from instrux.errors import InputError

HANGS_AFTER_SECS = 300  # of the clock: on a starved machine importing alone takes a minute
CANARY = "INSTRUX_CANARY"
"""Environment variable that names a file which hostile code would make."""


class Outcome(enum.StrEnum):
    """What a trial may come to."""

    REFUSED = "refused in one line that names it"
    HELD = "done, and right"
    COUNTED = "left out, counted with a reason"
    UNSEEN = "read as other content: the format has no checksum"
    FAULT = "fault"


class WrongError(AssertionError):
    """Something that must not be."""


class HungError(BaseException):
    """A trial that did not end in time; no `except Exception` may hide it."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        group: the heading it stands under.
        name: what is done.
        attempt: does it once in an empty folder; an InputError that it lets through counts as a
            refusal, any other exception as a fault.
        names: what a refusal must name, besides the folder.
        costly: whether a trial takes seconds.
        prepare: makes what the trials share, before their time counts.
    """

    group: str
    name: str
    attempt: Callable[[random.Random, Path], Outcome]
    names: tuple[str, ...] = ()
    costly: bool = False
    prepare: Callable[[], object] = int


@dataclass(frozen=True)
class Result:
    """What a trial came to, and for a fault what it was."""

    kind: Kind
    seed: int
    outcome: Outcome
    what: str = ""


def run(kind: Kind, seed: int) -> Result:
    """Makes one trial."""
    folder = Path(tempfile.mkdtemp(prefix="instrux-fault-"))
    canary = folder.with_name(f"{folder.name}-canary")
    os.environ[CANARY] = str(canary)
    os.environ["INSTRUX_CACHE"] = str(folder / "cache_folder")
    try:
        kind.prepare()
        outcome = _attempted(kind, seed, folder)
        if canary.exists():
            outcome = Result(kind, seed, Outcome.FAULT, "hostile code ran")
        return outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        canary.unlink(missing_ok=True)


def _attempted(kind: Kind, seed: int, folder: Path) -> Result:
    try:
        with _deadline(), quiet():
            return Result(kind, seed, kind.attempt(random.Random(f"{kind.name} {seed}"), folder))
    except InputError as error:
        message = str(error)
        if "\n" in message:
            return Result(kind, seed, Outcome.FAULT, f"more than one line: {message!r}")
        if not any(name in message for name in (str(folder), *kind.names)):
            return Result(kind, seed, Outcome.FAULT, f"names nothing: {message!r}")
        return Result(kind, seed, Outcome.REFUSED)
    except HungError:
        return Result(kind, seed, Outcome.FAULT, f"did not end in {HANGS_AFTER_SECS} s")
    except Exception as error:
        return Result(kind, seed, Outcome.FAULT, f"{type(error).__name__}: {str(error)[:300]}")


@contextlib.contextmanager
def _deadline() -> Iterator[None]:
    def hung(*_: object) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER_SECS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what the parts tell of their progress off the screen."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(level)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Gives other bytes: cut, a bit or a byte changed, a piece zeroed, doubled or added."""
    while True:
        start = draw.randrange(len(content) or 1)
        end = min(len(content), start + draw.choice([1, 8, 64, 512]))
        other = draw.choice(
            [
                content[:start],
                content[:start]
                + bytes([content[start] ^ 1 << draw.randrange(8)])
                + content[start + 1 :],
                content[:start] + draw.randbytes(1) + content[start + 1 :],
                content[:start] + bytes(end - start) + content[end:],
                content[:end] + content[start:],
                content + draw.randbytes(9),
            ]
        )
        if other != content:
            return other
