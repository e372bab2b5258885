import pytest

from instrux.errors import InputError
from instrux.prompts.flan import FlanForm
from tasks.flan_keys import bare_templates, template_keys

TRANSLATION = {"lang1": "English", "lang2": "French", "sent1": "Rain.", "sent2": "La pluie."}


def texts(key, row, **settings):
    templates = bare_templates(key, **settings)
    form = FlanForm()
    return [
        (text.inputs, text.targets)
        for index in range(len(templates))
        for text in [form.render_with(templates, index, row, "x/0")]
    ]


def test_a_bare_input_is_the_fields_alone():
    row = {
        "premise": "It rains.",
        "hypothesis": "It is wet.",
        "answer": "yes",
        "options": ["yes", "no"],
    }
    assert texts("rte", row) == [("It rains.\nIt is wet.", "yes")]
    assert texts("rte", row, dataset="rte") == [("[rte]\nIt rains.\nIt is wet.", "yes")]
    assert texts("rte", row, with_options=True) == [
        ("It rains.\nIt is wet.\n\nOPTIONS:\n- yes\n- no", "yes")
    ]


def test_a_bare_translation_is_the_sentence_alone_in_either_direction():
    assert texts("wmt14_enfr", TRANSLATION) == [("Rain.", "La pluie."), ("La pluie.", "Rain.")]
    assert texts("wmt14_enfr", TRANSLATION, dataset="wmt14_enfr") == [
        ("[wmt14_enfr to French]\nRain.", "La pluie."),
        ("[wmt14_enfr to English]\nLa pluie.", "Rain."),
    ]


def test_every_key_has_a_bare_form():
    for key, entry in template_keys().items():
        assert len(bare_templates(key)) == len(entry.targets)


def test_an_unknown_key_is_told():
    with pytest.raises(InputError, match=r"no FLAN template key 'rtee'\. Did you mean 'rte'"):
        bare_templates("rtee")
