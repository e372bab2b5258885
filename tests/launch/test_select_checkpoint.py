"""The stage `select`: the checkpoint that does best on the tasks named, and what uses it."""

import json

import jax
import pytest

from instrux.data.examples import RenderedExample
from instrux.data.manifest import CompletedFolder, FileRecord, Manifest
from instrux.data.tfrecord import write_records
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.runs import RunForReport, read_run
from instrux.models.t5 import T5, T5Config
from instrux.training.checkpoints import load_run, save_run
from instrux.training.run_folder import RunDescription
from launch.evaluate import evaluate
from launch.select_checkpoint import select

BYTES = VocabularySpec.parse("bytes")
CHOICES = ("yes", "no.", "may")


def _save(folder, *, step, seed):
    config = T5Config(
        vocab_size=BYTES.load().vocab_size,
        emb_dim=8,
        num_heads=2,
        head_dim=4,
        mlp_dim=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    # Larger than at the start of training: choices differ by example and by checkpoint.
    params = jax.tree.map(lambda leaf: 5.0 * leaf, T5(config).init(jax.random.key(seed)))
    description = RunDescription.of(config, BYTES, inputs_length=32, targets_length=8)
    save_run(folder, description, params, step=step)


def _render(data_dir, task, answers):
    folder = data_dir / "rendered" / task
    folder.mkdir(parents=True, exist_ok=True)
    examples = [
        RenderedExample(
            inputs=f"{row * 977} question {row}",
            targets=answer,
            example_id=f"{task[:4]}/default/validation/{row}",
            template="a prompt",
            answer_choices=CHOICES,
        )
        for row, answer in enumerate(answers)
    ]
    name = "validation.tfrecord-00000-of-00001"
    write_records(folder / name, [example.to_bytes() for example in examples])
    manifest = Manifest(
        stage="render",
        settings={},
        files=[FileRecord(name, (folder / name).stat().st_size, ",".join(answers), len(answers))],
        counts={"examples": len(answers), "rows": len(answers)},
        metadata={
            "dataset": task[:4],
            "config": None,
            "template": "a prompt",
            "cluster": "",
            "metrics": ["Accuracy"],
            "answer_choices": list(CHOICES),
            "original_task": True,
            "train_examples": None,
        },
    )
    CompletedFolder(folder, manifest="manifest.validation.json").complete(manifest)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of three checkpoints, and a task whose targets are what the second one answers."""
    root = tmp_path_factory.mktemp("select")
    model_dir, data_dir = root / "run", root / "data"
    for step in (10, 20, 30):
        _save(model_dir, step=step, seed=step)
    _render(data_dir, "acme_ranked", ["yes"] * 12)
    said = evaluate(
        model_dir=str(model_dir),
        data_dir=str(data_dir),
        tasks=["acme_ranked"],
        step=20,
        name="probe",
        compile_cache=False,
    )
    lines = (said.folder / "predictions" / "acme_ranked.jsonl").read_text().splitlines()
    _render(data_dir, "acme_ranked", [json.loads(line)["prediction"] for line in lines])
    return str(model_dir), str(data_dir)


def _select(made, **options):
    model_dir, data_dir = made
    settings = {"tasks": ["acme_ranked"], "compile_cache": False} | options
    return select(model_dir=model_dir, data_dir=data_dir, **settings)


def test_the_best_checkpoint_is_chosen_and_used(made, capsys):
    model_dir, data_dir = made
    found = _select(made)
    assert found.selected.step == 20
    assert found.selected.score == 100
    assert list(found.selected.scores) == [10, 20, 30]
    assert max(found.selected.scores[10], found.selected.scores[30]) < 100
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(found.path)
    assert "<- selected" in captured.err

    assert load_run(model_dir, "selected").step == 20
    evaluated = evaluate(
        model_dir=model_dir,
        data_dir=data_dir,
        tasks=["acme_ranked"],
        step="selected",
        compile_cache=False,
    )
    assert evaluated.results.step == 20
    shown = read_run(RunForReport(name="r", model_dir=model_dir, step="selected"))
    assert shown.results.step == 20
    assert shown.selected == found.selected


def test_a_second_time_does_nothing(made, capsys):
    _select(made)
    before = {p: p.stat().st_mtime_ns for p in _files(made)}
    assert not _select(made).written
    assert {p: p.stat().st_mtime_ns for p in _files(made)} == before
    assert "complete, skipped" in capsys.readouterr().err


def _files(made):
    from pathlib import Path

    return [p for p in Path(made[0]).rglob("*") if p.is_file()]


def test_some_steps_and_a_rule(made, capsys):
    found = _select(made, steps=[30], rule="mean_of_tasks")
    assert (found.selected.step, found.selected.rule) == (30, "mean_of_tasks")
    assert "one checkpoint only" in capsys.readouterr().err


def test_what_is_not_rendered_is_an_error_or_told(made, capsys):
    tasks = ["acme_ranked", "glue_mrpc_a_score_eval"]
    with pytest.raises(InputError, match=r"named 'glue_mrpc_a_score_eval'.*allow_missing"):
        _select(made, tasks=tasks)
    found = _select(made, tasks=tasks, allow_missing=True)
    assert found.selected.tasks == ("acme_ranked",)
    assert found.selected.left_out == ("glue_mrpc_a",)
    assert "LEFT OUT, not rendered for 'validation': 1 of 2" in capsys.readouterr().err
    with pytest.raises(InputError, match="no task to evaluate"):
        _select(made, tasks=tasks[1:], allow_missing=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "best"}, "no rule is named 'best'"),
        ({"steps": [10, 40]}, r"no checkpoint of step 40; there are \[10, 20, 30\]"),
        ({"steps": []}, "`steps` is empty"),
        ({"tasks": []}, "name tasks, globs over tasks, or mixtures"),
    ],
)
def test_mistakes_are_told_in_one_line(made, options, message):
    with pytest.raises(InputError, match=message) as caught:
        _select(made, **options)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_written_anew_is_not_the_selected_one(made, tmp_path):
    folder = tmp_path / "run"
    _save(folder, step=5, seed=0)
    _select((str(folder), made[1]))
    (folder / "checkpoints" / "5" / "_CHECKPOINT_METADATA").write_text("{}")
    with pytest.raises(InputError, match=r"written anew since it was selected.*instrux select"):
        evaluate(model_dir=str(folder), data_dir=made[1], tasks=["*"], step="selected")


def test_nothing_to_select_from_is_told(made, tmp_path):
    with pytest.raises(InputError, match="no checkpoint to select from"):
        _select((str(tmp_path), made[1]))
