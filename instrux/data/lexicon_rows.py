"""The rows of the lexicon's tasks: questions about words, with their answers.

`rows("train", task="plural")` gives `{"word": "LEAF", "answer": "LEAVES"}` and the like. The words of a
row all belong to its split. A row never says what is asked: that the prompt alone tells, and the
same word may be asked anything.

Rows are computed, in the same order every time, from nothing but the tables of
`instrux.data.lexicon` and the names of task and split.
"""

import functools
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from instrux.data import lexicon_candidates as candidates
from instrux.data.lexicon import VOWEL_LETTERS, Word, lemmas_of_form, words_of
from instrux.errors import InputError, did_you_mean

Row = Mapping[str, Any]

MOST_ROWS = {"train": 600, "validation": 100, "test": 400}

_LETTER_COUNTS = range(3, 11)
_SYLLABLE_COUNTS = range(1, 5)
_MOST_LETTERS_TO_REVERSE = 6
_FEWEST_CANDIDATES = 3
_VERB_FORMS = ("past", "ing", "third_person")


def rows(split: str, *, task: str) -> list[Row]:
    """Computes the rows of one task.

    Args:
        split: `train`, `validation` or `test`.
        task: one of `ROW_TASKS`.

    Returns:
        At most `MOST_ROWS[split]` rows, in a fixed random order. Every row has `answer`; most have
        `word`; questions with options have `options`, of which `answer` is one; the other ones
        that ask for a word have `candidates`, which answers are ranked among.

    Raises:
        InputError: no such task or split, or a package that holds the words is not installed.
    """
    if task not in ROW_TASKS:
        raise InputError(f"the lexicon has no task {task!r}.{did_you_mean(task, ROW_TASKS)}")
    return list(_rows(split, task))


@functools.cache  # every prompt of a task asks for the same rows
def _rows(split: str, task: str) -> tuple[Row, ...]:
    words = words_of(split)
    rng = random.Random(f"{task}/{split}")
    rng.shuffle(words)
    return tuple(itertools.islice(ROW_TASKS[task](words, rng), MOST_ROWS[split]))


def _balanced(found: Iterable[Row], key: Callable[[Row], Hashable]) -> Iterator[Row]:
    """Yields equally many rows of every kind, in turn, until the rarest kind is used up."""
    kinds: dict[Hashable, list[Row]] = defaultdict(list)
    for row in found:
        kinds[key(row)].append(row)
    for of_each_kind in zip(*(kinds[kind] for kind in sorted(kinds, key=str)), strict=False):
        yield from of_each_kind


def _answer(row: Row) -> str:
    return row["answer"]


# Inflecting, and undoing it.


def _inflected(form: str) -> Callable[[list[Word], random.Random], Iterator[Row]]:
    def generate(words: list[Word], rng: random.Random) -> Iterator[Row]:
        del rng
        for word in words:
            if form not in word.forms:
                continue
            among = candidates.for_inflecting(word, form)
            if len(among) >= _FEWEST_CANDIDATES:
                yield {"word": word.text, "answer": word.forms[form], "candidates": among}

    return generate


def _uninflected(*forms: str) -> Callable[[list[Word], random.Random], Iterator[Row]]:
    """Asks for the lemma of a form that no other lemma has (`AXES` has `AXE` and `AXIS`)."""

    def generate(words: list[Word], rng: random.Random) -> Iterator[Row]:
        for word in words:
            form = rng.choice(forms)
            spelling = word.forms.get(form, "")
            if lemmas_of_form(form).get(spelling) == (word.text,):
                yield {
                    "word": spelling,
                    "answer": word.text,
                    "candidates": candidates.for_undoing(spelling, word.text),
                }

    return generate


# Spelling.


def _spelled_out(words: list[Word], rng: random.Random) -> Iterator[Row]:
    for word in words:
        answer = "-".join(word.text)
        others = ["-".join(reversed(word.text))]
        yield {
            "word": word.text,
            "answer": answer,
            "candidates": candidates.for_spelling(answer, others, rng, joined_by="-"),
        }


