"""`instrux tasks` and `instrux mixtures`: what is registered, for a reader or a program."""

import argparse
import fnmatch
import itertools
import json
import os
import random
from collections.abc import Sequence
from typing import Any

from instrux.errors import InputError
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
    if options.action == "show":
        return _show_mixture(options) if options.kind == "mixtures" else _show_task(options)
    return _preview(options)


def _list(options: argparse.Namespace) -> int:
    import seqio

    registry = seqio.TaskRegistry if options.kind == "tasks" else seqio.MixtureRegistry
    names = sorted(registry.names())
    if options.name is not None:
        names = fnmatch.filter(names, options.name)
        if not names:
            raise InputError(f"none of the registered {options.kind} is like {options.name!r}")
    print(json.dumps(names, indent=1) if options.json else "\n".join(names))
    return 0


def _show_task(options: argparse.Namespace) -> int:
    from instrux.data import registration

    task = registration.prompted_task(options.name).resolve()
    template: Any = task.template
    fields: dict[str, Any] = {
        "name": task.name,
        "dataset": task.source.dataset,
        "config": task.source.config,
        "splits": dict(task.splits),
        "cluster": task.cluster,
        "template": template.name,
        "original_task": task.original_task,
        "metrics": list(task.metrics),
        "train_examples": task.train_examples,
        "answer_choices": template.answer_choices,
        "jinja": template.jinja,
    }
    if options.json:
        print(json.dumps(fields, indent=1, ensure_ascii=False))
    else:
        for key, value in fields.items():
            print(f"{key}: {value}")
    return 0


def _show_mixture(options: argparse.Namespace) -> int:
    from instrux.data import registration

    rates = registration.mixture_rates(options.name)
    total = sum(rates.values())
    rows = [
        {
            "task": name,
            "cluster": registration.prompted_task(name).cluster,
            "train_examples": registration.prompted_task(name).train_examples,
            "rate": rate,
            "probability": rate / total,
        }
        for name, rate in sorted(rates.items(), key=lambda item: -item[1])
    ]
    if options.json:
        print(json.dumps({"mixture": options.name, "tasks": rows}, indent=1))
        return 0
    print(f"{options.name}: {len(rows)} tasks, rates sum to {total:,.0f}")
    print(f"{'share':>7}  {'rate':>10}  {'examples':>10}  task (cluster)")
    for row in rows:
        examples = "?" if row["train_examples"] is None else f"{row['train_examples']:,}"
        print(
            f"{row['probability']:>7.2%}  {row['rate']:>10,.0f}  {examples:>10}"
            f"  {row['task']} ({row['cluster']})"
        )
    return 0


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
    for row_number, row in itertools.islice(_rows(task, split), options.examples):
        config = task.source.config or "default"
        example_id = f"{task.source.dataset}/{config}/{task.splits[split]}/{row_number}"
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


def _rows(task: Any, split: str):
    for shard in task.source.shards(task.splits[split]):
        yield from task.source.read(shard)
