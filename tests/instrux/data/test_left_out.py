"""Leaving tasks out of a mixture, never silently."""

import dataclasses

import pytest

from instrux.data.left_out import leave_out, told
from instrux.data.packed_manifest import PackSettings
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError

RATES = {"rte_a": 10.0, "rte_b": 30.0, "trec_x": 40.0, "imdb_y": 20.0}
DATASETS = {
    "rte_a": "super_glue/rte",
    "rte_b": "super_glue/rte",
    "trec_x": "trec",
    "imdb_y": "imdb",
}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("rte_a", ["rte_a"]),
        ("rte_*", ["rte_a", "rte_b"]),
        ("super_glue/rte", ["rte_a", "rte_b"]),
        ("super_glue", ["rte_a", "rte_b"]),
        ("trec", ["trec_x"]),
    ],
)
def test_a_pattern_names_tasks_or_a_dataset(pattern, names):
    kept, out = leave_out(RATES, patterns=[pattern], datasets=DATASETS)
    assert [task.name for task in out] == names
    assert kept == {task: rate for task, rate in RATES.items() if task not in names}
    assert {task.reason for task in out} == {f"leave_out {pattern}"}


def test_the_share_is_of_the_whole_mixture():
    _, out = leave_out(RATES, patterns=["rte_b"], is_missing=lambda task: task == "imdb_y")
    assert [(task.name, task.share, task.reason) for task in out] == [
        ("rte_b", 0.3, "leave_out rte_b"),
        ("imdb_y", 0.2, "not rendered"),
    ]
    line = told(out, len(RATES))
    assert line.startswith("LEFT OUT 2 of 4 tasks, 50.0% of the mixture")
    assert "not rendered: imdb_y" in line and "\n" not in line


def test_a_pattern_that_matches_nothing_is_told_with_near_names():
    with pytest.raises(InputError, match=r"'trek': matches no task.*Did you mean 'trec'"):
        leave_out(RATES, patterns=["trek"], datasets=DATASETS)


def test_leaving_out_everything_is_an_error():
    with pytest.raises(InputError, match="all 4 tasks"):
        leave_out(RATES, is_missing=lambda task: True)


SETTINGS = PackSettings(
    mixture="toy",
    inputs_length=8,
    targets_length=8,
    vocabulary=VocabularySpec.parse("bytes"),
    num_examples=4,
)


def test_what_leaves_something_out_has_a_folder_of_its_own(tmp_path):
    assert "leave_out" not in SETTINGS.identity()
    changed = [
        dataclasses.replace(SETTINGS, leave_out=("trec",)),
        dataclasses.replace(SETTINGS, leave_out=("trec", "rte_*")),
        dataclasses.replace(SETTINGS, leave_out_missing=True),
    ]
    folders = {each.folder(tmp_path) for each in [SETTINGS, *changed]}
    assert len(folders) == 4
    turned = dataclasses.replace(SETTINGS, leave_out=["rte_*", "trec"])
    assert turned.folder(tmp_path) == changed[1].folder(tmp_path)
