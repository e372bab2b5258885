"""What the commands' modules share: options that several have, and how a command is declared."""

import argparse
from collections.abc import Callable, Collection, Sequence

from instrux.errors import InputError, did_you_mean

Run = Callable[[argparse.Namespace, list[str]], int]
"""Runs a command with its options and the arguments that it does not know; gives an exit status."""

AddCommand = Callable[[str, Run, str], argparse.ArgumentParser]
"""Declares a command: its name, what runs it, and one line on what it does."""

MODULE_IMPORT_HELP = "module that registers your own tasks, such as acme.tasks; may be repeated"


def add_names(command: argparse.ArgumentParser) -> None:
    """Adds --task, --mixture and --module_import."""
    command.add_argument(
        "--task", action="append", default=[], help="task or glob; may be repeated"
    )
    command.add_argument("--mixture", action="append", default=[], help="all tasks of a mixture")
    command.add_argument("--module_import", action="append", default=[], help=MODULE_IMPORT_HELP)


def add_leave_out(command: argparse.ArgumentParser) -> None:
    """Adds --leave_out and --leave_out_missing."""
    command.add_argument(
        "--leave_out",
        action="append",
        default=[],
        help="glob over tasks and datasets to leave out, the other rates renormalised; may be "
        "repeated",
    )
    add_leave_out_missing(command, told="with the share that is lost")


def add_leave_out_missing(command: argparse.ArgumentParser, *, told: str) -> None:
    """Adds --leave_out_missing."""
    command.add_argument(
        "--leave_out_missing",
        action="store_true",
        help=f"leave out tasks that are not rendered, told {told}",
    )


def add_exclude(command: argparse.ArgumentParser) -> None:
    """Adds --exclude and --leave_out_emptied."""
    command.add_argument(
        "--exclude",
        action="append",
        default=[],
        help="list of rows to leave out, JSON lines with task and example_id, such as `instrux "
        "audit` writes; may be repeated",
    )
    command.add_argument(
        "--leave_out_emptied",
        action="store_true",
        help="leave out tasks all of whose rows are excluded, told with the share that is lost",
    )


def names(options: argparse.Namespace) -> list[str]:
    """Gives the tasks and mixtures that the options of `add_names` name.

    Raises:
        InputError: they name none.
    """
    named = [*options.task, *options.mixture]
    if not named:
        raise InputError("nothing to do: name tasks by --task or --mixture")
    return named


class UnknownArgument(InputError):
    """An argument that a command does not know.

    Attributes:
        argument: as it was given, without a value.
        others: options that the command passes on, besides its own.
    """

    def __init__(self, argument: str, others: Collection[str] = ()) -> None:
        self.argument = argument.partition("=")[0] if argument.startswith("-") else argument
        self.others = others
        super().__init__(f"unknown argument {self.argument!r}")

    def told_by(self, command: argparse.ArgumentParser) -> InputError:
        """Gives the error with the nearest options of the command, and where they are listed."""
        own = [flag for action in command._actions for flag in action.option_strings]
        passed_on = ": neither an option of this command nor of Beam" if self.others else ""
        near = did_you_mean(self.argument, [*own, *self.others])
        return InputError(f"{self}{passed_on}.{near} See `{command.prog} --help`.")


def refuse(rest: Sequence[str]) -> None:
    """Raises an `UnknownArgument` if there are arguments that the command does not know."""
    if rest:
        raise UnknownArgument(rest[0])
