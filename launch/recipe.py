"""A recipe: every stage from raw rows to a report, in order, skipping what is complete.

A recipe is a gin file. It binds the functions of `launch.stages` and names their order:

    from launch import recipe
    recipe.Recipe.stages = ("render", "short/pack", "short/train")

A stage is the name of a function of `launch.stages`, after a gin scope where the recipe calls
it more than once. Each stage runs in a process of its own: its memory is given back, a stage
killed from outside takes nothing else along, and the training stage imports no TensorFlow.
"""

import dataclasses
import os
import signal
import subprocess
import sys
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
        stages: stages in order, each `name` or `scope/name`.
    """

    stages: Sequence[str]

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("the recipe names no stage; bind recipe.Recipe.stages")
        for stage in self.stages:
            name = stage.rpartition("/")[2]
            if name not in stages.NAMES:
                raise InputError(
                    f"recipe stage {stage!r}: there is no stage {name!r}."
                    f"{did_you_mean(name, stages.NAMES)} Stages: {', '.join(stages.NAMES)}."
                )


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
    recipe = load(file, bindings)
    started = time.monotonic()
    for number, stage in enumerate(recipe.stages, start=1):
        elapsed = progress.duration(time.monotonic() - started)
        progress.tell(f"\n[{number}/{len(recipe.stages)}] {stage}  (after {elapsed})")
        status = _run_stage(stage, file, bindings, module_imports)
        if status != 0:
            progress.tell(
                f"instrux: stage {stage} ended with status {status}. What is complete is kept:"
                " run the same command again to go on from here."
            )
            return status
    progress.tell(f"\nAll stages done in {progress.duration(time.monotonic() - started)}.")
    return 0


def _run_stage(
    stage: str, file: str, bindings: Sequence[str], module_imports: Sequence[str]
) -> int:
    command = [sys.executable, "-m", "launch.run_stage", stage, "--gin_file", file]
    command += [f"--gin.{binding}" for binding in bindings]
    command += [f"--module_import={module}" for module in module_imports]
    process = subprocess.Popen(command, env=os.environ)
    # A pod's scheduler signals this process alone; the stage must get its chance to save.
    previous = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # The terminal has interrupted the stage too.
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 128 - status if status < 0 else status
