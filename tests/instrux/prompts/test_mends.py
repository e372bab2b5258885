"""Mends of templates, on templates small enough to see the result."""

import pickle

import pytest

from instrux.errors import InputError
from instrux.prompts import Template, TemplateReference
from instrux.prompts.mends import Mend, MendedReference, mended

TEMPLATE = Template(
    "which", "Is it {{a}} or {{a}}?|||{{answer_choices[n]}}", answer_choices="no ||| yes"
)


def test_places_are_replaced_in_the_order_of_the_mends():
    found = mended(TEMPLATE, [Mend("or {{a}}", "or {{b}}"), Mend(r"{{(b)}}", r"{{\1}}, or none")])
    rendered = found.apply({"a": "red", "b": "blue", "n": 1})
    assert (rendered.inputs, rendered.targets) == ("Is it red or blue, or none?", "yes")
    assert (found.name, found.answer_choices) == ("which", "no ||| yes")


def test_answer_choices_can_be_mended_and_lacking_ones_stay_so():
    more = Mend(r"\Z", " ||| maybe", "answer_choices")
    assert mended(TEMPLATE, [more]).fixed_answer_choices == ["no", "yes", "maybe"]
    assert mended(Template("open", "a|||b"), [more]).answer_choices is None


@pytest.mark.parametrize(("find", "places"), [("{{c}}", 0), ("{{a}}", 2)])
def test_another_text_than_the_mend_was_made_for_is_refused(find, places):
    with pytest.raises(
        InputError, match=rf"'which' .*: {places} places to mend in its jinja, not 1"
    ):
        mended(TEMPLATE, [Mend(find, "{{b}}")])


def test_a_reference_travels_and_mends_what_it_finds(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "templates.yaml").write_text(
        "templates:\n  - {name: ask, jinja: 'Wy {{a}}?|||{{b}}'}\n"
    )
    reference = MendedReference(
        TemplateReference(str(tmp_path), "shop", None, "ask"), (Mend("Wy", "Why"),)
    )
    there = pickle.loads(pickle.dumps(reference))
    assert there == reference and there.name == "ask"
    assert there.resolve().apply({"a": "not", "b": "so"}).inputs == "Why not?"
