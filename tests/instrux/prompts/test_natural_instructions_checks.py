import dataclasses

import pytest

from instrux.prompts import natural_instructions as ni
from instrux.prompts.natural_instructions_checks import check_task, label_statistics


@pytest.fixture
def task():
    examples = tuple(ni.Example(f"example {n}", "yes") for n in range(2))
    return ni.Task(
        name="task001_x",
        definitions=("d",),
        positive_examples=examples,
        negative_examples=examples[:1],
        instances=tuple(
            ni.Instance(f"task001-{n}", f"input {n}", (("yes", "no")[n % 2],), n) for n in range(30)
        ),
        categories=("Mathematics",),
    )


def _with_answers(task, answers):
    instances = [
        dataclasses.replace(instance, references=(answer,))
        for instance, answer in zip(task.instances, answers, strict=True)
    ]
    return dataclasses.replace(task, instances=tuple(instances))


def test_a_task_in_order_breaks_no_rule(task):
    assert check_task(task) == []
    statistics = label_statistics(task)
    assert (statistics.labels, statistics.share, statistics.entropy) == (2, 0.5, 1.0)


def test_every_broken_rule_is_told(task):
    broken = dataclasses.replace(
        _with_answers(task, ["yes"] * 30),
        positive_examples=(ni.Example("input 3", "o"),),
        negative_examples=(),
        categories=(),
        problems=("task001_x: instance 40: is text",),
    )
    broken = dataclasses.replace(broken, instances=broken.instances[:20] + broken.instances[:1])
    assert check_task(broken) == [
        "task001_x: instance 40: is text",
        "task001_x: 21 instances; 26 to 6500 are usual",
        "task001_x: 1 positive examples; 2 are the least",
        "task001_x: 0 negative examples; 1 are the least",
        "task001_x: field 'Categories' is empty",
        "task001_x: 1 inputs come more than once, such as 'input 0'",
        "task001_x: positive example 0 is an instance, too",
        "task001_x: one label only, 'yes'",
    ]


def test_labels_out_of_balance_are_told(task):
    skewed = _with_answers(task, ["yes"] * 27 + ["no"] * 3)
    assert label_statistics(skewed).entropy == pytest.approx(0.469, abs=1e-3)
    assert check_task(skewed) == ["task001_x: 90% of the instances have the label 'yes' (of 2)"]
