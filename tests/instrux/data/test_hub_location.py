"""Rows as they are published today become rows as templates want them."""

import csv
import pickle

import pytest

from instrux.data.hub_location import FieldChange, HubLocation, ManualFiles, changed_row
from instrux.data.sources import HuggingFaceSource
from instrux.errors import InputError

LABEL = FieldChange("coarse_label", "label-coarse", ((0, 2), (1, 1), (2, 0)))
LOCATION = HubLocation("acme/questions", revision="refs/convert/parquet", changes=(LABEL,))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    return tmp_path


def test_a_renamed_field_gets_its_old_name_and_number_in_its_old_place():
    row = {"text": "Who?", "coarse_label": 0, "n": 1}
    changed = changed_row(row, [LABEL])
    assert list(changed.items()) == [("text", "Who?"), ("label-coarse", 2), ("n", 1)]


@pytest.mark.parametrize("row", [{"label-coarse": 1}, {"coarse_label": 9, "label-coarse": 1}, {}])
def test_rows_of_the_old_day_stay_as_they_are(row):
    assert changed_row(row, [LABEL]) is row


def test_a_renamed_field_without_a_table_of_values_keeps_its_values():
    assert changed_row({"a": [1]}, [FieldChange("a", "b")]) == {"b": [1]}


def test_a_mirror_of_todays_rows_is_read_as_rows_of_the_old_day(mirror):
    folder = mirror / "questions" / "default"
    folder.mkdir(parents=True)
    lines = ['{"text": "a", "coarse_label": 2}', '{"text": "b", "coarse_label": 7}']
    (folder / "train.jsonl").write_text("\n".join([*lines, '{"text": "c", "coarse_label": 1}']))
    source = HuggingFaceSource("questions", location=LOCATION)
    with pytest.raises(InputError, match=r"train\.jsonl, row 2: .*'coarse_label' is 7.* 3 values"):
        list(source.rows("train"))
    bad = []
    (shard,) = source.shards("train")
    rows = list(source.read(shard, on_bad_row=lambda number, _: bad.append(number)))
    assert rows == [(0, {"text": "a", "label-coarse": 0}), (2, {"text": "c", "label-coarse": 1})]
    assert bad == [1]
    # Other rules give other rows: what was rendered under the old ones is stale.
    plain = HuggingFaceSource("questions")
    assert plain.fingerprint("train") != source.fingerprint("train")
    assert pickle.loads(pickle.dumps(source)) == source


def test_columns_are_told_by_their_wanted_names(mirror):
    folder = mirror / "questions" / "default"
    folder.mkdir(parents=True)
    (folder / "test.csv").write_text("text,coarse_label\na,1\n")
    (folder / "train.jsonl").write_text('{"text": "a"}\n')
    source = HuggingFaceSource("questions", location=LOCATION)
    assert source.columns("test") == ("text", "label-coarse")
    assert source.columns("train") is None


def test_what_is_asked_of_the_hub_is_the_present_name():
    asked = HuggingFaceSource("questions", location=LOCATION).hub_dataset
    assert (asked.repository, asked.config) == ("acme/questions", None)
    assert asked.revision == "refs/convert/parquet"
    pinned = HuggingFaceSource("questions", revision="v1", location=LOCATION)
    assert pinned.hub_dataset.revision == "v1"
    assert HuggingFaceSource("imdb").hub_dataset.repository == "imdb"


MANUAL = HubLocation(
    "acme/stories",
    manual=ManualFiles("ask for them at acme.example", (("stories (final).csv", "validation"),)),
)


def test_files_to_be_had_by_hand_are_told_with_their_place(mirror):
    source = HuggingFaceSource("stories", "2016", location=MANUAL)
    with pytest.raises(InputError) as caught:
        source.shards("validation")
    message = str(caught.value)
    assert "ask for them at acme.example" in message and "\n" not in message
    assert "'stories (final).csv' into the folder <mirror>/stories/2016" in message
    assert str(mirror) in message


def test_official_file_names_stand_for_their_splits(mirror):
    folder = mirror / "stories" / "2016"
    folder.mkdir(parents=True)
    with (folder / "stories (final).csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a"], ["1"]])
    source = HuggingFaceSource("stories", "2016", location=MANUAL)
    assert source.splits() == ["validation"]
    assert list(source.rows("validation")) == [(0, {"a": "1"})]
