"""Fields of FLAN's datasets, on rows written by hand in the schema of TensorFlow Datasets."""

import pytest

from instrux.errors import InputError
from instrux.prompts.flan import FlanForm
from instrux.prompts.flan_defects import DEFECTS, EVERY_TEXT_DEFECT, MENDED_BY_DESIGN, checked
from instrux.prompts.flan_fields import FIELD_KEYS, fields_of
from instrux.prompts.flan_templates import load_key, template_key
from tasks.flan_keys import PROMPTS, template_keys

NLI = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}
SENTENCES = {"sentence1": "A cat sat.", "sentence2": "A cat was sitting.", "label": 1}
REFERENCES = {"target": "Ann was born in Ulm.", "references": ["Ulm is where Ann was born."]}
SQUAD = {
    "title": "New_York",
    "context": "New York is large.",
    "question": "How big is it?",
    "answers": {"text": ["large", "is large"], "answer_start": [12, 9]},
}
ROWS = {
    "rte": NLI,
    "cb": {**NLI, "label": 2},
    "mnli_matched": NLI,
    "snli": {**NLI, "label": 1},
    "anli_r1": {"context": "It rains.", "hypothesis": "It is wet.", "label": 1, "uid": "a"},
    "qnli": {"question": "Who sat?", "sentence": "A cat sat.", "label": 0, "idx": 0},
    "wnli": SENTENCES,
    "glue_mrpc": SENTENCES,
    "paws_wiki": {**SENTENCES, "id": 4},
    "glue_qqp": {"question1": 'Is ""x"" y?', "question2": "Is y x?", "label": 0, "idx": 1},
    "bool_q": {
        "title": "Rain",
        "passage": "Rain is wet.",
        "question": "is rain wet",
        "answer": True,
    },
    "wsc": {"text": "Ann saw her.", "span1_text": "Ann", "span2_text": "her", "label": 0},
    "wsc273": {
        "text": "The cup fell off the table because it was round.",
        "pronoun_start": 35,
        "pronoun_end": 37,
        "option1_normalized": "The cup",
        "option2_normalized": "the table",
        "label": 0,
    },
    "wic": {**SENTENCES, "word": "sit", "label": 1},
    "cola": {"sentence": "Cat a sat.", "label": 0, "idx": 1},
    "sst2": {"sentence": "a joy", "label": 1, "idx": 1},
    "imdb_reviews": {"text": "Good.<br /><br />Very good.", "label": 1},
    "yelp_polarity_reviews": {"text": 'Said \\""no\\"".\\nNever again.', "label": 0},
    "trec": {"text": "Who wrote Emma?", "label-coarse": 3, "label-fine": 20},
    "ag_news_subset": {"title": "Rain", "description": "It rains.", "label": 3},
    "sentiment140": {"text": "so happy", "polarity": 4, "query": "x", "user": "u", "date": "d"},
    "multirc": {
        "paragraph": "Ann ate.",
        "question": "Who ate?",
        "answer": "Ann",
        "label": 1,
        "idx": {"paragraph": 1, "question": 2, "answer": 3},
    },
    "winogrande": {
        "sentence": "Ann thanked Bo because _ had helped.",
        "option1": "Ann",
        "option2": "Bo",
        "label": 1,
    },
    "record": {
        "passage": "Ann beat Bo in Ulm.\n@highlight\nAnn wins",
        "query": "In the final @placeholder won the cup.",
        "entities": ["Ann", "Bo", "Ulm"],
        "answers": ["Ann", "Bo"],
    },
    "arc_easy": {
        "question": "What is wet?",
        "choices": {"text": ["rain", "sand", "fire", "wind"], "label": [0, 1, 2, 3]},
        "answerKey": 0,
        "id": "a",
    },
    "cosmos_qa": {
        "context": "I ran.",
        "question": "Why?",
        "answer0": "late",
        "answer1": "bored",
        "answer2": "tired",
        "answer3": "None of the above choices .",
        "label": 0,
        "id": "b",
    },
    "openbookqa": {
        "question": {
            "stem": "The sun is",
            "choice_A": "hot",
            "choice_B": "cold",
            "choice_C": "wet",
            "choice_D": "small",
        },
        "fact1": "stars are hot",
        "answerKey": 0,
    },
    "piqa": {"goal": "dry a shirt", "sol1": "hang it up", "sol2": "fold it", "label": 0, "id": "1"},
    "copa": {
        "premise": "The man fell.",
        "question": "cause",
        "choice1": "He slipped.",
        "choice2": "He slept.",
        "label": 0,
    },
    "story_cloze": {
        "context": "Ann ran. She fell.",
        "endings": ["She cried.", "She flew."],
        "label": 1,
    },
    "definite_pronoun_resolution": {
        "sentence": "Bees leave when they are cold.",
        "pronoun": "they",
        "candidates": ["Bees", "flowers"],
        "label": 0,
    },
    "hellaswag": {
        "context": "[header] How to swim [title] Go in. [step] Find water.",
        "endings": ["[step] Dive.", "Eat.", "Run. [substeps] Fast.", "Sing."],
        "label": 2,
        "activity_label": "Swimming",
    },
    "natural_questions": {"question": "who wrote emma", "answer": ["Jane Austen", "Austen"]},
    "trivia_qa": {
        "question": "Who wrote Emma?",
        "answer": {
            "normalized_value": "jane austen",
            "normalized_aliases": ["jane austen", "austen"],
        },
    },
    "math_dataset": {"question": "b'Solve 2*x = 4 for x.\\n'", "answer": "b'2\\n'"},
    "aeslc": {"email_body": "See you\nat ten.", "subject_line": "Meeting\n"},
    "cnn_dailymail": {
        "article": "London (CNN) -- It rained in 1990. Much.",
        "highlights": "It rained .\nMuch .",
        "id": "a",
    },
    "gigaword": {"document": "it rained in ulm", "summary": "rain in ulm"},
    "multi_news": {"document": "A. ||||| B.", "summary": "A and B."},
    "newsroom": {"text": "It rained.", "title": "Rain", "summary": "Rain fell."},
    "samsum": {
        "dialogue": "Ann: hi\r\nBo: <file_photo>",
        "summary": "Bo sends a photo.",
        "id": "1",
    },
    "xsum": {"document": "It rained.", "summary": "Rain fell."},
    "opinion_abstracts_rotten_tomatoes": {
        "_movie_name": "the_rain",
        "_movie_id": "i",
        "_critics": {"key": ["1", "2"], "value": ["Wet.", "Good."]},
        "_critic_consensus": "A wet delight.",
    },
    "opinion_abstracts_idebate": {
        "_debate_name": "Ban rain",
        "_claim": "Rain is bad.",
        "_claim_id": "c",
        "_argument_sentences": [
            {"key": "1", "value": "It is wet."},
            {"key": "2", "value": "And cold."},
        ],
    },
    "wiki_lingua_english_en": {"source": "Take water. Boil it.", "target": "Boil water."},
    "coqa": {
        "story": "Ann ate.",
        "questions": ["Who?", "Did what?"],
        "answers": {"input_text": ["Ann", "ate"], "answer_start": [0, 4]},
    },
    "quac": {
        "title": "Ann",
        "background": "Ann is a poet.",
        "context": "She wrote. CANNOTANSWER",
        "question": "What did she do?",
        "orig_answer": {"text": "She wrote.", "answer_start": 0},
    },
    "squad_v1": SQUAD,
    "squad_v2": {**SQUAD, "is_impossible": False},
    "drop": {"passage": "Two cats.", "question": "How many?", "answer": "2"},
    "stsb": {**SENTENCES, "label": 3.8},
    "true_case": {"en": "Ann saw Ulm.", "da": "-"},
    "fix_punct": {"en": "Ann, Bo.", "da": "-"},
    "word_segment": {"en": "Ann saw Ulm.", "da": "-"},
    "common_gen": {**REFERENCES, "concepts": ["bear", "town"]},
    "dart": {**REFERENCES, "tripleset": ["[TABLECONTEXT] | Ann | born", "Ann | town | Ulm"]},
    "e2e_nlg": {**REFERENCES, "meaning_representation": "name[Ulm Inn], food[fish]"},
    "web_nlg_en": {**REFERENCES, "input": ["Ann | birth_place | Ulm", "Ulm | country | Germany"]},
    "para_crawl_enes": {"en": "Rain.", "es": "Lluvia."},
    "wmt14_enfr": {"en": "Rain.", "fr": "La pluie."},
    "wmt16_translate_deen": {"en": "Rain.", "de": "Regen."},
}


