import json
import random
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.data.released_tokenizers import ReleasedGpt2Tokenizer, ReleasedT5Tokenizer
from instrux.errors import InputError
from instrux.prompts import natural_instructions as ni

_FLAGS = (
    "add_task_name",
    "add_task_definition",
    "num_pos_examples",
    "num_neg_examples",
    "add_explanation",
)


def _content(**changes):
    return json.dumps(
        {
            "Categories": ["Question Answering"],
            "Source": ["quoref"],
            "Definition": [" Say a colour\n"],
            "Input_language": ["English"],
            "Positive Examples": [
                {"input": " sky ", "output": "blue", "explanation": "It is blue!"},
                {"input": "grass?", "output": "green", "explanation": "Look"},
            ],
            "Negative Examples": [{"input": "sky", "output": "", "explanation": "Empty"}],
            "Instances": [
                {"id": "task001-a", "input": "blood ", "output": ["red", "crimson"]},
                {"id": "task001-b", "input": "", "output": ["none"]},
            ],
            **changes,
        }
    ).encode()


@pytest.fixture
def task():
    return ni.parse_task(_content(), name="task001_colour")


def test_the_text_is_the_released_one(task):
    assert ni.encode(
        task,
        task.instance("task001-a"),
        add_task_name=True,
        num_pos_examples=4,
        num_neg_examples=2,
        add_explanation=True,
    ) == (
        "task001_colour. Definition: Say a colour.\n\n"
        " Positive Example 1 -\nInput: sky.\n Output: blue.\n Explanation: It is blue!\n\n"
        " Positive Example 2 -\nInput: grass?\n Output: green.\n Explanation: Look.\n\n"
        " Negative Example 1 -\nInput: sky.\n Output: .\n Explanation: Empty.\n\n"
        "Now complete the following example -\nInput: blood.\nOutput: "
    )


def test_an_empty_input_becomes_a_period(task):
    bare = ni.encode(task, task.instance(1), add_task_definition=False, num_pos_examples=0)
    assert bare == "Now complete the following example -\nInput: .\nOutput: "


