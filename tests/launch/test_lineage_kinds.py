"""`instrux show` and `instrux verify` on one of every kind that a command writes.

What the data stages write is in test_lineage.py, converted checkpoints in test_convert_lineage.py.
"""

import hashlib
import io
import json
import shutil
import tarfile

import pytest

pytest.importorskip("seqio")

from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.prompts import Template, releases
from instrux.studio.label import study
from instrux.studio.label.study import StudySettings
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription
from launch import cli, run_lineage, studio_label
from launch.demonstrations import demonstrations
from launch.evaluate import evaluate
from launch.predict import predict
from launch.report import report
from launch.score_outputs import score_outputs
from launch.select_checkpoint import select
from pipelines.render import render
from tests.launch.verifying import verify
from tests.tiny_t5 import drawn, tiny_t5

TASK = "kinds_toy"
BYTES = VocabularySpec("bytes", None)


def length(prompt, completion):
    return float(len(completion))


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a recipe leaves: data, a run with an evaluation and a chosen checkpoint, a page; and more."""
    root = tmp_path_factory.mktemp("kinds")
    data_dir, run = root / "data", root / "runs" / "run"
    rows = [{"text": f"Is {n} odd?", "n": n % 2} for n in range(6)]
    source = JsonLinesSource("toy", "odd", {"validation": str(lines(root / "rows.jsonl", rows))})
    template = Template(
        name="odd", jinja="{{text}} ||| {{answer_choices[n]}}", answer_choices="no ||| yes"
    )
    task = PromptedTask(TASK, source, template, {"validation": "validation"}, metrics=("Accuracy",))
    render(tasks=[task], data_dir=data_dir)
    _train(run)
    shared = {"batch_size": 4, "compile_cache": False}
    given = {"model_dir": str(run), "data_dir": str(data_dir), "tasks": [TASK], **shared}
    evaluate(**given)
    select(**given)
    asked = lines(root / "asked.jsonl", [{"inputs": "Is 7 odd?", "answer_choices": ["no", "yes"]}])
    predict(model_dir=str(run), inputs=str(asked), out=str(root / "answers.jsonl"), **shared)
    score_outputs(model_dir=str(run), tasks=["*"], scorers={"length": length}, name="eval")
    report(runs=[_named(run)], out=str(root / "report.html"))
    _label(root)
    told = [{"prompt": f"Say {n}", "completion": f"It is {n}."} for n in range(12)]
    demonstrations(
        inputs=[f"instrux={lines(root / 'told.jsonl', told)}"],
        name="kinds",
        data_dir=str(data_dir),
        vocabulary="bytes",
    )
    return root


def _train(run):
    config = tiny_t5(vocab_size=BYTES.load().vocab_size)
    description = RunDescription.of(config, BYTES, inputs_length=32, targets_length=8)
    save_run(run, description, drawn(config), step=7)
    run_lineage.write(
        run, pack=None, initial_checkpoint_path="t5", arguments={"seed": 0}, stopped="train_steps"
    )


def _named(run):
    from instrux.evaluation.runs import RunForReport

    return RunForReport(name="tuned", model_dir=str(run))


def _label(root):
    asked = [{"id": "p", "prompt": "Prompt", "outputs": {"sft": "one", "flan": "two"}}]
    prompts = lines(root / "prompts.jsonl", asked)
    study.create(root / "study.db", StudySettings())
    studio_label.import_into(
        root / "study.db", prompts=[str(prompts)], outputs=[], answers=None, form="jsonl"
    )
    for form, name in (
        ("jsonl", "labels.jsonl"),
        ("argilla", "for-argilla"),
        ("label-studio", "for-ls"),
    ):
        studio_label.export_from(root / "study.db", root / name, form=form, every=False)


# What a user names -> kind, its files, and a source that the screen leads to.
KINDS = {
    "data/rendered/kinds_toy": ("rendered", "validation.tfrecord-*", "dataset toy/odd, validation"),
    "data/demonstrations/kinds": ("demonstrations", "train.jsonl", "dataset instrux="),
    "data/rendered/demonstrations_kinds": (
        "rendered",
        "train.tfrecord-*",
        "dataset instrux=",
    ),
    "runs/run": ("run", "model.json", "checkpoint t5"),
    "runs/run/checkpoints/7": ("run", "params/*", "checkpoint t5"),
    "runs/run/selected.json": ("selection", "", "evaluation step 7"),
    "runs/run/eval/7": ("evaluation", "predictions/*", "rendered kinds_toy, validation"),
    "runs/run/eval/7/output_scores.json": ("scores", "", "evaluation run/eval/7"),
    "answers.jsonl": ("predictions", "", "file "),
    "report.html": ("report", "", "evaluation tuned, step 7"),
    "labels.jsonl": ("labels", "", "study "),
    "for-argilla": ("labels", "records.json", "study "),
    "for-ls": ("labels", "tasks.json", "study "),
}


@pytest.mark.parametrize("name", KINDS)
def test_show_tells_of_any_kind_what_it_is_what_made_it_and_from_what(made, capsys, name):
    kind, _, source = KINDS[name]
    assert cli.main(["show", str(made / name)]) == 0
    told = capsys.readouterr().out
    assert any(line.startswith(f"{kind} ") for line in told.splitlines())
    assert "made by:" in told and "instrux" in told
    assert f"from {source}" in told
    assert verify(made / name, capsys, "--chain") == (0, [])


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_byte_of_any_kind_is_found(made, tmp_path, capsys, name):
    root = shutil.copytree(made, tmp_path / "copy")
    file = root / name
    if KINDS[name][1]:
        file = next(path for path in sorted(file.glob(KINDS[name][1])) if path.is_file())
    content = bytearray(file.read_bytes() or b"0")
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    status, problems = verify(root / name, capsys)
    assert status == 2
    assert str(file) in [problem["path"] for problem in problems]


def test_a_recipes_whole_output_is_shown_and_verified(made, capsys):
    assert cli.main(["show", str(made), "--json"]) == 0
    kinds = {each["kind"] for each in json.loads(capsys.readouterr().out)}
    assert kinds >= {"run", "evaluation", "rendered", "demonstrations", "selection", "scores"}
    assert verify(made / "runs", capsys, "--chain") == (0, [])


def test_a_run_may_have_a_data_folders_name_and_what_is_half_written_is_told(
    made, tmp_path, capsys
):
    shutil.copytree(made / "runs" / "run", tmp_path / "demonstrations")
    assert verify(tmp_path, capsys)[0] == 0
    (tmp_path / "data" / "packed" / "half").mkdir(parents=True)
    assert cli.main(["verify", str(tmp_path)]) == 2
    assert "half was never finished" in capsys.readouterr().err


def test_a_file_of_an_artefact_is_shown_as_a_part_of_it_and_others_are_refused(made, capsys):
    assert cli.main(["show", str(made / "runs/run/eval/7/predictions" / f"{TASK}.jsonl")]) == 0
    assert capsys.readouterr().out.startswith("evaluation run/eval/7")
    for name in ("asked.jsonl", "study.db"):
        assert cli.main(["show", str(made / name)]) == 2
        assert "nothing that Instrux wrote" in capsys.readouterr().err


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def _promptsource(cache, monkeypatch):
    archive = cache / "promptsource-9.tar.gz"
    with tarfile.open(archive, "w:gz") as members:
        content = b"templates: {}\n"
        member = tarfile.TarInfo("promptsource-9/promptsource/templates/d/templates.yaml")
        member.size = len(content)
        members.addfile(member, io.BytesIO(content))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(releases.RELEASES, "promptsource-9", releases.Release("9", digest, 1))
    return digest


def test_fetched_templates_are_shown_and_verified(cache, monkeypatch, capsys):
    digest = _promptsource(cache, monkeypatch)
    assert cli.main(["fetch", "promptsource", "--version", "9"]) == 0
    folder = capsys.readouterr().out.strip()
    assert cli.main(["show", folder]) == 0
    told = capsys.readouterr().out
    assert told.startswith("fetched promptsource-9")
    assert f"from release promptsource-9  {digest[:12]}" in told
    assert verify(folder, capsys) == (0, [])
    file = cache / "promptsource-9" / "d" / "templates.yaml"
    file.write_text("templates: []\n")
    status, problems = verify(folder, capsys)
    assert (status, [problem["path"] for problem in problems]) == (2, [str(file)])


def test_a_fetched_vocabulary_is_shown_and_verified(cache, shared_data, capsys):
    model = str(shared_data / "vocab" / "t5_32000.model")
    assert cli.main(["fetch", "vocab", "--source", model]) == 0
    path = capsys.readouterr().out.strip()
    assert cli.main(["show", path]) == 0
    assert "from release T5's vocabulary  d60acb128cf7" in capsys.readouterr().out
    assert verify(path, capsys) == (0, [])
