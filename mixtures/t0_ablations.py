"""T0's ablations on the number of prompts and of datasets (arXiv 2110.08207, section 6.2).

    t0_train_p{N}, t0_train_p{N}_seed{S}    at most N original-task prompts of every dataset of T0
    t0_train_d{N}, t0_train_d{N}_seed{S}    all prompts of N datasets

There is no end of them, so each is registered when it is first asked for. Without a seed it is 0.

**Prompts.** The prompts of a dataset are put into an order that the seed draws, and the first N are
taken: more prompts are always those of fewer and some more. The paper's own p = 1 is not a draw but
the first in alphabetical order, `t0_train_one_og_prompt`; its p = 5.7 is all of them,
`t0_train_all_og_prompts`. As there, a dataset without an original-task prompt is left out.

**Datasets.** The paper counts 39, 49 and 55 for T0, T0+ and T0++, one more at each than T0's table
has rows (38, 48, 54); so d39, d49 and d55 are the tasks of these three mixtures, and have no seed.
Below 39, N rows of T0's group are drawn (38 is all of them, and so no draw); between, all of the
groups before and N - 39 of the ten rows of T0+, or N - 49 of the six of T0++. Again more datasets
are those of fewer and some more.

Rates are those of the mixtures that these are taken from; a capped dataset's is that of T0's table,
also where few of its prompts are used.
"""

import functools
import itertools
import re
from collections.abc import Iterable, Sequence

from instrux.data import registration
from instrux.data.name_families import spelled
from instrux.errors import InputError
from instrux.prompts import seeded_rng
from mixtures.t0 import train_rates, trained_on
from tasks.t0 import T0Task
from tasks.t0_table import T0Dataset

PAPER_DATASETS = {39: ("BASE",), 49: ("BASE", "GPT_EVAL"), 55: ("BASE", "GPT_EVAL", "SGLUE")}
"""The paper's number of datasets -> the groups of T0's table that it counts."""

_BASE_ROWS = 38


def drawn_prompts(number: int, seed: int) -> list[T0Task]:
    """Gives at most `number` original-task prompts of each of T0's training datasets, drawn."""
    chosen: list[T0Task] = []
    for group in _original_by_dataset():
        chosen += _in_drawn_order(group, seed, "t0_train_p")[:number]
    return chosen


def drawn_datasets(number: int, seed: int) -> list[T0Task]:
    """Gives all prompts of `number` datasets, as the paper counts them; see the module."""
    whole = [groups for count, groups in PAPER_DATASETS.items() if count <= number]
    if not whole:
        return _prompts_of(_drawn_rows("BASE", number, seed))
    counted = max(count for count in PAPER_DATASETS if count <= number)
    tasks = trained_on(*whole[-1])
    if number > counted:
        following = next(groups for count, groups in PAPER_DATASETS.items() if count > number)[-1]
        tasks += _prompts_of(_drawn_rows(following, number - counted, seed))
    return tasks


def _drawn_rows(group: str, number: int, seed: int) -> set[T0Dataset]:
    by_row = itertools.groupby(trained_on(group), key=lambda task: task.dataset)
    firsts = [next(tasks) for _, tasks in by_row]
    return {task.dataset for task in _in_drawn_order(firsts, seed, "t0_train_d")[:number]}


def _prompts_of(rows: set[T0Dataset]) -> list[T0Task]:
    groups = {row.train_group for row in rows}
    return [task for task in trained_on(*groups) if task.dataset in rows]


def _in_drawn_order(tasks: Sequence[T0Task], seed: int, what: str) -> list[T0Task]:
    # A number of its own for each, so that the order of two depends on nothing else.
    return sorted(tasks, key=lambda task: seeded_rng(seed, task.name, what).random())


@functools.cache
def _original_by_dataset() -> tuple[tuple[T0Task, ...], ...]:
    original = [task for task in trained_on("BASE") if task.template.original_task]
    by_dataset = itertools.groupby(original, key=lambda task: task.dataset)
    return tuple(tuple(tasks) for _, tasks in by_dataset)


def _most_prompts() -> int:
    return max(map(len, _original_by_dataset()))


def _add_prompts(match: re.Match[str]) -> str:
    number = int(match["number"])
    most = _most_prompts()
    if not 1 <= number <= most:
        raise InputError(
            f"{match[0]}: give 1 to {most} prompts, {most} being the most original-task prompts that"
            " a dataset of T0 has; all of all are t0_train_all_og_prompts"
        )
    return _add(match, drawn_prompts(number, int(match["seed"] or 0)))


def _add_datasets(match: re.Match[str]) -> str:
    number = int(match["number"])
    if not 1 <= number <= max(PAPER_DATASETS):
        raise InputError(
            f"{match[0]}: give 1 to 55 datasets; 39, 49 and 55 are the tasks of T0, T0+ and T0++"
        )
    if match["seed"] and (number in PAPER_DATASETS or number == _BASE_ROWS):
        raise InputError(f"{match[0]}: nothing is drawn for {number} datasets; leave the seed out")
    return _add(match, drawn_datasets(number, int(match["seed"] or 0)))


def _add(match: re.Match[str], tasks: Iterable[T0Task]) -> str:
    return registration.add_mixture(match[0], train_rates(tasks))


def _register() -> None:
    tail = r"(?P<number>0|[1-9]\d{0,8})(?:_seed(?P<seed>0|[1-9]\d{0,17}))?"
    registration.add_name_family(
        "t0_train_p{N}[_seed{S}]",
        f"t0_train_p{tail}",
        _add_prompts,
        names=lambda: spelled("t0_train_p{N}", {"N": range(1, _most_prompts() + 1)}),
    )
    registration.add_name_family(
        "t0_train_d{N}[_seed{S}]",
        f"t0_train_d{tail}",
        _add_datasets,
        names=lambda: spelled("t0_train_d{N}", {"N": range(1, max(PAPER_DATASETS) + 1)}),
    )


_register()
