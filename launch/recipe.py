"""A recipe: every stage from raw rows to a report, in order, skipping what is complete.

A recipe is a gin file. It binds the functions of `launch.stages` and names their order:

    from launch import recipe
    recipe.Recipe.stages = ("render", "short/pack", ("short/train", "long/train"))

A stage is the name of a function of `launch.stages`, after a gin scope where the recipe calls
it more than once. Stages in a tuple of their own run side by side. Each stage runs in a process
of its own: its memory is given back, a stage killed from outside takes nothing else along, and
the training stage imports no TensorFlow.
"""

import dataclasses
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import gin

from instrux import progress
from instrux.errors import InputError, did_you_mean
from launch import gin_config, stages


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What `instrux run` runs.

    Attributes:
        stages: stages in order, each `name` or `scope/name`, or several of them that run side by
            side.
    """

    stages: Sequence[str | Sequence[str]]

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("the recipe names no stage; bind recipe.Recipe.stages")
        for stage in itertools.chain.from_iterable(self.groups()):
            name = stage.rpartition("/")[2]
            if name not in stages.NAMES:
                raise InputError(
                    f"recipe stage {stage!r}: there is no stage {name!r}."
                    f"{did_you_mean(name, stages.NAMES)} Stages: {', '.join(stages.NAMES)}."
                )

    def groups(self) -> list[tuple[str, ...]]:
        """Gives the stages in order, those that run side by side together."""
        return [(stage,) if isinstance(stage, str) else tuple(stage) for stage in self.stages]


def load(file: str, bindings: Sequence[str]) -> Recipe:
    """Reads a recipe.

    Raises:
        InputError: the file or a binding is wrong, or it is no recipe.
    """
    gin_config.parse([file], bindings)
    try:
        return gin.get_configurable(Recipe)()
    except TypeError as error:
        raise InputError(f"{file} is no recipe: it does not bind recipe.Recipe.stages") from error


def run(file: str, bindings: Sequence[str] = (), *, module_imports: Sequence[str] = ()) -> int:
    """Runs the stages of a recipe in order and stops at the first that fails.

    Returns:
        The exit status: 0, or that of the stage that failed.

    Raises:
        InputError: the recipe cannot be read.
    """
    groups = load(file, bindings).groups()
    options = ["--gin_file", file, *(f"--gin.{binding}" for binding in bindings)]
    options += [f"--module_import={module}" for module in module_imports]
    started = time.monotonic()
    for number, group in enumerate(groups, start=1):
        elapsed = progress.duration(time.monotonic() - started)
        progress.tell(f"\n[{number}/{len(groups)}] {' and '.join(group)}  (after {elapsed})")
        statuses = _run_group(group, options)
        for stage, status in zip(group, statuses, strict=True):
            if status != 0:
                progress.tell(
                    f"instrux: stage {stage} ended with status {status}. What is complete is"
                    " kept: run the same command again to go on from here."
                )
        if any(statuses):
            return next(status for status in statuses if status != 0)
    progress.tell(f"\nAll stages done in {progress.duration(time.monotonic() - started)}.")
    return 0


def _run_group(group: Sequence[str], options: Sequence[str]) -> list[int]:
    """Runs stages side by side and gives their exit statuses."""
    together = len(group) > 1
    processes = [_start(stage, options, captured=together) for stage in group]
    forwarders = [
        threading.Thread(target=_forward, args=(stage, process), daemon=True)
        for stage, process in zip(group, processes, strict=True)
        if together
    ]
    for forwarder in forwarders:
        forwarder.start()
    statuses = _wait(processes)
    for forwarder in forwarders:
        forwarder.join()
    return statuses


def _start(stage: str, options: Sequence[str], *, captured: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "launch.run_stage", stage, *options]
    if not captured:
        return subprocess.Popen(command, text=True)
    return subprocess.Popen(
        command, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _forward(stage: str, process: subprocess.Popen[str]) -> None:
    # Two live lines on one terminal would overwrite each other: whole lines, each with its stage.
    assert process.stdout is not None
    own_label = f"{stage.rpartition('/')[2]}: "
    for line in process.stdout:
        progress.tell(f"{stage}: {line.removeprefix(own_label).rstrip()}")


def _wait(processes: Sequence[subprocess.Popen[str]]) -> list[int]:
    def pass_on(*_: object) -> None:
        # A pod's scheduler signals this process alone; the stages must get their chance to save.
        for process in processes:
            process.send_signal(signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, pass_on)
    try:
        statuses = [process.wait() for process in processes]
    except KeyboardInterrupt:
        # The terminal has interrupted the stages too.
        for process in processes:
            process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    return [128 - status if status < 0 else status for status in statuses]
