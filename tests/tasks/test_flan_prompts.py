"""A review of the bundled FLAN templates as a set."""

import collections
import itertools
import re
import uuid

import pytest

from instrux.prompts import TemplateCollection
from instrux.prompts.flan import FlanForm
from instrux.prompts.flan_templates import forward, load_key, shows_options
from tasks.flan_keys import PROMPTS, template_keys

KEYS = sorted(template_keys())
# Of ten words of a template, replacing one leaves a similarity of about 0.7, two 0.5, three 0.3:
# pairs below this limit differ in more than three words of ten. The released templates have a pair
# at 1.0, and 3 % of their pairs within a key are above 0.4.
SIMILARITY_LIMIT = 0.35
_SLOT = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LABELS = {
    "anli": ("Yes", "It's impossible to say", "No"),
    "cb": ("Yes", "No", "It's impossible to say"),
    "snli": ("yes", "it is not possible to tell", "no"),
    "copa": ("He fell.", "He slept."),
}


def inputs_of(template) -> str:
    return template.jinja.partition("|||")[0]


def targets_of(template) -> str:
    return template.jinja.partition("|||")[2]


def row(key: str, **fields):
    """An invented row: each field's value tells its name and occurs nowhere else."""
    entry = template_keys()[key]
    values = {field: f"<<{field} of {key}>>" for field in entry.fields}
    if entry.options_field:
        values["options"] = [f"<<option {letter}>>" for letter in "abc"]
    if key == "copa":
        values["question"] = "cause"
    return {**values, **fields}


def words(template) -> list[str]:
    text = re.sub(r"\{%.*?%\}", " ", inputs_of(template))
    text = re.sub(r"\{\{\s*options_(str)?\s*\}\}", " ", text)
    return re.findall(r"<\w+>|[\w']+", _SLOT.sub(r" <\1> ", text).lower())


def similarity(first: list[str], second: list[str]) -> float:
    """Share of word pairs (Jaccard), beginning and end included, fields counted as words."""
    bigrams = [set(itertools.pairwise(["^", *text, "$"])) for text in (first, second)]
    return len(bigrams[0] & bigrams[1]) / len(bigrams[0] | bigrams[1])


def test_there_are_61_keys_and_a_folder_for_each():
    assert len(KEYS) == 61
    assert sorted(TemplateCollection.load(PROMPTS)) == KEYS


def test_the_table_counts_what_the_released_templates_turn_around():
    # Of the 61 keys by number of turned-around templates. The specification counts 70 datasets
    # (20, 10, 27, 10, 3); ANLI, ARC, MNLI and the WMT16 pairs share keys.
    counts = collections.Counter(entry.turned_around for entry in template_keys().values())
    assert counts == {0: 19, 1: 8, 2: 22, 3: 9, 4: 3}


