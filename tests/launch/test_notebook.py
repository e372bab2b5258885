"""docs/notebook.md as its readers run it."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

from instrux.data.packed import PackSettings
from instrux.data.vocabularies import VocabularySpec

ROOT = Path(__file__).parents[2]
TINY_RUN = ROOT / "tests" / "instrux" / "training" / "tiny_run.py"
_spec = importlib.util.spec_from_file_location("tiny_run", TINY_RUN)
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)


def test_the_notebook_page_runs_as_it_stands(tmp_path, capsys, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), re.S)
    assert len(ast.parse(code).body) <= 12
    data = tmp_path / "data"
    pack = PackSettings(
        mixture="tiny",
        inputs_length=64,
        targets_length=16,
        vocabulary=VocabularySpec.parse("bytes"),
        num_examples=48,
    )
    tiny_run.write_packed_set(data, pack=pack)
    (tmp_path / "questions.jsonl").write_text('{"inputs": "is it so?"}\n{"inputs": "why?"}\n')
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    names = {
        "MIXTURE": "tiny",
        "NUM_EXAMPLES": 48,
        "RUN": str(tmp_path / "run"),
        "DATA": str(data),
        "QUESTIONS": str(tmp_path / "questions.jsonl"),
        "ANSWERS": str(tmp_path / "answers.jsonl"),
    }
    exec(code, names)
    losses = json.loads(capsys.readouterr().out)  # of the first step and the last
    assert len(losses) == 2 and all(2 < loss < 20 for loss in losses)
    answers = [json.loads(line) for line in Path(names["ANSWERS"]).read_text().splitlines()]
    assert [answer["inputs"] for answer in answers] == ["is it so?", "why?"]
    assert all(isinstance(answer["prediction"], str) for answer in answers)


@pytest.mark.parametrize(
    "name",
    re.findall(r"of `(instrux\.[\w.]+|launch\.\w+)`", (ROOT / "docs" / "notebook.md").read_text()),
)
def test_the_modules_it_names_are_there(name):
    assert importlib.util.find_spec(name) is not None
