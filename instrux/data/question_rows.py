"""Rows of DROP, QuAC and SQuAD 2.0: one a question, with what each person answered to it.

As those of `public_rows`, for the public sets that InstructGPT is evaluated on.
"""

import collections
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from instrux.data import mirror
from instrux.data.answer_words import words_f1
from instrux.data.public_rows import Row, read_published
from instrux.errors import InputError
from instrux.prompts.randomness import seeded_rng

CANNOT_ANSWER = "CANNOTANSWER"
LOWEST_AGREEMENT = 0.4
"""Questions on which people agree less, in F1, QuAC's published script does not count."""
_DROP_FILES = {"train": "drop_dataset_train.json", "validation": "drop_dataset_dev.json"}


# --- QuAC ------------------------------------------------------------------------------------------


def quac_rows(
    split: str, *, hub: tuple[str, str | None], lowest_agreement: float = LOWEST_AGREEMENT
) -> Iterator[Row]:
    """One row a question of each dialogue, with the questions and answers before it.

    As in QuAC's published script, a question has no answer where at least half of the people found
    none, and otherwise their answers are those that are one; `answers` has each as often as given.

    Args:
        split: of the dataset.
        hub: its name and configuration.
        lowest_agreement: what people agree on less, as a mean F1 of each answer to its nearest, is
            left out.

    Raises:
        InputError: the rows cannot be had, or are no dialogues.
    """
    for row in read_published(split, hub):
        try:
            yield from _turns(row, lowest_agreement)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"quac: a row is no dialogue of the hub's schema ({error!r})"
            ) from error


def _turns(row: Row, lowest_agreement: float) -> Iterator[Row]:
    own = row["orig_answers"]["texts"]
    for turn, question in enumerate(row["questions"]):
        answers = _counted(row["answers"]["texts"][turn] or [own[turn]])
        if _agreement(answers) >= lowest_agreement:
            yield {
                "title": row["wikipedia_page_title"],
                "paragraph": row["context"],
                "history": list(zip(row["questions"][:turn], own[:turn], strict=True)),
                "question": question,
                "answers": answers,
            }


def _counted(answers: Sequence[str]) -> list[str]:
    given = [answer for answer in answers if answer != CANNOT_ANSWER]
    return [CANNOT_ANSWER] if 2 * len(given) <= len(answers) else given


def _agreement(answers: Sequence[str]) -> float:
    if len(answers) == 1:
        return 1.0
    nearest = [
        max(words_f1(answer, other) for place, other in enumerate(answers) if place != own)
        for own, answer in enumerate(answers)
    ]
    return sum(nearest) / len(nearest)


# --- SQuAD 2.0 -------------------------------------------------------------------------------------


def squad_v2_rows(split: str, *, hub: tuple[str, str | None], seed: int = 0) -> Iterator[Row]:
    """SQuAD's rows with a `history`: the questions before this one about its paragraph.

    They stand in an order drawn for the row, each with one of the answers to it, or none where it
    has none, as in the samples that InstructGPT's authors published.

    Args:
        split: of the dataset.
        hub: its name and configuration.
        seed: of the draws.

    Raises:
        InputError: the rows cannot be had, or are not SQuAD's.
    """
    asked: dict[str, list[tuple[str, list[str]]]] = collections.defaultdict(list)
    for number, row in enumerate(read_published(split, hub)):
        try:
            before = asked[row["context"]]
            question, answers = row["question"], list(row["answers"]["text"])
        except (KeyError, TypeError) as error:
            raise InputError(
                f"squad_v2: row {number + 1} is not of the hub's schema ({error!r})"
            ) from error
        rng = seeded_rng(seed, str(number), "history")
        history = [(q, rng.choice(given) if given else None) for q, given in before]
        rng.shuffle(history)
        before.append((question, answers))
        yield {**row, "history": history}


# --- DROP ------------------------------------------------------------------------------------------


def drop_rows(split: str, *, hub: tuple[str, str | None]) -> Iterator[Row]:
    """One row a question: `passage`, `question`, and `answers`, the spans of each person's answer.

    From DROP's own files where a mirror has them (`drop_dataset_dev.json`, in `drop/` or alone), or
    rows with their `answer` and `validated_answers`. The hub's `drop` has all people's spans in one
    list: there, those of the training split are one answer, and elsewhere each is one.

    Raises:
        InputError: the rows cannot be had, or are of none of these.
    """
    for number, row in enumerate(_drop_questions(split, hub)):
        try:
            answers = _drop_answers(row, split)
            yield {"passage": row["passage"], "question": row["question"], "answers": answers}
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"drop: question {number + 1} is not as published ({error!r})"
            ) from error


def _drop_questions(split: str, hub: tuple[str, str | None]) -> Iterator[Row]:
    passages = _drop_file(split)
    if passages is None:
        yield from read_published(split, hub)
        return
    for passage in passages.values():
        yield from ({"passage": passage["passage"], **pair} for pair in passage["qa_pairs"])


def _drop_file(split: str) -> Mapping[str, Any] | None:
    if split not in _DROP_FILES:
        return None
    names = (f"drop/{_DROP_FILES[split]}", _DROP_FILES[split])
    try:
        path = mirror.mirrored_file(names, home="published")
    except InputError:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its questions cannot be read ({error}).") from error


def _drop_answers(row: Row, split: str) -> list[list[str]]:
    if "answers_spans" in row:
        spans = list(row["answers_spans"]["spans"])
        found = [spans] if split == "train" else [[span] for span in spans]
    else:
        found = [_drop_spans(each) for each in (row["answer"], *_listed(row["validated_answers"]))]
    found = [answer for answer in found if any(span.strip() for span in answer)]
    if not found:
        raise KeyError("an answer that is not empty")
    return found


def _listed(answers: Any) -> list[Mapping[str, Any]]:
    """A list of answers, which the hub gives as lists of their fields."""
    if not isinstance(answers, Mapping):
        return list(answers or ())
    fields = ("number", "date", "spans")
    return [
        dict(zip(fields, values, strict=True))
        for values in zip(*(answers[name] for name in fields), strict=True)
    ]


def _drop_spans(answer: Mapping[str, Any]) -> list[str]:
    """An answer is a number, spans of the passage, or a date."""
    if str(answer["number"]).strip():
        return [str(answer["number"])]
    if answer["spans"]:
        return list(answer["spans"])
    date = answer["date"]
    return [" ".join(str(date.get(part, "")) for part in ("day", "month", "year")).strip()]
