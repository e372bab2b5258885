"""Tasks that are left out of a mixture on purpose: by name, not rendered, or without a row left.

The others keep their rates, so that each one's share of the mixture grows by the same factor. What
is left out is told with the share of the mixture that is lost, and recorded by whoever uses it.
"""

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from instrux.errors import InputError, did_you_mean

NOT_RENDERED = "not rendered"
_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class LeftOutTask:
    """A task of a mixture that is not used.

    Attributes:
        name: the task's name.
        rate: its rate in the mixture.
        share: its rate over the sum of all rates of the mixture, those left out included.
        reason: `leave_out PATTERN`, `not rendered`, or `all N examples excluded`.
    """

    name: str
    rate: float
    share: float
    reason: str


def leave_out(
    rates: Mapping[str, float],
    *,
    patterns: Sequence[str] = (),
    datasets: Mapping[str, str] | None = None,
    is_missing: Callable[[str], bool] | None = None,
    emptied: Callable[[str], int] | None = None,
) -> tuple[dict[str, float], tuple[LeftOutTask, ...]]:
    """Divides the tasks of a mixture into those that are used and those left out.

    Args:
        rates: the rate of every task.
        patterns: globs over names of tasks and of datasets (`super_glue/rte`, `trec`).
        datasets: the dataset of every task, `dataset/config` or `dataset`; without it patterns
            are held against tasks only.
        is_missing: says of a task that it has nothing to read; such tasks are left out.
        emptied: counts the examples of a task if lists of rows exclude all of them, else gives 0;
            such tasks are left out.

    Returns:
        The rates of the tasks that are used, as given and in order; the others.

    Raises:
        InputError: a pattern matches no task and no dataset, or nothing is left.
    """
    datasets = datasets or {}
    reasons: dict[str, str] = {}
    for pattern in patterns:
        found = [task for task in rates if _matches(pattern, task, datasets.get(task, ""))]
        if not found:
            known = {*rates, *datasets.values()}
            raise InputError(
                f"leave_out {pattern!r}: matches no task and no dataset of the mixture."
                + did_you_mean(pattern, known)
            )
        for task in found:
            reasons.setdefault(task, f"leave_out {pattern}")
    if is_missing is not None:
        for task in rates:
            if task not in reasons and is_missing(task):
                reasons[task] = NOT_RENDERED
    if emptied is not None:
        for task in rates:
            if task not in reasons and (count := emptied(task)):
                reasons[task] = f"all {count:,} examples excluded"
    if rates and len(reasons) == len(rates):
        raise InputError(f"all {len(rates)} tasks of the mixture are left out; nothing remains")
    total = math.fsum(rates.values())
    out = tuple(
        LeftOutTask(name=task, rate=rate, share=rate / total, reason=reasons[task])
        for task, rate in rates.items()
        if task in reasons
    )
    return {task: rate for task, rate in rates.items() if task not in reasons}, out


def told(left_out: Sequence[LeftOutTask], of: int) -> str:
    """Words what is left out and what is lost by it, in one line.

    Args:
        left_out: the tasks, one at least.
        of: how many tasks the mixture has.
    """
    lost = math.fsum(task.share for task in left_out)
    return (
        f"LEFT OUT {len(left_out)} of {of} tasks, {lost:.1%} of the mixture ({_listed(left_out)}); "
        "the rates of the others are renormalised"
    )


def told_without_rates(left_out: Sequence[LeftOutTask], of: int) -> str:
    """Words what is left out of tasks that are not mixed, in one line.

    Args:
        left_out: the tasks, one at least.
        of: how many tasks there are.
    """
    return f"LEFT OUT {len(left_out)} of {of} tasks ({_listed(left_out)})"


def _listed(left_out: Sequence[LeftOutTask]) -> str:
    reasons: dict[str, list[str]] = {}
    for task in left_out:
        reasons.setdefault(task.reason, []).append(task.name)
    return "; ".join(f"{reason}: {some_names(names)}" for reason, names in reasons.items())


def _matches(pattern: str, task: str, dataset: str) -> bool:
    # A dataset's bare name stands for all its configurations.
    names = (task, dataset, dataset.partition("/")[0])
    return any(name and fnmatch.fnmatchcase(name, pattern) for name in names)


def some_names(names: Iterable[str]) -> str:
    """Lists the first few names, and says how many more there are."""
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