def _first_letter(words: list[Word], rng: random.Random) -> Iterator[Row]:
    del rng
    return ({"word": word.text, "answer": word.text[0]} for word in words)


def _last_letter(words: list[Word], rng: random.Random) -> Iterator[Row]:
    del rng
    return ({"word": word.text, "answer": word.text[-1]} for word in words)


def _letter_count(words: list[Word], rng: random.Random) -> Iterator[Row]:
    del rng
    counted = (
        {"word": word.text, "answer": str(len(word.text))}
        for word in words
        if len(word.text) in _LETTER_COUNTS
    )
    return _balanced(counted, _answer)


def _backwards(words: list[Word], rng: random.Random) -> Iterator[Row]:
    for word in words:
        answer = word.text[::-1]
        if len(answer) <= _MOST_LETTERS_TO_REVERSE and answer != word.text:
            yield {
                "word": word.text,
                "answer": answer,
                "candidates": candidates.for_spelling(answer, [word.text], rng, joined_by=""),
            }


# Yes or no. Rows come in turn with the answers yes and no.


def _has_letter(words: list[Word], rng: random.Random) -> Iterator[Row]:
    for word, other in zip(words, reversed(words), strict=True):
        strange = sorted(set(other.text) - set(word.text))
        if strange:
            yield {"word": word.text, "letter": rng.choice(word.text), "answer": "yes"}
            yield {"word": word.text, "letter": rng.choice(strange), "answer": "no"}


def _same_start(words: list[Word], rng: random.Random) -> Iterator[Row]:
    by_start = _grouped(words, lambda word: word.text[0])
    for word in words:
        like = [other for other in by_start[word.text[0]] if other is not word]
        unlike = rng.choice(words)
        if like and unlike.text[0] != word.text[0]:
            yield {"word": word.text, "other": rng.choice(like).text, "answer": "yes"}
            yield {"word": word.text, "other": unlike.text, "answer": "no"}


def _ends_in_vowel(words: list[Word], rng: random.Random) -> Iterator[Row]:
    del rng
    judged = (
        {"word": word.text, "answer": "yes" if word.text[-1] in VOWEL_LETTERS else "no"}
        for word in words
    )
    return _balanced(judged, _answer)


def _is_past(words: list[Word], rng: random.Random) -> Iterator[Row]:
    for index, word in enumerate(_verbs(words)):
        if index % 2:
            form = rng.choice(("ing", "third_person"))
            yield {"word": word.forms[form], "answer": "no"}
        else:
            yield {"word": word.forms["past"], "answer": "yes"}


# Sound.


def _rhyme(words: list[Word], rng: random.Random) -> Iterator[Row]:
    sounding = [(word, word.rhyme) for word in words if word.rhyme]
    by_rhyme: dict[Hashable, list[Word]] = defaultdict(list)
    for word, rhyme in sounding:
        by_rhyme[rhyme].append(word)
    for word, rhyme in sounding:
        like = [other for other in by_rhyme[rhyme] if other.onset != word.onset]
        unlike = rng.sample(sounding, 2)
        if like and all(other_rhyme != rhyme for _, other_rhyme in unlike):
            answer = rng.choice(like).text
            options = _shuffled([answer, *(other.text for other, _ in unlike)], rng)
            yield {"word": word.text, "options": options, "answer": answer}


def _syllables(words: list[Word], rng: random.Random) -> Iterator[Row]:
    del rng
    counted = (
        {"word": word.text, "answer": str(word.syllables)}
        for word in words
        if word.syllables in _SYLLABLE_COUNTS
    )
    return _balanced(counted, _answer)


def _article(words: list[Word], rng: random.Random) -> Iterator[Row]:
    del rng
    judged = (
        {"word": word.text, "answer": "an" if word.phones[0][-1].isdigit() else "a"}
        for word in words
        if word.phones and "plural" in word.forms
    )
    return _balanced(judged, _answer)