def fields(dataset: str, **changed):
    return fields_of(dataset, {**ROWS[dataset], **changed})


def test_every_key_has_a_row_here_and_a_reader():
    assert {template_key(dataset) for dataset in ROWS} == FIELD_KEYS == set(template_keys())


@pytest.mark.parametrize("dataset", ROWS)
def test_every_template_renders_from_a_raw_row(dataset):
    entry = template_keys()[template_key(dataset)]
    row = fields(dataset)
    assert row is not None
    assert entry.fields <= row.keys()
    assert bool(entry.options_field) == ("options" in row)
    for options in ("fixed", "none", "random"):
        form = FlanForm(options=options)
        for number in range(10):
            text = form.render(
                load_key(PROMPTS, entry.key), row, f"{dataset}/default/train/{number}"
            )
            assert text.inputs.strip() and text.targets.strip()
            if text.answer_choices and not text.turned_around:
                assert text.targets in text.answer_choices


@pytest.mark.parametrize(
    ("dataset", "answers"),
    [
        ("bool_q", ["no", "yes"]),
        ("wsc", ["no", "yes"]),
        ("multirc", ["no", "yes"]),
        ("paws_wiki", ["no", "yes"]),
        ("glue_mrpc", ["no", "yes"]),
        ("glue_qqp", ["no", "yes"]),
        ("wnli", ["no", "yes"]),
        ("rte", ["yes", "no"]),
        ("qnli", ["yes", "no"]),
        ("anli_r1", ["Yes", "It's impossible to say", "No"]),
        ("cb", ["Yes", "No", "It's impossible to say"]),
        ("mnli_matched", ["yes", "it is not possible to tell", "no"]),
        ("snli", ["yes", "it is not possible to tell", "no"]),
        ("wic", ["different meanings", "the same meaning"]),
        ("cola", ["unacceptable", "acceptable"]),
        ("sst2", ["negative", "positive"]),
        ("imdb_reviews", ["negative", "positive"]),
        ("sentiment140", ["negative", "positive"]),
        ("yelp_polarity_reviews", ["negative", "positive"]),
        ("trec", ["description", "entity", "abbreviation", "human", "numeric", "location"]),
        ("ag_news_subset", ["World", "Sports", "Business", "Science/Tech"]),
        ("stsb", ["0", "1", "2", "3", "4", "5"]),
    ],
)
def test_labels_become_the_released_words_in_label_order(dataset, answers):
    assert fields(dataset)["options"] == answers


