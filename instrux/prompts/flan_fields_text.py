"""Fields of FLAN's datasets whose answer is written freely: summaries, texts, spans, translations.

Functions as in `flan_fields_choice`.
"""

import ast
import functools
import re
from collections.abc import Iterable
from typing import Any

from instrux.errors import InputError
from instrux.prompts.flan_fields_choice import Fields, Kept, Maker, Row

UNANSWERABLE = "unanswerable"
LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "ro": "Romanian",
    "ru": "Russian",
    "tr": "Turkish",
}
_DATELINE_ENDS = ("2013 . ", "2014 . ", "2012 . ", ") -- ")
_LISTED_ITEMS = 10
_PAIR = re.compile(r"(?:para_crawl|wmt\d\d(?:_translate)?)_(\w\w)(\w\w)")
_BYTE_STRING = re.compile(r"""b(['"]).*\1""", re.DOTALL)


def numbered(items: Iterable[Any]) -> str:
    """Writes items as a list: `1. …`, a line each."""
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))


def _renamed(names: dict[str, str], row: Row, kept: Kept) -> Fields | None:
    return {ours: row[theirs] for ours, theirs in names.items()}


def _rename(**names: str) -> Maker:
    return functools.partial(_renamed, names)


def _natural_questions(row: Row, kept: Kept) -> Fields | None:
    answers = list(row["answer"])
    if not answers:
        return None
    return {"question": row["question"] + "?", "answer": answers[0], "answers": answers}


def _trivia_qa(row: Row, kept: Kept) -> Fields | None:
    answer = row["answer"]
    if not answer.get("normalized_value"):
        return None
    return {
        "question": row["question"],
        "answer": answer["normalized_value"],
        "answers": list(answer["normalized_aliases"]),
    }


def _math_dataset(row: Row, kept: Kept) -> Fields | None:
    if "math_dataset_bytes" in kept:
        return {"question": row["question"], "answer": row["answer"]}
    return {"question": _from_bytes(row["question"]), "answer": _from_bytes(row["answer"])}


def _from_bytes(text: str) -> str:
    """Reads `b'…'` as the text that it stands for."""
    if not _BYTE_STRING.fullmatch(text):
        return text.strip()
    try:
        return ast.literal_eval(text).decode().strip()
    except (ValueError, SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"math_dataset: {text[:60]!r} is no byte string: {error}") from error


def _aeslc(row: Row, kept: Kept) -> Fields | None:
    body, subject = row["email_body"].replace("\n", " "), row["subject_line"].replace("\n", "")
    if "aeslc_empty_subject" in kept:
        return (
            {"body": body, "subject": subject} if row["email_body"] + row["subject_line"] else None
        )
    return {"body": body, "subject": subject} if body.strip() and subject.strip() else None


def _cnn_dailymail(row: Row, kept: Kept) -> Fields | None:
    article, highlights = row["article"], row["highlights"]
    if "cnn_dailymail_dateline" in kept:
        for end in _DATELINE_ENDS:
            article = article.partition(end)[0]
        return {"text": article, "highlights": highlights}
    for end in _DATELINE_ENDS:
        article = article.rpartition(end)[2]
    return {"text": article, "highlights": highlights.replace(" .", ".").replace("\n", " ")}


def _gigaword(row: Row, kept: Kept) -> Fields | None:
    both = row["document"] + row["summary"]
    if "UNK" in both or "#" in both:
        return None
    return {"text": row["document"], "summary": row["summary"]}


def _rotten_tomatoes(row: Row, kept: Kept) -> Fields | None:
    reviews = _values(row["_critics"])
    if not reviews:
        return None
    return {
        "critic_consensus": row["_critic_consensus"],
        "movie": row["_movie_name"].replace("_", " "),
        "first_review": reviews[0],
        "numbered_reviews": numbered(reviews[:_LISTED_ITEMS]),
    }


def _idebate(row: Row, kept: Kept) -> Fields | None:
    return {
        "claim": row["_claim"],
        "debate_name": row["_debate_name"],
        "argument_sentences": numbered(_values(row["_argument_sentences"])[:_LISTED_ITEMS]),
    }


def _values(sequence: Any, name: str = "value") -> list[Any]:
    """A TFDS sequence of structures comes as a dict of lists or as a list of dicts."""
    if hasattr(sequence, "keys"):
        return list(sequence[name])
    return [item[name] for item in sequence]


def _coqa(row: Row, kept: Kept) -> Fields | None:
    return {
        "text": row["story"],
        "numbered_questions": numbered(row["questions"]),
        "numbered_answers": numbered(_values(row["answers"], "input_text")),
    }


def _samsum(row: Row, kept: Kept) -> Fields | None:
    dialogue = row["dialogue"].replace("\r\n", "\n")
    return {"dialogue": re.sub(r"<.*>", " ", dialogue), "summary": row["summary"]}


