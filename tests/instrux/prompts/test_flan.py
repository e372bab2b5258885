import dataclasses
import pickle

import pytest

from instrux.errors import InputError
from instrux.prompts import Template, TemplateMetadata
from instrux.prompts.flan import DIALOGUE, FLAN_DIALOGUE, FlanForm

ASK = Template("ask", "{{text}}\nTrue?\n\n{{options_}}|||{{answer}}", dataset="flan/x")
PLAIN = Template("plain", "Is this so: {{text}}|||{{answer}}", dataset="flan/x")
TURNED = Template(
    "turned",
    "Write a text that is {{answer}}.|||{{text}}",
    metadata=TemplateMetadata(turned_around=True),
    dataset="flan/x",
)
TEMPLATES = (ASK, PLAIN, TURNED)
ROW = {"text": "It rains.", "options": ["no", "yes"], "answer": "yes"}


def render(form: FlanForm, row_number: int = 0, row=ROW, templates=TEMPLATES):
    return form.render(templates, row, f"x/default/train/{row_number}")


def test_fixed_options():
    text = render(FlanForm())
    assert text.inputs == "It rains.\nTrue?\n\nOPTIONS:\n- no\n- yes"
    assert text.targets == "yes"
    assert text.answer_choices == ("no", "yes")
    assert (text.template, text.template_index, text.template_type) == ("ask", 0, "zs_opt")


def test_the_fixed_suffix_is_the_same_in_every_epoch_and_for_every_seed():
    assert render(FlanForm(seed=1)) == render(FlanForm(seed=2))


def test_without_options_no_trace_of_them_is_left():
    text = render(FlanForm(options="none"))
    assert text.inputs == "It rains.\nTrue?"
    assert text.targets == "yes"
    assert text.template_type == "zs_noopt"
    assert text.answer_choices == ("no", "yes")  # they can be ranked all the same


def test_the_dialogue_wrapper_goes_around_the_inputs_alone():
    text = render(FlanForm(options="none", wrapper=FLAN_DIALOGUE))
    assert (text.inputs, text.targets) == ("0 It rains.\nTrue? X 1 FLAN", "yes")
    assert render(FlanForm(options="none", wrapper=DIALOGUE)).inputs == "0 It rains.\nTrue? X 1"


def test_each_row_gets_the_template_of_its_number():
    names = [render(FlanForm(), number).template for number in range(4)]
    assert names == ["ask", "plain", "turned", "ask"]


def test_the_first_n_templates_and_forward_ones_only():
    assert [render(FlanForm(templates=2), number).template for number in range(3)] == [
        "ask",
        "plain",
        "ask",
    ]
    assert FlanForm(forward_only=True).chosen(TEMPLATES) == (ASK, PLAIN)
    with pytest.raises(InputError, match="4 templates are asked for, there are 3"):
        render(FlanForm(templates=4))


def test_turned_around_texts_have_no_choices():
    text = render(FlanForm(), 2)
    assert (text.inputs, text.targets) == ("Write a text that is yes.", "It rains.")
    assert text.turned_around and text.answer_choices is None and text.references is None


def test_random_layouts_agree_with_their_answers():
    layouts = set()
    for number in range(0, 300, 3):
        text = render(FlanForm(options="random"), number)
        assert text.targets == text.answer_choices[1]
        shown = f"{text.targets} yes" if text.targets != "yes" else "yes"
        assert shown in text.inputs
        layouts.add(text.inputs)
    assert len(layouts) > 50
    assert render(FlanForm(options="random"), 3) == render(FlanForm(options="random"), 3)
    assert render(FlanForm(options="random", seed=1), 3) != render(FlanForm(options="random"), 3)


def test_a_random_layout_does_not_reach_templates_that_do_not_show_options():
    # The released code of 2022 would write "Write a text that is (b)." and ask for "(b)".
    for number in range(1, 60, 3):
        assert render(FlanForm(options="random"), number).targets == "yes"
        assert render(FlanForm(options="random"), number + 1).inputs == "Write a text that is yes."


def test_a_template_that_shows_options_needs_some():
    row = {"text": "It rains.", "answer": "yes"}
    with pytest.raises(InputError, match=r"'ask' of flan/x shows options and x/default/train/0"):
        render(FlanForm(), row=row)
    assert render(FlanForm(options="none"), row=row).inputs == "It rains.\nTrue?"


def test_long_values_are_not_cut():
    assert len(render(FlanForm(), 1, {**ROW, "text": "word " * 2000}).inputs) > 10_000


def test_references_come_from_the_row():
    row = {**ROW, "answers": ["yes", "no"]}
    assert render(FlanForm(), row=row).references == ("yes", "no")


def test_a_template_with_one_part_is_refused():
    with pytest.raises(InputError, match="gives 1 parts"):
        render(FlanForm(), templates=(Template("bad", "{{text}}"),))


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match="options='some' is unknown"):
        FlanForm(options="some")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="templates=0"):
        FlanForm(templates=0)


def test_forms_travel_to_workers():
    form = FlanForm(options="random", wrapper=FLAN_DIALOGUE, seed=3)
    assert pickle.loads(pickle.dumps(form)) == form
    assert dataclasses.asdict(form)["seed"] == 3
