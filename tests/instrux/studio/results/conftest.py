"""Two evaluated runs with predictions whose outcomes are known, and a browser's place to see them."""

import json

import pytest
from starlette.testclient import TestClient

from instrux.evaluation.predictions import Prediction, predictions_path, write_predictions
from instrux.evaluation.results import (
    EvaluationResults,
    Interval,
    Summary,
    TaskResult,
    write_results,
)
from instrux.studio.access import Access
from instrux.studio.app import create_app
from instrux.studio.results import routes

TASK = "rte_can_we_infer"
HOSTILE = "<script>alert(1)</script>"


def _prediction(number, right):
    return Prediction(
        example_id=f"super_glue/rte/validation/{number}",
        template="can we infer",
        inputs=f'Premise {number} "correct": true, "credit": 1 {HOSTILE}',
        targets="Yes",
        prediction="Yes" if right else "No",
        choices=("Yes", "No"),
        scores=(-0.5, -1.5) if right else (-2.5, -0.25),
        correct=right,
        credit=100.0 if right else 0.0,
    )


def write_evaluation(folder, outcomes, *, task=TASK, step=10):
    """Writes an evaluation whose example `n` is right where `outcomes[n]` is True."""
    place = folder / "eval" / str(step)
    made = [_prediction(number, right) for number, right in outcomes.items()]
    write_predictions(predictions_path(place, task), made)
    score = 100 * sum(outcomes.values()) / len(outcomes)
    result = TaskResult(
        task=task,
        dataset="super_glue/rte",
        template="can we infer",
        cluster="nli",
        group="held-out datasets",
        mode="rank",
        metric="accuracy",
        score=score,
        interval=Interval(score - 5, score + 5),
        metrics={"accuracy": score},
        num_examples=len(outcomes),
        num_without_correct_choice=0,
        num_truncated_inputs=0,
        chance=50.0,
        majority=50.0,
        original_task=True,
        settings_digest="0",
        seconds=1.0,
    )
    summary = Summary(
        scope="group", name="held-out datasets", group="held-out datasets", metric="accuracy",
        score=score, interval=Interval(score - 5, score + 5), mean=score, median=score,
        lower_quartile=score, upper_quartile=score, interquartile_range=0.0, best=score, worst=score,
        baseline=50.0, num_datasets=1, num_prompts=1, num_examples=len(outcomes),
    )  # fmt: skip
    results = EvaluationResults(
        model_dir=str(folder), step=step, settings={}, versions={}, groups=("held-out datasets",),
        tasks=(result,), summaries=(summary,),
    )  # fmt: skip
    write_results(place / "results.json", results)
    lines = [{"step": s, "loss": 4.0 / s, "seconds": s} for s in range(1, 11)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.gin").write_text("train.train.train_steps = 10\n")
    return place


@pytest.fixture
def runs(tmp_path):
    """`tuned` is right on rows 0 to 39 of 60; `plain` on rows 30 to 59, and has no row 5."""
    write_evaluation(tmp_path / "tuned", {n: n < 40 for n in range(60)})
    write_evaluation(tmp_path / "plain", {n: n >= 30 for n in range(60) if n != 5})
    return tmp_path


@pytest.fixture
def client(runs):
    """A browser that opened the printed link."""
    access = Access()
    app = create_app(routes.subjects([runs]), access=access)
    with TestClient(app, base_url="http://localhost:8642") as client:
        client.get(f"/?token={access.token}", follow_redirects=False)
        yield client
