"""Medians, quartiles and groups, against arithmetic by hand."""

import dataclasses

import pytest

from instrux.evaluation import aggregate
from instrux.evaluation.results import Interval, TaskResult


def _result(task, *, dataset="d", cluster="", group="", metric="accuracy", score=0.0, chance=50.0):
    return TaskResult(
        task=task,
        dataset=dataset,
        template=f"prompt of {task}",
        cluster=cluster,
        group=group,
        mode="rank",
        metric=metric,
        score=score,
        interval=Interval(0, 100),
        metrics={metric: score},
        num_examples=4,
        num_without_correct_choice=0,
        num_truncated_inputs=0,
        chance=chance,
        majority=40.0,
        original_task=True,
        settings_digest="",
        seconds=0.0,
    )


def _summaries(results):
    """As the aggregation makes them, each task's credits being its score on four examples."""
    credits = {r.task: [(f"e{i}", r.score) for i in range(4)] for r in results}
    made = aggregate.summaries(aggregate.cells(results, credits))
    return {(s.scope, s.name, s.group, s.metric): s for s in made}


def test_a_dataset_by_hand():
    scores = {"a": 10.0, "b": 20.0, "c": 40.0, "d": 80.0}
    summary = _summaries([_result(t, score=s) for t, s in scores.items()])[
        "dataset", "d", "", "accuracy"
    ]
    assert summary.mean == 37.5
    assert summary.median == summary.score == 30
    # numpy's linear rule: positions 0.75 and 2.25 of [10, 20, 40, 80]
    assert summary.lower_quartile == 17.5
    assert summary.upper_quartile == 50
    assert summary.interquartile_range == 32.5
    assert (summary.best, summary.worst) == (80, 10)
    assert (summary.num_prompts, summary.num_datasets, summary.num_examples) == (4, 1, 4)
    assert summary.baseline == 50
    assert 0 <= summary.interval.low < 30 < summary.interval.high <= 100


def test_datasets_with_many_prompts_do_not_outweigh_others():
    results = [_result(f"a{i}", dataset="a", score=90.0) for i in range(9)]
    results += [_result("b0", dataset="b", score=10.0, chance=30.0)]
    summary = _summaries(results)["all", "", "", "accuracy"]
    assert summary.score == 50
    assert summary.mean == 82
    assert summary.median == 90
    assert summary.baseline == 40
    assert summary.num_examples == 8  # e0 of a is not e0 of b


def test_groups_clusters_and_metrics_stay_apart():
    results = [
        _result("a", dataset="rte", cluster="nli", group="held-out prompts", score=70.0),
        _result("b", dataset="rte", cluster="nli", group="training prompts", score=90.0),
        _result("c", dataset="cb", cluster="nli", group="held-out prompts", score=50.0),
        _result(
            "d",
            dataset="xsum",
            cluster="sum",
            group="held-out prompts",
            metric="rougeL",
            score=20.0,
        ),
    ]
    found = _summaries(results)
    assert found["group", "held-out prompts", "held-out prompts", "accuracy"].score == 60
    assert found["group", "held-out prompts", "held-out prompts", "rougeL"].score == 20
    assert found["group", "training prompts", "training prompts", "accuracy"].score == 90
    assert found["cluster", "nli", "held-out prompts", "accuracy"].num_datasets == 2
    assert found["dataset", "rte", "training prompts", "accuracy"].num_prompts == 1


def test_what_stands_for_no_understanding_is_chance_or_else_the_majority():
    ranked = _result("a")
    assert ranked.baseline == 50
    assert dataclasses.replace(ranked, chance=None).baseline == 40


def test_a_task_without_examples_is_left_out():
    empty = dataclasses.replace(_result("a", score=float("nan")), num_examples=0)
    assert _summaries([empty]) == {}


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        ({"t": "super_glue/rte/validation/3"}, {"t": "super_glue/rte"}),
        ({"t": "trec/default/test/0"}, {"t": "trec"}),
        (
            {"a": "anli/default/dev_r1/0", "b": "anli/default/dev_r2/9"},
            {"a": "anli/dev_r1", "b": "anli/dev_r2"},
        ),
        ({"t": "acme/faq"}, {"t": "acme"}),
        ({"t": "acme"}, {"t": "acme"}),
    ],
)
def test_datasets_are_labelled_by_the_ids_of_their_examples(ids, labels):
    assert aggregate.dataset_labels(ids) == labels
