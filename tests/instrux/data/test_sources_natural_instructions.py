import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.data.natural_instructions_template import NaturalInstructionsTemplate
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources_natural_instructions import NaturalInstructionsSource
from instrux.errors import InputError
from instrux.prompts import natural_instructions as ni

NAME = "task001_colour"


def _instance(number, **changes):
    return {"id": f"task001-{number:03}", "input": f"q{number}", "output": ["a", "b"], **changes}


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one task of 250 instances, of which 7 and 103 are broken."""
    instances = [_instance(number) for number in range(250)]
    instances[7] = _instance(7, output=[])
    instances[103] = _instance(103, input=None)
    task = {
        "Categories": ["Mathematics"],
        "Definition": ["Name it."],
        "Positive Examples": [{"input": "i", "output": "o", "explanation": "e"}],
        "Negative Examples": [],
        "Instances": instances,
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / f"{NAME}.json").write_text(json.dumps(task))
    return tmp_path


def _source(checkout, **changes):
    return NaturalInstructionsSource("natural_instructions", NAME, place=str(checkout), **changes)


def _numbers(source, split):
    bad = []
    shards = source.shards(split)
    good = [
        number
        for shard in shards
        for number, _ in source.read(shard, on_bad_row=lambda row, error: bad.append(row))
    ]
    assert len(good) + len(bad) == sum(shard.num_rows for shard in shards)
    return good, bad


def test_test_instances_are_the_first_hundred_in_order(checkout):
    assert _numbers(_source(checkout), "test") == ([n for n in range(100) if n != 7], [7])


def test_train_instances_are_drawn_once_each_and_nest(checkout):
    few, _ = _numbers(_source(checkout, max_train_instances=8), "train")
    many, _ = _numbers(_source(checkout), "train")
    all_of_them, bad = _numbers(_source(checkout, max_train_instances=None), "train")
    assert len(set(many)) == len(many) >= 98
    assert set(few) <= set(many) < set(all_of_them)
    assert sorted(all_of_them + bad) == list(range(250))
    assert many != list(range(len(many)))


def test_another_seed_or_task_draws_otherwise(checkout):
    source = _source(checkout)
    assert source.positions("train", 250) == _source(checkout).positions("train", 250)
    assert source.positions("train", 250) != _source(checkout, seed=1).positions("train", 250)
    other = NaturalInstructionsSource("natural_instructions", "task002_x")
    assert source.positions("train", 250) != other.positions("train", 250)


def test_validation_and_supervised_never_meet_what_they_are_held_against(checkout):
    source = _source(checkout)
    assert not set(source.positions("train", 250)) & set(source.positions("validation", 250))
    assert len(source.positions("validation", 250)) == 20
    supervised = source.positions("supervised", 250)
    assert len(supervised) == 150
    assert min(supervised) == 100
    assert source.positions("supervised", 100) == []


@given(size=st.integers(1, 400), limit=st.none() | st.integers(0, 400), seed=st.integers(0, 5))
def test_a_draw_has_the_number_asked_for_without_repeats(size, limit, seed):
    source = NaturalInstructionsSource("n", NAME, max_train_instances=limit, seed=seed)
    drawn = source.positions("train", size)
    assert len(drawn) == len(set(drawn)) == (size if limit is None else min(limit, size))
    assert all(0 <= place < size for place in drawn)


def test_every_epoch_draws_its_references_anew(checkout):
    source = _source(checkout, epochs=6)
    task = PromptedTask(
        "ni_x", source, NaturalInstructionsTemplate(max_source_length=None), {"train": "train"}
    )
    targets: dict[str, set[str]] = {}
    rows = 0
    for number, row in source.read(source.shards("train")[0], on_bad_row=lambda *_: None):
        rendered = task.render(row, source.example_id("train", number))
        assert rendered.references == ("a", "b")
        targets.setdefault(row["id"], set()).add(rendered.targets)
        rows += 1
    assert rows == 6 * len(targets)
    assert set.union(*targets.values()) == {"a", "b"}
    assert sum(len(drawn) == 2 for drawn in targets.values()) > 0.9 * len(targets)


def test_a_bad_instance_is_told_by_file_instance_and_field(checkout):
    source = _source(checkout)
    with pytest.raises(InputError, match=r"task001_colour\.json: .*instance 7 .*field 'output'"):
        list(source.rows("test"))


def test_the_fingerprint_follows_content_and_draw(checkout):
    first = _source(checkout).fingerprint("train")
    assert first == _source(checkout).fingerprint("train")
    assert first != _source(checkout, seed=2).fingerprint("train")
    assert first != _source(checkout, epochs=2).fingerprint("train")
    path = checkout / "tasks" / f"{NAME}.json"
    path.write_text(path.read_text().replace("Name it.", "Name it now."))
    assert first != _source(checkout).fingerprint("train")


def test_absent_tasks_and_splits_are_told(checkout):
    wrong = NaturalInstructionsSource("n", "task001_color", place=str(checkout))
    with pytest.raises(InputError, match="Did you mean 'task001_colour'"):
        wrong.shards("train")
    with pytest.raises(InputError, match="no split 'dev'"):
        _source(checkout).shards("dev")
    with pytest.raises(InputError, match="max_train_instances is -1"):
        _source(checkout, max_train_instances=-1)


def test_a_row_renders_as_its_task_encodes(checkout):
    source = _source(checkout)
    task = ni.load_task(source.location("test"))
    number, row = next(source.rows("test"))
    for encoding in ni.ENCODINGS:
        template = NaturalInstructionsTemplate(encoding, max_source_length=None)
        flags = ni.ENCODINGS[encoding]
        expected = ni.encode(
            task,
            task.instance(number),
            add_task_name=flags.add_task_name,
            add_task_definition=flags.add_task_definition,
            num_pos_examples=flags.num_pos_examples,
            num_neg_examples=flags.num_neg_examples,
            add_explanation=flags.add_explanation,
        )
        rendered = PromptedTask("x", source, template, {}).render(row, "id/0")
        assert rendered.inputs == expected


def test_the_text_to_text_form_has_no_runs_of_blanks_on_either_side(checkout):
    _, row = next(_source(checkout).rows("test"))
    row = {**row, "Instance": {**row["Instance"], "output": ["two  words\n"]}}
    template = NaturalInstructionsTemplate(max_source_length=None, text_to_text=True)
    rendered = PromptedTask("x", _source(checkout), template, {}).render(row, "id/0")
    assert rendered.targets == "two words"
    assert rendered.references == ("two  words\n",)
    assert rendered.inputs.endswith("Input: q0. Output:")
    assert "\n" not in rendered.inputs


def test_the_budget_travels_to_workers_with_its_tokenizer(checkout, shared_data, monkeypatch):
    monkeypatch.setenv("INSTRUX_VOCABULARY", str(shared_data / "vocab" / "t5_32000.model"))
    template = pickle.loads(
        pickle.dumps(NaturalInstructionsTemplate(max_source_length=16).resolve())
    )
    monkeypatch.delenv("INSTRUX_VOCABULARY")
    _, row = next(_source(checkout).rows("test"))
    rendered = PromptedTask("x", _source(checkout), template, {}).render(row, "id/0")
    # Cut text is decoded text: newlines are blanks, and the end is gone.
    assert rendered.inputs.startswith("Definition: Name it. Now complete the following example")
    assert "Output" not in rendered.inputs


def test_rows_of_something_else_are_refused():
    template = NaturalInstructionsTemplate(max_source_length=None)
    with pytest.raises(InputError, match="not a row of Natural Instructions"):
        PromptedTask("x", NaturalInstructionsSource("n", "t"), template, {}).render({"a": 1}, "i/0")
