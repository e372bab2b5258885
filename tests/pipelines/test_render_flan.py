"""FLAN tasks through the render job: real rows where they are, invented ones elsewhere."""

import collections
import json

import pytest

from instrux.data.flan_task import FlanTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import JsonLinesSource
from instrux.prompts.flan import FlanForm
from instrux.prompts.flan_prompts import FlanPromptsReference
from instrux.prompts.flan_templates import load_key
from pipelines.render import render
from tasks.flan_keys import PROMPTS


def task(dataset: str, path, **settings) -> FlanTask:
    source = JsonLinesSource(dataset, files={"train": str(path)})
    reference = FlanPromptsReference(str(PROMPTS), dataset, **settings)
    return FlanTask(f"{dataset}_all", source, reference, {"train": "train"})


def test_a_dataset_is_read_once_and_no_row_is_lost(tmp_path):
    path = tmp_path / "snli.jsonl"
    rows = [
        {"premise": f"Scene {row}.", "hypothesis": f"Remark {row}.", "label": row % 4 - 1}
        for row in range(48)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    render(tasks=[task("snli", path)], data_dir=tmp_path / "data")
    split = RenderedSplit(tmp_path / "data", "snli_all", "train")
    examples = list(split.read())
    numbers = [int(example.example_id.rpartition("/")[2]) for example in examples]
    assert numbers == [row for row in range(48) if row % 4]  # label -1 takes no part
    names = [template.name for template in load_key(PROMPTS, "snli")]
    assert [example.template for example in examples] == [names[row % 10] for row in numbers]


@pytest.mark.parametrize(
    ("dataset", "rows"), [("rte", "rte/validation"), ("copa", "copa/train"), ("wic", "wic/train")]
)
def test_real_rows_through_our_templates(shared_data, tmp_path, dataset, rows):
    path = shared_data / "p3" / "super_glue" / f"{rows}.jsonl"
    render(tasks=[task(dataset, path, form=FlanForm(options="random"))], data_dir=tmp_path)
    examples = list(RenderedSplit(tmp_path, f"{dataset}_all", "train").read())
    assert len(examples) == len(path.read_text().splitlines())
    ranked = [example for example in examples if example.answer_choices]
    assert all(example.targets in example.answer_choices for example in ranked)
    assert len(collections.Counter(example.template for example in examples)) == 10
