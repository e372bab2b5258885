"""`selected.json`: written whole, read with care, and what `selected` stands for."""

import dataclasses
import json

import pytest

from instrux.data.selected_step import (
    FILE_NAME,
    SelectedStep,
    read_selected,
    step_number,
    write_selected,
)
from instrux.errors import InputError

SELECTED = SelectedStep(
    step=20,
    checkpoint="blake2b:1",
    rule="mean_of_tasks",
    score=60.5,
    scores={10: 50.0, 20: 60.5},
    tasks=("glue_mrpc_a",),
    left_out=("glue_qqp_a_score_eval",),
    split="validation",
    max_examples=None,
    evaluation="select",
)


def test_what_was_written_is_read_and_written_once(tmp_path):
    assert write_selected(tmp_path, SELECTED)
    assert read_selected(tmp_path) == SELECTED
    assert not write_selected(tmp_path, SELECTED)
    assert write_selected(tmp_path, dataclasses.replace(SELECTED, step=10))
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_steps_stay_in_order(tmp_path):
    scores = {5: 50.0, 20: 60.5, 100: 40.0}
    write_selected(tmp_path, dataclasses.replace(SELECTED, scores=scores))
    assert list(read_selected(tmp_path).scores) == [5, 20, 100]


def test_a_step_is_a_number_a_word_or_none(tmp_path):
    write_selected(tmp_path, SELECTED)
    assert step_number(tmp_path, 7) == 7
    assert step_number(tmp_path, None) is None
    assert step_number(tmp_path, "selected") == 20
    with pytest.raises(InputError, match="step is 'best'; give a number, 'selected'"):
        step_number(tmp_path, "best")


def test_without_a_selection_the_mend_is_told(tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint was selected.*instrux select"):
        step_number(tmp_path, "selected")


@pytest.mark.parametrize(
    "change", [{"step": 30}, {"step": "20"}, {"scores": [1]}, {"schema": "x"}, {"more": 1}, None]
)
def test_a_damaged_file_is_told_and_written_anew(tmp_path, change):
    write_selected(tmp_path, SELECTED)
    path = tmp_path / FILE_NAME
    path.write_text("[" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"selected\.json: not a selected step"):
        read_selected(tmp_path)
    assert write_selected(tmp_path, SELECTED)
    assert read_selected(tmp_path) == SELECTED
