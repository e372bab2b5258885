import pytest

from instrux.errors import InputError
from instrux.prompts.flan import FlanForm
from tasks.flan_keys import bare_templates, prefix_templates, template_keys

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


def test_every_key_has_a_bare_form_and_a_text_to_go_on_with():
    for key, entry in template_keys().items():
        assert len(bare_templates(key)) == len(prefix_templates(key)) == len(entry.targets)


def continued(premise, hypothesis="it is wet"):
    row = {"premise": premise, "hypothesis": hypothesis, "answer": "yes", "options": ["yes", "no"]}
    text = FlanForm().render_with(prefix_templates("rte"), 0, row, "x/0")
    assert text.answer_choices is None
    return text.inputs, text.targets


def test_a_text_is_to_be_gone_on_with_and_shows_no_label():
    words = [str(number) for number in range(300)]
    # 16 words are asked for, after the 120 before them; of a short text its second half.
    assert continued(" ".join(words)) == (
        " ".join(words[167:287]),
        " ".join([*words[287:], "it", "is", "wet"]),
    )
    assert continued("It rains {{ now }}.") == ("It rains {{ now", "}}. it is wet")


def test_an_unknown_key_is_told():
    with pytest.raises(InputError, match=r"no FLAN template key 'rtee'\. Did you mean 'rte'"):
        bare_templates("rtee")
