"""What the end-to-end tests share: the command line in a process of its own, and what runs left."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def instrux():
    """Runs `instrux` with some arguments, and gives the ended process."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "launch.cli", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            timeout=900,
        )

    return run


@pytest.fixture
def results():
    """Gives what a run's one evaluation found."""

    def read(run):
        (path,) = run.glob("eval/*/results.json")
        return json.loads(path.read_text())

    return read


@pytest.fixture
def losses():
    """Gives the losses that a run logged."""

    def read(run):
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    return read
