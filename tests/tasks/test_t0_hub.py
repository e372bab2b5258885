"""T0's data under the hub's present names, fields and label numbers."""

import csv
import json
import re

import pytest

pytest.importorskip("seqio")

from instrux.beam.template_fields import template_fields
from instrux.data import registration
from instrux.data.hub_location import changed_names, changed_row
from instrux.data.prompted_task import Skipped
from instrux.errors import InputError
from instrux.prompts import TemplateCollection
from tasks import t0, t0_hub, t0_table


@pytest.fixture(scope="module")
def collection():
    """PromptSource 0.2.3, if this machine has it."""
    try:
        return TemplateCollection.load(t0_table.RELEASE)
    except InputError as error:
        pytest.skip(f"no templates: {error}")


COMMIT = re.compile("[0-9a-f]{40}")


def test_every_data_set_of_the_table_has_a_place_and_a_licence():
    keys = [(each.dataset, each.subset) for each in t0_table.datasets()]
    assert list(t0_hub.hub_rows()) == keys and len(keys) == 66
    for row in t0_hub.hub_rows().values():
        assert row.repository.count("/") == 1, row
        assert row.revision in ("main", "refs/convert/parquet") or COMMIT.fullmatch(row.revision)
        assert (row.revision == "refs/convert/parquet") <= row.conversion, row
        assert row.checked in ("search", "offline", "no"), row
        assert row.licence and row.source, row
    assert t0_hub.licence("super_glue", "rte") == "other"
    assert t0_hub.licence("anli") == "cc-by-nc-4.0"
    assert t0_hub.licence("no_such_set") is None


def test_tasks_read_under_the_present_name_and_keep_the_old_one():
    source = registration.prompted_task("super_glue_rte_GPT_3_style").source
    assert source == t0_hub.source("super_glue", "rte")
    assert source.label == "super_glue/rte"
    assert source.example_id("train", 7) == "super_glue/rte/train/7"
    assert source.hub_dataset.repository == "aps/super_glue"
    assert source.hub_dataset.config == "rte"


# The question, its labels as published in 2002, and their numbers today and in 2021: the order of
# the labels in the hub's own script before and after its fix of August 2022.
TREC = [
    ("DESC:manner", (2, 26), (0, 0)),
    ("ENTY:cremat", (1, 5), (1, 1)),
    ("ABBR:exp", (0, 1), (2, 3)),
    ("HUM:ind", (3, 29), (3, 4)),
    ("NUM:weight", (5, 49), (4, 45)),
    ("LOC:other", (4, 35), (5, 14)),
    ("ENTY:currency", (1, 6), (1, 46)),
]


@pytest.mark.parametrize(("label", "today", "then"), TREC)
def test_trecs_labels_get_the_numbers_that_templates_know(label, today, then):
    changes = t0_hub.source("trec").location.changes
    row = {"text": "?", "coarse_label": today[0], "fine_label": today[1]}
    assert changed_row(row, changes) == {
        "text": "?",
        "label-coarse": then[0],
        "label-fine": then[1],
    }, label


def test_trecs_tables_are_whole():
    coarse, fine = t0_hub.source("trec").location.changes
    assert sorted(old for _, old in coarse.values) == list(range(6))
    assert [new for new, _ in fine.values] == list(range(50))
    assert sorted({old for _, old in fine.values}) == list(range(47))


def test_todays_trec_renders_through_t0s_templates(collection, shared_data, monkeypatch):
    """Rows of the hub's present schema: the label that comes out is the question's own."""
    del collection
    monkeypatch.setenv("INSTRUX_MIRROR", str(shared_data / "p3"))
    task = registration.prompted_task("trec_fine_grained_open").resolve()
    rows = dict(task.source.rows("train"))
    first = task.render(rows[0], "trec/default/train/0")
    assert "How did serfdom develop" in first.inputs and first.targets == "Manner"
    second = task.render(rows[1], "trec/default/train/1")
    assert "Popeye Doyle" in second.inputs and second.targets == "Creative Piece"
    abbreviations = registration.prompted_task("trec_fine_grained_ABBR").resolve()
    rendered = [abbreviations.render(row, f"x/{number}") for number, row in rows.items()]
    kept = [each for each in rendered if not isinstance(each, Skipped)]
    assert 5 < len(kept) < 100
    assert {each.targets for each in kept} == {"abbreviation", "expression abbreviated"}


