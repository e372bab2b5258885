"""The choice of a checkpoint, by arithmetic on a page."""

import types

import pytest

from instrux.errors import InputError
from instrux.evaluation.checkpoint_choice import best_step, find_rule, score_steps


def _results(*tasks):
    made = [
        types.SimpleNamespace(dataset=dataset, score=score, num_examples=count)
        for dataset, score, count in tasks
    ]
    return types.SimpleNamespace(tasks=made)


# Two datasets: one of three prompts, one of one.
EARLY = _results(("mrpc", 30, 10), ("mrpc", 60, 10), ("mrpc", 90, 10), ("sciq", 40, 10))
LATE = _results(("mrpc", 50, 10), ("mrpc", 50, 10), ("mrpc", 80, 10), ("sciq", 55, 10))


def test_medians_of_datasets_count_alike():
    # (60 + 40) / 2 and (50 + 55) / 2
    assert score_steps({200: LATE, 100: EARLY}, "mean_of_dataset_medians") == {100: 50, 200: 52.5}


def test_tasks_count_alike():
    # (30 + 60 + 90 + 40) / 4 and (50 + 50 + 80 + 55) / 4
    assert score_steps({100: EARLY, 200: LATE}, "mean_of_tasks") == {100: 55, 200: 58.75}


def test_the_rules_may_choose_differently():
    many = _results(("a", 80, 1), ("a", 80, 1), ("a", 80, 1), ("b", 20, 1))
    few = _results(("a", 60, 1), ("a", 60, 1), ("a", 60, 1), ("b", 60, 1))
    scores = {rule: score_steps({1: many, 2: few}, rule) for rule in ("mean_of_tasks",)}
    assert best_step(scores["mean_of_tasks"]) == 1  # 65 against 60
    assert best_step(score_steps({1: many, 2: few}, "mean_of_dataset_medians")) == 2  # 50, 60


def test_the_earliest_of_equals_is_taken():
    assert best_step({300: 60.0, 200: 60.0, 100: 10.0}) == 200


def test_tasks_without_an_example_count_for_nothing():
    with_empty = _results(("mrpc", 60, 10), ("sciq", float("nan"), 0))
    assert score_steps({1: with_empty}, "mean_of_tasks") == {1: 60}
    with pytest.raises(InputError, match="no task has an example"):
        score_steps({1: _results(("sciq", float("nan"), 0))}, "mean_of_tasks")


def test_a_rule_that_is_none_is_told():
    with pytest.raises(InputError, match="Did you mean 'mean_of_tasks'"):
        find_rule("mean_of_task")
