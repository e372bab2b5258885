"""The built wheel works away from the checkout: prompts, tables, gin files and the page are in it."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = (
    *(".cc", ".css", ".csv", ".gin", ".h", ".html", ".js", ".json", ".svg", ".yaml"),
    *(".sbatch", ".sh"),
)
MARK = "-- doctor ends here --"
PROGRAM = """
import instrux, launch
from launch import cli, gin_config, recipe
assert cli.main(["doctor", "--offline", "--json"]) == 0
print({mark!r})
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
        if path.suffix in SUFFIXES or path.name in ("Dockerfile", "py.typed")
    ]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(source)],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.replace("instrux_gin/", "gin/", 1) for name in zipfile.ZipFile(wheel).namelist()}
    assert [str(path) for path in data if str(path) not in names] == []
    folder = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(folder)
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(folder=str(folder), mark=MARK)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert entry_point(folder) == "launch.cli:main"
    doctor, _, rest = done.stdout.partition(MARK)
    assert {each["name"]: each["ready"] for each in json.loads(doctor)}["packages"]
    stages, _, jinja = rest.strip().partition(" ")
    assert int(stages) >= 5
    assert "|||" in jinja


def entry_point(folder):
    (path,) = folder.glob("*.dist-info/entry_points.txt")
    declared = configparser.ConfigParser()
    declared.read(path)
    return declared["console_scripts"]["instrux"]


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
