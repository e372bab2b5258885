"""Few-shot FLAN tasks: exemplars apart from queries, budgets, and the released way."""

import dataclasses
import json
import pickle
import re

import pytest

from instrux.beam.plan import plain
from instrux.data.examples import RenderedExample
from instrux.data.flan_few_shot_task import FewShotFlanTask, FewShotPrompts
from instrux.data.prompted_task import Skipped
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts.flan import FLAN_DIALOGUE, FlanForm
from instrux.prompts.flan_few_shot import MIXED_TEMPLATES_2022, ONE_TEMPLATE_2022, FewShotForm
from instrux.prompts.flan_prompts import FlanPromptsReference
from pipelines.render import render
from tasks.flan_keys import PROMPTS

ROWS = 400


def snli(row: int) -> dict:
    return {"premise": f"Scene {row}.", "hypothesis": f"Remark {row}.", "label": row % 3}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> JsonLinesSource:
    folder = tmp_path_factory.mktemp("snli")
    for split in ("train", "test"):
        lines = "".join(json.dumps(snli(row)) + "\n" for row in range(ROWS))
        (folder / f"{split}.jsonl").write_text(lines)
    return JsonLinesSource(
        "snli", files={split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    )


def few_shot(source, **settings) -> FewShotFlanTask:
    prompts = FlanPromptsReference(str(PROMPTS), "snli", form=settings.pop("zero", FlanForm()))
    few = FewShotPrompts(
        **{"prompts": prompts, "shots": 3, "vocabulary": VocabularySpec("bytes")}  # type: ignore[arg-type]
        | {"form": FewShotForm(budget=5000)}
        | settings
    )
    splits = {"train": "train", "test": "test"}
    return FewShotFlanTask("snli_three_shot", source, few, splits)


def examples(task, split="train") -> list[RenderedExample | Skipped]:
    resolved = pickle.loads(pickle.dumps(task.resolve()))
    return [
        resolved.render(row, source_id)
        for number, row in task.source.rows(split)
        for source_id in [task.source.example_id(split, number)]
    ]


def scenes(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"Scene (\d+)\.", text)]


def test_rows_of_the_pool_are_never_asked_and_only_they_are_exemplars(source):
    rendered = examples(few_shot(source))
    pool = {number for number, each in enumerate(rendered) if each == Skipped("kept_as_exemplar")}
    assert 20 <= len(pool) <= 60  # a tenth of 400, 4 sigma
    shown = set()
    for number, example in enumerate(rendered):
        if number in pool:
            continue
        assert isinstance(example, RenderedExample)
        shown |= set(scenes(example.inputs)) - {number}
        assert example.inputs.startswith("0 ") and example.inputs.endswith(" X 1 FLAN")
        assert len(scenes(example.inputs)) == 4
    assert shown <= pool and len(shown) > 10


def test_all_rows_of_other_splits_are_asked(source):
    rendered = examples(few_shot(source), "test")
    assert all(isinstance(example, RenderedExample) for example in rendered)


def test_the_released_way_asks_all_rows_and_a_query_may_meet_itself(source):
    rendered = examples(few_shot(source, exemplars="released", pool_size=ROWS))
    assert all(isinstance(example, RenderedExample) for example in rendered)
    assert any(
        len(set(scenes(example.inputs))) < len(scenes(example.inputs)) for example in rendered
    )


def test_exemplars_over_the_budget_are_left_out(source):
    small = few_shot(source, form=FewShotForm(budget=420))
    for example in examples(small):
        if isinstance(example, RenderedExample):
            assert len(scenes(example.inputs)) <= 3
    none = few_shot(source, form=dataclasses.replace(MIXED_TEMPLATES_2022, budget=1))
    assert Skipped("no_exemplar_fits") in examples(none)


def test_exemplars_of_the_query_s_template(source):
    task = few_shot(source, form=dataclasses.replace(ONE_TEMPLATE_2022, budget=100_000), shots=25)
    for example in examples(task)[:60]:
        if isinstance(example, RenderedExample):
            number = int(example.example_id.rpartition("/")[2])
            assert {shown % 10 for shown in scenes(example.inputs)} <= {number % 10}


def test_drawn_layouts_differ_between_queries(source):
    task = few_shot(source, form=FewShotForm(budget=None), drawn_layouts=True)
    rendered = [each for each in examples(task) if isinstance(each, RenderedExample)]
    assert {each.inputs.endswith("\nA:") for each in rendered} == {True, False}
    assert examples(task) == examples(task)


def test_settings_hold_a_digest_of_the_exemplars(source):
    one = plain(few_shot(source).resolve().template)
    other = plain(few_shot(source, seed=1).resolve().template)
    assert one["pool"] != other["pool"]
    assert not scenes(json.dumps(one))


def test_impossible_settings_are_refused(source):
    with pytest.raises(InputError, match="shots=0"):
        few_shot(source, shots=0)
    with pytest.raises(InputError, match="leave the form's out"):
        few_shot(source, zero=FlanForm(wrapper=FLAN_DIALOGUE))
    with pytest.raises(InputError, match="exemplars='mine'"):
        few_shot(source, exemplars="mine")
    with pytest.raises(InputError, match=r"pool of split 'train' has \d+ exemplars for 90 shots"):
        few_shot(source, shots=90).resolve()


def test_a_vocabulary_that_is_not_there_is_told_before_any_row_is_rendered(source, tmp_path):
    task = few_shot(source, vocabulary=VocabularySpec.parse(str(tmp_path / "t5.model")))
    with pytest.raises(InputError, match=r"t5\.model: No such file.*instrux fetch vocab"):
        task.template.with_pool(source)


def test_through_the_render_job(source, tmp_path):
    from instrux.data.rendered import RenderedSplit

    task = few_shot(source)
    render(tasks=[task], data_dir=tmp_path)
    read = list(RenderedSplit(tmp_path, task.name, "train").read())
    assert read == [each for each in examples(task) if isinstance(each, RenderedExample)]
