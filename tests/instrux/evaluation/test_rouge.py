import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from instrux.evaluation.rouge import (
    english_scorer,
    gpt2_scorer,
    longest_common_subsequence,
    stemmed_words,
)

_words = st.lists(st.sampled_from("the a cat cats sat running runs mat 3 14 İx ponies".split()))
_texts = st.one_of(_words.map(" ".join), st.text(max_size=60))


@pytest.fixture(scope="module")
def package():
    return rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True)


def test_by_hand():
    assert longest_common_subsequence("abcbdab", "bdcaba") == 4
    assert longest_common_subsequence((), ("a",)) == 0
    assert stemmed_words("The ponies' ties, 3.14!") == ("the", "poni", "tie", "3", "14")
    assert english_scorer().rouge_l("The cat sat on the mat.", "the cat is on the mat") == 5 / 6
    assert english_scorer().rouge_l("", "x") == english_scorer().rouge_l("x", "") == 0.0


@settings(max_examples=300, deadline=None)
@given(prediction=_texts, reference=_texts)
def test_values_are_the_packages_to_the_last_bit(package, prediction, reference):
    theirs = package.score(reference, prediction)
    assert english_scorer().rouge_l(prediction, reference) == theirs["rougeL"].fmeasure
    assert english_scorer().rouge_1(prediction, reference) == theirs["rouge1"].fmeasure


def test_long_texts_too(package):
    words = [f"word{(7 * number) % 211} running" for number in range(400)]
    prediction, reference = " ".join(words), " ".join(words[::3] + words[:90])
    theirs = package.score(reference, prediction)
    assert english_scorer().rouge_l(prediction, reference) == theirs["rougeL"].fmeasure


def test_the_reference_cases_of_both_tracks(shared_data):
    lines = (shared_data.parent / "specs" / "ni_metric_cases.jsonl").read_text(encoding="utf-8")
    cases = [json.loads(line) for line in lines.splitlines()]
    assert len(cases) == 92
    pieces = gpt2_scorer(str(shared_data / "vocab" / "gpt2" / "merges.txt"))
    for case in cases:
        said, references = case["prediction"], case["references"]
        for scorer, field in ((english_scorer(), "rougeL"), (pieces, "rougeL_xlingual")):
            best = max(scorer.rouge_l(said, reference) for reference in references)
            assert best == pytest.approx(case[field], abs=1e-6)
        best = max(english_scorer().rouge_1(said, reference) for reference in references)
        assert best == pytest.approx(case["rouge1"], abs=1e-6)
