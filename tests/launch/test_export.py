"""From a user's own tasks to an exported mixture, through the commands; one dataset is absent."""

import json
import sys

import pytest

pytest.importorskip("seqio")

from launch.cli import main

MODULE = """
from instrux.data import registration
from instrux.data.sources import JsonLinesSource
from instrux.prompts import Template

template = Template(name="copy", jinja="Copy {{text}} ||| {{text}}")
for name in ("here", "gone"):
    source = JsonLinesSource(f"exported_{name}", files={"train": f"rows/{name}.jsonl"})
    registration.add_dataset(source, [template], splits=["train"], cluster="copying")
registration.add_mixture(
    "exported_mixture", {"exported_here_copy": 30.0, "exported_gone_copy": 10.0}
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "rows").mkdir()
    rows = "".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(20))
    (tmp_path / "rows" / "here.jsonl").write_text(rows)
    (tmp_path / "exported_tasks.py").write_text(MODULE)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def run(command, *arguments):
    module = ["--module_import", "exported_tasks"]
    mixture = ["--mixture", "exported_mixture", "--data_dir", "data"]
    return main([command, *module, *mixture, *arguments])


def test_what_can_be_read_is_rendered_packed_and_exported(folder, capsys):
    assert run("render") == 2
    told = capsys.readouterr().err
    assert "gone.jsonl: no such file" in told and "--skip_failing_sources" in told
    assert told.count("\n") == 1
    assert run("render", "--skip_failing_sources") == 0
    assert "LEFT OUT exported_gone, split train" in capsys.readouterr().err

    sizes = ["--vocabulary", "bytes", "--inputs_length", "64", "--targets_length", "16"]
    assert run("pack", *sizes, "--num_examples", "20") == 2
    assert "'exported_gone_copy' is not rendered" in capsys.readouterr().err
    assert run("pack", *sizes, "--num_examples", "20", "--leave_out", "exported_gone") == 0
    assert "LEFT OUT 1 of 2 tasks, 25.0% of the mixture (leave_out exported_gone:" in (
        capsys.readouterr().err
    )

    assert run("export", "--format", "jsonl") == 2
    assert "'exported_gone_copy' is not rendered" in capsys.readouterr().err
    assert run("export", "--format", "jsonl", "--leave_out_missing") == 0
    out = capsys.readouterr().out.strip()
    assert out == "data/exported/exported_mixture-train-jsonl"
    (shard,) = (folder / out).glob("*.jsonl")
    rows = [json.loads(line) for line in shard.read_text().splitlines()]
    assert {(row["task"], row["dataset"]) for row in rows} == {
        ("exported_here_copy", "exported_here")
    }
    assert sorted(row["targets"] for row in rows) == sorted(f"text {n}" for n in range(20))
    card = (folder / out / "README.md").read_text()
    assert "license:\n- unknown\n" in card and "`exported_gone_copy` | 25.000%" in card


def test_an_unknown_format_is_one_line(folder, capsys):
    assert run("export", "--format", "parqet") == 2
    told = capsys.readouterr().err
    assert "no format 'parqet'" in told and "Did you mean 'parquet'" in told