@pytest.mark.parametrize("dataset", ["snli", "hellaswag", "rte"])
def test_rows_without_a_label_take_no_part(dataset):
    assert fields(dataset, label=-1) is None


@pytest.mark.parametrize(
    ("score", "answer"),
    [(2.5, "2"), (3.5, "4"), (0.5, "0"), (4.6, "5"), (5.0, "5"), (0.0, "0"), (2.51, "3")],
)
def test_stsb_rounds_half_to_even(score, answer):
    row = fields("stsb", label=score)
    assert (row["answer_str"], row["label"]) == (answer, score)


def test_squad_v2_has_one_word_for_no_answer():
    row = fields("squad_v2", is_impossible=True, answers={"text": [], "answer_start": []})
    assert (row["answer"], row["answers"]) == ("unanswerable", ["unanswerable"])
    assert fields("squad_v2")["answers"] == ["large", "is large"]
    assert fields("squad_v1")["title"] == "New York"


def test_options_of_winogrande_and_wsc273_share_their_ending():
    row = fields("winogrande")
    assert row["context"] == "Ann thanked Bo because "
    assert row["options"] == ["Ann had helped.", "Bo had helped."]
    assert row["answer"] == "Bo had helped."
    row = fields("wsc273")
    assert row["context"] == "The cup fell off the table because"
    assert row["options"] == ["The cup was round.", "the table was round."]


