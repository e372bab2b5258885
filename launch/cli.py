"""The console script `instrux`: thin doors to the stages, to recipes and to the registries.

Exit status 0 is success, 2 a usage or input error told in one line, 1 a fault of ours with its
traceback. Progress goes to stderr, results to stdout.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import instrux
from instrux.errors import InputError, did_you_mean
from launch import (
    cli_data,
    cli_demonstrations,
    cli_lineage,
    cli_lookup,
    cli_models,
    cli_studio,
    entry,
)
from launch.cli_options import MODULE_IMPORT_HELP, AddCommand, Run


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status."""
    return entry.guarded(_dispatch, sys.argv[1:] if arguments is None else arguments)


def _dispatch(arguments: Sequence[str]) -> int:
    parser, commands = _parser()
    if not arguments:
        parser.print_help()
        return entry.USAGE_STATUS
    if not arguments[0].startswith("-") and arguments[0] not in commands:
        raise InputError(
            f"no command {arguments[0]!r}.{did_you_mean(arguments[0], commands)}"
            " `instrux --help` lists them."
        )
    options, rest = parser.parse_known_args(arguments)
    return options.function(options, rest)


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    parser = _Parser(
        prog="instrux",
        description="Instruction tuning from raw datasets to a published results table.",
        epilog="Start with `instrux quickstart`. Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"instrux {instrux.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, function: Run, description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=description,
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.set_defaults(function=function)
        return command

    _add_recipes(add)
    for module in (cli_data, cli_demonstrations, cli_models, cli_lineage, cli_lookup, cli_studio):
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
