"""A training process killed at random moments ends with the numbers of one left alone."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from instrux.training.checkpoints import latest_step
from instrux.training.metrics_log import read_metrics

TINY_RUN = Path(__file__).parents[1] / "instrux" / "training" / "tiny_run.py"
STEPS = 400
SETTINGS = json.dumps({"train_steps": STEPS, "checkpoint_every_steps": 25})

pytestmark = pytest.mark.slow

_spec = importlib.util.spec_from_file_location("tiny_run", TINY_RUN)
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_run.write_packed_set(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(data_dir):
    assert finish(data_dir / "undisturbed", data_dir) == 0
    return losses(data_dir / "undisturbed")


def start(model_dir, data_dir):
    command = [sys.executable, str(TINY_RUN), str(model_dir), str(data_dir), SETTINGS]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(model_dir, data_dir):
    return start(model_dir, data_dir).wait()


def losses(model_dir):
    return [(line["step"], line["loss"]) for line in read_metrics(model_dir)]


def wait_for_steps(process, model_dir, count):
    path = model_dir / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.002)


def test_kills_at_random_moments_change_nothing(data_dir, undisturbed, tmp_path):
    generator = random.Random(20)
    kills = 0
    for _ in range(4):
        process = start(tmp_path, data_dir)
        begun = latest_step(tmp_path) or 0
        wait_for_steps(process, tmp_path, begun + generator.randrange(1, 90))
        time.sleep(generator.random() * 0.05)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills >= 2
    assert finish(tmp_path, data_dir) == 0
    assert losses(tmp_path) == undisturbed
    left = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert left == [str(STEPS)]


def test_sigterm_saves_and_exits_with_143(data_dir, undisturbed, tmp_path):
    process = start(tmp_path, data_dir)
    wait_for_steps(process, tmp_path, 30)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 143
    saved = latest_step(tmp_path)
    assert saved is not None and saved == losses(tmp_path)[-1][0] < STEPS
    assert finish(tmp_path, data_dir) == 0
    assert losses(tmp_path) == undisturbed
