"""Commands of the pages are run as they stand there, a chain in one process and one folder."""

import gzip
import itertools
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.docs.chains import CHAINS, steps_of
from tests.docs.pages import ROOT, shown_commands, shown_file
from tests.docs.tiny_models import make_models

pytestmark = pytest.mark.slow


def _cut(rows: Path, to: Path, count: int) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    with rows.open(encoding="utf-8") as lines:
        to.write_text("".join(itertools.islice(lines, count)), encoding="utf-8")


def _t0(folder: Path, data: Path) -> None:
    """A mirror with the first rows of three of T0's sets, and T5's vocabulary."""
    for each in ("super_glue/rte", "cos_e/v1.11", "rotten_tomatoes/default"):
        for rows in (data / "p3" / each).glob("*.jsonl"):
            _cut(rows, folder / "mirror" / each / rows.name, 260 if "rte" in each else 6)
    rte = folder / "mirror" / "super_glue" / "rte"
    _cut(
        rte / "validation.jsonl", rte / "test.jsonl", 6
    )  # of the public set, the labels are hidden
    for rows in (data / "hf_dummy" / "sciq" / "default").glob("*.jsonl"):
        _cut(rows, folder / "mirror" / "sciq" / "default" / rows.name, 6)
    (folder / "t5_32000.model").symlink_to(data / "vocab" / "t5_32000.model")


def _models(folder: Path, data: Path) -> None:
    """What `_t0` gives, models of others and of ours in small, and the pages' gin files."""
    _t0(folder, data)
    (folder / "data").mkdir()
    (folder / "data" / "t5_32000.model").symlink_to(data / "vocab" / "t5_32000.model")
    (folder / "t5.model").symlink_to(data / "vocab" / "t5_32000.model")
    make_models(folder, merges=data / "vocab" / "gpt2" / "merges.txt")
    (folder / "runs" / "t0").symlink_to("first")
    for name in ("evaluate.gin", "select.gin", "predict.gin"):
        (folder / name).write_text(shown_file("docs/evaluation.md", name), encoding="utf-8")
    (folder / "questions.jsonl").write_text('{"inputs": "Is it so?"}\n', encoding="utf-8")


def _public(folder: Path, data: Path) -> None:
    """The first questions of TruthfulQA, and three small models: one to ask, two that judge."""
    from tests.docs.tiny_models import make_runs_over_bytes

    rows = folder / "mirror" / "truthful_qa" / "validation.jsonl"
    _cut(data / "eval" / "truthful_qa" / "validation.jsonl", rows, 4)
    make_runs_over_bytes(folder / "runs" / "sft", folder / "truth-judge", folder / "info-judge")


def _releases(folder: Path, data: Path) -> None:
    """Copies of what is fetched from public hosts: vocabularies, task files, templates in FLAN's form."""
    (folder / "t5_32000.model").symlink_to(data / "vocab" / "t5_32000.model")
    (folder / "merges.txt").symlink_to(data / "vocab" / "gpt2" / "merges.txt")
    with tarfile.open(folder / "ni.tar.gz", "w:gz") as archive:
        for path in sorted((data / "natural_instructions" / "test119").rglob("*.json"))[:2]:
            archive.add(path.resolve(), f"natural-instructions-2.8/tasks/{path.name}")
    templates = folder / "FLAN" / "flan" / "templates.py"
    templates.parent.mkdir(parents=True)
    templates.write_text('PATTERNS = {"rte": [("{premise} So: {hypothesis}", "{answer}")]}\n')


