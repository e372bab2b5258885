"""The built wheel works away from the checkout: prompts, tables, gin files and the page are in it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import instrux, launch
from launch import gin_config, recipe
assert {folder!r} in instrux.__file__ and {folder!r} in launch.__file__
loaded = recipe.load("quickstart.gin", [])
import mixtures.lexicon
from instrux.data import registration
task = registration.prompted_task(sorted(registration.mixture_rates("lexicon_train"))[0])
print(len(loaded.stages), task.resolve().template.jinja)
import instrux.evaluation.report
"""


@pytest.mark.slow
def test_the_wheel_runs_a_recipe_from_its_own_files(tmp_path):
    # From a copy: a build leaves its own folder behind, and that would end up in the next wheel.
    source = tmp_path / "source"
    for name in ("instrux", "tasks", "mixtures", "pipelines", "launch", "gin"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    data = [
        path.relative_to(source)
        for path in source.rglob("*")
        if path.suffix in (".css", ".csv", ".gin", ".html", ".js", ".json", ".svg", ".yaml")
    ]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(source)],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert [str(path) for path in data if path.name not in names] == []
    held = sum(name.endswith("templates.yaml") for name in zipfile.ZipFile(wheel).namelist())
    assert held == sum(path.name == "templates.yaml" for path in data)
    folder = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(folder)
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(folder=str(folder))],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    stages, _, jinja = done.stdout.partition(" ")
    assert int(stages) >= 5
    assert "|||" in jinja
