"""`instrux mixtures show`: a mixture's tasks and totals, as tables for people or JSON."""

import argparse
import json

from launch.mixture_facts import HeldOut, MixtureFacts, MixtureTask, Part, mixture_facts
from launch.tables import Tables

_UNKNOWN = "?"


def show_mixture(options: argparse.Namespace) -> int:
    """Shows one mixture."""
    from instrux.data import registration
    from launch.mixture_tokens import token_counts

    name = registration.find_name(options.name)
    tokens = None
    if options.data_dir is not None:
        tasks = registration.mixture_rates(name)
        tokens = token_counts(name, tasks, data_dir=options.data_dir, vocabulary=options.vocabulary)
    facts = mixture_facts(name, tokens, data_dir=options.data_dir)
    if options.json:
        print(json.dumps(facts.to_json(), indent=1, ensure_ascii=False))
    else:
        _print(facts, Tables())
    return 0


def _print(facts: MixtureFacts, output: Tables) -> None:
    output.line(f"{facts.mixture}: {len(facts.tasks)} tasks, rates sum to {facts.rate:,.0f}")
    output.line(_tokens_line(facts))
    with_tokens = any(task.tokens is not None for task in facts.tasks)
    headings = ["share", "rate", "rows", *(["tokens", "of tokens"] if with_tokens else [])]
    output.table(
        "Tasks"
        + (" (* has known defects: `instrux tasks show NAME`)" if facts.with_defects else ""),
        [*headings, "licence", "task"],
        [
            [*_numbers(task, with_tokens=with_tokens), task.licence or _UNKNOWN, _name(task)]
            for task in facts.tasks
        ],
    )
    parts = ["share", *(["of tokens"] if with_tokens else []), "rate", "tasks", "datasets"]
    for title, rows in (("task type", facts.task_types), ("licence", facts.licences)):
        output.table(
            f"By {title}",
            [*parts, title],
            [_part(part, with_tokens=with_tokens) for part in rows],
        )
    if facts.held_out:
        output.table(
            "Held out for evaluation",
            ["prompts", "state", "task type", "dataset", "in"],
            [
                [str(each.prompts), _state(each), each.cluster, each.dataset, each.evaluation]
                for each in facts.held_out
            ],
        )
    if facts.with_defects:
        output.line()
        output.line(
            f"{facts.with_defects} tasks have templates with known defects, kept as T0 was trained"
            f" with them; {facts.mixture}_mended has those mended that can be."
        )


def _tokens_line(facts: MixtureFacts) -> str:
    if facts.token_source is None:
        return (
            "Tokens: not known without data; --data_dir takes them from rendered or packed tasks."
        )
    if facts.inputs_per_example is None or facts.targets_per_example is None:
        return f"Tokens: {facts.token_source}; no total, as some tasks are missing."
    return (
        f"Tokens an example: {facts.inputs_per_example:,.1f} of inputs and"
        f" {facts.targets_per_example:,.1f} of targets, from {facts.token_source}."
    )


def _numbers(task: MixtureTask, *, with_tokens: bool) -> list[str]:
    rows = _UNKNOWN if task.train_examples is None else f"{task.train_examples:,}"
    numbers = [f"{task.probability:.2%}", _rate(task.rate), rows]
    if with_tokens:
        numbers += [
            _UNKNOWN if task.tokens is None else f"{task.tokens.both:,.0f}",
            _UNKNOWN if task.token_share is None else f"{task.token_share:.2%}",
        ]
    return numbers


def _name(task: MixtureTask) -> str:
    defects = " *" if task.defects and not task.mended else ""
    return f"{task.task} ({task.cluster}){defects}" if task.cluster else f"{task.task}{defects}"


def _part(part: Part, *, with_tokens: bool) -> list[str]:
    share = _UNKNOWN if part.token_share is None else f"{part.token_share:.1%}"
    return [
        f"{part.probability:.1%}",
        *([share] if with_tokens else []),
        _rate(part.rate),
        str(part.tasks),
        str(part.datasets),
        part.name,
    ]


def _state(held_out: HeldOut) -> str:
    if held_out.trained_on:
        return "trained on"
    return "dataset" if held_out.task_type_trained_on else "task type"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 or rate == int(rate) else f"{rate:.3g}"
