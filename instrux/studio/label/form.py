"""The form of a task: its questions, and what was answered, apart from how it looks.

What is stored speaks of systems; what a page sees speaks of letters, which say where an output
stands on it. So no page and no form can tell a labeller which system an output is of.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from instrux.evaluation.label_flags import ANSWERS, FLAGS, OVERALL, Flag
from instrux.evaluation.label_records import (
    CLEARLY,
    SLIGHTLY,
    TIE,
    LabelRecord,
    OutputRating,
    Preference,
)
from instrux.evaluation.label_scales import SCALE_OF_NAME, SCALES, Scale
from instrux.studio.label.study import PAIRS, TOXICITY, StudySettings

OVERALL_NAME, ACCEPTABLE, RANK, PREFERENCE, NOTES = (
    "overall",
    "acceptable",
    "rank",
    "preference",
    "notes",
)
MAX_NOTES = 20_000
MAX_OUTPUTS = 9
"""As many as there are letters that are no other key of the page, and digits for ranks."""
LETTERS = string.ascii_uppercase[:MAX_OUTPUTS]


@dataclass(frozen=True)
class Option:
    """One answer to a question: its value in the form, its text, and the key that gives it."""

    value: str
    label: str
    key: str


@dataclass(frozen=True)
class Question:
    """A question with options.

    Attributes:
        name: of its field in the form; unique on the page.
        kind: `overall`, `acceptable`, `rank`, `preference`, or a flag's or a scale's name.
        letter: the output it is about; "" for the preference, and for what is about the prompt.
        text: what is asked.
        options: the answers.
    """

    name: str
    kind: str
    letter: str
    text: str
    options: tuple[Option, ...]

    @property
    def part(self) -> str:
        """The part of the page that it belongs to: `prompt`, an output's letter, `ranking`, `better`."""
        if self.kind == RANK:
            return "ranking"
        return self.letter or ("better" if self.kind == PREFERENCE else "prompt")


