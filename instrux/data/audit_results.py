"""What an audit found, put together from its counts: the content of its `results.json`."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from instrux.data.audit_settings import AuditSettings, AuditTask
from instrux.data.audit_stats import TaskStats, pooled

SCHEMA = "instrux.audit/1"
UNKNOWN_LICENCE = "unknown"
_PAIRS_KEPT = 200
_EXACT, _NEAR = "exact_duplicates", "near_duplicates"


@dataclass(frozen=True)
class HeldOutSet:
    """The held-out rows that training rows were held against.

    Attributes:
        tasks: rendered tasks and splits that were read.
        missing: held-out tasks that are not rendered.
        row_ids: example ids of the rows.
        ngrams: n -> different n-grams that count.
        ignored: n -> n-grams that too many rows share.
    """

    tasks: tuple[str, ...]
    missing: tuple[str, ...]
    row_ids: tuple[str, ...]
    ngrams: Mapping[int, int]
    ignored: Mapping[int, int]


@dataclass(frozen=True)
class Found:
    """What the job counted.

    Attributes:
        tasks: the rendered tasks by number.
        stats: rendered task -> counts.
        counts: (list, later task, earlier task) -> rows; (`compared`,) and (`not_compared`,).
        touched: n -> numbers of held-out rows that share an n-gram with a training row.
        listed: list -> rows.
    """

    tasks: tuple[str, ...]
    stats: Mapping[str, TaskStats]
    counts: Counter[tuple]
    touched: Mapping[int, tuple[int, ...]]
    listed: Mapping[str, int]

    def duplicates(self, name: str, task: str | None = None) -> tuple[int, int]:
        """Rows of a task (or all) that repeat an earlier row of their task, and of another."""
        within = across = 0
        for key, count in self.counts.items():
            if key[0] == name and (task is None or self.tasks[key[1]] == task):
                within, across = (
                    within + count * (key[1] == key[2]),
                    across + count * (key[1] != key[2]),
                )
        return within, across


@dataclass(frozen=True)
class AuditResults:
    """What an audit found.

    Attributes:
        content: plain data, as in `results.json`.
        listed: list -> rows.
    """

    content: dict[str, Any]
    listed: Mapping[str, int]


def make_results(
    settings: AuditSettings, tasks: Sequence[AuditTask], found: Found, held_out: HeldOutSet
) -> AuditResults:
    """Puts the results together.

    Args:
        settings: what was audited.
        tasks: the mixture's tasks.
        found: what the job counted.
        held_out: what rows were held against.
    """
    stats = {task.name: found.stats.get(task.rendered, TaskStats()) for task in tasks}
    total = pooled(found.stats.values())
    content = {
        "schema": SCHEMA,
        "mixture": settings.mixture,
        "split": settings.split,
        "settings": asdict(settings) | {"vocabulary": str(settings.vocabulary)},
        "totals": {
            **_without_targets(total.summary()),
            "tasks": len(tasks),
            "datasets": len({task.dataset for task in tasks}),
            "tasks_with_constant_targets": sum(s.summary()["constant"] for s in stats.values()),
        },
        "tasks": _tasks(tasks, stats, found),
        "duplicates": _duplicates(settings, found, total.examples),
        "overlap": _overlap(settings, found, held_out, total),
        "licences": _licences(tasks, stats),
        "lists": dict(found.listed),
    }
    # As it will be once it is read back: tuples are lists.
    return AuditResults(json.loads(json.dumps(content)), found.listed)


def _without_targets(summary: dict[str, Any]) -> dict[str, Any]:
    of_one_task = {
        "labels",
        "places",
        "most_frequent_target",
        "most_frequent_share",
        "different_targets",
        "constant",
    }
    return {name: value for name, value in summary.items() if name not in of_one_task}


def _tasks(
    tasks: Sequence[AuditTask], stats: Mapping[str, TaskStats], found: Found
) -> list[dict[str, Any]]:
    rates = math.fsum(task.rate for task in tasks)
    examples = sum(each.examples for each in stats.values())
    tokens = {
        task.name: task.rate * stats[task.name].kept_tokens / max(1, stats[task.name].examples)
        for task in tasks
    }
    drawn = math.fsum(tokens.values()) or 1.0
    described = []
    for task in tasks:
        of_task = stats[task.name]
        duplicates = {
            name: dict(
                zip(("within", "across"), found.duplicates(name, task.rendered), strict=True)
            )
            for name in (_EXACT, _NEAR)
        }
        described.append(
            {
                "task": task.name,
                "dataset": task.dataset,
                "licence": task.licence or UNKNOWN_LICENCE,
                "rate": task.rate,
                "share_asked": task.rate / rates,
                "share_of_tokens": tokens[task.name] / drawn,
                "share_of_rendered": of_task.examples / examples if examples else 0.0,
                **of_task.summary(),
                "balance": _balance(of_task),
                **duplicates,
            }
        )
    return described


def _balance(stats: TaskStats) -> float | None:
    """Entropy of the labels over its largest value; None where the targets are no labels."""
    counts = list(stats.targets_seen.values())
    if stats.targets_pruned or not stats.with_choices or len(counts) < 2:
        return None
    shares = [count / stats.examples for count in counts]
    return -math.fsum(share * math.log(share) for share in shares) / math.log(len(shares))


def _duplicates(settings: AuditSettings, found: Found, examples: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in (_EXACT, _NEAR):
        if name == _NEAR and not settings.near_duplicates:
            result[name] = None
            continue
        within, across = found.duplicates(name)
        result[name] = {
            "rows": within + across,
            "share": (within + across) / examples if examples else 0.0,
            "within": within,
            "across": across,
            "by_task": [
                {"task": found.tasks[later], "of_task": found.tasks[earlier], "rows": count}
                for (_, later, earlier), count in _largest(found.counts, name)
            ],
        }
    if settings.near_duplicates:
        result[_NEAR] |= {
            "pairs_compared": found.counts["compared",],
            "pairs_left_out": found.counts["not_compared",],
        }
    result["same_inputs_other_targets"] = found.listed.get("same_inputs_other_targets", 0)
    return result


def _largest(counts: Counter[tuple], name: str) -> list[tuple[tuple, int]]:
    of_name = [(key, count) for key, count in counts.items() if key[0] == name]
    return sorted(of_name, key=lambda item: (-item[1], item[0]))[:_PAIRS_KEPT]


def _overlap(
    settings: AuditSettings, found: Found, held_out: HeldOutSet, total: TaskStats
) -> dict[str, Any]:
    datasets = Counter(map(_dataset_of, held_out.row_ids))
    sizes = {}
    for n in settings.overlap_sizes if held_out.row_ids else ():
        touched = Counter(_dataset_of(held_out.row_ids[row]) for row in found.touched.get(n, ()))
        sizes[str(n)] = {
            "train_rows": total.overlap[n],
            "train_share": total.overlap[n] / total.examples if total.examples else 0.0,
            "held_out_rows": sum(touched.values()),
            "held_out_share": sum(touched.values()) / len(held_out.row_ids),
            "by_dataset": [
                {"dataset": name, "rows": rows, "overlapping": touched[name]}
                for name, rows in sorted(datasets.items())
            ],
            "ngrams": held_out.ngrams.get(n, 0),
            "ngrams_ignored": held_out.ignored.get(n, 0),
        }
    return {
        "held_out": list(held_out.tasks),
        "not_rendered": list(held_out.missing),
        "rows": len(held_out.row_ids),
        "sizes": sizes,
    }


def _dataset_of(example_id: str) -> str:
    """`super_glue/rte` of `super_glue/rte/validation/7`."""
    name = "/".join(example_id.split("/")[:-2])
    return name.removesuffix("/default")


def _licences(tasks: Iterable[AuditTask], stats: Mapping[str, TaskStats]) -> list[dict[str, Any]]:
    groups: dict[str, list[AuditTask]] = defaultdict(list)
    for task in tasks:
        groups[task.licence or UNKNOWN_LICENCE].append(task)
    rates = math.fsum(task.rate for group in groups.values() for task in group)
    found = [
        {
            "licence": licence,
            "tasks": len(group),
            "datasets": sorted({task.dataset for task in group}),
            "share_asked": math.fsum(task.rate for task in group) / rates,
            "examples": sum(stats[task.name].examples for task in group),
        }
        for licence, group in groups.items()
    ]
    return sorted(found, key=lambda each: (-each["share_asked"], each["licence"]))