@pytest.mark.parametrize("key", KEYS)
class TestEachKey:
    def test_has_ten_of_which_enough_are_turned_around_and_these_come_last(self, key):
        templates = load_key(PROMPTS, key)
        turned = [bool(template.metadata.turned_around) for template in templates]
        assert len(templates) == 10
        assert sum(turned) >= template_keys()[key].turned_around
        assert turned == sorted(turned)
        assert all(each.metadata.turned_around is not None for each in templates)

    def test_forward_templates_show_every_field_they_need_and_ask_for_the_usual_target(self, key):
        entry = template_keys()[key]
        for template in forward(load_key(PROMPTS, key)):
            ways = list(zip(entry.needed, entry.targets, strict=True))
            needed, target = next(way for way in ways if way[1] in targets_of(template))
            assert _SLOT.findall(targets_of(template)) == [target], template.name
            for field in needed:
                assert re.search(rf"\b{field}\b", inputs_of(template)), (template.name, field)

    def test_targets_never_leak_into_the_inputs_of_forward_templates(self, key):
        form = FlanForm(options="none")
        for index, template in enumerate(forward(load_key(PROMPTS, key))):
            text = form.render_with(load_key(PROMPTS, key), index, row(key), "x/0")
            assert text.targets.startswith("<<") and text.targets.endswith(">>")
            assert text.targets not in text.inputs, template.name

    def test_turned_around_templates_ask_for_something_that_they_do_not_show(self, key):
        templates = load_key(PROMPTS, key)
        for index, template in enumerate(templates):
            if not template.metadata.turned_around:
                continue
            labels = _LABELS.get(key, ("yes", "no"))
            for answer in labels:
                text = FlanForm().render_with(templates, index, row(key, answer=answer), "x/0")
                asked = re.findall(r"<<\w+ of \w+>>", text.targets)
                assert asked and not set(asked) & set(re.findall(r"<<\w+ of \w+>>", text.inputs))

    def test_options_stand_last_and_no_wording_depends_on_them(self, key):
        # The forms without options take them out; what is left must still be a whole prompt.
        for template in load_key(PROMPTS, key):
            inputs = inputs_of(template)
            if shows_options(template):
                assert template_keys()[key].options_field in inputs
                assert re.search(r"\S\n\n?\{\{options_(str)?\}\}$", inputs), template.name
                assert template.metadata.choices_in_prompt
            wording = re.sub(r"\{[{%].*?[}%]\}", "", inputs).lower()
            assert not re.search(r"\boptions?\b|choose from|\bchoices\b", wording), template.name

    def test_renders_on_an_invented_row_without_a_trace_of_the_template_language(self, key):
        templates = load_key(PROMPTS, key)
        for index in range(10):
            text = FlanForm().render_with(templates, index, row(key), "x/0")
            assert not re.search(r"\{[{%]|[}%]\}|\bNone\b", text.inputs + text.targets)
            assert text.inputs == text.inputs.strip() != ""
            assert text.targets == text.targets.strip() != ""

    def test_uses_no_field_that_rows_do_not_have(self, key):
        entry = template_keys()[key]
        known = entry.fields | {entry.options_field}
        for template in load_key(PROMPTS, key):
            assert set(_SLOT.findall(template.jinja)) <= known, template.name


def all_templates():
    return [(key, template) for key in KEYS for template in load_key(PROMPTS, key)]


def test_names_are_unique_in_a_key_and_ids_are_unique_uuids():
    templates = [template for _, template in all_templates()]
    assert len({(template.dataset, template.name) for template in templates}) == 610
    assert len({template.id for template in templates}) == 610
    assert all(str(uuid.UUID(template.id)) == template.id for template in templates)


def test_no_two_are_near_copies():
    templates = [(key, template.name, words(template)) for key, template in all_templates()]
    for first, second in itertools.combinations(templates, 2):
        assert similarity(first[2], second[2]) < SIMILARITY_LIMIT, (first[:2], second[:2])


def test_wordings_begin_in_many_ways():
    beginnings = collections.Counter(tuple(words(template)[:2]) for _, template in all_templates())
    first_words = collections.Counter()
    for (first, *_), count in beginnings.items():
        first_words["a field" if first.startswith("<") else first] += count
    assert beginnings.most_common(1)[0][1] <= 0.02 * 610
    assert first_words.pop("a field") <= 0.2 * 610  # the instruction stands after the text
    assert first_words.most_common(1)[0][1] <= 0.07 * 610


def test_questions_and_requests_are_both_common():
    asking = sum("?" in inputs_of(template) for _, template in all_templates())
    assert 0.35 * 610 < asking < 0.75 * 610


def test_37_of_the_70_datasets_are_classification():
    sharing = {"arc": 2, "anli": 3, "mnli": 2}  # datasets of a key that has options
    with_options = [key for key, entry in template_keys().items() if entry.options_field]
    assert sum(sharing.get(key, 1) for key in with_options) == 37
    for key in with_options:
        assert any(map(shows_options, load_key(PROMPTS, key)))