# --- Story Cloze ---------------------------------------------------------------------------------

COLUMNS = ["InputStoryid", "InputSentence1", "InputSentence2", "InputSentence3", "InputSentence4"]
COLUMNS += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]
STORY = ["Ann was hungry.", 'She said, "toast".', "The bread was old.", "She went out."]
ENDINGS = ["She bought bread.", "She sold her shoes."]


@pytest.fixture
def story_cloze(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    folder = tmp_path / "story_cloze" / "2016"
    folder.mkdir(parents=True)
    name = "cloze_test_val__spring2016 - cloze_test_ALL_val.csv"
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        rows = [["id-1", *STORY, *ENDINGS, "1"], ["id-2", *STORY, *ENDINGS, "2"]]
        csv.writer(file).writerows([COLUMNS, *rows])
    return tmp_path


def test_the_official_file_is_read_with_the_fields_of_the_templates(story_cloze):
    source = t0_hub.source("story_cloze", "2016")
    assert source.splits() == ["validation"]
    (_, row), (_, other) = source.rows("validation")
    assert row["story_id"] == "id-1" and row["input_sentence_2"] == STORY[1]
    assert row["sentence_quiz2"] == ENDINGS[1]
    assert (row["answer_right_ending"], other["answer_right_ending"]) == (1, 2)


def test_the_official_file_renders(story_cloze, collection):
    del collection
    task = registration.prompted_task("story_cloze_2016_Choose_Story_Ending").resolve()
    rendered = [task.render(row, f"x/{n}") for n, row in task.source.rows("validation")]
    assert [each.targets for each in rendered] == ENDINGS
    assert rendered[0].answer_choices == tuple(ENDINGS)


def test_without_the_file_the_form_and_the_folder_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    with pytest.raises(InputError) as caught:
        t0_hub.source("story_cloze", "2016").shards("validation")
    message = str(caught.value)
    assert "https://cs.rochester.edu/nlp/rocstories/" in message and "\n" not in message
    assert "cloze_test_val__spring2016 - cloze_test_ALL_val.csv" in message
    assert "<mirror>/story_cloze/2016" in message and str(tmp_path) in message


# --- Schemas -------------------------------------------------------------------------------------

# The features of the scripts of 2022, against what PromptSource 0.2.3 prints.
LACKING = {
    # The script of 2022 gives Story Cloze and Jigsaw only with their manual files.
    ("story_cloze", "2016"),
    ("jigsaw_toxicity_pred", None),
}


def test_templates_find_their_fields_in_the_published_features(collection, shared_data):
    checked = []
    for dataset in t0_table.datasets():
        key = dataset.dataset, dataset.subset
        folders = sorted((shared_data / "hf_dummy" / dataset.dataset).glob(dataset.subset or "*"))
        info = next((folder / "info.json" for folder in folders), None)
        if key in LACKING or info is None or not info.exists():
            continue
        features = json.loads(info.read_text())["features"]
        columns = changed_names(features, t0_hub.source(*key).location.changes)
        named = {column.replace("-", "_") for column in columns}
        templates = collection["/".join(filter(None, key))]
        for template in dataset.templates:
            needed = set(template_fields(templates[template.name]))
            assert needed <= named, (key, template.name, needed - named)
        checked.append(key)
    assert len(checked) > 40, len(checked)


def test_the_names_of_tasks_do_not_depend_on_where_data_lies():
    assert {task.prompted_task().source.dataset for task in t0.tasks()} == {
        each.dataset for each in t0_table.datasets() if each.templates
    }
