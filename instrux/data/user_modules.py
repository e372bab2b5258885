"""Loads modules of the user's own that register tasks and mixtures.

They come from the option `--module_import acme.tasks` and from installed packages that name
them as entry points in the group `instrux.tasks`. What goes wrong in one is shown with its file
and line, never swallowed: a task that is silently absent costs its author an hour.
"""

import functools
import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from instrux.errors import InputError

ENTRY_POINT_GROUP = "instrux.tasks"


def load_modules(modules: Sequence[str] = ()) -> None:
    """Imports the modules of installed packages' entry points, then `modules` in order.

    A module is looked for in the working folder too, after everything that is installed.

    Raises:
        InputError: a module is not found, or fails while it is imported.
    """
    for entry_point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        # The value may name an attribute (`acme.tasks:register`); importing registers.
        module = entry_point.value.partition(":")[0].strip()
        distribution = entry_point.dist.name if entry_point.dist is not None else "?"
        _import(module, f"entry point {entry_point.name!r} of the package {distribution!r}")
    if modules and os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    for module in modules:
        _import(module, "--module_import")


def _import(module: str, asked_by: str) -> None:
    try:
        importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    # SystemExit too: a script that ends itself when imported must not end us without a word.
    except BaseException as error:
        raise InputError(_explain(module, asked_by, error)) from error


def _explain(module: str, asked_by: str, error: BaseException) -> str:
    if _is_absent(module, error):
        return (
            f"{asked_by}: no module named {module!r}; give its dotted name (acme.tasks for "
            "acme/tasks.py), and run in the folder that holds it, install it or set PYTHONPATH"
        )
    return f"{asked_by} {module}: {_place(error)}: {_message(error)}"


def _is_absent(module: str, error: BaseException) -> bool:
    """Whether the module itself, or a package on the way to it, does not exist."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return module == error.name or module.startswith(f"{error.name}.")
    # A name that is no dotted name at all, such as "" or ".tasks".
    return isinstance(error, (TypeError, ValueError)) and not all(module.split("."))


def _place(error: BaseException) -> str:
    """Gives `file, line N` of the user's own statement that failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")  # frozen importlib, generated code
    ]
    # The innermost line outside libraries: what a library complains of was called from there.
    for frame in reversed(frames):
        if not frame.filename.startswith(_libraries()):
            return f"{frame.filename}, line {frame.lineno}"
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "no file"


@functools.cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths["stdlib"], paths["purelib"], paths["platlib"], str(Path(__file__).parents[1])}
    return tuple(sorted(folder + os.sep for folder in folders))


def _message(error: BaseException) -> str:
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
