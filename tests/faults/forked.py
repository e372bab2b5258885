"""Programs that run as forks of one process, which has imported what they need.

A program that is killed and started again and again would import TensorFlow, Beam and JAX each time,
which takes longer than its work. A fork of a process that has done no more than import them is as
good as a fresh one, and is killed like one: the only threads that imports start are those of OpenBLAS
and of jemalloc (pyarrow's), which see to forks themselves.

As a script it reads a run as a line of JSON, and answers with two lines: the run's process, and its
exit status once it has ended.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Forks:
    """The process that programs are forks of."""

    def __init__(self, imports: str, said: Path) -> None:
        """Starts it, and waits for the statements of `imports`; programs write errors to `said`."""
        self._said = said
        self._process = subprocess.Popen(
            [sys.executable, __file__, imports, str(said)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._answer() == "ready"

    def finish(self, program: str, *arguments: object) -> float:
        """Runs a program to its end, and gives the seconds that it took."""
        self._start(program, arguments)
        began = time.monotonic()
        status = int(self._answer())
        assert status == 0, self._said.read_text()
        return time.monotonic() - began

    def kill(self, program: str, *arguments: object, after: float) -> None:
        """Runs a program, and kills it after some seconds if it still runs."""
        pid = self._start(program, arguments)
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], after)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert int(self._answer()) in (0, -signal.SIGKILL), self._said.read_text()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _start(self, program: str, arguments: tuple[object, ...]) -> int:
        assert self._process.stdin is not None
        words = [str(argument) for argument in arguments]
        print(json.dumps({"program": program, "arguments": words}), file=self._process.stdin)
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that is forked has ended"
        return line.strip()


def _serve() -> str | None:
    """Forks for each line; gives the program to run in a fork, and None where there are no more."""
    for line in sys.stdin:
        run = json.loads(line)
        pid = os.fork()
        if pid == 0:
            sys.argv = ["", *run["arguments"]]
            return run["program"]
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    exec(sys.argv[1])
    _SAID = sys.argv[2]
    print("ready", flush=True)
    _PROGRAM = _serve()
    if _PROGRAM is not None:
        with open(os.devnull, "r+") as _nowhere, open(_SAID, "w") as _screen:
            os.dup2(_nowhere.fileno(), 0)
            os.dup2(_nowhere.fileno(), 1)
            os.dup2(_screen.fileno(), 2)
        exec(_PROGRAM, {"__name__": "__main__"})
