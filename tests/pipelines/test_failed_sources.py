"""Datasets that cannot be read: told, listed, and left out only where that is asked for."""

import csv
import dataclasses
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import CsvSource, JsonLinesSource, ParquetSource
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.render import render

COPY = Template(name="copy", jinja="Copy: {{text}} ||| {{text}}")
LABEL = Template(name="label", jinja="{{text}} ||| label {{label_coarse}}")


def task(source, template=COPY, split="train"):
    return PromptedTask(
        name=f"{source.dataset}_{template.name}",
        source=source,
        template=template,
        splits={split: split},
    )


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(5)))
    return task(JsonLinesSource("good", files={"train": str(path)}))


@pytest.fixture
def absent(tmp_path):
    return task(JsonLinesSource("absent", "old", files={"train": str(tmp_path / "none.jsonl")}))


def listed(data_dir):
    return json.loads((data_dir / "rendered" / "failed_sources.json").read_text())["failed_sources"]


def test_without_the_switch_nothing_is_rendered_and_the_switch_is_told(good, absent, tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl: no such file.*--skip_failing_sources"):
        render(tasks=[good, absent], data_dir=tmp_path / "data")
    assert not RenderedSplit(tmp_path / "data", good.name, "train").exists()
    assert [each["dataset"] for each in listed(tmp_path / "data")] == ["absent"]


def test_with_it_the_rest_is_rendered_and_the_failing_ones_are_listed(
    good, absent, tmp_path, capsys
):
    data_dir = tmp_path / "data"
    result = render(tasks=[absent, good], data_dir=data_dir, skip_failing_sources=True)
    assert result.rendered == (("good_copy", "train"),) and result.examples == 5
    assert [each.label for each in result.failed_sources] == ["absent/old"]
    (failed,) = listed(data_dir)
    assert failed["config"] == "old" and failed["split"] == "train"
    assert failed["kind"] == "unreadable" and failed["tasks"] == ["absent_copy"]
    assert "no such file" in failed["reason"]
    told = capsys.readouterr().err
    assert "LEFT OUT absent/old, split train (1 tasks): " in told
    assert "1 dataset could not be read" in told and "failed_sources.json" in told
    assert not RenderedSplit(data_dir, "absent_copy", "train").exists()


def test_once_everything_can_be_read_the_list_is_gone(good, absent, tmp_path):
    data_dir = tmp_path / "data"
    render(tasks=[absent, good], data_dir=data_dir, skip_failing_sources=True)
    (tmp_path / "none.jsonl").write_text('{"text": "here now"}\n')
    result = render(tasks=[absent, good], data_dir=data_dir, skip_failing_sources=True)
    assert result.rendered == (("absent_copy", "train"),) and not result.failed_sources
    assert not (data_dir / "rendered" / "failed_sources.json").exists()


def test_a_dataset_keeps_the_splits_that_can_be_read(good, tmp_path):
    both = dataclasses.replace(good, splits={"train": "train", "validation": "dev"})
    data_dir = tmp_path / "data"
    result = render(tasks=[both], data_dir=data_dir, skip_failing_sources=True)
    assert result.rendered == (("good_copy", "train"),)
    assert [each.split for each in result.failed_sources] == ["dev"]
    assert RenderedSplit(data_dir, "good_copy", "train").exists()


def test_if_nothing_can_be_read_it_is_an_error_all_the_same(absent, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        render(tasks=[absent], data_dir=tmp_path / "data", skip_failing_sources=True)


def test_a_file_that_turns_out_damaged_midway_costs_its_own_dataset_only(good, tmp_path):
    path = tmp_path / "rows.parquet"
    texts = [random.Random(n).randbytes(200).hex() for n in range(500)]
    pq.write_table(pa.table({"text": texts}), path, compression="snappy", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[5_000:40_000] = b"\xff" * 35_000  # inside a page; plans are made of the footer
    path.write_bytes(data)
    damaged = task(ParquetSource("damaged", files={"train": str(path)}))
    data_dir = tmp_path / "data"
    result = render(tasks=[damaged, good], data_dir=data_dir, skip_failing_sources=True)
    assert result.rendered == (("good_copy", "train"),) and result.examples == 5
    (failed,) = listed(data_dir)
    assert failed["kind"] == "interrupted" and failed["dataset"] == "damaged"
    with pytest.raises(InputError):
        render(tasks=[damaged], data_dir=data_dir)


def test_a_folder_that_cannot_be_written_is_nobodys_dataset(good, absent, tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(InputError, match="data"):
        render(tasks=[good, absent], data_dir=tmp_path / "data", skip_failing_sources=True)


# --- Schemas -------------------------------------------------------------------------------------


@pytest.fixture
def renamed(tmp_path):
    path = tmp_path / "renamed.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text", "coarse_label"], ["a", "1"]])
    return CsvSource("renamed", files={"train": str(path)})


def test_a_renamed_column_is_told_before_anything_is_rendered(renamed, good, tmp_path):
    tasks = [good, task(renamed), task(renamed, LABEL)]
    with pytest.raises(InputError) as caught:
        render(tasks=tasks, data_dir=tmp_path / "data")
    message = str(caught.value)
    assert message.startswith("Dataset 'renamed', split 'train': templates name fields that it")
    assert "'label_coarse' by 1 of 2 ('label')" in message and "\n" not in message
    assert "its columns are ['text', 'coarse_label']" in message
    assert not RenderedSplit(tmp_path / "data", good.name, "train").exists()


def test_a_schema_that_does_not_fit_can_be_left_out_or_allowed(renamed, good, tmp_path):
    data_dir = tmp_path / "data"
    tasks = [good, task(renamed, LABEL)]
    result = render(tasks=tasks, data_dir=data_dir, skip_failing_sources=True)
    assert [each.kind for each in result.failed_sources] == ["schema"]
    allowed = render(tasks=tasks, data_dir=data_dir, allow_missing_fields=True)
    assert allowed.rendered == (("renamed_label", "train"),)


def test_hyphens_in_columns_are_underscores_in_templates(tmp_path):
    path = tmp_path / "hyphens.csv"
    path.write_text("text,label-coarse\na,1\n")
    source = CsvSource("hyphens", files={"train": str(path)})
    result = render(tasks=[task(source, LABEL)], data_dir=tmp_path / "data")
    assert result.examples == 1
