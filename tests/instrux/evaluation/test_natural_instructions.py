import json

import pytest

from instrux.errors import InputError
from instrux.evaluation import natural_instructions as scoring
from instrux.evaluation.natural_instructions import ScoredInstance
from instrux.evaluation.natural_instructions_baselines import baseline_predictions


def _instance(number, prediction, *references, task="task1_a", category="Textual Entailment", **kw):
    return ScoredInstance(f"task1-{number}", task, category, references, prediction, **kw)


@pytest.mark.parametrize("baseline", ["copy_demo", "copy_input"])
def test_the_heuristic_baselines_have_the_known_scores(shared_data, baseline):
    folder = shared_data / "natural_instructions"
    known = json.loads((folder / "heuristic_baselines_test119.json").read_text())[baseline]
    found = scoring.score(baseline_predictions(baseline, folder / "test119"))
    overall = found.track("default")
    assert (overall.instances, overall.tasks) == (11_810, 119)
    for metric, value in known["overall"].items():
        assert getattr(overall, metric) == pytest.approx(value, abs=1e-4)
    for category, value in known["per_category"].items():
        assert found.category(category).reported == pytest.approx(value, abs=1e-4)
        by_rouge = known["per_category_rougeL"][category]
        assert found.category(category).rougeL == pytest.approx(by_rouge, abs=1e-4)


def test_the_best_reference_counts_and_instances_weigh_the_same():
    found = scoring.score(
        [
            _instance(1, "Yes.", "no", "yes"),
            _instance(2, "no", "yes"),
            _instance(3, "no", "yes"),
            _instance(4, "a b", "a c", task="task2_b", category="Data to Text"),
        ]
    )
    assert found.track("default").rougeL == 37.5  # (1 + 0 + 0 + 0.5) / 4
    assert found.category("Textual Entailment").exact_match == 33.3333
    assert found.category("Textual Entailment").metric == "exact_match"
    assert found.category("Data to Text").reported == 50.0
    keys = found.released_keys("default")
    assert keys["rougeL"] == 37.5
    assert keys["exact_match_for_textual_entailment"] == 33.3333
    assert keys["rougeL_for_task2_b"] == 50.0


def test_tracks_are_scored_apart_with_their_own_tokens(shared_data):
    merges = str(shared_data / "vocab" / "gpt2" / "merges.txt")
    found = scoring.score(
        [
            _instance(1, "entailment", "Entailment"),
            _instance(2, "entailment", "Entailment", track="xlingual"),
        ],
        gpt2_merges=merges,
    )
    assert found.track("default").rougeL == 100.0
    assert found.track("xlingual").rougeL == pytest.approx(66.6667)
    with pytest.raises(InputError, match="no 'french'"):
        scoring.score([_instance(1, "x", "x", track="french")])


def test_the_released_format_goes_round(tmp_path):
    path = tmp_path / "predicted_examples.jsonl"
    row = {
        "Task": "task1_a",
        "Categories": ["Textual Entailment"],
        "id": "task1-7",
        "Instance": {"id": "task1-7", "input": "i", "output": ["yes", "oui"]},
    }
    scoring.write_released_predictions(path, [(row, "yes \u2028 ü")])
    assert json.loads(path.read_text())["prediction"] == "yes \u2028 ü"
    assert scoring.read_released_predictions(path) == [_instance(7, "yes \u2028 ü", "yes", "oui")]


def test_the_leaderboards_files_go_round_and_a_missing_prediction_is_empty(tmp_path, capsys):
    predictions, references = tmp_path / "predictions.jsonl", tmp_path / "references.jsonl"
    instances = [_instance(1, "a", "b"), _instance(2, "c", "c")]
    scoring.write_leaderboard(instances, predictions=predictions, references=references)
    assert scoring.read_leaderboard(predictions, references) == (instances, ())
    predictions.write_text(predictions.read_text().splitlines()[0] + "\n")
    read, missing = scoring.read_leaderboard(predictions, references)
    assert [each.prediction for each in read] == ["a", ""]
    assert missing == ("task1-2",)
    assert "no prediction for 1 of 2 instances" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not a JSON object"),
        ('{"Task": "t", "prediction": "p"}', "field 'Instance' is missing"),
        ('{"Task": "t", "prediction": 1, "Instance": {"output": ["x"]}}', "field 'prediction'"),
        ('{"Task": "t", "prediction": "p", "Instance": {"output": []}}', "field 'output'"),
    ],
)
def test_bad_lines_are_told(tmp_path, line, complaint):
    path = tmp_path / "p.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=complaint):
        scoring.read_released_predictions(path)


def test_an_id_that_comes_twice_is_told(tmp_path):
    predictions, references = tmp_path / "p.jsonl", tmp_path / "r.jsonl"
    instances = [_instance(1, "a", "b")]
    scoring.write_leaderboard(instances * 2, predictions=predictions, references=references)
    with pytest.raises(InputError, match="line 2: instance 'task1-1' has a prediction already"):
        scoring.read_leaderboard(predictions, references)


def test_scores_are_written_with_the_released_keys(tmp_path):
    path = tmp_path / "scores.json"
    scoring.write_scores(path, scoring.score([_instance(1, "yes", "yes")]))
    content = json.loads(path.read_text())
    assert content["released"]["default"]["exact_match_for_textual_entailment"] == 100.0
    assert content["tracks"][0]["instances"] == 1
