"""Wrong answers beside the right one, among which a model's answer is ranked.

They are of two kinds: other forms of the same word, which only the instruction rules out
(`WALKING` where the past tense is asked), and misspellings, which only English does (`STOPED`).
Prompts do not list them. Candidates stand in alphabetical order, so their order tells nothing.
"""

import random
from collections.abc import Iterable

from instrux.data.lexicon import Word

_MOST_WRONG = 3
_REGULAR_ENDINGS = {
    "plural": ("S", "ES"),
    "past": ("ED",),
    "ing": ("ING",),
    "comparative": ("ER",),
    "superlative": ("EST",),
}
_FORMS_BESIDE = {
    "plural": (),
    "past": ("ing", "third_person"),
    "ing": ("past", "third_person"),
    "comparative": ("superlative",),
    "superlative": ("comparative",),
}


def for_inflecting(word: Word, form: str) -> list[str]:
    """The form, other forms of the word, and what its lemma with a regular ending would be.

    `STOP`, `past` gives `STOPED`, `STOPPED`, `STOPPING`, `STOPS`.
    """
    others = [word.forms[other] for other in _FORMS_BESIDE[form] if other in word.forms]
    naive = [word.text + ending for ending in _REGULAR_ENDINGS[form]]
    return _candidates(word.forms[form], [*others, *naive, word.text])


def for_undoing(spelling: str, lemma: str) -> list[str]:
    """The lemma, the inflected form as it is, and what is left of it with other endings cut off.

    `STOPPED`, `STOP` gives `STOP`, `STOPP`, `STOPPE`, `STOPPED`.
    """
    stems = [stem for cut in (1, 2, 3) if len(stem := spelling[:-cut]) > 1]
    near = sorted(stems, key=lambda stem: abs(len(stem) - len(lemma)))
    return _candidates(lemma, [spelling, *near, lemma + "E"])


def for_spelling(
    answer: str, others: Iterable[str], rng: random.Random, *, joined_by: str
) -> list[str]:
    """The right letters in order, `others`, and two neighbours of the answer changed in place."""
    letters = answer.split(joined_by) if joined_by else list(answer)
    places = [i for i in range(len(letters) - 1) if letters[i] != letters[i + 1]]
    wrong = list(others)
    for place in rng.sample(places, min(2, len(places))):
        swapped = letters.copy()
        swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
        wrong.append(joined_by.join(swapped))
    return _candidates(answer, wrong)


def _candidates(answer: str, wrong: Iterable[str]) -> list[str]:
    different = [each for each in dict.fromkeys(wrong) if each != answer]
    return sorted([answer, *different[:_MOST_WRONG]])
