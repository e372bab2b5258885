"""Evaluated runs made by hand, as `instrux evaluate` would have left them."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from instrux.evaluation import aggregate, bootstrap
from instrux.evaluation.predictions import Prediction, predictions_path, write_predictions
from instrux.evaluation.results import EvaluationResults, TaskResult, write_results
from instrux.evaluation.runs import RunForReport


@dataclass
class MadeTask:
    """One prompt of one dataset with the share of examples that the model gets right."""

    dataset: str
    prompt: str
    group: str
    right: float
    cluster: str = ""
    num_choices: int = 2
    num_examples: int = 40
    inputs: str = "Premise {i}. Does it follow?"
    options: dict = field(default_factory=dict)


def write_run(
    folder: Path, tasks, *, name="run", step=10, curve=True, draw_seed=0, **about
) -> RunForReport:
    evaluation = folder / "eval" / str(step)
    credits, results = {}, []
    for task in tasks:
        made = _predictions(task, draw_seed)
        task_name = f"{task.dataset}_{task.prompt}"
        write_predictions(predictions_path(evaluation, task_name), made)
        credits[task_name] = [(p.example_id, p.credit) for p in made]
        results.append(_result(task, task_name, made))
    write_results(
        evaluation / "results.json",
        EvaluationResults(
            model_dir=str(folder),
            step=step,
            settings={"split": "validation", "reading": {"inputs_length": 512}},
            versions={"jax": "0.0"},
            groups=tuple(dict.fromkeys(task.group for task in tasks)),
            tasks=tuple(results),
            summaries=tuple(aggregate.summaries(aggregate.cells(results, credits))),
        ),
    )
    if curve:
        lines = [
            {"step": s, "loss": 4 / s**0.3, "tokens_per_second": 9e3, "seconds": s / 2}
            for s in range(1, 101)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RunForReport(name=name, model_dir=str(folder), **about)


def _predictions(task: MadeTask, draw_seed: int) -> list[Prediction]:
    draw = random.Random(f"{task.dataset}/{task.prompt}/{draw_seed}")
    choices = tuple(f"choice {c}" for c in range(task.num_choices))
    made = []
    for i in range(task.num_examples):
        correct = draw.random() < task.right
        made.append(
            Prediction(
                example_id=f"{task.dataset}/default/validation/{i}",
                template=task.prompt,
                inputs=task.inputs.format(i=i),
                targets=choices[0],
                prediction=choices[0] if correct else choices[-1],
                choices=choices,
                scores=tuple(-1.0 - c for c in range(task.num_choices)),
                correct=correct,
                credit=100.0 * correct,
            )
        )
    return made


def _result(task: MadeTask, task_name: str, made: list[Prediction]) -> TaskResult:
    right = sum(bool(p.correct) for p in made)
    score = 100 * right / len(made)
    fields = dict(
        task=task_name,
        dataset=task.dataset,
        template=task.prompt,
        cluster=task.cluster,
        group=task.group,
        mode="rank",
        metric="accuracy",
        score=score,
        interval=bootstrap.wilson(right, len(made)),
        metrics={"accuracy": score},
        num_examples=len(made),
        num_without_correct_choice=0,
        num_truncated_inputs=0,
        chance=100 / task.num_choices,
        majority=50.0,
        original_task=True,
        settings_digest="sha256:0",
        seconds=1.0,
    )
    return TaskResult(**(fields | task.options))


@pytest.fixture
def make_run(tmp_path):
    """Writes an evaluated run of that name under `tmp_path`."""

    def make(name, tasks, **about):
        return write_run(tmp_path / name.replace(" ", "_"), tasks, name=name, **about)

    return make


@pytest.fixture
def made_task():
    """The class of tasks that `make_run` takes."""
    return MadeTask