def _cases(shared_data):
    lines = (shared_data.parent / "specs" / "ni_cases.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in lines.splitlines()]


def test_every_released_case_is_reproduced_to_the_byte(shared_data):
    tokenizers = {
        "t5": ReleasedT5Tokenizer.load(shared_data / "vocab" / "t5_32000.model"),
        "gpt2": ReleasedGpt2Tokenizer.load(shared_data / "vocab" / "gpt2" / "merges.txt"),
    }
    folder = shared_data / "natural_instructions" / "case_tasks"
    tasks = {path.name: ni.load_task(path) for path in folder.glob("*.json")}
    cases = _cases(shared_data)
    assert len(cases) == 369
    for case in cases:
        task, how = tasks[case["task_file"]], case["settings"]
        instance = task.instance(case["instance_id"])
        encoding = ni.Encoding(**{name: how[name] for name in _FLAGS})
        assert ni.encoding_named(how["encoding"]) == encoding
        tokenizer = tokenizers[how["tokenizer"]]
        got = ni.encode_within(
            task, instance, encoding, tokenizer, max_source_length=how["max_source_length"]
        )
        assert got.text == case["source"]
        assert ni.text_to_text(got.text) == case["source_text2text"]
        assert len(tokenizer.encode(got.text)) == case["source_tokens_hf"]
        assert list(instance.references) == case["references"]
        assert got.truncated == (case["status"] == "truncated") or case["boundary_sensitive"]
        if case["status"] == "full":
            assert ni.encode(task, instance, **{name: how[name] for name in _FLAGS}) == got.text


def test_a_line_for_tpu_training_has_one_tab_and_one_newline(task):
    source = ni.encode(task, task.instance(0), num_pos_examples=0)
    assert ni.text_to_text_line(source, " dark\tred\n") == (
        "Definition: Say a colour. Now complete the following example - Input: blood. Output:"
        "\tdark red\n"
    )


class _Words:
    """One token a word, and one for the end."""

    def encode(self, text):
        return [*text.split(), "</s>"]

    def decode(self, tokens):
        return " ".join(token for token in tokens if token != "</s>")


def test_the_first_example_that_does_not_fit_ends_its_kind():
    long, short = {"input": "a " * 50, "output": "b"}, {"input": "c", "output": "d"}
    task = ni.parse_task(
        _content(**{"Positive Examples": [short, long, short], "Negative Examples": [short]}),
        name="task001_x",
    )
    encoding = ni.Encoding(num_pos_examples=3, num_neg_examples=1)
    got = ni.encode_within(task, task.instance(0), encoding, _Words(), max_source_length=45)
    assert (got.num_pos_examples, got.num_neg_examples, got.truncated) == (1, 1, False)


def test_what_is_too_long_without_examples_loses_its_end(task):
    got = ni.encode_within(task, task.instance(0), ni.Encoding(), _Words(), max_source_length=6)
    assert got.truncated
    assert got.num_pos_examples == 0
    assert got.text == "Definition: Say a colour. Now complete"


def test_the_random_form_draws_five_encodings_about_equally():
    rng = random.Random(0)
    drawn = Counter(ni.draw_encoding(rng) for _ in range(5000))
    assert set(drawn) == {
        ni.Encoding(num_pos_examples=0),
        ni.Encoding(add_task_definition=False),
        ni.Encoding(),
        ni.Encoding(num_neg_examples=2),
        ni.Encoding(add_explanation=True),
    }
    assert all(900 < count < 1100 for count in drawn.values())


def test_references_are_drawn_from_the_instance(task):
    instance = task.instance("task001-a")
    drawn = {ni.draw_reference(instance, random.Random(seed)) for seed in range(40)}
    assert drawn == {"red", "crimson"}


_text = st.text(max_size=40)


@settings(max_examples=60, deadline=None)
@given(
    definition=_text.filter(bool), asked=_text, pairs=st.lists(st.tuples(_text, _text), max_size=4)
)
def test_every_part_ends_in_punctuation_and_the_examples_are_the_first(definition, asked, pairs):
    task = ni.parse_task(
        _content(
            Definition=[definition],
            **{
                "Positive Examples": [{"input": i, "output": o} for i, o in pairs],
                "Instances": [{"id": "x", "input": asked, "output": ["y"]}],
            },
        ),
        name="task001_x",
    )
    text = ni.encode(task, task.instance("x"), num_pos_examples=2)
    assert text.endswith("\nOutput: ")
    assert text.removesuffix("\nOutput: ")[-1] in string.punctuation
    assert text.count(" Positive Example 2 -\n") >= (len(pairs) >= 2)
    assert ni.text_to_text(text).split() == text.split()


def test_the_older_schema_is_read(shared_data):
    folder = shared_data / "natural_instructions" / "legacy_schema"
    tasks = [ni.load_task(path) for path in sorted(folder.glob("*.json"))]
    assert len(tasks) == 6
    for task in tasks:
        assert not task.problems
        assert len(task.definitions) == 1
        assert task.instances[0].id.startswith(task.name.split("_")[0] + "-")
        assert ni.encode(task, task.instance(0)).startswith("Definition: ")


def test_every_real_task_file_is_in_order(shared_data):
    for path in sorted((shared_data / "natural_instructions" / "tasks").glob("*.json")):
        task = ni.load_task(path)
        assert task.problems == ()
        assert task.category
        assert task.instance(task.instances[-1].id) is task.instances[-1]


def test_a_bad_part_is_told_with_its_field_and_the_rest_is_read():
    task = ni.parse_task(
        _content(
            **{
                "Instances": [
                    {"id": "task001-a", "input": 3, "output": ["x"]},
                    {"id": "task001-b", "input": "q", "output": []},
                    {"id": "task001-c", "input": "q", "output": ["x", None]},
                    "no object",
                    {"id": "task001-e", "input": "q", "output": ["right"]},
                    {"id": "task001-f", "input": "q"},
                ],
                "Negative Examples": [{"output": "x"}],
                "Source": "quoref",
                "Domains": 7,
            }
        ),
        name="task001_x",
    )
    assert [each.id for each in task.instances] == ["task001-e"]
    assert task.instance(4).references == ("right",)
    assert task.sources == ("quoref",)
    assert task.problems == (
        "task001_x: 'Negative Examples', example 0, field 'input': is missing",
        "task001_x: instance 0 (task001-a), field 'input': is a number, not text",
        "task001_x: instance 1 (task001-b), field 'output': is an empty list",
        "task001_x: instance 2 (task001-c), field 'output': entry 1 is null, not text",
        "task001_x: instance 3: should be an object, and is text",
        "task001_x: instance 5 (task001-f), field 'output': is missing",
        "task001_x: field 'Domains': should be a list of texts, and is a number",
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[1]", "a task is a JSON object, and this is a list"),
        (b"{", "not a JSON file"),
        (b"\xff\xfe\x00", "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
        (_content(Definition=[]), "field 'Definition' has no text"),
        (_content(Instances=[{"input": "q"}]), "'Instances' has no instance to read"),
    ],
)
def test_what_is_no_task_is_refused_in_one_line(content, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        ni.parse_task(content, name="task001_x")
    assert "task001_x" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_told(task, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'instruct_pos_2_input'"):
        ni.encoding_named("instruct_pos2_input")
    with pytest.raises(InputError, match="no instance 'task001-z'"):
        task.instance("task001-z")
    with pytest.raises(InputError, match="cannot be read"):
        ni.load_task(tmp_path / "none.json")
    with pytest.raises(InputError, match="num_pos_examples is -1"):
        ni.encode(task, task.instance(0), num_pos_examples=-1)
