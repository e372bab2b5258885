"""The console script `instrux`: thin doors to the stages, to recipes and to the registries.

Exit status 0 is success, 2 a usage or input error told in one line, 1 a fault of ours with its
traceback. Progress goes to stderr, results to stdout.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import instrux
from instrux.errors import InputError, did_you_mean
from launch import (
    cli_data,
    cli_demonstrations,
    cli_first,
    cli_lineage,
    cli_lookup,
    cli_models,
    cli_studio,
    completion,
    entry,
)
from launch.cli_examples import EXAMPLES
from launch.cli_options import MODULE_IMPORT_HELP, AddCommand, Run, UnknownArgument


class Parser(argparse.ArgumentParser):
    """Tells a mistake as an `InputError`, with the nearest of the choices."""

    def error(self, message: str) -> NoReturn:
        """Raises an `InputError`."""
        stop = "" if message.endswith((".", "?")) else "."
        raise InputError(f"{message}{stop} See `{self.prog} --help`.")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            near = did_you_mean(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f"{error.message}.{near}") from error


class _Help(argparse.RawDescriptionHelpFormatter):
    """Shows a default where it says something, and examples as they were written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        empty = default is None or default is False or default == [] or default == ""
        if empty or default is argparse.SUPPRESS or not action.option_strings:
            return action.help
        return f"{action.help} (default: %(default)s)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status."""
    return entry.guarded(_dispatch, sys.argv[1:] if arguments is None else arguments)


def _dispatch(arguments: Sequence[str]) -> int:
    parser, commands = parsers()
    completion.offer(parser)
    if not arguments:
        parser.print_help()
        return entry.USAGE_STATUS
    if not arguments[0].startswith("-") and arguments[0] not in commands:
        raise InputError(
            f"no command {arguments[0]!r}.{did_you_mean(arguments[0], commands)}"
            " `instrux --help` lists them."
        )
    options, rest = parser.parse_known_args(arguments)
    try:
        return options.function(options, rest)
    except UnknownArgument as error:
        raise error.told_by(_named(parser, arguments)) from error


def _named(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command, or of the command below it, that the arguments name."""
    for argument in arguments:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and argument in action.choices:
                parser = action.choices[argument]
                break
    return parser


def parsers() -> tuple[argparse.ArgumentParser, list[str]]:
    """Gives the parser of the command line, and the names of its commands."""
    parser = Parser(
        prog="instrux",
        description="Instruction tuning from raw datasets to a published results table.",
        epilog="Start with `instrux doctor` and `instrux quickstart`. Each command has its own --help,"
        " with examples.",
    )
    parser.add_argument("--version", action="version", version=f"instrux {instrux.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, function: Run, description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=description,
            description=description,
            epilog=EXAMPLES[name].epilog() if name in EXAMPLES else None,
            formatter_class=_Help,
        )
        command.set_defaults(function=function)
        return command

    _add_recipes(add)
    for module in (
        *(cli_data, cli_demonstrations, cli_models, cli_lineage, cli_lookup, cli_studio),
        cli_first,
    ):
        module.add_commands(add)
    return parser, list(commands.choices)


def _add_recipes(add: AddCommand) -> None:
    run = add("run", _run, "run every stage of a recipe, in order, skipping what is complete")
    run.add_argument("recipe", help="a gin file, yours or a shipped one such as quickstart.gin")
    run.add_argument("--module_import", action="append", default=[], help=MODULE_IMPORT_HELP)

    quickstart = add("quickstart", _quickstart, "run the bundled recipe: under ten minutes")
    quickstart.add_argument("--out", default="quickstart", help="folder for everything it makes")


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import recipe

    return recipe.run(
        options.recipe, entry.gin_bindings(rest), module_imports=options.module_import
    )


def _quickstart(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import recipe

    bindings = [f"OUT={options.out!r}", *entry.gin_bindings(rest)]
    return recipe.run("recipes/quickstart.gin", bindings)


if __name__ == "__main__":
    sys.exit(main())