def test_record_appends_the_rest_of_the_query_and_has_several_right_answers():
    row = fields("record")
    assert row["query"] == "In the final"
    assert row["passage"] == "Ann beat Bo in Ulm."
    assert row["options"] == ["Ann won the cup.", "Bo won the cup.", "Ulm won the cup."]
    assert row["answers"] == ["Ann won the cup.", "Bo won the cup."]
    assert row["answer"] == "Ann won the cup."


def test_gigaword_leaves_out_what_was_anonymised():
    assert fields("gigaword") is not None
    assert fields("gigaword", document="it rained UNK") is None
    assert fields("gigaword", summary="rain of ## mm") is None


def test_the_dateline_goes_and_the_article_stays():
    row = fields("cnn_dailymail")
    assert row["text"] == "It rained in 1990. Much."
    assert row["highlights"] == "It rained. Much."
    dated = "By Ann . PUBLISHED: 1 May 2013 . | UPDATED: 2 May 2013 . It rained ."
    assert fields("cnn_dailymail", article=dated)["text"] == "It rained ."


def test_the_dateline_defect_can_be_had_back():
    row = fields_of("cnn_dailymail", ROWS["cnn_dailymail"], as_released=["cnn_dailymail_dateline"])
    assert row == {"text": "London (CNN", "highlights": "It rained .\nMuch ."}


def test_arc_takes_only_questions_with_four_choices():
    assert fields("arc_easy", choices={"text": ["a", "b", "c"], "label": [0, 1, 2]}) is None


def test_hellaswag_loses_its_markup():
    row = fields("hellaswag")
    assert row["context"] == "How to swim \nGo in. \nFind water."
    assert row["answer"] == "Run. Fast."


def test_text_is_cleaned_as_released():
    assert fields("imdb_reviews")["text"] == "Good.\n\nVery good."
    assert fields("yelp_polarity_reviews")["text"] == 'Said "no". Never again.'
    assert fields("glue_qqp")["question1"] == "Is 'x' y?"
    assert fields("natural_questions")["question"] == "who wrote emma?"
    assert fields("samsum")["dialogue"] == "Ann: hi\nBo:  "
    assert fields("aeslc") == {"body": "See you at ten.", "subject": "Meeting"}
    assert fields("e2e_nlg")["meaning_representation"] == "name = Ulm Inn, food = fish"
    assert fields("web_nlg_en")["input_string"] == "Ann, birth place, Ulm; Ulm, country, Germany"
    assert fields("common_gen")["concepts"] == "bear, town"
    assert fields("common_gen")["answers"] == ["Ulm is where Ann was born.", "Ann was born in Ulm."]


def test_dart_loses_its_bracketed_cells_in_one_of_two_forms():
    row = fields("dart")
    assert row["tripleset"] == " | Ann | born; Ann | town | Ulm"
    assert row["tripleset_newline"] == "[TABLECONTEXT] | Ann | born\nAnn | town | Ulm"
    nested = fields("dart", tripleset=[["Ann", "town", "Ulm"]])
    assert nested["tripleset"] == "Ann | town | Ulm"


def test_lists_are_numbered_and_end_at_ten():
    row = fields("opinion_abstracts_rotten_tomatoes")
    assert row["numbered_reviews"] == "1. Wet.\n2. Good."
    assert (row["movie"], row["first_review"]) == ("the rain", "Wet.")
    many = {"key": list("abcdefghijkl"), "value": [str(number) for number in range(12)]}
    assert fields("opinion_abstracts_rotten_tomatoes", _critics=many)["numbered_reviews"].endswith(
        "\n10. 9"
    )
    assert fields("coqa")["numbered_answers"] == "1. Ann\n2. ate"


