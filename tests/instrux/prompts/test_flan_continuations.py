import pytest

from instrux.prompts import TemplateCollection
from instrux.prompts.flan import FlanForm
from instrux.prompts.flan_continuations import continuation_fields
from instrux.prompts.flan_fields import fields_of
from instrux.prompts.flan_templates import load_key, template_key
from tasks.flan_keys import CONTINUATIONS

DATASETS = """anli_r1 anli_r2 anli_r3 cb rte arc_challenge arc_easy bool_q openbookqa copa hellaswag
piqa story_cloze record multirc winogrande wsc273 common_gen dart e2e_nlg web_nlg_en natural_questions
trivia_qa para_crawl_enes wmt14_enfr wmt16_translate_deen wmt16_translate_tren wmt16_translate_csen
wmt16_translate_fien wmt16_translate_roen wmt16_translate_ruen""".split()
NLI = {"premise": "It rains.", "context": "It rains.", "hypothesis": "It is wet."}


def prompt(dataset: str, row: dict):
    fields = continuation_fields(dataset, fields_of(dataset, row))
    templates = load_key(CONTINUATIONS, template_key(dataset))
    return FlanForm(options="none").render(templates, fields, "x/default/test/0")


def test_31_datasets_have_one():
    assert len(DATASETS) == 31
    assert {template_key(each) for each in DATASETS} == set(TemplateCollection.load(CONTINUATIONS))


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        # TFDS's labels: entailment, neutral, contradiction; cb has the last two the other way round.
        ("anli_r1", ("true", "neither", "false")),
        ("cb", ("true", "false", "neither")),
        ("rte", ("true", "false")),
    ],
)
def test_labels_fit_the_end_of_the_text(dataset, words):
    for label, word in enumerate(words):
        text = prompt(dataset, {**NLI, "label": label})
        assert (text.targets, text.answer_choices) == (word, words)
        assert text.inputs.endswith(":")


@pytest.mark.parametrize(("question", "end"), [("cause", " because"), ("effect", " so")])
def test_a_premise_of_copa_goes_on(question, end):
    row = {
        "premise": "The man fell.",
        "question": question,
        "choice1": "a",
        "choice2": "b",
        "label": 1,
    }
    text = prompt("copa", row)
    assert (text.inputs, text.targets) == (f"The man fell{end}", "b")


def test_both_directions_of_a_translation():
    fields = fields_of("wmt14_enfr", {"en": "Rain.", "fr": "La pluie."})
    templates = load_key(CONTINUATIONS, "wmt14_enfr")
    texts = [FlanForm().render(templates, fields, f"x/default/test/{row}") for row in (0, 1)]
    assert [text.inputs for text in texts] == [
        'Q: What is "Rain." in French?\nA:',
        'Q: What is "La pluie." in English?\nA:',
    ]
    assert [text.targets for text in texts] == ["La pluie.", "Rain."]
