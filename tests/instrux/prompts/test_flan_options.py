import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.errors import InputError
from instrux.prompts.flan_options import (
    ENDINGS,
    HEADERS,
    ITEM_STYLES,
    ItemStyle,
    OptionLayout,
    draw_layout,
    options_suffix,
    with_options_text,
)


def test_the_suffix_is_exactly_the_released_one():
    assert options_suffix(["no", "yes"]) == "OPTIONS:\n- no\n- yes"


def test_the_suffix_keeps_order_and_texts_as_they_are():
    assert options_suffix([" b.", "a", "a"]) == "OPTIONS:\n-  b.\n- a\n- a"


def test_no_options_are_refused():
    with pytest.raises(InputError, match="no options"):
        options_suffix([])


def test_as_many_layouts_as_the_flan_collection_has():
    assert (len(HEADERS), len(ITEM_STYLES), len(ENDINGS)) == (16, 87, 3)
    assert len(set(HEADERS)) == 16
    assert len(set(ITEM_STYLES)) == 87


@pytest.mark.parametrize(
    ("style", "text", "answers"),
    [
        (ItemStyle("\n", "-"), "Choices:\n- cat;\n- dog;", ["cat", "dog"]),
        (ItemStyle("\n", "({}).", "a"), "Choices:\n(a). cat;\n(b). dog;", ["(a).", "(b)."]),
        (ItemStyle(" ", "{}.", "1"), "Choices: 1. cat; 2. dog;", ["1.", "2."]),
        (ItemStyle("\n", "[{}]", "I"), "Choices:\n[I] cat;\n[II] dog;", ["[I]", "[II]"]),
    ],
)
def test_answers_become_item_names_exactly_when_these_differ(style, text, answers):
    layout = OptionLayout("Choices:", style, ";")
    assert layout.text(["cat", "dog"]) == text
    assert layout.answers(["cat", "dog"]) == answers


def test_a_single_option_is_answered_by_its_text():
    assert OptionLayout("", ItemStyle("\n", "{}.", "a")).answers(["cat"]) == ["cat"]


def test_roman_numerals():
    style = ItemStyle("\n", "{}", "i")
    numerals = {4: "iv", 9: "ix", 14: "xiv", 19: "xix", 26: "xxvi", 49: "xlix", 99: "xcix"}
    assert {number: style.name(number - 1) for number in numerals} == numerals


@given(seed=st.integers(), count=st.integers(1, 99))
def test_every_drawn_layout_tells_its_options_apart_or_has_bullets(seed, count):
    options = [f"option {index}" for index in range(count)]
    layout = draw_layout(random.Random(seed), count)
    answers = layout.answers(options)
    assert len(set(answers)) == count
    text = layout.text(options)
    places = [text.index(option) for option in options if f"{option}0" not in text]
    assert places == sorted(places)  # never shuffled
    if answers != options:
        for answer, option in zip(answers, options, strict=True):
            assert f"{answer} {option}" in text


def test_more_options_than_can_be_numbered_are_refused():
    with pytest.raises(InputError, match="100 options"):
        draw_layout(random.Random(0), 100)


def test_letters_are_not_drawn_for_more_than_26_options():
    drawn = {draw_layout(random.Random(seed), 27).style.numbering for seed in range(300)}
    assert drawn == {"", "1", "i", "I"}


def test_layouts_are_drawn_evenly():
    rng = random.Random(0)
    headers = [draw_layout(rng, 4).header for _ in range(16_000)]
    for header in HEADERS:
        assert abs(headers.count(header) - 1000) < 4 * 31  # 4 sigma


def test_a_row_gets_the_text_and_keeps_its_fields():
    row = {"options": ["no", "yes"], "answer": "yes", "label": 1}
    fields = with_options_text(row)
    assert fields["options_"] == fields["options_str"] == "OPTIONS:\n- no\n- yes"
    assert (fields["answer"], fields["label"]) == ("yes", 1)
    assert row == {"options": ["no", "yes"], "answer": "yes", "label": 1}


def test_names_replace_answers_references_and_the_rounded_score():
    layout = OptionLayout("", ItemStyle("\n", "{})", "A"))
    fields = with_options_text(
        {"options": ["Ann left.", "Bo left."], "answer": "Bo left.", "answers": ["Bo left."]},
        layout,
    )
    assert (fields["options"], fields["answer"], fields["answers"]) == (["A)", "B)"], "B)", ["B)"])
    score = with_options_text({"options": list("012345"), "answer_str": "2", "label": 2.4}, layout)
    assert (score["answer_str"], score["label"]) == ("C)", 2.4)


def test_of_two_equal_options_the_first_is_named():
    layout = OptionLayout("", ItemStyle("\n", "{})", "A"))
    assert with_options_text({"options": ["x", "x"], "answer": "x"}, layout)["answer"] == "A)"
