"""What the end-to-end tests share: the command line in a process of its own, and what runs left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def instrux():
    """Runs `instrux` with some arguments, in a folder if one is given; gives the ended process."""

    def run(*arguments, folder=None):
        return _ended("-m", "launch.cli", *arguments, folder=folder)

    return run


@pytest.fixture(scope="session")
def one_process():
    """Does the same, all stages of a recipe in one process."""

    def run(*arguments, folder):
        return _ended(str(ROOT / "tests" / "e2e" / "one_process.py"), *arguments, folder=folder)

    return run


def _ended(*words, folder):
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
        timeout=900,
    )


@pytest.fixture(scope="session")
def results():
    """Gives what a run's one evaluation found."""

    def read(run):
        (path,) = run.glob("eval/*/results.json")
        return json.loads(path.read_text())

    return read


@pytest.fixture(scope="session")
def losses():
    """Gives the losses that a run logged."""

    def read(run):
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    return read
