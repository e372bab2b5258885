"""One row through one template, by the rules of T0's pipeline."""

import dataclasses
import pickle

import pytest

from instrux.data.examples import RenderedExample
from instrux.data.prompted_task import PromptedTask, Skipped
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template, TemplateReference

SOURCE = JsonLinesSource("toy", "nli", {"train": "rows.jsonl"})
ID = "toy/nli/train/0"


def task(jinja, answer_choices=None, **settings):
    template = Template(name="t", jinja=jinja, answer_choices=answer_choices)
    return PromptedTask("toy_nli_t", SOURCE, template, {"train": "train"}, **settings)


def test_inputs_targets_and_choices_of_a_row():
    nli = task("{{premise}} So: {{hypothesis}}? ||| {{ answer_choices[label] }}", "Yes ||| No")
    row = {"premise": "It rains", "hypothesis": "It is wet", "label": 0}
    assert nli.render(row, ID) == RenderedExample(
        inputs="It rains So: It is wet?",
        targets="Yes",
        example_id=ID,
        template="t",
        answer_choices=("Yes", "No"),
    )


def test_hyphens_in_field_names_become_underscores():
    rendered = task("{{premise_a}} ||| x").render({"premise-a": "here"}, ID)
    assert rendered.inputs == "here"


def test_an_empty_target_becomes_no_label():
    rendered = task("a ||| {% if label >= 0 %}{{label}}{% endif %}").render({"label": -1}, ID)
    assert rendered.targets == "<NO LABEL>"


@pytest.mark.parametrize(
    ("jinja", "reason"),
    [
        ("{% if label == 1 %} a ||| b {% endif %}", "not_applicable"),
        ("only one part", "not_applicable"),
        ("a ||| b ||| c", "more_than_two_parts"),
        ("{{ nothing }} ||| b", "empty_inputs"),
    ],
)
def test_rows_that_a_template_leaves_out_have_a_reason(jinja, reason):
    assert task(jinja).render({"label": 0}, ID) == Skipped(reason)


def test_white_space_stays_where_stripping_is_off():
    assert task("a |||\nb", strip=False).render({}, ID).targets == "\nb"


def test_long_expressions_are_cut_only_where_asked():
    row = {"text": "word " * 1000}
    assert len(task("{{text}} ||| x").render(row, ID).inputs) <= 2048
    assert len(task("{{text}} ||| x", truncate=False).render(row, ID).inputs) == 4999


def test_draws_depend_on_seed_and_row_and_on_nothing_else():
    def draws(**settings):
        drawing = task("{{ range(1000) | list | choice }} ||| x", **settings)
        return [drawing.render({}, f"toy/nli/train/{row}").inputs for row in range(20)]

    assert draws() == draws()
    assert len(set(draws())) > 10
    assert draws(seed=1) != draws()


def test_a_template_that_fails_is_an_input_error():
    with pytest.raises(InputError, match="template 't'"):
        task("{{ label + 'x' }} ||| y").render({"label": 1}, ID)


def test_a_reference_is_resolved_on_the_driver(tmp_path):
    (tmp_path / "toy" / "nli").mkdir(parents=True)
    (tmp_path / "toy" / "nli" / "templates.yaml").write_text(
        "dataset: toy\nsubset: nli\ntemplates:\n  1-2:  !Template\n    answer_choices: null\n"
        "    id: 1-2\n    jinja: '{{a}} ||| {{b}}'\n    metadata: !TemplateMetadata\n"
        "      choices_in_prompt: false\n      metrics:\n      - Accuracy\n      original_task: true\n"
        "    name: plain\n    reference: ''\n"
    )
    reference = TemplateReference(str(tmp_path), "toy", "nli", "plain")
    by_reference = PromptedTask("toy", SOURCE, reference, {"train": "train"})
    resolved = by_reference.resolve()
    assert resolved.render({"a": 1, "b": 2}, ID).targets == "2"
    assert resolved.resolve() is resolved
    assert resolved.template_release == str(tmp_path)
    unresolved = dataclasses.replace(resolved, template=reference, template_release="")
    assert unresolved == by_reference


def test_a_task_travels():
    nli = task("{{ ['a', 'b'] | choice }} ||| x")
    nli.render({}, ID)
    there = pickle.loads(pickle.dumps(nli))
    assert there == nli and there.render({}, ID) == nli.render({}, ID)
