"""Rows of the hub's schema become those that TensorFlow Datasets has, field by field."""

import json

import pytest

from instrux.data.flan_hub_rows import as_tfds, hub_source
from instrux.errors import InputError
from instrux.prompts.flan_fields import fields_of


# Labels: the hub's cards of `trec` (since 2022) and TensorFlow Datasets' `trec` name the same classes in
# different orders; `winogrande` has "1" and "2" there, 0 and 1 here; ARC's keys are letters or digits.
@pytest.mark.parametrize(
    ("dataset", "row", "answer"),
    [
        ("trec", {"text": "Who?", "coarse_label": 3}, "human"),
        ("trec", {"text": "What is ABM?", "coarse_label": 0}, "abbreviation"),
        ("trec", {"text": "What is it?", "coarse_label": 2}, "description"),
        ("trec", {"text": "Where?", "coarse_label": 4}, "location"),
        ("trec", {"text": "How many?", "coarse_label": 5}, "numeric"),
        ("anli_r2", {"premise": "p", "hypothesis": "h", "label": 2}, "No"),
        (
            "winogrande",
            {
                "sentence": "Ann met Bo and _ left.",
                "option1": "Ann",
                "option2": "Bo",
                "answer": "2",
            },
            "Bo left.",
        ),
        (
            "arc_easy",
            {
                "question": "q",
                "choices": {"text": ["w", "x", "y", "z"], "label": ["1", "2", "3", "4"]},
                "answerKey": "3",
            },
            "y",
        ),
        (
            "hellaswag",
            {"ctx": "A man", "endings": ["sits.", "runs.", "eats.", "flies."], "label": "1"},
            "runs.",
        ),
        ("bool_q", {"question": "is it", "passage": "Tea -- It is.", "label": 1}, "yes"),
        (
            "squad_v2",
            {"title": "A_b", "context": "c", "question": "q", "answers": {"text": []}},
            "unanswerable",
        ),
        ("common_gen", {"concepts": ["ski", "hill"], "target": "We ski."}, "We ski."),
        ("sst2", {"sentence": "Good.", "label": 1}, "positive"),
    ],
)
def test_the_answer_is_the_one_that_was_meant(dataset, row, answer):
    fields = fields_of(dataset, as_tfds(dataset, row))
    assert fields is not None
    assert fields.get("answer", fields.get("target")) == answer


def test_superglues_passage_gives_its_title_back():
    row = {"question": "is it", "passage": "Tea -- It is -- hot.", "label": 0}
    fields = fields_of("bool_q", as_tfds("bool_q", row))
    assert (fields["title"], fields["text"]) == ("Tea", "It is -- hot.")
    untitled = as_tfds("bool_q", {**row, "passage": "It is."})
    assert (untitled["title"], untitled["passage"]) == ("", "It is.")


def test_a_row_of_another_schema_is_told_or_set_aside(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="anli_r1: a row is not as the hub has it"):
        as_tfds("anli_r1", {"sentence": "s"})
    folder = tmp_path / "trec" / "default"
    folder.mkdir(parents=True)
    rows = [{"text": "Who?", "coarse_label": 3}, {"text": "?", "coarse_label": 17}]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    source = hub_source("trec", ("trec", None), ("trec", None))
    with pytest.raises(InputError, match=r"train\.jsonl, row 2: trec: a row is not"):
        list(source.rows("train"))
    bad = []
    (shard,) = source.shards("train")
    kept = list(source.read(shard, on_bad_row=lambda number, error: bad.append(number)))
    assert [number for number, _ in kept] == [0] and bad == [1]
    assert kept[0][1]["label-coarse"] == 3
    assert source.example_id("train", 0) == "trec/default/train/0"
