"""results.json: what is written is read back; what is not ours is refused in one line."""

import dataclasses
import json
import math

import pytest

from instrux.errors import InputError
from instrux.evaluation import results
from instrux.evaluation.predictions import Prediction, read_predictions, write_predictions
from instrux.evaluation.results import EvaluationResults, Interval, Summary, TaskResult

TASK = TaskResult(
    task="rte_a",
    dataset="rte",
    template="a",
    cluster="nli",
    group="held-out prompts",
    mode="rank",
    metric="accuracy",
    score=62.5,
    interval=Interval(30.0, 86.0),
    metrics={"accuracy": 62.5, "auc": math.nan},
    num_examples=8,
    num_without_correct_choice=1,
    num_truncated_inputs=0,
    chance=None,
    majority=50.0,
    original_task=True,
    settings_digest="sha256:0",
    seconds=0.5,
)
SUMMARY = Summary(
    scope="all",
    name="",
    group="",
    metric="accuracy",
    score=62.5,
    interval=Interval(30.0, 86.0),
    mean=62.5,
    median=62.5,
    lower_quartile=62.5,
    upper_quartile=62.5,
    interquartile_range=0.0,
    best=62.5,
    worst=62.5,
    baseline=50.0,
    num_datasets=1,
    num_prompts=1,
    num_examples=8,
)
RESULTS = EvaluationResults(
    model_dir="runs/x",
    step=7,
    settings={"split": "validation", "reading": {"batch_size": 8}},
    versions={"jax": "0"},
    groups=("held-out prompts",),
    tasks=(TASK,),
    summaries=(SUMMARY,),
)


def test_results_are_read_back(tmp_path):
    path = tmp_path / "eval" / "results.json"
    results.write_results(path, RESULTS)
    read = results.read_results(path)
    assert results.same_results(read, RESULTS)
    assert read.tasks[0].interval == Interval(30.0, 86.0)
    assert read.tasks[0].chance is None
    assert math.isnan(read.tasks[0].metrics["auc"])  # null in the file, which stays plain JSON
    assert "NaN" not in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_other_versions_do_not_make_other_results():
    assert results.same_results(dataclasses.replace(RESULTS, versions={}), RESULTS)
    assert not results.same_results(dataclasses.replace(RESULTS, step=8), RESULTS)


def _edited(change):
    content = json.loads(json.dumps(dataclasses.asdict(RESULTS)).replace("NaN", "null"))
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not results but a list"),
        ('{"schema": "other/1"}', "schema is 'other/1'"),
        ("[" * 100_000, "not JSON"),
        (_edited(lambda c: c.update(step="7")), r"step should be int, found '7'"),
        (_edited(lambda c: c.update(step=True)), r"step should be int"),
        (
            _edited(lambda c: c["tasks"][0].update(score="high")),
            r"tasks\[0\].score should be a number",
        ),
        (
            _edited(lambda c: c["tasks"][0].pop("chance")),
            r"tasks\[0\] lacks the fields \['chance'\]",
        ),
        (_edited(lambda c: c["tasks"][0].update(extra=1)), r"unknown ones \['extra'\]"),
        (_edited(lambda c: c.update(tasks={})), r"tasks should be a list"),
        (_edited(lambda c: c["tasks"][0].update(metrics=[])), r"metrics should be an object"),
    ],
)
def test_a_file_that_is_not_results_is_told_in_one_line(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        results.read_results(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_results_are_told_with_the_mend(tmp_path):
    with pytest.raises(InputError, match="instrux evaluate"):
        results.read_results(tmp_path / "results.json")


PREDICTION = Prediction(
    example_id="rte/default/validation/0",
    template="a",
    inputs="Line one\nline two \ud83d",  # a lone surrogate, as cut text may hold
    targets="yes",
    prediction="no",
    choices=("yes", "no"),
    scores=(-1.5, -0.5),
    correct=False,
    credit=0.0,
)


def test_predictions_are_read_back_a_line_each(tmp_path):
    path = tmp_path / "predictions" / "t.jsonl"
    generated = dataclasses.replace(
        PREDICTION, choices=None, scores=None, correct=None, credit=33.3, inputs="é\u2028x"
    )
    write_predictions(path, [PREDICTION, generated])
    assert len(path.read_bytes().splitlines()) == 2
    first, second = read_predictions(path)
    assert first == dataclasses.replace(PREDICTION, inputs="Line one\nline two ?")
    assert second == generated


@pytest.mark.parametrize("line", ["{", '{"example_id": "x"}', "null", '{"example_id": 3}'])
def test_a_line_that_is_no_prediction_is_named(tmp_path, line):
    path = tmp_path / "t.jsonl"
    write_predictions(path, [PREDICTION])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match="line 2: not a prediction"):
        list(read_predictions(path))


def test_a_task_that_was_evaluated_before_padding_was_measured_is_read(tmp_path):
    path = tmp_path / "task.json"
    content = dataclasses.asdict(dataclasses.replace(TASK, metrics={}))
    del content["padding_share"]
    path.write_text(json.dumps(content))
    assert results.read_task_result(path).padding_share is None
