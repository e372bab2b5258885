import pytest

from instrux.prompts.flan_answers import (
    cut_continuation,
    first_line,
    first_word,
    reasoned_answer,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" Paris\nQ: What is the capital of Spain?\nA: Madrid", "Paris"),
        ("- the dog ran.\nConcepts: a, b", "the dog ran."),
        ("... Data: x", ""),
        ("42", "42"),
        ("-3", "-3"),
    ],
)
def test_a_continuation_is_cut_where_the_next_prompt_begins(text, answer):
    assert cut_continuation(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2 + 2 = 4. The answer is 4.", "4"),
        ("The answer is 3? No. So the answer is: (B).", "B"),
        ("Reasons.\nFinal answer: yes!\nQ: next", "yes"),
        ("Because it rains. Answer: wet", "wet"),
        ("The final answer is 12", "12"),
        ("One reason.\nwet\n", "wet"),
        ("", ""),
        ("An answerable question", "An answerable question"),
    ],
)
def test_the_last_announced_answer_counts(text, answer):
    assert reasoned_answer(text) == answer


def test_first_line_and_first_word():
    assert first_line("\n\n  yes, it is \nno") == "yes, it is"
    assert first_word("  Yes, it is.") == "Yes"
    assert (first_line(""), first_word(" ")) == ("", "")