def _outputs(folder: Path, data: Path) -> None:
    """Outputs of two systems, and the real files that the page names."""
    for system in ("sft", "flan"):
        rows = [{"id": str(n), "prompt": f"Say {n}.", "output": f"{system} {n}"} for n in range(3)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{system}.jsonl").write_text(text, encoding="utf-8")
    for path in (
        data / "instruct" / "user_oriented_instructions.jsonl",
        data / "labels" / "predictions" / "davinci_predictions.jsonl",
        data / "labels" / "predictions" / "text-davinci-003_predictions.jsonl",
    ):
        (folder / path.name).symlink_to(path)


def _written(folder: Path, data: Path) -> None:
    """A file in each of the formats that the page names, and GPT-2's merges."""
    (folder / "merges.txt").symlink_to(data / "vocab" / "gpt2" / "merges.txt")
    dolly = {
        "instruction": "Name a bird.",
        "context": "",
        "response": "A wren.",
        "category": "open_qa",
    }
    (folder / "databricks-dolly-15k.jsonl").write_text(json.dumps(dolly) + "\n")
    reply = {
        "message_id": "b",
        "role": "assistant",
        "text": "By train.",
        "lang": "en",
        "replies": [],
    }
    asked = {"message_id": "a", "role": "prompter", "text": "How do I get there?", "lang": "en"}
    tree = {
        "message_tree_id": "a",
        "tree_state": "ready_for_export",
        "prompt": asked | {"replies": [reply]},
    }
    with gzip.open(folder / "2023-04-12_oasst_ready.trees.jsonl.gz", "wt") as file:
        file.write(json.dumps(tree) + "\n")
    page = (ROOT / "docs" / "demonstrations.md").read_text(encoding="utf-8")
    (rows,) = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (folder / "ours.jsonl").write_text(rows, encoding="utf-8")


def _task_files(folder: Path, data: Path) -> None:
    """Three task files of Natural Instructions, in the release's folders."""
    tasks = folder / "natural-instructions" / "tasks"
    tasks.mkdir(parents=True)
    for path in sorted((data / "natural_instructions" / "test119").rglob("*.json"))[:3]:
        (tasks / path.name).symlink_to(path)
    (folder / "mirror").mkdir()
    (folder / "mirror" / "natural_instructions").symlink_to(folder / "natural-instructions")
    (folder / "t5_32000.model").symlink_to(data / "vocab" / "t5_32000.model")
    (folder / "answers.jsonl").write_text(_right_answers(tasks), encoding="utf-8")


def _right_answers(tasks: Path) -> str:
    """A reference of each test instance, under the name of its exported row."""
    lines = []
    for path in tasks.iterdir():
        instances = json.loads(path.read_text(encoding="utf-8"))["Instances"][:100]
        for number, instance in enumerate(instances):
            row = f"natural_instructions/{path.stem}/test/{number}"
            lines.append(json.dumps({"example_id": row, "prediction": instance["output"][0]}))
    return "\n".join(lines)


FOLDERS_OF = {
    "data": _models,
    "fetching": _releases,
    "labelling": _outputs,
    "public sets": _public,
    "demonstrations": _written,
    "natural instructions": _task_files,
}


@pytest.mark.parametrize("chain", CHAINS)
def test_the_commands_of_a_chain_end_well_and_show_what_they_should(chain, tmp_path, request):
    if chain == "benchmarks":  # their peers are imported before arguments are parsed
        pytest.importorskip("torch")
        pytest.importorskip("transformers")
    if chain in FOLDERS_OF:
        FOLDERS_OF[chain](tmp_path, request.getfixturevalue("shared_data"))
    steps = steps_of(chain, shown_commands())
    answers = _run(
        tmp_path,
        [
            {"words": step.words(command), "environment": step.environment(command)}
            for step, command in steps
        ],
    )
    for (step, command), answer in zip(steps, answers, strict=True):
        screens = answer["out"] + answer["err"]
        assert answer["status"] == 0, f"{command.page}: {command.line}\n{screens}"
        assert step.shows in screens, f"{command.page}: {command.line}\n{screens}"
        assert "Traceback" not in screens, screens


def _run(folder: Path, commands: list[dict]) -> list[dict]:
    """Runs commands, each with its words and the variables it sets, and gives what each left."""
    cache = Path(os.environ.get("INSTRUX_CACHE", Path.home() / ".cache" / "instrux"))
    own = folder / "cache"
    own.mkdir()
    if (cache / "promptsource-0.2.3").is_dir():  # fetched once, through pip
        (own / "promptsource-0.2.3").symlink_to(cache / "promptsource-0.2.3")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "INSTRUX_CACHE": str(own), "JAX_PLATFORMS": "cpu",
        "INSTRUX_MIRROR": str(folder / "mirror"), "HF_HUB_OFFLINE": "1",
        "INSTRUX_VOCABULARY": str(folder / "t5_32000.model"),
    }  # fmt: skip
    child = str(ROOT / "tests" / "docs" / "child.py")
    ended = subprocess.run(
        [sys.executable, child, str(folder / "answers.json")],
        input=json.dumps(commands), cwd=folder, env=environment, capture_output=True, text=True,
        timeout=580,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "answers.json").read_text(encoding="utf-8"))
