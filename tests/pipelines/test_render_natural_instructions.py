"""Task files to rendered splits: what is broken is told and left out, the rest is there."""

import json

import pytest

from instrux.data.natural_instructions_template import NaturalInstructionsTemplate
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import NaturalInstructionsSource
from instrux.errors import InputError
from pipelines.render import render

NAME = "task001_colour"


@pytest.fixture
def task(tmp_path):
    instances = [
        {"id": f"task001-{n}", "input": f"q{n}", "output": ["a", "b"] if n % 2 else ["c"]}
        for n in range(130)
    ]
    instances[9]["output"] = "nothing but text"  # of old files, and no mistake
    instances[5] = {"id": "task001-5", "input": "q5"}
    content = {"Definition": ["Name it"], "Instances": instances}
    (tmp_path / f"{NAME}.json").write_text(json.dumps(content))
    source = NaturalInstructionsSource("natural_instructions", NAME, place=str(tmp_path), epochs=2)
    template = NaturalInstructionsTemplate("instruct_input", max_source_length=None)
    return PromptedTask("ni_task001", source, template, {"train": "train", "test": "test"})


def test_rows_references_and_dead_letters(task, tmp_path):
    done = render(tasks=[task], splits=["test"], data_dir=tmp_path / "data", max_bad_share=0.02)
    assert (done.examples, done.failed) == (99, 1)
    examples = {
        each.example_id: each for each in RenderedSplit(tmp_path / "data", task.name, "test").read()
    }
    assert len(examples) == 99
    first = examples[f"natural_instructions/{NAME}/test/1"]
    assert first.references == ("a", "b")
    assert first.targets in first.references
    assert first.inputs.startswith("Definition: Name it.\n\nNow complete")
    letters = (tmp_path / "data/rendered/ni_task001/dead_letters.test.jsonl").read_text()
    assert "instance 5 (task001-5), field 'output': is missing" in letters


def test_every_epoch_is_rendered_and_a_second_run_gives_the_same_bytes(task, tmp_path):
    for name in ("one", "two"):
        render(tasks=[task], splits=["train"], data_dir=tmp_path / name, max_bad_share=0.02)
    one, two = (RenderedSplit(tmp_path / name, task.name, "train") for name in ("one", "two"))
    assert one.count in (198, 200)  # 100 instances twice, the broken one drawn or not
    assert [p.read_bytes() for p in one.shard_paths()] == [
        p.read_bytes() for p in two.shard_paths()
    ]


def test_too_many_broken_instances_fail_the_split(task, tmp_path):
    with pytest.raises(InputError, match="task001-5"):
        render(tasks=[task], splits=["test"], data_dir=tmp_path / "data", max_bad_share=0.001)