def test_formatting_tasks():
    assert fields("true_case") == {"lower": "ann saw ulm.", "answer": "Ann saw Ulm."}
    assert fields("fix_punct") == {"no_punct": "Ann Bo", "answer": "Ann, Bo."}
    assert fields("word_segment")["no_space"] == "AnnsawUlm."
    assert fields("true_case", en="no capitals") is None
    assert fields("fix_punct", en="No marks") is None


def test_accented_letters_are_letters():
    assert fields("fix_punct", en="Café, bar.")["no_punct"] == "Café bar"
    assert fields("true_case", en="École")["lower"] == "école"
    kept = {"as_released": ["ascii_formatting"]}
    assert fields_of("fix_punct", {"en": "Café, bar."}, **kept)["no_punct"] == "Caf bar"
    assert fields_of("true_case", {"en": "École"}, **kept) is None


def test_translations_have_english_first_and_know_their_languages():
    assert fields("wmt16_translate_deen") == {
        "lang1": "English",
        "lang2": "German",
        "sent1": "Rain.",
        "sent2": "Regen.",
    }
    assert fields("para_crawl_enes")["lang2"] == "Spanish"
    with pytest.raises(InputError, match="does not end in English and another"):
        fields_of("para_crawl_dees", {"de": "a", "es": "b"})


def test_math_is_read_from_byte_strings():
    assert fields("math_dataset") == {"question": "Solve 2*x = 4 for x.", "answer": "2"}
    assert fields("math_dataset", answer="-7\n")["answer"] == "-7"
    kept = fields_of("math_dataset", ROWS["math_dataset"], as_released=["math_dataset_bytes"])
    assert kept["answer"] == "b'2\\n'"


def test_neutral_tweets_take_no_part():
    assert fields("sentiment140", polarity=3)["answer"] == "positive"
    assert fields("sentiment140", polarity=2) is None
    neutral = {**ROWS["sentiment140"], "polarity": 2}
    assert (
        fields_of("sentiment140", neutral, as_released=["sentiment140_neutral"])["answer"]
        == "negative"
    )


def test_quac_without_its_mark_for_no_answer():
    assert fields("quac")["context"] == "She wrote."
    unanswered = {**ROWS["quac"], "orig_answer": {"text": "CANNOTANSWER"}}
    assert fields_of("quac", unanswered) is None
    kept = fields_of("quac", unanswered, as_released=["quac_cannotanswer"])
    assert (kept["answer"], kept["context"]) == ("CANNOTANSWER", "She wrote. CANNOTANSWER")


def test_multirc_groups_by_ids():
    row = fields("multirc")
    assert [row[f"idx/{part}"] for part in ("paragraph", "question", "answer")] == [1, 2, 3]
    kept = fields_of("multirc", ROWS["multirc"], as_released=["multirc_answer_id"])
    assert kept["idx/answer"] == 2
    assert row["group"] == "1/2"  # paragraph and question: what answers are judged together by


def test_emails_without_a_subject_take_no_part():
    assert fields("aeslc", subject_line="") is None
    kept = fields_of(
        "aeslc", {"email_body": "Hi.", "subject_line": ""}, as_released=EVERY_TEXT_DEFECT
    )
    assert kept == {"body": "Hi.", "subject": ""}


def test_unknown_datasets_defects_and_rows_are_told():
    with pytest.raises(InputError, match=r"no FLAN dataset 'rtte'\. Did you mean 'rte'"):
        fields_of("rtte", {})
    with pytest.raises(InputError, match="no defect 'quac' can be had back"):
        fields_of("rte", NLI, as_released=["quac"])
    with pytest.raises(InputError, match=r"rte: a row is not as TFDS has it .*hypothesis.*premise"):
        fields_of("rte", {"premise": "It rains.", "label": 0})


def test_each_defect_says_what_is_done_about_it():
    assert not DEFECTS.keys() & MENDED_BY_DESIGN.keys()
    for defect in [*DEFECTS.values(), *MENDED_BY_DESIGN.values()]:
        assert defect.version in ("2021", "2022", "both")
        assert defect.released and defect.mended and defect.known_from
    assert checked("quac_cannotanswer") == {"quac_cannotanswer"}
