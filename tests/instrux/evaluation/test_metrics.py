"""Metrics against arithmetic by hand, and against Natural Instructions' published script."""

import json
import math
from pathlib import Path

import pytest

from instrux.errors import InputError
from instrux.evaluation import metrics
from instrux.evaluation.metrics import METRICS

NI_CASES = Path(__file__).parents[3] / "../shared/specs/ni_metric_cases.jsonl"


@pytest.mark.parametrize(
    ("name", "prediction", "references", "expected"),
    [
        ("accuracy", " yes\n", ["yes"], 100),
        ("accuracy", "Yes", ["yes"], 0),
        ("accuracy", "b", ["a", "b"], 100),  # any reference will do
        ("contains_target", "It was the Nurse.", ["nurse"], 100),
        ("contains_target", "a nurse", ["the nurse"], 0),
        ("contains_target_noun", "A nurse.", ["the nurse"], 100),
        ("contains_target_noun", "the Housekeeper", ["a housekeeper"], 100),
        ("contains_target_noun", "an assistant", ["an assistant"], 100),
        ("contains_target_noun", "the janitor", ["The accountant"], 0),
        ("contains_target_noun", "the", ["theatre worker"], 0),
        ("squad_exact_match", "The  cat!", ["a cat"], 100),
        ("squad_exact_match", "cats", ["cat"], 0),
        # words: {red, cat, sat} and {red, cat}: 2 shared, 2*2/(3+2)
        ("squad_f1", "the red cat sat", ["a red cat", "dog"], 80),
        ("squad_f1", "the", ["an"], 100),  # nothing is left of either
        ("squad_f1", "the", ["dog"], 0),
        # bigrams "a b", "b c" against "b c", "c d": 1 of 2 each
        ("rouge2", "a b c", ["b c d"], 50),
        ("rougeL", "a x b c", ["a b c"], 100 * 2 * (3 / 4) * 1 / (3 / 4 + 1)),
        ("sentence_bleu", "the cat sat on the mat", ["the cat sat on the mat"], 100),
        # "ab" of "abc" matches: 2 * 2 / (2 + 3)
        ("edit_similarity", "ab", ["abc"], 80),
    ],
)
def test_credit_of_one_example(name, prediction, references, expected):
    assert METRICS[name].credit(prediction, references) == pytest.approx(expected)


def test_a_score_is_the_mean_credit():
    assert METRICS["accuracy"].score(["a", "b", "c"], [["a"], ["x"], ["y", "c"]]) == pytest.approx(
        200 / 3
    )
    assert math.isnan(METRICS["accuracy"].score([], []))


def test_corpus_bleu_pools_the_counts():
    # Orders 1-4 over both sentences: 6+4, 5+3, 4+2, 3+1 n-grams, of which the first sentence's
    # all match and the second's match nothing but "a b" of "a b x y": 2, 1, 0, 0.
    predictions = ["the cat sat on the mat", "a b x y"]
    references = [["the cat sat on the mat"], ["a b c d"]]
    expected = 100 * (8 / 10 * 6 / 8 * 4 / 6 * 3 / 4) ** 0.25
    assert METRICS["bleu"].score(predictions, references) == pytest.approx(expected)


def test_corpus_bleu_takes_a_different_number_of_references_for_each_example():
    predictions = ["the cat sat on the mat", "one two three four"]
    references = [["a dog", "the cat sat on the mat"], ["one two three four"]]
    assert METRICS["bleu"].score(predictions, references) == pytest.approx(100)


def test_macro_f1_by_hand():
    # yes: 1 hit, 2 predicted, 2 expected: 2*1/4; no: 1 hit, 1 predicted, 2 expected: 2*1/3.
    predictions, references = ["yes", "yes", "no", "maybe"], [["yes"], ["no"], ["no"], ["yes"]]
    assert METRICS["f1_macro"].score(predictions, references) == pytest.approx(
        100 * (1 / 2 + 2 / 3) / 2
    )


def test_f1_of_the_answer_yes_by_hand():
    predictions, references = ["yes", "no", "yes", "maybe"], [["yes"], ["yes"], ["no"], ["no"]]
    # "maybe" counts as yes, the wrong one: three said yes, two are, one of them is among both.
    assert METRICS["answer_f1"].score(predictions, references) == 100 * 2 * 1 / (3 + 2)
    assert METRICS["answer_f1"].score(["right.", "wrong."], [["right."], ["right."]]) == (
        pytest.approx(200 / 3)
    )
    assert METRICS["answer_f1"].score(["no"], [["no"]]) == 0.0


def test_a_question_is_right_where_all_its_answers_are():
    # Question a: both right; b: one of three wrong; c: neither yes nor no, so wrong. One of three.
    groups = ["a", "b", "b", "a", "b", "c"]
    predictions = ["yes", "no", "yes ", "no", "no", "maybe"]
    references = [["yes"], ["no"], ["yes"], ["no"], ["yes"], ["no"]]
    metric = METRICS["question_exact_match"]
    assert metric.score(predictions, references, groups) == pytest.approx(100 / 3)
    with pytest.raises(TypeError, match="groups of examples"):
        metric.score(predictions, references)


def test_area_under_the_curve_counts_ties_as_half():
    # positives 3, 1; negatives 1, 0: 3>1, 3>0, 1=1, 1>0: 3.5 of 4
    assert metrics.area_under_curve([3, 1, 1, 0], [True, True, False, False]) == 87.5
    assert math.isnan(metrics.area_under_curve([1, 2], [True, True]))


def test_correlations_by_hand():
    references = [["1"], ["2"], ["3"]]
    assert METRICS["pearson"].score(["2", "4", "6"], references) == pytest.approx(100)
    assert METRICS["spearman"].score(["1", "100", "10"], references) == pytest.approx(50)
    # "x" counts as 0: ranks 3, 1, 2 against 1, 2, 3
    assert METRICS["spearman"].score(["9", "x", "1"], references) == pytest.approx(-50)
    assert math.isnan(METRICS["pearson"].score(["5", "5", "5"], references))


def test_names_of_promptsource_are_understood():
    names = [metric.name for metric in metrics.resolve_metrics(["ROUGE", "Squad", "rouge1"])]
    assert names == ["rougeL", "rouge1", "rouge2", "rougeLsum", "squad_f1", "squad_exact_match"]
    assert [m.name for m in metrics.resolve_metrics(["Other"])] == ["accuracy"]
    assert [m.name for m in metrics.resolve_metrics([])] == ["accuracy"]


def test_the_headline_always_has_a_credit_for_one_example():
    assert [m.name for m in metrics.resolve_metrics(["pearson"])] == ["accuracy", "pearson"]
    assert metrics.resolve_metrics(["f1_macro", "squad_f1"])[0].name == "squad_f1"


def test_an_unknown_metric_is_the_users_mistake():
    with pytest.raises(InputError, match=r"'rogueL'.*Did you mean 'rougeL'"):
        metrics.resolve_metrics(["rogueL"])


@pytest.mark.skipif(not NI_CASES.exists(), reason="needs shared/specs beside the repository")
def test_natural_instructions_own_metrics():
    cases = [json.loads(line) for line in NI_CASES.read_text().splitlines()]
    assert len(cases) > 50
    for case in cases:
        prediction, references = case["prediction"], case["references"]
        for ours, theirs in (
            ("tk_instruct_exact_match", "exact_match"),
            ("tk_instruct_rouge1", "rouge1"),
            ("tk_instruct_rougeL", "rougeL"),
        ):
            credit = METRICS[ours].credit(prediction, references)
            assert credit == pytest.approx(100 * case[theirs], abs=1e-4), (ours, case)
