"""FLAN's datasets against TensorFlow Datasets as installed: names, versions, features, labels, rows.

Nothing is downloaded: builders are made without data, and rows are random values of the right types.
"""

import re

import pytest

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("seqio")

import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import gcs_utils
from tensorflow_datasets.testing import mocking

from instrux.data.prompted_task import Skipped
from instrux.data.sources import RowShard, TfdsSource
from instrux.data.sources_hub import _plain
from instrux.prompts.flan_fields import fields_of
from tasks.flan import FlanTaskName
from tasks.flan_table import all_datasets

DATASETS = list(all_datasets().values())
ROWS = 10

# What TFDS calls the classes -> our answers; where a class has only a number there, not here.
NLI = ["entailment", "neutral", "contradiction"]
CLASSES = {
    "rte": ["entailment", "not_entailment"],
    "qnli": ["entailment", "not_entailment"],
    "cb": ["entailment", "contradiction", "neutral"],
    "mnli_matched": NLI,
    "mnli_mismatched": NLI,
    "snli": NLI,
    "glue_mrpc": ["not_equivalent", "equivalent"],
    "glue_qqp": ["not_duplicate", "duplicate"],
    "wnli": ["not_entailment", "entailment"],
    "cola": ["unacceptable", "acceptable"],
    "sst2": ["negative", "positive"],
    "imdb_reviews": ["neg", "pos"],
    "ag_news_subset": ["World", "Sports", "Business", "Sci/Tech"],
}


@pytest.fixture(scope="module")
def builders(tmp_path_factory):
    """Builders of TFDS's own code, without data."""
    folder = str(tmp_path_factory.mktemp("no_data"))
    patch = pytest.MonkeyPatch()
    patch.setattr(gcs_utils, "_is_gcs_disabled", True)
    made = {}
    for each in DATASETS:
        kind = tfds.builder_cls(each.tfds_name)
        settings = {"config": each.tfds_config} if each.tfds_config else {}
        made[each.name] = kind(data_dir=folder, **settings)
    yield made
    patch.undo()


def random_rows(builder):
    return [_plain(row) for row in mocking.RandomFakeGenerator(builder.info.features, ROWS)]


def as_real(name, row, number):
    """Puts right what no random value has: a label among the candidates, capitals, a full stop."""
    if name.startswith("arc_"):
        choices = {key: (values * 4)[:4] for key, values in row["choices"].items()}
        return {**row, "choices": choices, "answerKey": number % 4}
    if name in ("true_case", "fix_punct"):
        return {**row, "en": f"So it was: {row['en']}."}
    if name in ("hellaswag", "wsc273"):
        row = {**row, "label": number % 2}
    if name == "hellaswag":
        row["endings"] = (row["endings"] * 4)[:4]
    if name == "story_cloze":
        row = {**row, "endings": (row["endings"] * 2)[:2], "label": 1 + number % 2}
    return row


@pytest.mark.parametrize("each", DATASETS, ids=lambda each: each.name)
def test_its_version_is_installed_and_one_that_the_task_takes(each, builders):
    builder = builders[each.name]
    assert str(builder.version) == each.tfds.partition(":")[2]
    assert re.fullmatch(
        each.tfds_version.replace(".", r"\.").replace("*", r"\d+"), str(builder.version)
    )
    # TFDS has instructions for all of WMT, since one corpus of cs-en asks for them.
    asks = bool(builder.MANUAL_DOWNLOAD_INSTRUCTIONS) and not each.tfds_name.startswith("wmt")
    assert asks == each.manual


@pytest.mark.parametrize("each", DATASETS, ids=lambda each: each.name)
def test_rows_of_its_features_give_every_field_and_render_with_every_template(each, builders):
    task = FlanTaskName(each, "10templates").task().resolve()
    seen = set()
    for number, row in enumerate(random_rows(builders[each.name])):
        row = as_real(each.name, row, number)
        fields = fields_of(each.name, row)
        assert fields is not None
        assert each.key.fields <= set(fields)
        if each.is_classification:
            assert fields["options"] and all(isinstance(text, str) for text in fields["options"])
        example = task.render(row, f"{each.name}/default/train/{number}")
        assert not isinstance(example, Skipped) and example.inputs and example.targets
        assert "b'" not in example.inputs  # texts, not bytes
        seen.add(example.template)
    assert len(seen) == 10


@pytest.mark.parametrize("name", CLASSES)
def test_classes_have_the_order_that_our_answers_have(name, builders):
    assert builders[name].info.features["label"].names == CLASSES[name]


@pytest.mark.parametrize("name", ["anli_r1", "trec", "paws_wiki", "wic", "wsc", "multirc"])
def test_classes_are_as_many_as_our_answers(name, builders):
    features = builders[name].info.features
    label = features["label-coarse" if name == "trec" else "label"]
    row = next(iter(random_rows(builders[name])))
    fields = fields_of(name, row)
    assert fields is not None and label.num_classes == len(fields["options"])


def test_rows_come_through_the_source_that_tasks_have(tmp_path, monkeypatch):
    monkeypatch.setattr(gcs_utils, "_is_gcs_disabled", True)
    declared = all_datasets()["rte"]
    source = TfdsSource("super_glue", "rte", version="1.*.*", tfds_data_dir=str(tmp_path))
    assert declared.source().source == TfdsSource("super_glue", "rte", version="1.*.*")
    with tfds.testing.mock_data(num_examples=3):
        rows = list(source.read(RowShard("train", 0, 3)))
    assert [number for number, _ in rows] == [0, 1, 2]
    assert all(set(fields_of("rte", row) or ()) >= declared.key.fields for _, row in rows)
