"""Rows as their publishers write them become demonstrations, or errors that name the field."""

import pytest

from instrux.data.demonstration_formats import DemonstrationInput, find_format
from instrux.data.demonstrations import Demonstration, Shot
from instrux.errors import InputError


def read(format, row, id="row/0"):
    return find_format(format)(row, id)


def test_dolly_loses_its_citation_marks_and_keeps_its_use_case():
    (found,) = read(
        "dolly",
        {
            "instruction": "When was it founded?",
            "context": "It was founded[1] in 1901.[42]",
            "response": "1901",
            "category": "information_extraction",
        },
    )
    assert found.prompt == "When was it founded?\n\nIt was founded in 1901."
    assert (found.completion, found.use_case) == ("1901", "extract")


@pytest.mark.parametrize(
    ("category", "use_case"),
    [("Brainstorm", "brainstorming"), ("Coding", "other"), ("Closed QA", "closed_qa")],
)
def test_no_robots_categories_are_the_papers_use_cases(category, use_case):
    row = {
        "prompt": "Hi",
        "prompt_id": "ab12",
        "category": category,
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    }
    (found,) = read("no_robots", row)
    assert (found.id, found.use_case, found.prompt) == ("no_robots/ab12", use_case, "Hi")


def test_a_chat_of_several_turns_says_who_speaks():
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Who?")]
    messages = [{"role": role, "content": text} for role, text in [*turns, ("assistant", "I.")]]
    (found,) = read("messages", {"messages": messages})
    assert found.prompt == "Be brief.\n\nHuman: Hi\n\nAI: Hello\n\nHuman: Who?\n\nAI:"
    assert found.completion == "I."


def test_self_instruct_gives_one_for_each_instance():
    row = {
        "id": "seed_task_1",
        "instruction": "Add.",
        "instances": [{"input": "1 1", "output": "2"}, {"input": "", "output": "none"}],
        "is_classification": True,
    }
    found = read("self_instruct", row)
    assert [(d.id, d.prompt, d.completion, d.use_case) for d in found] == [
        ("seed_task_1/0", "Add.\n\n1 1", "2", "classification"),
        ("seed_task_1/1", "Add.", "none", "classification"),
    ]


def test_alpaca_and_pairs():
    row = {"instruction": "Add.", "input": "1 1", "output": "2"}
    assert read("alpaca", row)[0].prompt == "Add.\n\n1 1"
    (found,) = read("prompt_response", {"prompt": "a", "response": ""})
    assert (found.id, found.completion) == ("row/0", "")


def test_our_own_rows_come_back_as_they_were_written():
    demonstration = Demonstration(
        id="7",
        prompt="Sort.",
        completion="",
        source="customer",
        kind="few_shot",
        use_case="rewrite",
        user_id="u1",
        labels={"ambiguous": True, "sensitive": False},
        language="en",
        split="test",
        shots=(Shot("b a", "a b"), Shot("d c", "c d")),
    )
    assert read("instrux", demonstration.to_row()) == [demonstration]


@pytest.mark.parametrize(
    ("format", "row", "field"),
    [
        ("instrux", {"prompt": "a"}, "'completion' is absent"),
        (
            "instrux",
            {"prompt": "a", "completion": "b", "usecase": "chat"},
            "Did you mean 'use_case'",
        ),
        ("instrux", {"prompt": "a", "completion": "b", "source": "robot"}, "'source' is none of"),
        ("instrux", {"prompt": "a", "completion": "b", "labels": {"rude": True}}, "label 'rude'"),
        ("instrux", {"prompt": "a", "shots": ["x"]}, "'shots'"),
        ("dolly", {"instruction": 7, "response": "a"}, "'instruction' is a int"),
        ("dolly", {"instruction": "a", "response": "b", "category": "x"}, "'category'"),
        ("self_instruct", {"instruction": "a", "instances": []}, "'instances'"),
        ("messages", {"messages": [{"role": "user", "content": "a"}]}, "assistant's answer"),
        ("messages", {"messages": "a"}, "'messages'"),
        ("oasst", {"prompt": "a"}, "no tree"),
    ],
)
def test_a_wrong_row_is_an_error_that_names_the_field(format, row, field):
    with pytest.raises(InputError, match=field):
        read(format, row)


def test_an_input_is_a_format_and_a_path_and_who_wrote_it():
    given = DemonstrationInput.parse("prompt_response:customer:api=a=b.jsonl")
    assert given == DemonstrationInput("prompt_response", "a=b.jsonl", "customer", "api")
    completed = given.complete(read("prompt_response", {"prompt": "a", "response": "b"})[0])
    assert (completed.source, completed.kind) == ("customer", "api")
    for wrong in ("dolly", "doly=a.jsonl", "dolly:robot=a.jsonl", "dolly:labeler:odd=a.jsonl"):
        with pytest.raises(InputError):
            DemonstrationInput.parse(wrong)


def test_the_real_seed_tasks_are_read(shared_data):
    import json

    lines = (shared_data / "instruct" / "seed_tasks.jsonl").read_text().splitlines()
    found = [read("self_instruct", json.loads(line))[0] for line in lines]
    # 175 tasks, 26 of them classification, 50 without input (specification, section 7).
    assert len(found) == 175
    assert sum(d.use_case == "classification" for d in found) == 26
