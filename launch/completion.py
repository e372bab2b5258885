"""What a shell is offered after a Tab: options, shipped gin files, task and mixture names.

Names of tasks come from a file in the cache folder, as loading the registries takes seconds.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from instrux.cache_folder import cache_folder

SHELLS = ("bash", "zsh", "fish")
_ASKED = "_ARGCOMPLETE"


def offer(parser: argparse.ArgumentParser) -> None:
    """Answers a shell that asks for completions, and ends the process; else does nothing."""
    if _ASKED not in os.environ:
        return
    import argcomplete

    for each in _parsers(parser):
        for action in each._actions:
            if (choices := _CHOICES.get(action.dest)) is not None and action.choices is None:
                # argcomplete looks for this attribute; argparse knows nothing of it.
                setattr(action, "completer", choices)  # noqa: B010
    argcomplete.autocomplete(parser, always_complete_options="long")


def shell_code(shell: str) -> str:
    """Gives the lines that make a shell complete `instrux`."""
    import argcomplete

    return argcomplete.shellcode(["instrux"], shell=shell)


def remember_names() -> Path:
    """Writes the names of tasks and mixtures, those of families too, to the cache folder; gives the file."""
    from instrux.data.files import write_json_atomically
    from launch import declarations

    declarations.load()
    import seqio

    from instrux.data.name_families import listed_names

    path = _names_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {
        "tasks": sorted({*seqio.TaskRegistry.names(), *listed_names("tasks")}),
        "mixtures": sorted({*seqio.MixtureRegistry.names(), *listed_names("mixtures")}),
    }
    write_json_atomically(path, names)
    return path


def _names_file() -> Path:
    return cache_folder() / "completion" / "names.json"


def _names(*kinds: str) -> list[str]:
    """The remembered names; none where there are none, or where the file is not one of ours."""
    try:
        known = json.loads(_names_file().read_text(encoding="utf-8"))
        return [name for kind in kinds for name in known[kind]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _tasks(**_: Any) -> list[str]:
    return _names("tasks")


def _mixtures(**_: Any) -> list[str]:
    return _names("mixtures", "tasks")


def _registered(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    kind = getattr(parsed_args, "kind", None)
    return _names(kind) if kind in ("tasks", "mixtures") else []


def _gin_files(prefix: str, **_: Any) -> list[str]:
    return [*_shipped(""), *_own_gin_files(prefix)]


def _recipes(prefix: str, **_: Any) -> list[str]:
    return [*_shipped("recipes"), *_own_gin_files(prefix)]


def _shipped(below: str) -> list[str]:
    from launch import gin_config

    folder = gin_config.folder() / below
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gin"))


def _own_gin_files(prefix: str) -> list[str]:
    folder, _, start = prefix.rpartition("/")
    found = []
    for path in Path(folder or ".").glob(f"{start}*") if "*" not in prefix else ():
        if path.is_dir():
            found.append(f"{path}/")
        elif path.suffix == ".gin":
            found.append(str(path))
    return found


_CHOICES: dict[str, Callable[..., list[str]]] = {
    "task": _tasks,
    "mixture": _mixtures,
    "held_out": _mixtures,
    "name": _registered,
    "gin_file": _gin_files,
    "recipe": _recipes,
}


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _parsers(below)
