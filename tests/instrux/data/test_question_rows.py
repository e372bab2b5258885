"""Rows of QuAC, SQuAD 2.0 and DROP, a question each, as published scripts and samples have them."""

import json

import pytest

from instrux.data.question_rows import drop_rows, quac_rows, squad_v2_rows
from instrux.errors import InputError

HUB = ("questions", None)
NONE = "CANNOTANSWER"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Writes a file into a mirror: rows of a split, or a text under its own name."""
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))

    def write(content, *, split="validation", name=None):
        path = tmp_path / (name or f"questions/default/{split}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if name else "".join(json.dumps(row) + "\n" for row in content))

    return write


def dialogue(*answers, own):
    return {
        "wikipedia_page_title": "Ada", "context": "Ada wrote.",
        "questions": [f"q{n}" for n in range(len(answers))],
        "orig_answers": {"texts": own}, "answers": {"texts": [list(each) for each in answers]},
    }  # fmt: skip


def test_quac_is_asked_question_by_question(mirror):
    mirror([dialogue(["notes", "her notes"], [NONE], own=["notes", NONE])])
    first, second = quac_rows("validation", hub=HUB)
    assert (first["title"], first["question"], first["history"]) == ("Ada", "q0", [])
    assert first["answers"] == ["notes", "her notes"]
    assert (second["history"], second["answers"]) == ([("q0", "notes")], [NONE])
    mirror([{"questions": ["q0"]}])
    with pytest.raises(InputError, match="no dialogue of the hub's schema"):
        list(quac_rows("validation", hub=HUB))


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        (["x", NONE], [NONE]),  # half of them found none
        (["x", "x", NONE], ["x", "x"]),  # as often as given
        ([NONE, NONE, "x"], [NONE]),
    ],
)
def test_quac_has_no_answer_where_half_found_none(mirror, given, counted):
    mirror([dialogue(given, own=["x"])])
    assert [row["answers"] for row in quac_rows("validation", hub=HUB)] == [counted]


def test_quac_leaves_out_what_people_do_not_agree_on(mirror):
    # By hand: "a b c d e" and "e f g h i" share one word of five, F1 0.2; "b c" and "c d" 0.5.
    far, near = ["w b c d e", "e f g h i"], ["b c", "c d"]
    mirror([dialogue(far, near, own=["w", "b"])])
    (kept,) = quac_rows("validation", hub=HUB)
    assert kept["answers"] == near and kept["history"] == [("q0", "w")]
    assert len(list(quac_rows("validation", hub=HUB, lowest_agreement=0.2))) == 2


def test_squad_asks_after_the_questions_before_it_about_the_paragraph(mirror):
    rows = [
        {"context": c, "question": f"{c}{n}", "answers": {"text": [str(n), f"{n}."] if n else []}}
        for c in "ab"
        for n in range(6)
    ]
    mirror(rows)
    made = list(squad_v2_rows("validation", hub=HUB))
    for n, row in enumerate(made):
        answers = dict(row["history"])
        assert sorted(answers) == [f"{row['context']}{i}" for i in range(n % 6)]
        assert [q[1] for q, answer in row["history"] if answer is None] == ["0"] * (n % 6 > 0)
    said = {answer for row in made for question, answer in row["history"] if question[1] == "3"}
    assert said == {"3", "3."}  # one of the answers to it
    places = {[q for q, _ in row["history"]].index("a0") for row in made[1:6]}
    assert len(places) > 1  # an order drawn for the row
    assert made == list(squad_v2_rows("validation", hub=HUB))
    mirror([{"context": "c"}])
    with pytest.raises(InputError, match="row 1 is not of the hub's schema"):
        list(squad_v2_rows("validation", hub=HUB))


PUBLISHED = {
    "p1": {
        "passage": "P.",
        "qa_pairs": [
            {
                "question": "Who?",
                "answer": {"number": "", "date": {}, "spans": ["Ann", "Bo"]},
                "validated_answers": [
                    {"number": "2", "date": {}, "spans": []},
                    {"number": "", "date": {"day": "3", "month": "May", "year": ""}, "spans": []},
                    {"number": "", "date": {}, "spans": []},
                ],
            }
        ],
    }
}


def test_drop_s_own_file_keeps_each_person_s_spans_together(mirror):
    mirror(json.dumps(PUBLISHED), name="drop/drop_dataset_dev.json")
    (row,) = drop_rows("validation", hub=HUB)
    assert (row["passage"], row["question"]) == ("P.", "Who?")
    assert row["answers"] == [["Ann", "Bo"], ["2"], ["3 May"]]
    mirror("[", name="drop/drop_dataset_dev.json")
    with pytest.raises(InputError, match=r"drop_dataset_dev\.json: its questions cannot be read"):
        list(drop_rows("validation", hub=HUB))


def test_drop_from_rows_of_the_hub(mirror):
    pair = PUBLISHED["p1"]["qa_pairs"][0]
    columns = {name: [each[name] for each in pair["validated_answers"]] for name in pair["answer"]}
    flat = {"passage": "P.", "question": "Q", "answers_spans": {"spans": ["x", "y"], "types": []}}
    mirror([{"passage": "P.", **pair, "validated_answers": columns}, flat])
    whole, spans = drop_rows("validation", hub=HUB)
    assert whole["answers"] == [["Ann", "Bo"], ["2"], ["3 May"]]
    assert spans["answers"] == [["x"], ["y"]]  # whose they are is not told
    mirror([flat], split="train")
    assert [row["answers"] for row in drop_rows("train", hub=HUB)] == [[["x", "y"]]]
    mirror([{"passage": "P.", "question": "Q"}])
    with pytest.raises(InputError, match="question 1 is not as published"):
        list(drop_rows("validation", hub=HUB))