# The odd one out. The same three words have one that starts unlike the others, and another that
# ends unlike the others.


def _odd_letters(words: list[Word], rng: random.Random) -> Iterator[tuple[str, str, list[str]]]:
    """Yields the word of another first letter, that of another last letter, and all three."""
    by_start = _grouped(words, lambda word: word.text[0])
    by_end = _grouped(words, lambda word: word.text[-1])
    for word in words:
        odd_end = rng.choice(by_start[word.text[0]]).text
        odd_start = rng.choice(by_end[word.text[-1]]).text
        if odd_end[-1] != word.text[-1] and odd_start[0] != word.text[0]:
            yield odd_start, odd_end, _shuffled([odd_start, odd_end, word.text], rng)


def _odd_start(words: list[Word], rng: random.Random) -> Iterator[Row]:
    for odd_start, _, options in _odd_letters(words, rng):
        yield {"options": options, "answer": odd_start}


def _odd_end(words: list[Word], rng: random.Random) -> Iterator[Row]:
    for _, odd_end, options in _odd_letters(words, rng):
        yield {"options": options, "answer": odd_end}


def _odd_form(words: list[Word], rng: random.Random) -> Iterator[Row]:
    """Three verbs, two of them in one form and one in another."""
    verbs = list(_verbs(words))
    for verb in verbs:
        common, rare = rng.sample(_VERB_FORMS, 2)
        others = rng.sample(verbs, 2)
        if verb not in others:
            answer = verb.forms[rare]
            options = _shuffled([answer, *(other.forms[common] for other in others)], rng)
            yield {"options": options, "answer": answer}


# Choosing the form. The same options are asked for different forms.


def _which(form: str, forms: Sequence[str]) -> Callable[[list[Word], random.Random], Iterator[Row]]:
    def generate(words: list[Word], rng: random.Random) -> Iterator[Row]:
        for word in words:
            options = [word.forms[name] for name in forms if name in word.forms]
            if len(set(options)) == len(forms):
                yield {
                    "word": word.text,
                    "options": _shuffled(options, rng),
                    "answer": word.forms[form],
                }

    return generate


def _verbs(words: Iterable[Word]) -> Iterator[Word]:
    """The words that have every form of `_VERB_FORMS`, all different."""
    for word in words:
        if len({word.forms.get(form, "") for form in _VERB_FORMS} - {""}) == len(_VERB_FORMS):
            yield word


def _grouped(words: Iterable[Word], key: Callable[[Word], Hashable]) -> dict[Hashable, list[Word]]:
    groups: dict[Hashable, list[Word]] = defaultdict(list)
    for word in words:
        groups[key(word)].append(word)
    return groups


def _shuffled(options: Sequence[str], rng: random.Random) -> list[str]:
    return rng.sample(options, len(options))


ROW_TASKS: Mapping[str, Callable[[list[Word], random.Random], Iterator[Row]]] = {
    "plural": _inflected("plural"),
    "past_tense": _inflected("past"),
    "ing_form": _inflected("ing"),
    "comparative": _inflected("comparative"),
    "superlative": _inflected("superlative"),
    "singular": _uninflected("plural"),
    "verb_base": _uninflected("past", "ing"),
    "plain_adjective": _uninflected("comparative", "superlative"),
    "spell_out": _spelled_out,
    "first_letter": _first_letter,
    "last_letter": _last_letter,
    "letter_count": _letter_count,
    "backwards": _backwards,
    "has_letter": _has_letter,
    "same_start": _same_start,
    "ends_in_vowel": _ends_in_vowel,
    "is_past": _is_past,
    "rhyme": _rhyme,
    "syllables": _syllables,
    "article": _article,
    "odd_start": _odd_start,
    "odd_end": _odd_end,
    "odd_form": _odd_form,
    "which_past": _which("past", _VERB_FORMS),
    "which_ing": _which("ing", _VERB_FORMS),
    "which_comparative": _which("comparative", ("comparative", "superlative")),
}
