"""The four mixtures of the comparison share no dataset with what all are evaluated on."""

import re

import pytest

import mixtures.t0
import mixtures.tk_instruct  # noqa: F401
from instrux.data import registration
from mixtures import compare

# By the names that the three systems give to the same datasets, and to others of their kind.
KIN = re.compile(
    r"(?:^|[/_\d])(?:anli|cb|copa|rte|snli|mnli|winogrande|wsc\w*|wnli|winograd\w*|mwsc|hellaswag)(?:$|[/_.])"
)


def _tasks(name):
    return registration.mixture_rates(registration.find_name(name))


@pytest.mark.parametrize("size", ["", "tiny_"])
@pytest.mark.parametrize("system", ["flan", "t0", "tk_instruct"])
def test_no_held_out_dataset_is_trained_on(system, size):
    names = _tasks(f"compare_{size}{system}_train")
    assert names
    for name in names:
        task = registration.prompted_task(name)
        assert not KIN.search(task.source.label), name
        assert not KIN.search(name.partition(":")[0].removeprefix("ni_")), name


def test_the_rule_for_names_sees_what_is_held_out():
    for name in ("super_glue/rte", "anli", "winogrande/winogrande_xl", "task190_snli_x", "copa"):
        assert KIN.search(name), name
    assert not KIN.search("task1504_hatexplain_answer_generation")


@pytest.mark.parametrize("size", ["", "tiny_"])
def test_all_are_asked_in_the_wording_of_each_system(size):
    tasks = [registration.prompted_task(name) for name in _tasks(f"compare_{size}eval")]
    assert all("validation" in task.splits for task in tasks)
    names = [task.name for task in tasks]
    flan = [n for n in names if n.endswith("_on_test_rows") and not n.startswith("ni_")]
    natural = [n for n in names if n.startswith("ni_")]
    assert (len(flan), len(natural)) == (15, len(compare.TK_INSTRUCT_TEST))
    t0 = set(names) - set(flan) - set(natural) - {"user_oriented_instructions", "vicuna_questions"}
    assert len(t0) == 15 and len(names) == 38
    assert not set(names) & set(_tasks(f"compare_{size}t0_train"))
