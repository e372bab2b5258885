import json

import pytest

from instrux.data import registration
from instrux.errors import InputError
from mixtures import tk_instruct, tk_instruct_sample


def _members(name):
    return set(registration.mixture_rates(registration.find_name(name)))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("tk_instruct_train", 757),
        ("tk_instruct_test", 119),
        ("tk_instruct_xlingual_train", 1271),
        ("tk_instruct_xlingual_test", 35),
        ("tk_instruct_test_textual_entailment", 24),
        ("tk_instruct_test_data_to_text", 9),
    ],
)
def test_mixtures_have_the_published_numbers_of_tasks_in_equal_shares(name, count):
    rates = registration.mixture_rates(name)
    assert len(rates) == count
    assert set(rates.values()) == {1.0}


def test_training_and_test_tasks_never_meet():
    assert not _members("tk_instruct_train") & _members("tk_instruct_test")
    assert not _members("tk_instruct_xlingual_train") & _members("tk_instruct_xlingual_test")
    assert not _members("tk_instruct_xlingual_train") & _members("tk_instruct_test")


def test_drawn_tasks_nest_and_follow_the_seed():
    few, more = _members("tk_instruct_train_t8"), _members("tk_instruct_train_t32")
    assert (len(few), len(more)) == (8, 32)
    assert few < more < _members("tk_instruct_train")
    assert _members("tk_instruct_train_t8_seed1") != few
    assert _members("tk_instruct_train_t757") == _members("tk_instruct_train")
    for name in ("tk_instruct_train_t0", "tk_instruct_train_t758"):
        with pytest.raises(InputError, match="from 1 to 757"):
            registration.find_name(name)


def test_options_go_to_every_task_of_a_mixture():
    members = _members("tk_instruct_train_t8:pos_2_input:i8")
    assert members == {f"{name}:pos_2_input:i8" for name in _members("tk_instruct_train_t8")}


@pytest.fixture
def release(tmp_path, monkeypatch):
    def write(name, category, source):
        task = {
            "Definition": ["d"],
            "Categories": [category],
            "Source": [source],
            "Input_language": ["English"],
            "Output_language": ["English"],
            "Instances": [{"input": "i", "output": ["o"]}],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(task))

    write("task033_winogrande_answer_generation", "Coreference Resolution", "winogrande")
    write("task001_quoref_question_generation", "Question Generation", "quoref")
    write("task002_quoref_answer_generation", "Question Answering", "quoref")
    write("task9001_ours", "Question Answering", "ours")
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    tk_instruct._facts.cache_clear()
    yield
    tk_instruct._facts.cache_clear()


def test_any_category_can_be_held_out_with_all_that_shares_its_sources(release):
    assert _members("tk_instruct_heldout_question_generation_train") == {
        "ni_task033_winogrande_answer_generation:train",  # a test task of the official split
        "ni_task9001_ours",  # of no official list
    }
    assert _members("tk_instruct_heldout_question_generation_test") == {
        "ni_task001_quoref_question_generation:test"
    }
    with pytest.raises(InputError, match="Did you mean 'question_answering'"):
        registration.find_name("tk_instruct_heldout_question_answerin_train")


def test_drawn_categories_follow_the_seed_and_synthetic_tasks_can_be_left_out(release):
    first = _members("tk_instruct_heldout1_seed0_test")
    drawn = [_members(f"tk_instruct_heldout1_seed{seed}_test") for seed in range(12)]
    assert first in drawn
    assert any(members != first for members in drawn)
    for seed in range(3):
        train = {name.split(":")[0] for name in _members(f"tk_instruct_heldout1_seed{seed}_train")}
        test = {name.split(":")[0] for name in _members(f"tk_instruct_heldout1_seed{seed}_test")}
        assert not train & test
    with pytest.raises(InputError, match="from 1 to 2"):
        registration.find_name("tk_instruct_heldout3_seed0_train")
    assert "ni_task9001_ours" in _members("tk_instruct_nosynthetic_train")


def test_the_supervised_mixture_trains_on_what_is_not_tested():
    members = _members("tk_instruct_supervised_train")
    assert len(members) == 117
    for name in members:
        assert dict(registration.prompted_task(name).splits) == {"train": "supervised"}


def test_the_sample_is_of_training_tasks_and_of_every_held_out_category():
    assert tk_instruct_sample.TRAIN
    train, test = _members("tk_instruct_sample_train"), _members("tk_instruct_sample_test")
    assert len(train) == len(tk_instruct_sample.TRAIN) == 72
    assert train < _members("tk_instruct_train")
    assert test < _members("tk_instruct_test")
    assert len({registration.prompted_task(name).cluster for name in test}) == 12
