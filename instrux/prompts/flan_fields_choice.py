"""Fields of FLAN's datasets whose answer is one of several: fixed labels or candidates of the row.

Each function takes a row as TFDS has it, with texts decoded, and gives the fields that templates
name, or None where the row takes no part.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
Fields = dict[str, Any]
Kept = frozenset[str]
Maker = Callable[[Row, Kept], Fields | None]

NO_YES = ("no", "yes")
YES_NO = ("yes", "no")
POLARITY = ("negative", "positive")
THREE_WAY = ("yes", "it is not possible to tell", "no")


@dataclass(frozen=True)
class Labelled:
    """A dataset with fixed labels.

    Attributes:
        names: our field -> the row's.
        options: the answers in the order of label ids.
        label: the row's field with the label id.
        clean: our field -> what to do to its text.
    """

    names: Mapping[str, str]
    options: Sequence[str]
    label: str = "label"
    clean: Mapping[str, Callable[[str], str]] = field(default_factory=dict)

    def __call__(self, row: Row, kept: Kept) -> Fields | None:
        """Gives the fields, or None for a row without a label."""
        fields: Fields = {ours: row[theirs] for ours, theirs in self.names.items()}
        for name, clean in self.clean.items():
            fields[name] = clean(fields[name])
        # Our own readers have underscores for the hyphens of field names.
        label = self.label if self.label in row else self.label.replace("-", "_")
        return answered(fields, self.options, int(row[label]))


def answered(fields: Fields, options: Sequence[str], label: int) -> Fields | None:
    """Adds options and answer; None where the label is none of them."""
    if not 0 <= label < len(options):
        return None
    return {**fields, "options": list(options), "answer": options[label]}


def _without_breaks(text: str) -> str:
    return text.replace("<br />", "\n")


def _without_doubled_quotes(text: str) -> str:
    return text.replace('""', "'")


def _without_escapes(text: str) -> str:
    return text.replace('\\""', '"').replace("\\n", " ")


def _pair(first: str, second: str) -> dict[str, str]:
    return {first: first, second: second}


_NLI = _pair("premise", "hypothesis")
_SENTENCES = _pair("sentence1", "sentence2")
LABELLED: dict[str, Maker] = {
    "rte": Labelled(_NLI, YES_NO),
    "cb": Labelled(_NLI, ("Yes", "No", "It's impossible to say")),
    "mnli": Labelled(_NLI, THREE_WAY),
    "snli": Labelled(_NLI, THREE_WAY),
    "anli": Labelled(_pair("context", "hypothesis"), ("Yes", "It's impossible to say", "No")),
    "qnli": Labelled(_pair("question", "sentence"), YES_NO),
    "wnli": Labelled(_SENTENCES, NO_YES),
    "glue_mrpc": Labelled(_SENTENCES, NO_YES),
    "paws_wiki": Labelled(_SENTENCES, NO_YES),
    "glue_qqp": Labelled(
        _pair("question1", "question2"),
        NO_YES,
        clean={"question1": _without_doubled_quotes, "question2": _without_doubled_quotes},
    ),
    "bool_q": Labelled(
        {"title": "title", "text": "passage", "question": "question"}, NO_YES, "answer"
    ),
    "wsc": Labelled({"context": "text", "text1": "span1_text", "text2": "span2_text"}, NO_YES),
    "wic": Labelled({**_SENTENCES, "word": "word"}, ("different meanings", "the same meaning")),
    "cola": Labelled({"sentence": "sentence"}, ("unacceptable", "acceptable")),
    "sst2": Labelled({"sentence": "sentence"}, POLARITY),
    "imdb_reviews": Labelled({"text": "text"}, POLARITY, clean={"text": _without_breaks}),
    "yelp_polarity_reviews": Labelled({"text": "text"}, POLARITY, clean={"text": _without_escapes}),
    "trec": Labelled(
        {"text": "text"},
        ("description", "entity", "abbreviation", "human", "numeric", "location"),
        "label-coarse",
    ),
    "ag_news_subset": Labelled(
        {"title": "title", "text": "description"}, ("World", "Sports", "Business", "Science/Tech")
    ),
}


def _sentiment140(row: Row, kept: Kept) -> Fields | None:
    polarity = int(row["polarity"])
    if polarity == 2 and "sentiment140_neutral" not in kept:
        return None
    return answered({"text": row["text"]}, POLARITY, int(polarity in (3, 4)))


def _multirc(row: Row, kept: Kept) -> Fields | None:
    fields = {
        "paragraph": row["paragraph"],
        "question": row["question"],
        "response": row["answer"],
    }
    if "idx" in row:
        wrong = "question" if "multirc_answer_id" in kept else "answer"
        fields["idx/paragraph"] = row["idx"]["paragraph"]
        fields["idx/question"] = row["idx"]["question"]
        fields["idx/answer"] = row["idx"][wrong]
        fields["group"] = "{paragraph}/{question}".format(**row["idx"])
    return answered(fields, NO_YES, int(row["label"]))


def _wsc273(row: Row, kept: Kept) -> Fields | None:
    text = row["text"]
    ending = text[row["pronoun_end"] :].strip()
    options = [f"{row[name]} {ending}" for name in ("option1_normalized", "option2_normalized")]
    return answered({"context": text[: row["pronoun_start"]].strip()}, options, int(row["label"]))


def _winogrande(row: Row, kept: Kept) -> Fields | None:
    context, _, ending = row["sentence"].partition("_")
    ending = ending.partition("_")[0]
    options = [row["option1"] + ending, row["option2"] + ending]
    return answered({"context": context}, options, int(row["label"]))


def _record(row: Row, kept: Kept) -> Fields | None:
    query, _, ending = row["query"].partition("@placeholder")
    ending = ending.partition("@placeholder")[0]
    answers = [f"{answer}{ending}" for answer in row["answers"]]
    if not answers:
        return None
    return {
        "passage": row["passage"].partition("\n@highlight")[0],
        "query": query.strip(),
        "options": [f"{entity}{ending}" for entity in row["entities"]],
        "answer": answers[0],
        "answers": answers,
    }


def _arc(row: Row, kept: Kept) -> Fields | None:
    options = list(row["choices"]["text"])
    if len(options) != 4:
        return None
    return answered({"question": row["question"]}, options, int(row["answerKey"]))


def _cosmos_qa(row: Row, kept: Kept) -> Fields | None:
    options = [row[f"answer{index}"] for index in range(4)]
    fields = {"context": row["context"], "question": row["question"]}
    return answered(fields, options, int(row["label"]))


def _openbookqa(row: Row, kept: Kept) -> Fields | None:
    question = row["question"]
    options = [question[f"choice_{letter}"] for letter in "ABCD"]
    fields = {"question": question["stem"], "fact": row["fact1"]}
    return answered(fields, options, int(row["answerKey"]))


def _piqa(row: Row, kept: Kept) -> Fields | None:
    return answered({"goal": row["goal"]}, [row["sol1"], row["sol2"]], int(row["label"]))


def _copa(row: Row, kept: Kept) -> Fields | None:
    fields = {"premise": row["premise"], "question": row["question"]}
    return answered(fields, [row["choice1"], row["choice2"]], int(row["label"]))


def _story_cloze(row: Row, kept: Kept) -> Fields | None:
    return answered({"context": row["context"]}, list(row["endings"]), int(row["label"]) - 1)


def _definite_pronoun_resolution(row: Row, kept: Kept) -> Fields | None:
    fields = {"sentence": row["sentence"], "pronoun": row["pronoun"]}
    return answered(fields, list(row["candidates"]), int(row["label"]))


def _hellaswag(row: Row, kept: Kept) -> Fields | None:
    # A model will hardly write the brackets of WikiHow's markup.
    context = re.sub(r"\[header\]\s", "", row["context"])
    context = re.sub(r"\[.*?\]\s", "\n", context)
    options = [re.sub(r"\[.*?\]\s", "", ending) for ending in row["endings"]]
    return answered({"context": context}, options, int(row["label"]))


CANDIDATES: dict[str, Maker] = {
    "sentiment140": _sentiment140,
    "multirc": _multirc,
    "wsc273": _wsc273,
    "winogrande": _winogrande,
    "record": _record,
    "arc": _arc,
    "cosmos_qa": _cosmos_qa,
    "openbookqa": _openbookqa,
    "piqa": _piqa,
    "copa": _copa,
    "story_cloze": _story_cloze,
    "definite_pronoun_resolution": _definite_pronoun_resolution,
    "hellaswag": _hellaswag,
}
