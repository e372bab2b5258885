"""Tk-Instruct's mixtures (arXiv 2204.07705, sections 4 and 5): every task has the same share.

    tk_instruct_train              757 tasks, the English track
    tk_instruct_test               119 tasks
    tk_instruct_test_CATEGORY      those of one of its twelve categories, as `textual_entailment`
    tk_instruct_xlingual_train     1,271 tasks, the cross-lingual track (mTk-Instruct)
    tk_instruct_xlingual_test      35 tasks

and, registered when first asked for,

    tk_instruct_train_t{N}, tk_instruct_train_t{N}_seed{S}
                                   N of the training tasks, drawn; more tasks are those of fewer and
                                   some more (the paper's plot of the number of tasks)
    tk_instruct_supervised_train   the test tasks' other instances, up to 1,000 of each, for the
                                   upper bound; two of the 119 tasks have no others
    tk_instruct_heldout_CATEGORY_train, tk_instruct_heldout_CATEGORY_test
                                   any one category held out and all others trained on, by the
                                   rule of `natural_instructions_splits`, in English
    tk_instruct_heldout{N}_seed{S}_train, tk_instruct_heldout{N}_seed{S}_test
                                   the same for N categories that the seed draws
    tk_instruct_nosynthetic_train, tk_instruct_nosynthetic_test
                                   the official categories, without synthetic training tasks

    The last three need the sources of all tasks: they read the release that was fetched.

and all of these with options, as in `tk_instruct_train:pos_2_input:i64` (tasks/natural_instructions.py).

Tk-Instruct samples tasks neither by size nor by temperature: 100 instances of each are shuffled
together. The few tasks with fewer instances are given all of them there; equal rates repeat some
of theirs, up to 100.
"""

import functools
import re
from collections.abc import Callable, Iterable

from instrux.data import registration
from instrux.data.natural_instructions_splits import (
    TEST_CATEGORIES,
    SplitLists,
    TaskFacts,
    derive_splits,
    release_facts,
)
from instrux.errors import InputError, did_you_mean
from instrux.prompts import seeded_rng
from tasks.natural_instructions import add, prompted_task, registered_name, with_options
from tasks.natural_instructions_table import NaturalInstructionsTask, by_name, split_of

NAMES_OF_TRACKS = {"default": "tk_instruct", "xlingual": "tk_instruct_xlingual"}


_WITHOUT_OTHER_INSTANCES = (
    "task602_wikitext-103_answer_generation",
    "task760_msr_sqa_long_text_generation",
)
"""Test tasks with fewer than 100 instances, all of which are tested on."""


def category_slug(category: str) -> str:
    """Gives a category's name as the released scores spell it: `textual_entailment`."""
    return "_".join(re.sub(r"[^\w ]", "", category.lower()).split())


def drawn_tasks(number: int, seed: int = 0) -> list[NaturalInstructionsTask]:
    """Draws training tasks of the English track; a smaller draw is part of a larger one.

    Raises:
        InputError: there are not so many.
    """
    tasks = split_of("default", "train")
    if not 1 <= number <= len(tasks):
        raise InputError(
            f"tk_instruct_train_t{number}: give a number of tasks from 1 to {len(tasks)}"
        )
    return sorted(tasks, key=lambda task: seeded_rng(seed, task.name, "tasks").random())[:number]


def _add_drawn(match: re.Match[str]) -> str:
    tasks = drawn_tasks(int(match["number"]), int(match["seed"] or 0))
    return add_equal_mixture(match[0], (registered_name(task.name) for task in tasks))


def _add_supervised(match: re.Match[str]) -> str:
    tasks = [t for t in split_of("default", "test") if t.name not in _WITHOUT_OTHER_INSTANCES]
    names = (add(with_options(prompted_task(task), "supervised")) for task in tasks)
    return add_equal_mixture(match[0], names)


@functools.cache
def _facts() -> tuple[TaskFacts, ...]:
    return tuple(release_facts())


def _without_category(match: re.Match[str]) -> SplitLists:
    slug = match["category"]
    categories = {category_slug(fact.category): fact.category for fact in _facts()}
    if slug not in categories:
        raise InputError(
            f"no task of the release has the category {slug!r}.{did_you_mean(slug, categories)}"
        )
    return derive_splits(_facts(), test_categories=(categories[slug],))


def _without_drawn_categories(match: re.Match[str]) -> SplitLists:
    number, seed = int(match["number"]), int(match["seed"])
    english = sorted({fact.category for fact in _facts() if fact.is_english and fact.category})
    if not 1 <= number < len(english):
        raise InputError(f"{match[0]}: give a number of categories from 1 to {len(english) - 1}")
    drawn = sorted(english, key=lambda name: seeded_rng(seed, name, "categories").random())
    return derive_splits(_facts(), test_categories=tuple(drawn[:number]))


def _without_synthetic(match: re.Match[str]) -> SplitLists:
    del match
    return derive_splits(_facts(), without_synthetic=True)


def _add_derived(rule: Callable[[re.Match[str]], SplitLists], match: re.Match[str]) -> str:
    lists = rule(match)
    split = match["split"]
    names = lists.train if split == "train" else lists.test
    return add_equal_mixture(match[0], (_in_split(name, split) for name in names))


def _in_split(name: str, split: str) -> str:
    """The registered name of a task that is to have a split, whatever the official lists say."""
    row = by_name().get(name) or NaturalInstructionsTask(name, "", "excluded", "excluded", "")
    task = prompted_task(row)
    return add(task if split in task.splits else with_options(task, split))


def add_equal_mixture(name: str, members: Iterable[str]) -> str:
    """Registers a mixture whose members have the same share, and gives its name."""
    return registration.add_mixture(name, dict.fromkeys(members, 1))


def _register() -> None:
    for track, name in NAMES_OF_TRACKS.items():
        for split in ("train", "test"):
            add_equal_mixture(
                f"{name}_{split}", (registered_name(t.name) for t in split_of(track, split))
            )
    for category in TEST_CATEGORIES:
        tasks = [task for task in split_of("default", "test") if task.category == category]
        add_equal_mixture(
            f"tk_instruct_test_{category_slug(category)}",
            (registered_name(task.name) for task in tasks),
        )
    registration.add_name_family(
        "tk_instruct_train_t{N}",
        r"tk_instruct_train_t(?P<number>\d+)(?:_seed(?P<seed>\d+))?",
        _add_drawn,
    )
    registration.add_name_family(
        "tk_instruct_supervised_train", "tk_instruct_supervised_train", _add_supervised
    )
    derived = {
        ("tk_instruct_heldout{N}_seed{S}_train", r"heldout(?P<number>\d+)_seed(?P<seed>\d+)"): (
            _without_drawn_categories
        ),
        ("tk_instruct_heldout_{CATEGORY}_train", r"heldout_(?P<category>\w+)"): _without_category,
        ("tk_instruct_nosynthetic_train", "nosynthetic"): _without_synthetic,
    }
    for (spelling, pattern), rule in derived.items():
        registration.add_name_family(
            spelling,
            rf"tk_instruct_{pattern}_(?P<split>train|test)",
            functools.partial(_add_derived, rule),
            names=tuple,  # they need the fetched release
        )


_register()
