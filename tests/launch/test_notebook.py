"""docs/notebook.md and the notebook that is made of it, as their readers run them."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import matplotlib
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "notebook.md").read_text(encoding="utf-8")
_spec = importlib.util.spec_from_file_location("make_notebook", DOCS / "make_notebook.py")
make_notebook = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_notebook)


def test_the_notebook_is_that_of_the_page():
    text = (DOCS / "notebook.ipynb").read_text(encoding="utf-8")
    assert text == make_notebook.written(PAGE), "run: python docs/make_notebook.py"


def test_every_cell_runs_as_it_stands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    matplotlib.use("agg")
    cells = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    names, shown = {}, []
    for cell in cells:
        if cell["cell_type"] == "code":
            shown.append(_run(ast.parse("".join(cell["source"])), names))
    rendered, shapes = shown[0], shown[2]
    assert rendered.inputs == "What does apple begin with?"
    assert rendered.targets == "a"
    assert shapes["encoder_input_tokens"] == (4, 64)
    assert shapes["decoder_target_tokens"] == (4, 16)
    losses = [line["loss"] for line in names["lines"]]
    assert losses[-1] < losses[0]
    (answer,) = map(json.loads, Path(names["answers"]).read_text().splitlines())
    assert answer["inputs"] == "What does lemon begin with?"
    assert isinstance(answer["prediction"], str)
    assert json.dumps(answer["prediction"]) in capsys.readouterr().out


def _run(tree, names):
    """Runs a cell, and gives the value of its last line, which a notebook shows."""
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


@pytest.mark.parametrize("name", re.findall(r"of `(instrux\.[\w.]+|launch\.\w+)`", PAGE))
def test_the_modules_it_names_are_there(name):
    assert importlib.util.find_spec(name) is not None
