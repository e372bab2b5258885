"""Runs a pipeline: Beam's own options in, progress out, a user's mistake as one line.

Without `--runner` (or with DirectRunner) Beam's FnApiRunner runs in this process. The name
DirectRunner is not handed on, because Beam then looks for Prism first, a program it would fetch
from a public host. With `--direct_num_workers N` the work goes to N processes.
"""

import argparse
import logging
import os
import re
import shlex
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam import pipeline as beam_pipeline
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineState, create_runner
from apache_beam.utils import interactive_utils

from instrux.beam.dask_jobs import divide, has_cluster, quiet_workers, uses_dask
from instrux.data.sources_base import SourceError
from instrux.errors import InputError, did_you_mean

_LOCAL_RUNNERS = {None, "DirectRunner", "FnApiRunner", "direct"}
_DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
_WATCH_EVERY_SECS = 0.2


def pipeline_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Parses Beam's options, as `--runner=DaskRunner` or `--direct_num_workers=4`.

    Raises:
        InputError: an option that Beam does not know, or a value that it does not take.
    """
    if any(arg.split("=")[-1].endswith("DaskRunner") for arg in beam_args):
        _require_dask()
    parser = _OptionsParser(allow_abbrev=False, add_help=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)  # pyright: ignore[reportArgumentType]
    _, unknown = parser.parse_known_args(list(beam_args))
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        name = unknown[0].partition("=")[0]
        raise InputError(f"Beam has no option {name!r}." + did_you_mean(name, known))
    options = PipelineOptions(list(beam_args))
    standard = options.view_as(StandardOptions)
    if standard.runner == "DaskRunner":
        standard.runner = _DASK  # the one runner that Beam knows by its full name only
    if not is_local(options):
        _require_runner(standard.runner)
    return options


def is_local(options: PipelineOptions) -> bool:
    """Whether Beam's FnApiRunner runs the pipeline, all data between stages in memory."""
    return options.view_as(StandardOptions).runner in _LOCAL_RUNNERS


def shares_this_machine(options: PipelineOptions) -> bool:
    """Whether workers can write into a folder of this machine."""
    return is_local(options) or (uses_dask(options) and not has_cluster(options))


def run_pipeline(
    build: Callable[[beam.Pipeline], object],
    options: PipelineOptions,
    *,
    watch: Callable[[], None] | None = None,
) -> None:
    """Builds a pipeline, runs it to its end, and calls `watch` a few times a second meanwhile.

    Raises:
        InputError: the one that a worker raised, wherever it ran.
        RuntimeError: any other failure, with what the workers said.
    """
    with tempfile.TemporaryDirectory(prefix="instrux-workers-") as folder:
        log = Path(folder) / "stderr"
        job = _Job(build, options, log)
        with _quiet_beam(options), quiet_workers(), _no_notebook(), _SilentThread(job.thread, log):
            job.thread.start()
            while job.thread.is_alive():
                job.thread.join(_WATCH_EVERY_SECS)
                if watch is not None:
                    watch()
        if job.error is not None:
            _raise_if_lost(job)
            _raise_plainly(job.error, log)


class _Job:
    """A pipeline that runs in a thread of its own."""

    def __init__(
        self, build: Callable[[beam.Pipeline], object], options: PipelineOptions, log: Path
    ) -> None:
        self._build, self._options = build, options
        self.worker_command = _worker_command(log)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="beam", daemon=True)

    def _run(self) -> None:
        try:
            if uses_dask(self._options):
                divide(self._options)
            pipeline = beam.Pipeline(runner=self._runner(), options=self._options)
            self._build(pipeline)
            result: Any = pipeline.run()
            try:
                result.wait_until_finish()
            finally:
                if (client := getattr(result, "client", None)) is not None:
                    client.close()  # Dask's
            if result.state != PipelineState.DONE:
                raise RuntimeError(f"The Beam job ended in state {result.state}.")
        except BaseException as error:
            self.error = error

    def _runner(self) -> Any:
        if not is_local(self._options):
            return None  # Beam makes it from the options
        direct = self._options.view_as(DirectOptions)
        one_worker = direct.direct_num_workers == 1
        if direct.direct_running_mode == "multi_threading" or one_worker:
            return FnApiRunner()
        from instrux.beam.worker_processes import WatchedProcesses

        # The mode is taken back and the processes are named here.
        direct.direct_running_mode = "in_memory"
        environment: Any = WatchedProcesses
        return FnApiRunner(default_environment=environment.from_command_string(self.worker_command))


