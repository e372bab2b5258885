"""Takes the answer out of what a model wrote, as FLAN's evaluation does before it compares.

A model that was not tuned goes on writing the next question; a model that was taught to reason
writes its reasons first.
"""

import re

_NEXT_PROMPT = re.compile(r"(?:Q|Concepts|Data):")
_LEADING_MARKS = re.compile(r"\A(?:[^\w+-]|[+-](?!\d))+")
_ANNOUNCED = re.compile(
    r"\b(?:(?:final\s+)?answer\s*(?:is\s*)?:|(?:final\s+)?answer\s+is\b|final\s+answer\b)", re.I
)
_TRAILING_MARKS = re.compile(r"[\s.,;:!?]+\Z")
_BRACKETED = re.compile(r"\(([A-Za-z0-9]{1,3})\)")


def cut_continuation(text: str) -> str:
    """Cuts where a prompt of the same kind would begin again, and drops leading marks."""
    return _LEADING_MARKS.sub("", _NEXT_PROMPT.split(text, maxsplit=1)[0]).rstrip()


def first_line(text: str) -> str:
    """Gives the first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def first_word(text: str) -> str:
    """Gives the first word, without marks after it."""
    words = text.split(maxsplit=1)
    return _TRAILING_MARKS.sub("", words[0]) if words else ""


def reasoned_answer(text: str) -> str:
    """Gives what comes after the last `answer is`, `final answer` or `answer:`.

    Marks at the end go, and `(B)` becomes `B`. Where no answer is announced, it is the last line.
    """
    announced = list(_ANNOUNCED.finditer(text))
    if announced:
        answer = first_line(text[announced[-1].end() :].lstrip(" :"))
    else:
        answer = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    answer = _TRAILING_MARKS.sub("", answer)
    bracketed = _BRACKETED.fullmatch(answer)
    return bracketed[1] if bracketed else answer
