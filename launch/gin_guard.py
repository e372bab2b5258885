"""Keeps gin files from calling what no configuration of a model has to do with.

With dynamic registration a gin file may call any function of any module that it imports, or reaches
through one. Python's own modules (`os`, `subprocess`, `builtins`, …) are refused here: neither
imported nor reached. Other installed packages stay open, as they must for a user's own optimiser;
so a gin file from a stranger is still to be read before it is run, as a program is.
"""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from gin import config as gin_internals

from instrux.errors import InputError


class RefusedImportError(InputError):
    """A gin file wants to call one of Python's own modules."""


@contextlib.contextmanager
def without_python_itself() -> Iterator[None]:
    """While it lasts, gin raises `RefusedImportError` for Python's own modules and their members."""
    context = gin_internals.ParseContext
    process_import, resolve = context.process_import, context._resolve_selector

    def checked_import(self: Any, statement: Any) -> None:
        _check(statement.module, statement.module)
        process_import(self, statement)

    def checked_resolve(self: Any, selector: str) -> Any:
        names, values = resolve(self, selector)
        if names[0] != "gin":  # gin's own, such as macros
            for value in values:
                _check(_home(value), selector)
        return names, values

    context.process_import, context._resolve_selector = checked_import, checked_resolve
    try:
        yield
    finally:
        context.process_import, context._resolve_selector = process_import, resolve


def _home(value: Any) -> str:
    """The name of the module that a value is, or comes from."""
    if isinstance(value, ModuleType):
        return value.__name__
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def _check(module: str, said: str) -> None:
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise RefusedImportError(
            f"{said!r} is of Python itself, which a gin file may not call; configure functions of"
            " Instrux or of a package of your own."
        )
