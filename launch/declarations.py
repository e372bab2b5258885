"""Brings the declared tasks and mixtures into SeqIO's registries.

Those of Instrux, those of installed packages (entry point group `instrux.tasks`), and those of
the modules named by `--module_import`.
"""

import importlib
import pkgutil
from collections.abc import Sequence

from launch import native_logs


def load(module_imports: Sequence[str] = ()) -> None:
    """Registers every task and mixture that a command can name.

    Args:
        module_imports: names of modules of the user's own, such as `acme.tasks`; they are looked
            for in the working folder too.

    Raises:
        InputError: a user's module cannot be imported; the message has its file and line.
    """
    with native_logs.informational_lines_dropped():
        from instrux.data import registration

    import mixtures

    for module in pkgutil.iter_modules(mixtures.__path__):
        importlib.import_module(f"mixtures.{module.name}")
    registration.load_modules(module_imports)


def tasks_of(mixtures: Sequence[str], module_imports: Sequence[str] = ()) -> list[str]:
    """Gives the names of the tasks of mixtures; without a mixture no registry is loaded.

    Raises:
        InputError: there is no such mixture.
    """
    if not mixtures:
        return []
    load(module_imports)
    from instrux.data import registration

    return registration.resolve_names(mixtures)
