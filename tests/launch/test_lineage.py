"""`instrux show` and `instrux verify`, on one of each that the data stages write."""

import dataclasses
import json
import shutil

import jax
import pytest
import yaml

pytest.importorskip("seqio")

import seqio

from instrux.data import registration
from instrux.data.audit_settings import AuditSettings, AuditTask
from instrux.data.files import write_json_atomically
from instrux.data.lineage_files import Source, write_lineage
from instrux.data.packed import PackSettings
from instrux.data.prompted_task import PromptedTask
from instrux.data.seal import digest_of, seal_of
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.evaluation.results import EvaluationResults, Interval, Summary, write_results
from instrux.models.t5 import T5, T5Config
from instrux.prompts import Template
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription
from launch import cli, model_card
from launch.convert import convert
from pipelines.audit import audit
from pipelines.cache import cache
from pipelines.export import ExportSettings, ExportTask, export
from pipelines.pack import pack
from pipelines.render import render
from pipelines.vocab import vocab
from tests.launch.verifying import verify

TASK = "lineage_toy_count"
BYTES = VocabularySpec("bytes", None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data folder with one artefact of each stage, and one row that could not be rendered."""
    data_dir = tmp_path_factory.mktemp("lineage")
    rows = [{"text": f"how many letters has word{n}", "n": 5} for n in range(150)]
    path = data_dir / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n")
    task = PromptedTask(
        TASK,
        JsonLinesSource("toy", "count", {"train": str(path)}),
        Template(name="count", jinja="{{text}} ||| {{n}}"),
        {"train": "train"},
    )
    features = {
        "inputs": seqio.Feature(BYTES.to_seqio(), add_eos=False),
        "targets": seqio.Feature(BYTES.to_seqio(), add_eos=True),
    }
    registration.add_prompted_task(task, output_features=features)
    render(tasks=[task], data_dir=data_dir, num_shards=2)
    vocab(tasks=[TASK], data_dir=data_dir, size=30)
    settings = PackSettings(
        mixture="toy",
        inputs_length=64,
        targets_length=8,
        vocabulary=BYTES,
        num_examples=100,
        num_shards=2,
    )
    pack(settings, data_dir=data_dir, rates={TASK: 1.0})
    export_tasks = [ExportTask(name=TASK, rendered=TASK, rate=1.0, dataset="toy/count")]
    for format in ("jsonl", "parquet"):
        export(ExportSettings(mixture="toy", format=format), data_dir=data_dir, tasks=export_tasks)
    audit(
        AuditSettings(mixture="toy", vocabulary=BYTES),
        data_dir=data_dir,
        tasks=[AuditTask(name=TASK, rendered=TASK, rate=1.0, dataset="toy/count")],
    )
    cache(tasks=[TASK], data_dir=data_dir)
    return data_dir


@pytest.fixture
def data_dir(made, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "data")


FILES = {
    "rendered": "rendered/*/train.tfrecord-00001-of-00002",
    "dead letters": "rendered/*/dead_letters.train.jsonl",
    "cache": "cache/*/train.tfrecord-00000-of-00002",
    "what SeqIO reads of a cache": "cache/*/*info.train.json",
    "vocabulary": "vocab/*/spiece.model",
    "packed": "packed/*/rows.array_record-00001-of-00002",
    "export": "exported/*-jsonl/train-00000-of-00001.jsonl",
    "parquet": "exported/*-parquet/train-00000-of-00001.parquet",
    "card": "exported/*-jsonl/README.md",
    "audit": "audit/*/results.json",
    "report of an audit": "audit/*/report.html",
}
MANIFESTS = ["rendered/*/manifest.train.json", "cache/*/manifest.train.json"]
MANIFESTS += [f"{stage}/*/manifest.json" for stage in ("vocab", "packed", "exported", "audit")]


def test_a_whole_data_folder_is_as_written(made, capsys):
    status, problems = verify(made, capsys, "--chain")
    assert problems == []
    assert status == 0
    assert cli.main(["verify", str(made)]) == 0
    told = capsys.readouterr().out
    assert "all as written" in told
    assert "1 rendered" in told
    assert "2 export" in told


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("fault", ["flip", "cut", "remove"])
def test_a_damaged_file_of_any_format_is_named(data_dir, capsys, file, fault):
    (path,) = data_dir.glob(FILES[file])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if fault == "remove":
        path.unlink()
    else:
        path.write_bytes(content if fault == "flip" else content[:-1])
    status, problems = verify(path.parent, capsys)
    assert status == 2
    assert [problem["path"] for problem in problems] == [str(path)]
    assert problems[0]["mend"]


@pytest.mark.parametrize("pattern", MANIFESTS)
def test_no_byte_of_a_manifest_changes_unnoticed(data_dir, capsys, pattern):
    path, *_ = sorted(data_dir.glob(pattern))
    content = path.read_bytes()
    for place in range(3, len(content), len(content) // 12):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if cli.main(["verify", str(path.parent)]) == 0:
            # White space between words of JSON is nobody's content.
            assert json.loads(path.read_bytes()) == json.loads(content)
    path.write_bytes(content)
    assert cli.main(["verify", str(path.parent)]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("stage", ["rendered", "cache", "vocab", "packed", "exported", "audit"])
def test_extra_and_unfinished_are_told(data_dir, capsys, stage):
    folder = sorted((data_dir / stage).iterdir())[0]
    (folder / "other.tfrecord-00000-of-00001").write_bytes(b"")
    status, problems = verify(folder, capsys)
    assert (status, len(problems)) == (2, 1)
    assert "does not belong here" in problems[0]["what"]
    (folder / "other.tfrecord-00000-of-00001").unlink()
    (folder / "COMPLETED").unlink()
    status, problems = verify(folder, capsys)
    assert (status, len(problems)) == (2, 1)
    assert "not finished" in problems[0]["what"]


def test_counts_that_files_do_not_bear_out_are_told(data_dir, capsys):
    (path,) = data_dir.glob("rendered/*/manifest.train.json")
    content = json.loads(path.read_text())
    content["counts"]["examples"] += 1
    content["digest"] = digest_of(content)
    path.write_text(json.dumps(content))
    _, problems = verify(path.parent, capsys)
    assert [problem["what"] for problem in problems] == [
        "says 151 examples, its files hold 150",
        "says 151 rows were read, and accounts for 152 of them",
    ]


def test_what_was_made_from_other_rows_is_told_down_the_chain(data_dir, capsys):
    rows = data_dir / "rows.jsonl"
    rows.write_text(rows.read_text().replace("word7", "word8"))
    task = registration.prompted_task(TASK)
    source = JsonLinesSource("toy", "count", {"train": str(rows)})
    render(tasks=[dataclasses.replace(task, source=source)], data_dir=data_dir, num_shards=2)
    for stage in ("packed", "cache", "exported", "audit", "vocab"):
        folder = sorted((data_dir / stage).iterdir())[0]
        status, problems = verify(folder, capsys)
        assert status == 2
        assert any("changed since" in problem["what"] for problem in problems)
        assert all(TASK in problem["path"] for problem in problems)


def test_the_chain_is_checked_as_thoroughly_where_that_is_asked(data_dir, capsys):
    (folder,) = (data_dir / "packed").iterdir()
    (dead,) = data_dir.glob("rendered/*/dead_letters.train.jsonl")
    dead.write_text("")
    assert verify(folder, capsys) == (0, [])
    status, problems = verify(folder, capsys, "--chain")
    assert status == 2
    assert [problem["path"] for problem in problems] == [str(dead)]


def test_show_follows_a_pack_back_to_its_rows_and_template(made, capsys):
    (folder,) = (made / "packed").iterdir()
    assert cli.main(["show", str(folder), "--json"]) == 0
    (packed,) = json.loads(capsys.readouterr().out)
    assert packed["kind"] == "packed"
    assert packed["counts"]["examples"] == 100
    assert set(packed["versions"]) >= {"instrux", "python", "numpy"}
    rendered = next(each for each in packed["sources"] if each["kind"] == "rendered")
    assert rendered["state"] == "same"
    assert rendered["artefact"]["dropped"] == {"bad_row": 1}
    dataset, template = rendered["artefact"]["sources"]
    assert dataset["name"] == "toy/count, train"
    assert dataset["fingerprint"]
    assert (template["name"], len(template["fingerprint"])) == ("count", 64)
    assert cli.main(["show", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "dropped:   bad_row 1" in told
    assert "from dataset toy/count, train" in told


def test_a_folder_that_is_not_ours_is_one_line(tmp_path, capsys):
    for command in ("show", "verify"):
        assert cli.main([command, str(tmp_path)]) == 2
        assert cli.main([command, str(tmp_path / "absent")]) == 2
    (tmp_path / "manifest.json").write_text("[]")
    assert cli.main(["verify", str(tmp_path)]) == 2
    (tmp_path / "manifest.json").write_text('{"name": "a web page", "icons": []}')
    assert cli.main(["verify", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert all(line.startswith(f"instrux: {tmp_path}") for line in lines)


def test_a_run_an_evaluation_and_a_report_lead_back_to_the_pack(made, tmp_path, capsys):
    (pack_folder,) = (made / "packed").iterdir()
    run, evaluation = tmp_path / "run", tmp_path / "run" / "eval" / "4"
    write_json_atomically(run / "model.json", {"model": {}, "feature_lengths": {}})
    (run / "checkpoints" / "4").mkdir(parents=True)
    (run / "checkpoints" / "4" / "array").write_bytes(b"abc")
    seal = seal_of(pack_folder / "manifest.json")
    given = {"arguments": {}, "packages": ("numpy",)}
    source = Source(kind="packed", name="toy", fingerprint=seal, path=str(pack_folder))
    files = [run / "model.json", run / "checkpoints" / "4" / "array"]
    assert write_lineage(run / "lineage.json", "run", files=files, sources=[source], **given)
    assert not write_lineage(run / "lineage.json", "run", files=files, sources=[source], **given)
    write_json_atomically(evaluation / "results.json", {})
    source = Source(kind="run", name="run", path=str(run))
    write_lineage(
        evaluation / "lineage.json",
        "evaluation",
        files=[evaluation / "results.json"],
        sources=[source],
        **given,
    )
    page = tmp_path / "report.html"
    page.write_text("<html>")
    seal = seal_of(evaluation / "lineage.json")
    source = Source(kind="evaluation", name="a", fingerprint=seal, path=str(evaluation))
    lineage = tmp_path / "report.lineage.json"
    write_lineage(lineage, "report", files=[page], sources=[source], **given)
    assert verify(page, capsys, "--chain") == (0, [])
    (run / "checkpoints" / "4" / "array").write_bytes(b"abd")
    assert verify(page, capsys) == (0, [])
    status, problems = verify(page, capsys, "--chain")
    assert status == 2
    assert problems[0]["path"] == str(run / "checkpoints" / "4" / "array")
    (evaluation / "lineage.json").write_text("{}")
    assert verify(page, capsys)[0] == 2
    (evaluation / "more.json").write_text("{}")
    assert cli.main(["verify", str(evaluation)]) == 2


def test_the_card_of_converted_weights_tells_data_licences_and_scores(made, tmp_path, monkeypatch):
    (pack_folder,) = (made / "packed").iterdir()
    run, out = tmp_path / "my_run", tmp_path / "out"
    config = T5Config(
        vocab_size=384,
        emb_dim=8,
        num_heads=2,
        head_dim=4,
        mlp_dim=8,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    description = RunDescription.of(config, BYTES, inputs_length=64, targets_length=8)
    save_run(run, description, T5(config).init(jax.random.key(0)), step=4)
    convert(("instrux", str(run)), ("hf", str(out)))
    card = (out / "README.md").read_text()
    assert "started from | unknown" in card and "Not evaluated" in card
    assert yaml.safe_load(card.split("---\n")[1]).keys() == {
        "library_name",
        "pipeline_tag",
        "tags",
    }
    write_lineage(
        run / "lineage.json",
        "run",
        files=[run / "model.json"],
        sources=[
            Source(kind="packed", name="toy", path=str(pack_folder)),
            Source(kind="checkpoint", name="t5_lm"),
        ],
        arguments={"mixture": "toy", "batch_size": 32},
        packages=("numpy",),
    )
    monkeypatch.setattr(
        model_card, "licence", lambda *of: "mit" if of == ("toy", "count") else None
    )
    write_scores(run / "eval" / "4" / "results.json")
    shutil.rmtree(out)
    convert(("instrux", str(run)), ("hf", str(out)))
    card = (out / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["datasets"] == ["toy"]
    for line in (
        "| started from | `t5_lm` |",
        "| batch size | `32` |",
        f"| `{TASK}` | toy/count | 1 | 100.0000% | 100 | mit |",
        "| mit | 100.00% |",
        "| held-out prompts | toy/count | accuracy | 61.2 | 58.0 to 64.5 | 50.0 | 5 |",
    ):
        assert line in card.splitlines()


def write_scores(path):
    path.parent.mkdir(parents=True)
    spread = dict.fromkeys(("mean", "median", "lower_quartile", "upper_quartile"), 61.25)
    spread |= {"interquartile_range": 0.0, "best": 70.0, "worst": 52.0}
    summary = Summary(
        scope="dataset",
        name="toy/count",
        group="held-out prompts",
        metric="accuracy",
        score=61.25,
        interval=Interval(58.0, 64.5),
        baseline=50.0,
        num_datasets=1,
        num_prompts=5,
        num_examples=100,
        **spread,
    )
    results = EvaluationResults(
        model_dir="run",
        step=4,
        settings={},
        versions={},
        groups=("held-out prompts",),
        tasks=(),
        summaries=(summary,),
    )
    write_results(path, results)