def _worker_command(log: Path) -> str:
    """Starts a worker process; what it says goes to a file, which is read only if it fails."""
    path = shlex.quote(os.pathsep.join(map(os.path.abspath, sys.path)))  # "" there means here
    worker = f"{shlex.quote(sys.executable)} -m instrux.beam.worker"
    return f"PYTHONPATH={path} exec {worker} 2>>{shlex.quote(str(log))}"


@contextmanager
def _quiet_beam(options: PipelineOptions) -> Iterator[None]:
    """Keeps Beam's loggers still on this machine's runners; their errors come as exceptions."""
    if not shares_this_machine(options):
        yield
        return
    loggers = [logging.getLogger(name) for name in ("apache_beam", "distributed")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _no_notebook() -> Iterator[None]:
    """Lets Beam behave in a notebook as anywhere else.

    There it would put a cell's number before the names of steps, leave its temporary folder, and
    import its interactive part, which in Beam 2.77 fails with pandas 3.
    """
    modules: tuple[Any, ...] = (beam_pipeline, interactive_utils)
    asked = [module.is_in_ipython for module in modules]
    for module in modules:
        module.is_in_ipython = lambda: False
    try:
        yield
    finally:
        for module, known in zip(modules, asked, strict=True):
            module.is_in_ipython = known


class _SilentThread:
    """While it lasts, what one thread prints to stderr goes to a file; others print as before.

    Beam's worker prints the traceback of whatever a DoFn raises, besides raising it.
    """

    def __init__(self, thread: threading.Thread, log: Path) -> None:
        self._main = threading.main_thread()
        self._current = threading.current_thread()
        self._log = log

    def __enter__(self) -> None:
        self._stderr = sys.stderr
        self._file = self._log.open("a")
        sys.stderr = self  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        sys.stderr = self._stderr
        self._file.close()

    def _stream(self) -> Any:
        here = threading.current_thread()
        return self._stderr if here in (self._main, self._current) else self._file

    def write(self, text: str) -> int:
        return self._stream().write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream(), name)


class _OptionsParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise InputError(f"Options of Beam: {message}.")


def _require_runner(name: str) -> None:
    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Beam cannot make the runner {name!r}: {reason}") from error


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401
        from apache_beam.runners.dask import dask_runner  # noqa: F401  # its import adds options
    except ImportError as error:
        raise InputError("DaskRunner needs `pip install 'instrux[dask]'`.") from error


def _raise_if_lost(job: _Job) -> None:
    """Raises what a killed worker is, wherever the job noticed it."""
    from instrux.beam.worker_processes import KILLED, loss

    how = loss(job.worker_command)
    if how.startswith(KILLED):
        raise InputError(how) from None
    if type(job.error).__name__ == "KilledWorker":  # Dask's, which has tried it several times
        raise InputError(
            "the workers of Dask died again and again, most often for lack of memory; start the "
            "job again with fewer workers or more memory: what is complete is kept"
        ) from None


def _raise_plainly(error: BaseException, log: Path) -> None:
    """Raises what a worker meant.

    Runners hand on a worker's exception as itself, as the cause of another, or as text.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, InputError):
            kind = SourceError if isinstance(link, SourceError) else InputError
            raise kind(_without_beam_note(str(link))) from None
        link = link.__cause__
    names = "|".join(kind.__name__ for kind in _all_kinds(InputError))
    if found := re.findall(rf"^(?:[\w.]+\.)?({names}): (.+)$", str(error), re.MULTILINE):
        name, message = found[-1]
        kind = SourceError if name == SourceError.__name__ else InputError
        raise kind(_without_beam_note(message)) from None
    said = log.read_text(errors="replace")[-4000:] if log.exists() else ""
    if said:
        error.add_note(f"The workers said at the end:\n{said}")
    raise error


def _without_beam_note(message: str) -> str:
    return re.sub(r" \[while running '.*", "", message, flags=re.DOTALL)


def _all_kinds(kind: type) -> list[type]:
    return [kind, *(each for sub in kind.__subclasses__() for each in _all_kinds(sub))]
