"""Two real processes with four simulated devices each, against one process with one device."""

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from instrux.data.examples import RenderedExample
from instrux.data.manifest import CompletedFolder, FileRecord, Manifest
from instrux.data.tfrecord import write_records
from instrux.evaluation.predictions import predictions_path, read_predictions
from instrux.evaluation.results import read_results, same_results
from instrux.training.checkpoints import all_steps
from instrux.training.metrics_log import read_metrics
from instrux.training.optimizers import AdamW
from launch.evaluate import evaluate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
SCRIPT = HERE / "on_two_processes.py"
HALF = 3
LIMIT_SECONDS = 900

_spec = importlib.util.spec_from_file_location("tiny_run", HERE / "tiny_run.py")
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    tiny_run.write_packed_set(folder / "data")
    write_rendered_task(folder / "data")
    train(folder / "one", train_steps=HALF)
    shutil.copytree(folder / "one", folder / "one_to_two")
    return folder


@pytest.fixture(scope="module")
def ended(folder):
    """The exit statuses of both processes; what they wrote lies in the folder."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    processes = [start(folder, port, number) for number in (0, 1)]
    try:
        return [process.wait(LIMIT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()


def start(folder, port, number):
    environment = os.environ | {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(number),
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    }
    with (folder / f"screen.{number}").open("w") as screen:
        command = [sys.executable, str(SCRIPT), str(folder)]
        return subprocess.Popen(command, env=environment, stdout=screen, stderr=screen)


def train(model_dir, **settings):
    data_dir = model_dir.parent / "data"
    return tiny_run.train_tiny(
        model_dir, data_dir, model=tiny_run.SMALLEST, optimizer=AdamW(), **settings
    )


def write_rendered_task(data_dir):
    name = "validation.tfrecord-00000-of-00001"
    for task, choices in (("acme_ranked", ("yes", "no.")), ("acme_free", None)):
        folder = data_dir / "rendered" / task
        folder.mkdir(parents=True)
        examples = [
            RenderedExample(
                inputs=f"question {row}",
                targets="yes",
                example_id=f"acme/default/validation/{row}",
                template="a prompt",
                answer_choices=choices,
            )
            for row in range(11)
        ]
        write_records(folder / name, [example.to_bytes() for example in examples])
        metadata = {
            "dataset": "acme",
            "config": None,
            "template": "a prompt",
            "cluster": "",
            "metrics": ["Accuracy"],
            "answer_choices": None if choices is None else list(choices),
            "original_task": True,
            "train_examples": None,
        }
        manifest = Manifest(
            stage="render",
            settings={},
            files=[FileRecord(name, (folder / name).stat().st_size, "digest", 11)],
            counts={"examples": 11, "rows": 11},
            metadata=metadata,
        )
        CompletedFolder(folder, manifest="manifest.validation.json").complete(manifest)


def told(folder, number):
    path = folder / f"told.{number}.json"
    assert path.exists(), (folder / f"screen.{number}").read_text()[-3000:]
    return json.loads(path.read_text())


def losses(model_dir):
    lines = read_metrics(model_dir)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def test_two_processes_share_each_batch(folder, ended):
    # On eight `data` devices each reads half of a batch, on fsdp=4 x tensor=2 likewise.
    assert told(folder, 0)["shares"] == [{"index": 0, "count": 2}] * 2
    assert told(folder, 1)["shares"] == [{"index": 1, "count": 2}] * 2


def test_a_signal_to_one_stops_both_at_one_step_and_one_process_goes_on(folder, ended):
    assert told(folder, 0)["status"] == told(folder, 1)["status"] == 143
    (step,) = all_steps(folder / "two_to_one")
    assert 4 <= step == len(losses(folder / "two_to_one")) < 1000
    train(folder / "two_to_one", train_steps=step + 3, keep_checkpoints=2)
    train(folder / "one", train_steps=step + 3)
    # A row read twice or by nobody would show: rows differ, and the loss is a sum over all.
    assert len(set(losses(folder / "one"))) == step + 3
    np.testing.assert_allclose(losses(folder / "two_to_one"), losses(folder / "one"), rtol=1e-4)


def test_two_processes_evaluate_as_one(folder, ended):
    run = folder / "two_to_one"
    theirs = run / "by_two"
    (step,) = (int(folder.name) for folder in theirs.iterdir())
    ours = evaluate(
        model_dir=str(run),
        data_dir=str(folder / "data"),
        tasks=["*"],
        batch_size=8,
        name="by_one",
        step=step,
    )
    scores = [task.score for task in ours.results.tasks]
    assert told(folder, 0)["scores"] == told(folder, 1)["scores"] == scores
    stored = read_results(theirs / str(step) / "results.json")
    assert same_results(timeless(stored), timeless(ours.results))
    for task in ("acme_ranked", "acme_free"):
        one, two = (
            list(read_predictions(predictions_path(at, task)))
            for at in (ours.folder, theirs / str(step))
        )
        assert [p.prediction for p in one] == [p.prediction for p in two]
        assert len(two) == 11
        for mine, other in zip(one, two, strict=True):
            np.testing.assert_allclose(mine.scores or (), other.scores or (), atol=1e-4)


def timeless(results):
    tasks = tuple(dataclasses.replace(task, seconds=0.0) for task in results.tasks)
    return dataclasses.replace(results, tasks=tasks)


def test_a_process_that_dies_ends_the_other_with_an_error(folder, ended):
    first, second = ended
    assert second == -signal.SIGKILL
    # Its own error where a sum over both fails, JAX's abort where it waits for the dead one.
    assert first in (1, -signal.SIGABRT), (folder / "screen.0").read_text()[-3000:]


def test_a_run_of_one_process_went_on_with_two_on_another_mesh(folder, ended):
    assert told(folder, 0)["shares"]  # they got there
    trained = losses(folder / "one_to_two")
    assert len(trained) >= 6
    train(folder / "one", train_steps=len(trained))
    expected = losses(folder / "one")[: len(trained)]
    np.testing.assert_allclose(trained, expected, rtol=1e-4)
    # What was saved before one of them died is whole, and one process goes on with it.
    saved = all_steps(folder / "one_to_two")
    assert saved == [6]
    train(folder / "one_to_two", train_steps=9)
    np.testing.assert_allclose(losses(folder / "one_to_two"), losses(folder / "one")[:9], rtol=1e-4)
