"""FLAN's prompts as a task: rendering, filters, and ranking with several right answers."""

import dataclasses
import json
import pickle

import pytest

from instrux.beam.plan import plain
from instrux.data.examples import RenderedExample
from instrux.data.flan_task import FlanTask
from instrux.data.prompted_task import Skipped
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts.flan import FLAN_DIALOGUE, FlanForm
from instrux.prompts.flan_prompts import FlanPrompts, FlanPromptsReference
from instrux.prompts.flan_templates import load_key
from tasks.flan_keys import CONTINUATIONS, PROMPTS, bare_templates

RECORD = {
    "passage": "Ann beat Bo in Ulm.\n@highlight\nAnn wins",
    "query": "In the final @placeholder won the cup.",
    "entities": ["Ann", "Bo", "Ulm"],
    "answers": ["Ann", "Bo"],
}
SNLI = {"premise": "A cat sits.", "hypothesis": "An animal sits.", "label": 0}


def task(dataset: str, **settings) -> FlanTask:
    source = JsonLinesSource(dataset, files={"train": "train.jsonl"})
    reference = FlanPromptsReference(str(PROMPTS), dataset, **settings)
    return FlanTask(f"{dataset}_all", source, reference, {"train": "train"})


def render(flan_task: FlanTask, row, number: int = 0) -> RenderedExample | Skipped:
    resolved = pickle.loads(pickle.dumps(flan_task.resolve()))  # as it reaches a worker
    return resolved.render(row, f"x/default/train/{number}")


def test_rows_go_through_all_templates_in_turn():
    names = [template.name for template in load_key(PROMPTS, "snli")]
    rendered = [render(task("snli"), SNLI, number).template for number in range(20)]
    assert rendered == names + names


def test_one_template_only_for_evaluation():
    example = render(task("snli", only=3), SNLI, 7)
    assert example.template == load_key(PROMPTS, "snli")[3].name
    assert example.answer_choices == ("yes", "it is not possible to tell", "no")
    with pytest.raises(InputError, match="snli has no template 10; it has 10"):
        task("snli", only=10).resolve()
    with pytest.raises(InputError, match="snli has no template 9; it has 9"):
        task("snli", only=9, form=FlanForm(forward_only=True)).resolve()


def test_rows_that_a_filter_leaves_out_are_skipped():
    assert render(task("snli"), {**SNLI, "label": -1}) == Skipped("not_applicable")


def test_the_wrapper_is_a_setting():
    example = render(task("snli", form=FlanForm(wrapper=FLAN_DIALOGUE)), SNLI)
    assert example.inputs.startswith("0 ") and example.inputs.endswith(" X 1 FLAN")


def test_settings_tell_prompts_apart_and_name_no_folder():
    settings = [plain(task("snli", form=FlanForm(seed=seed)).resolve().template) for seed in (0, 1)]
    assert settings[0] != settings[1]
    assert str(PROMPTS.parent) not in json.dumps(settings)


def test_fields_whose_hyphens_became_underscores_are_found():
    row = {"text": "Who wrote Emma?", "label_coarse": 3}
    assert render(task("trec"), row).targets == "human"


def test_continuations_have_their_own_folder_and_labels():
    reference = FlanPromptsReference(CONTINUATIONS, "anli_r1", continuation=True)
    row = {"context": "It rains.", "hypothesis": "It is wet.", "label": 1}
    example = render(dataclasses.replace(task("anli_r1"), template=reference), row)
    assert (example.targets, example.answer_choices) == ("neither", ("true", "neither", "false"))


def test_bare_prompts_need_no_folder():
    prompts = FlanPrompts("snli", bare_templates("snli", dataset="snli"))
    example = render(dataclasses.replace(task("snli"), template=prompts), SNLI)
    assert example.inputs == "[snli]\nA cat sits.\nAn animal sits."
    assert example.targets == "yes"


def test_either_of_two_right_answers_counts_when_options_are_ranked():
    example = render(task("record", only=0), RECORD, 5)
    assert example.answer_choices == ("Ann won the cup.", "Bo won the cup.", "Ulm won the cup.")
    assert example.targets == "Ann won the cup."
    assert [example.accepts(choice) for choice in example.answer_choices] == [True, True, False]


def test_white_space_of_an_option_does_not_make_it_wrong():
    row = {"sentence": "Ann left_", "option1": " early.", "option2": " late.", "label": 1}
    example = render(task("winogrande"), row)
    assert example.targets == " late."  # the option's text as it is
    assert [example.accepts(choice) for choice in example.answer_choices] == [False, True]