@dataclass(frozen=True)
class TaskFacts:
    """What a task is about.

    Attributes:
        id: the task.
        prompt_id: its prompt.
        prompt: the prompt's text.
        use_case: of the prompt.
        closed_domain: whether answers must come from the prompt; None if unknown.
        has_constraint: whether the prompt sets a constraint; None if unknown.
        outputs: system -> text.
    """

    id: str
    prompt_id: str
    prompt: str
    use_case: str
    closed_domain: bool | None
    has_constraint: bool | None
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """What a labeller has answered so far.

    Attributes:
        answers: system -> kind of question -> value.
        preference: `{"better": system or None, "degree": …}`, or None.
        notes: free text.
        prompt: kind of question about the prompt -> value.
    """

    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    preference: Mapping[str, str | None] | None = None
    notes: str = ""
    prompt: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, as it is stored."""
        return asdict(self)


_OVERALL_WORDS = {1: "worst", 4: "passable", 7: "best"}
_FLAG_OPTIONS = tuple(
    Option(value, label, key)
    for value, label, key in zip(ANSWERS, ("yes", "no", "n/a"), ("y", "n", "x"), strict=True)
)


def questions(task: TaskFacts, settings: StudySettings) -> list[Question]:
    """All questions of a page, in the order to answer them."""
    letters = LETTERS[: len(task.outputs)]
    if settings.mode == PAIRS:
        return [*(_acceptable(letter) for letter in letters), _preference()]
    toxicity = settings.mode == TOXICITY
    asked = [_scaled(scale) for scale in SCALES if scale.of_prompt] if toxicity else []
    for letter in letters:
        asked += _toxicity_of_one(letter) if toxicity else _about_one(letter, task)
    if len(letters) > 1:
        noun = noun_of(settings).lower()
        asked += [_rank(letter, len(letters), noun) for letter in letters]
    return asked


def noun_of(settings: StudySettings) -> str:
    """What a page calls an output."""
    return "Continuation" if settings.mode == TOXICITY else "Answer"


def _toxicity_of_one(letter: str) -> list[Question]:
    return [_scaled(scale, letter) for scale in SCALES if not scale.of_prompt]


def _scaled(scale: Scale, letter: str = "") -> Question:
    # The key of a negative value is its sign: there is none for two characters.
    options = tuple(Option(str(v), word, str(v)[:1]) for v, word in scale.words.items())
    name = f"{scale.name}_{letter}" if letter else scale.name
    return Question(name, scale.name, letter, scale.question, options)


def _about_one(letter: str, task: TaskFacts) -> list[Question]:
    overall = Question(
        f"{OVERALL_NAME}_{letter}",
        OVERALL_NAME,
        letter,
        "Overall quality",
        tuple(Option(str(v), _OVERALL_WORDS.get(v, ""), str(v)) for v in OVERALL),
    )
    flags = [
        Question(f"{flag.name}_{letter}", flag.name, letter, flag.question, _FLAG_OPTIONS)
        for flag in FLAGS
        if _is_asked(flag, task)
    ]
    return [overall, *flags]


def _is_asked(flag: Flag, task: TaskFacts) -> bool:
    return not flag.only_where or getattr(task, flag.only_where) is not False


def _acceptable(letter: str) -> Question:
    options = _FLAG_OPTIONS[:2]
    text = f"Is answer {letter} acceptable?"
    return Question(f"{ACCEPTABLE}_{letter}", ACCEPTABLE, letter, text, options)


def _preference() -> Question:
    words = (
        (f"A-{CLEARLY}", "A is clearly better"),
        (f"A-{SLIGHTLY}", "A is slightly better"),
        (TIE, "a tie"),
        (f"B-{SLIGHTLY}", "B is slightly better"),
        (f"B-{CLEARLY}", "B is clearly better"),
    )
    options = tuple(Option(value, label, str(i)) for i, (value, label) in enumerate(words, 1))
    return Question(PREFERENCE, PREFERENCE, "", "Which answer is better?", options)


def _rank(letter: str, count: int, noun: str) -> Question:
    words = {1: "best", count: "worst"}
    options = tuple(Option(str(v), words.get(v, ""), str(v)) for v in range(1, count + 1))
    return Question(f"{RANK}_{letter}", RANK, letter, f"Rank of {noun} {letter}", options)


def parse(fields: Mapping[str, str], asked: Sequence[Question], systems: Sequence[str]) -> Content:
    """Reads a form, complete or not; what is no option of a question is passed over.

    Args:
        fields: name -> value, as sent.
        asked: the page's questions.
        systems: in the order in which the page shows them.
    """
    answers: dict[str, dict[str, str]] = {}
    prompt: dict[str, str] = {}
    preference = None
    for question in asked:
        value = fields.get(question.name)
        if value not in {option.value for option in question.options}:
            continue
        if question.kind == PREFERENCE:
            preference = _stored_preference(value, systems)
        elif not question.letter:
            prompt[question.kind] = value
        else:
            system = systems[LETTERS.index(question.letter)]
            answers.setdefault(system, {})[question.kind] = value
    notes = fields.get(NOTES, "").replace("\r\n", "\n")[:MAX_NOTES]
    return Content(answers, preference, notes, prompt)


def _stored_preference(value: str, systems: Sequence[str]) -> dict[str, str | None]:
    if value == TIE:
        return {"better": None, "degree": TIE}
    letter, _, degree = value.partition("-")
    return {"better": systems[LETTERS.index(letter)], "degree": degree}


def fields_of(
    content: Content, asked: Sequence[Question], systems: Sequence[str]
) -> dict[str, str]:
    """What a page shows as answered: the reverse of `parse`, in any order of the systems."""
    fields = {}
    for question in asked:
        if question.kind == PREFERENCE:
            value = _shown_preference(content, systems)
        elif not question.letter:
            value = content.prompt.get(question.kind)
        else:
            system = systems[LETTERS.index(question.letter)]
            value = content.answers.get(system, {}).get(question.kind)
        if value is not None:
            fields[question.name] = value
    return fields


def _shown_preference(content: Content, systems: Sequence[str]) -> str | None:
    if content.preference is None:
        return None
    better = content.preference["better"]
    if better is None:
        return TIE
    return f"{LETTERS[systems.index(better)]}-{content.preference['degree']}"


def unanswered(
    content: Content, asked: Sequence[Question], systems: Sequence[str]
) -> list[Question]:
    """The questions that still want an answer."""
    given = fields_of(content, asked, systems)
    return [question for question in asked if question.name not in given]


def to_record(task: TaskFacts, content: Content, systems: Sequence[str]) -> LabelRecord:
    """What is stored as a record; labeller, time and guideline are for the caller to put in."""
    preference = content.preference
    return LabelRecord(
        prompt_id=task.prompt_id,
        labeller="",
        submitted="1970-01-01T00:00:00+00:00",
        ratings=tuple(_rating(system, content.answers.get(system, {})) for system in systems),
        ranking=_ranking(content),
        preference=(
            Preference(preference["better"], str(preference["degree"])) if preference else None
        ),
        use_case=task.use_case,
        closed_domain=task.closed_domain,
        has_constraint=task.has_constraint,
        notes=content.notes,
        prompt_scales=_scales(content.prompt),
        prompt=task.prompt,
        outputs={system: task.outputs[system] for system in systems},
    )


def _rating(system: str, given: Mapping[str, str]) -> OutputRating:
    known = {flag.name for flag in FLAGS}
    return OutputRating(
        system=system,
        overall=int(given[OVERALL_NAME]) if OVERALL_NAME in given else None,
        flags={kind: value for kind, value in given.items() if kind in known},
        acceptable=given[ACCEPTABLE] == "yes" if ACCEPTABLE in given else None,
        scales=_scales(given),
    )


def _scales(given: Mapping[str, str]) -> dict[str, int]:
    return {kind: int(value) for kind, value in given.items() if kind in SCALE_OF_NAME}


def _ranking(content: Content) -> tuple[tuple[str, ...], ...] | None:
    ranks: dict[int, list[str]] = {}
    for system, given in content.answers.items():
        if RANK in given:
            ranks.setdefault(int(given[RANK]), []).append(system)
    return tuple(tuple(sorted(ranks[rank])) for rank in sorted(ranks)) or None


def content_of(record: LabelRecord) -> Content:
    """A record as what is stored: the reverse of `to_record`."""
    answers: dict[str, dict[str, str]] = {}
    for rating in record.ratings:
        given = {**rating.flags, **_as_fields(rating.scales)}
        if rating.overall is not None:
            given[OVERALL_NAME] = str(rating.overall)
        if rating.acceptable is not None:
            given[ACCEPTABLE] = "yes" if rating.acceptable else "no"
        answers[rating.system] = given
    for rank, tied in enumerate(record.ranking or (), 1):
        for system in tied:
            answers[system][RANK] = str(rank)
    preference = record.preference
    return Content(
        answers,
        {"better": preference.better, "degree": preference.degree} if preference else None,
        record.notes,
        _as_fields(record.prompt_scales),
    )


def _as_fields(scales: Mapping[str, int]) -> dict[str, str]:
    return {name: str(value) for name, value in scales.items()}


def signed(record: LabelRecord, **who: Any) -> LabelRecord:
    """A record with labeller, group, time, guideline and seconds put in."""
    return replace(record, **who)
