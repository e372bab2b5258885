"""F1 of answers by the published rules of SQuAD 2.0, QuAC and DROP; figures by hand."""

import pytest

from instrux.evaluation.metrics import METRICS


@pytest.mark.parametrize(
    ("prediction", "references", "credit"),
    [
        ("Not in background.", ["Not in background."], 100),
        ("not in background", ["Not in background."], 100),
        ("in the background", ["Not in background."], 0),  # squad_f1 would give 80
        ("Not in background.", ["the background"], 0),  # and 50 here
        ("red cat", ["a red cat", "dog"], 100),
        ("cat", ["a red cat"], 200 / 3),
    ],
)
def test_squad_v2_knows_answers_and_none(prediction, references, credit):
    assert METRICS["squad_v2_f1"].credit(prediction, references) == pytest.approx(credit)


@pytest.mark.parametrize(
    ("prediction", "references", "credit"),
    [
        ("x y", ["x y"], 100),
        # Against x y, x and z the credits are 100, 66.7 and 0: without the first the best is 66.7.
        ("x y", ["x y", "x", "z"], (200 / 3 + 100 + 100) / 3),
        ("x y", ["x y", "x y", "z"], 100),  # given twice, so one of them is always left
        ("z", ["x y", "z"], 50),
        ("I don't know.", ["I don't know."], 100),
        ("I know", ["I don't know."], 0),
        ("I don't know.", ["I know"], 0),
    ],
)
def test_quac_leaves_one_reference_out_in_turn(prediction, references, credit):
    metric = METRICS["quac_f1"]
    assert metric.credit(prediction, references) == pytest.approx(credit)
    assert metric.score([prediction] * 2, [references] * 2) == pytest.approx(credit)


@pytest.mark.parametrize(
    ("prediction", "references", "credit"),
    [
        ("7", ["7.0"], 100),
        ("1,000 yards", ["1000-yards"], 100),
        ("8 yards", ["7 yards"], 0),  # the number is wrong, so the word counts nothing
        ("yards", ["7 yards"], 0),
        ("7", ["7 yards"], 67),  # 2/3, rounded
        ("the Bears", ["Bears"], 100),
        ("bears bears", ["Bears"], 100),  # sets of words
        ("Chicago Bears", ["Bears"], 67),
        ("Bears", ["Jets", "Bears"], 100),  # the best over people's answers
        ("Ann, Bo", ["Bo | Ann"], 100),
        ("Ann and Bo", ["Bo | Ann"], 100),
        ("Ann, Bo, and Cy", ["Ann | Bo"], 67),  # 2 of 3 have a partner
        ("Ann", ["Ann | Bo"], 50),
        ("Ann Lee, Bo", ["Bo | Ann"], 83),  # (1 + 2/3) / 2
        ("May 3, 1990", ["3 May 1990"], 100),  # one span: no cut at the comma
        ("", ["Bears"], 0),
    ],
)
def test_drop_pairs_spans_and_wants_numbers_right(prediction, references, credit):
    assert METRICS["drop_f1"].credit(prediction, references) == pytest.approx(credit)