def _squad(row: Row, kept: Kept) -> Fields | None:
    answers = [UNANSWERABLE] if row.get("is_impossible") else _values(row["answers"], "text")
    if not answers:
        return None
    return {
        "title": row["title"].replace("_", " "),
        "context": row["context"],
        "question": row["question"],
        "answer": answers[0],
        "answers": answers,
    }


def _drop(row: Row, kept: Kept) -> Fields | None:
    return {
        "context": row["passage"],
        "question": row["question"],
        "answer": row["answer"],
        "answers": [row["answer"]],
    }


def _quac(row: Row, kept: Kept) -> Fields | None:
    fields = {name: row[name] for name in ("title", "background", "context", "question")}
    fields["answer"] = row["orig_answer"]["text"]
    if "quac_cannotanswer" not in kept:
        fields = {name: text.replace("CANNOTANSWER", "").strip() for name, text in fields.items()}
    return fields if fields["answer"] else None


def _stsb(row: Row, kept: Kept) -> Fields | None:
    score = float(row["label"])
    if score < 0:
        return None
    return {
        "sentence1": row["sentence1"],
        "sentence2": row["sentence2"],
        "options": list("012345"),
        "answer_str": f"{score:.0f}",  # half to even, as printf rounds: 2.5 -> 2, 3.5 -> 4
        "label": score,
    }


def translation(dataset: str, row: Row) -> Fields:
    """Gives the fields of a translation dataset, English first.

    Args:
        dataset: its name, which ends in the two languages: `wmt16_translate_deen`.
        row: the two sentences by language code.

    Raises:
        InputError: the name does not tell the languages.
    """
    match = _PAIR.fullmatch(dataset)
    other = {match[1], match[2]} - {"en"} if match else set()
    if len(other) != 1 or not other <= LANGUAGES.keys():
        raise InputError(f"{dataset!r} does not end in English and another known language")
    code = other.pop()
    return {
        "lang1": LANGUAGES["en"],
        "lang2": LANGUAGES[code],
        "sent1": row["en"],
        "sent2": row[code],
    }


def _true_case(row: Row, kept: Kept) -> Fields | None:
    text = row["en"]
    lower = _ascii_lower(text) if "ascii_formatting" in kept else text.lower()
    return {"lower": lower, "answer": text} if lower != text else None


def _ascii_lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def _fix_punct(row: Row, kept: Kept) -> Fields | None:
    text = row["en"]
    flags = re.ASCII if "ascii_formatting" in kept else 0
    bare = re.sub(r"[^\w\s]", "", text, flags=flags)
    return {"no_punct": bare, "answer": text} if bare != text else None


def _word_segment(row: Row, kept: Kept) -> Fields | None:
    return {"no_space": row["en"].replace(" ", ""), "answer": row["en"]}


def _references(row: Row) -> Fields:
    return {"target": row["target"], "answers": [*row["references"], row["target"]]}


def _common_gen(row: Row, kept: Kept) -> Fields | None:
    concepts = list(row["concepts"])
    lists = {"concepts": ", ".join(concepts), "concepts_newline": "\n".join(concepts)}
    return {**lists, **_references(row)}


def _dart(row: Row, kept: Kept) -> Fields | None:
    triples = [each if isinstance(each, str) else " | ".join(each) for each in row["tripleset"]]
    lists = {
        "tripleset": re.sub(r"\[(.*?)\]", "", "; ".join(triples)),
        "tripleset_newline": "\n".join(triples),
    }
    return {**lists, **_references(row)}


def _e2e_nlg(row: Row, kept: Kept) -> Fields | None:
    meaning = row["meaning_representation"].replace("[", " = ").replace("]", "")
    return {"meaning_representation": meaning, **_references(row)}


def _web_nlg(row: Row, kept: Kept) -> Fields | None:
    triples = "; ".join(row["input"]).replace("_", " ").replace(" | ", ", ")
    return {"input_string": triples, **_references(row)}


FREE_TEXT: dict[str, Maker] = {
    "natural_questions": _natural_questions,
    "trivia_qa": _trivia_qa,
    "math_dataset": _math_dataset,
    "aeslc": _aeslc,
    "cnn_dailymail": _cnn_dailymail,
    "gigaword": _gigaword,
    "multi_news": _rename(text="document", summary="summary"),
    "newsroom": _rename(text="text", title="title", summary="summary"),
    "samsum": _samsum,
    "xsum": _rename(text="document", summary="summary"),
    "opinion_abstracts_rotten_tomatoes": _rotten_tomatoes,
    "opinion_abstracts_idebate": _idebate,
    "wiki_lingua_english_en": _rename(source="source", target="target"),
    "coqa": _coqa,
    "quac": _quac,
    "squad_v1": _squad,
    "squad_v2": _squad,
    "drop": _drop,
    "stsb": _stsb,
    "true_case": _true_case,
    "fix_punct": _fix_punct,
    "word_segment": _word_segment,
    "common_gen": _common_gen,
    "dart": _dart,
    "e2e_nlg": _e2e_nlg,
    "web_nlg_en": _web_nlg,
}
