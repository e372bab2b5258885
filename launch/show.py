"""`instrux tasks` and `instrux mixtures`: what is registered, for a reader or a program."""

import argparse
import fnmatch
import itertools
import json
import os
import random
from collections.abc import Sequence
from typing import Any

from instrux.data.name_families import Kind
from instrux.errors import InputError
from instrux.progress import tell
from launch import declarations


def show(options: argparse.Namespace) -> int:
    """Runs `list`, `show` or `preview` on tasks or mixtures; results go to stdout."""
    declarations.load(options.module_import)
    if options.mirror:
        os.environ["INSTRUX_MIRROR"] = os.pathsep.join(options.mirror)
    if options.action == "list":
        return _list(options)
    if options.name is None:
        raise InputError(f"instrux {options.kind} {options.action} needs a name")
    if options.action == "preview":
        return _preview(options)
    if options.kind == "mixtures":
        from launch.show_mixture import show_mixture

        return show_mixture(options)
    from launch.show_task import show_task

    return show_task(options)


def _list(options: argparse.Namespace) -> int:
    import seqio

    from instrux.data.name_families import listed_names

    registry = seqio.TaskRegistry if options.kind == "tasks" else seqio.MixtureRegistry
    names = sorted({*registry.names(), *listed_names(options.kind)})
    if options.name is not None:
        names = fnmatch.filter(names, options.name)
        if not names:
            raise InputError(f"none of the registered {options.kind} is like {options.name!r}")
    print(json.dumps(names, indent=1) if options.json else "\n".join(names))
    if options.name is None and not options.json:
        _tell_families(options.kind)
    return 0


def _tell_families(kind: Kind) -> None:
    """Says on stderr which rules define names, of which the list has some or none."""
    from instrux.data.name_families import name_families

    families = [family for family in name_families() if family.is_of(kind)]
    there = [each.spelling for each in families if set(each.spelling) & set("{N")]
    if there:
        tell(f"and, registered when asked for: {', '.join(there)}")


def _preview(options: argparse.Namespace) -> int:
    from instrux.data import registration

    names: Sequence[str] = registration.resolve_names([options.name])
    if options.kind == "mixtures":
        names = random.Random(0).sample(names, min(len(names), 5))
    for name in names:
        _preview_task(registration.prompted_task(name).resolve(), options)
    return 0


def _preview_task(task: Any, options: argparse.Namespace) -> None:
    split = options.split if options.split in task.splits else next(iter(task.splits))
    rows = task.source.rows(task.splits[split])
    for number, row in itertools.islice(rows, options.examples):
        example_id = task.source.example_id(task.splits[split], number)
        rendered = task.render(row, example_id)
        if not hasattr(rendered, "inputs"):
            print(f"--- {task.name}  {example_id}: left out, {rendered.reason}")
            continue
        if options.json:
            print(
                json.dumps(
                    {
                        "task": task.name,
                        "example_id": example_id,
                        "inputs": rendered.inputs,
                        "targets": rendered.targets,
                        "answer_choices": rendered.answer_choices,
                    },
                    ensure_ascii=False,
                )
            )
            continue
        print(f"--- {task.name}  {example_id}\n{rendered.inputs}\n=> {rendered.targets}")
        if rendered.answer_choices:
            print(f"   of {' | '.join(rendered.answer_choices)}")
