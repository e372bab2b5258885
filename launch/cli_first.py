"""The commands of the first minutes: doctor and completion."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from instrux.errors import InputError, did_you_mean
from launch.cli_options import AddCommand, refuse
from launch.entry import USAGE_STATUS

if TYPE_CHECKING:
    from launch.doctor import Finding

_NAME_WIDTH = 22
_INDENT = " " * (_NAME_WIDTH + 11)
_STATES = {"ready": "green", "absent": "yellow", "MISSING": "bold red"}


def add_commands(add: AddCommand) -> None:
    """Declares the commands."""
    doctor = add("doctor", _doctor, "what is missing here, for what, and how to get it")
    doctor.add_argument(
        "--need",
        action="append",
        default=[],
        metavar="NAME",
        help="exit with status 2 if this is not there; may be repeated",
    )
    doctor.add_argument("--offline", action="store_true", help="do not try to reach the hub")
    doctor.add_argument(
        "--devices", action="store_true", help="ask JAX which devices it has; some seconds"
    )
    doctor.add_argument("--json", action="store_true", help="for a program to read")

    completion = add("completion", _completion, "completion by Tab for bash, zsh or fish")
    completion.add_argument(
        "what",
        choices=("bash", "zsh", "fish", "names"),
        help="print a shell's lines; or remember the names of tasks and mixtures (some seconds)",
    )


def _doctor(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch.doctor import findings, need

    found = findings(offline=options.offline, ask_jax=options.devices)
    known = [each.name for each in found]
    for name in options.need:
        if name not in known:
            raise InputError(
                f"doctor: it does not look for {name!r}.{did_you_mean(name, known)} It looks for:"
                f" {', '.join(known)}."
            )
    found = need(found, options.need)
    if options.json:
        print(json.dumps([vars(each) for each in found], indent=1))
    else:
        _show(found)
    return USAGE_STATUS if any(each.required and not each.ready for each in found) else 0


def _show(found: Sequence["Finding"]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    for each in found:
        state = "ready" if each.ready else "MISSING" if each.required else "absent"
        console.print(
            Text(f"{state:<9}", style=_STATES[state]) + f"{each.name:<{_NAME_WIDTH}}{each.found}"
        )
        if not each.ready:
            console.print(f"{_INDENT[2:]}for: {each.needed_for}", markup=False)
            console.print(f"{_INDENT[2:]}get: {each.mend}", markup=False)
    missing = [each.name for each in found if each.required and not each.ready]
    absent = sum(not each.ready for each in found) - len(missing)
    console.print()
    if missing:
        console.print(f"Missing: {', '.join(missing)}.", markup=False)
        return
    rest = f" {absent} absent above; each says what it is for." if absent else ""
    console.print(f"All that was asked for is here.{rest} Start with `instrux quickstart`.")


def _completion(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import completion

    if options.what in completion.SHELLS:
        print(completion.shell_code(options.what))
    else:
        print(completion.remember_names())
    return 0
