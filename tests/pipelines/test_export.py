"""The export, from rendered splits to files that other people's libraries load."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml

from instrux.data.export_card import HeldOutData
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.export import ExportSettings, ExportTask, export
from pipelines.render import render

PLAIN = Template(name="plain", jinja="Say é: {{text}} ||| {{n}}")
CHOICES = Template(
    name="which", jinja="{{text}}? ||| {{answer_choices[n % 2]}}", answer_choices="even ||| odd"
)
COUNTS = {"a_plain": 30, "b_which": 12}
TASKS = (
    ExportTask(name="a_plain", rendered="a_plain", rate=30.0, dataset="toy/a", licence="mit"),
    ExportTask(
        name="b_which", rendered="b_which", rate=10.0, dataset="toy/b", licence="cc-by-sa-4.0"
    ),
)
HELD_OUT = (HeldOutData(dataset="toy/c", cluster="counting", prompts=3),)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tasks = []
    for (name, count), template in zip(COUNTS.items(), (PLAIN, CHOICES), strict=True):
        path = folder / f"{name}.jsonl"
        rows = [{"text": f"{name}\n{n}", "n": n} for n in range(count)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = JsonLinesSource("toy", name[0], {"train": str(path)})
        tasks.append(
            PromptedTask(name, source, template, splits={"train": "train"}, cluster="counting")
        )
    render(tasks=tasks, data_dir=folder, num_shards=2)
    return folder


def settings_for(format="jsonl", **changes):
    return ExportSettings(**{"mixture": "toy", "format": format} | changes)


def rows_in(folder, format="jsonl"):
    rows = []
    for path in sorted(folder.glob(f"*.{format}")):
        if format == "parquet":
            rows += pq.read_table(path).to_pylist()
        else:
            rows += [json.loads(line) for line in path.read_text().splitlines()]
    return rows


def front_matter(folder):
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_every_rendered_example_is_there_once(data_dir, tmp_path, format):
    result = export(
        settings_for(format, shard_size=17), data_dir=data_dir, tasks=TASKS, out=tmp_path / "out"
    )
    assert result.rows == 42
    names = sorted(path.name for path in (tmp_path / "out").glob(f"*.{format}"))
    assert names == [f"train-0000{n}-of-00003.{format}" for n in range(3)]
    rows = rows_in(tmp_path / "out", format)
    assert [row["task"] for row in rows] == ["a_plain"] * 30 + ["b_which"] * 12
    expected = [
        (each.inputs, each.targets, each.example_id)
        for task in TASKS
        for each in RenderedSplit(data_dir, task.rendered, "train").read()
    ]
    assert [(row["inputs"], row["targets"], row["example_id"]) for row in rows] == expected
    assert set(rows[0]) == {
        "task",
        "dataset",
        "template",
        "inputs",
        "targets",
        "answer_choices",
        "references",
        "example_id",
    }
    by_id = {row["example_id"]: row for row in rows}
    row = by_id["toy/b/train/1"]
    assert (row["inputs"], row["targets"], row["template"]) == ("b_which\n1?", "odd", "which")
    assert row["answer_choices"] == ["even", "odd"] and row["dataset"] == "toy/b"
    assert by_id["toy/a/train/1"]["answer_choices"] is None


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_the_datasets_library_loads_it(data_dir, tmp_path, monkeypatch, format):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    export(
        settings_for(format, shard_size=17), data_dir=data_dir, tasks=TASKS, out=tmp_path / "out"
    )
    # The first file has no answer choices at all: their type is the card's.
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and len(loaded["train"]) == 42
    rows = rows_in(tmp_path / "out", format)
    assert [dict(row) for row in loaded["train"]] == rows
    streamed = datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    assert next(iter(streamed))["inputs"] == rows[0]["inputs"]


def test_a_sample_has_the_rates_proportions_and_is_mixed(data_dir, tmp_path):
    settings = settings_for(num_examples=80, shard_size=25)
    result = export(settings, data_dir=data_dir, tasks=TASKS, out=tmp_path / "one")
    rows = rows_in(result.folder)
    tasks = [row["task"] for row in rows]
    assert Counter(tasks) == {"a_plain": 60, "b_which": 20}
    # 60 of 30 examples are two of each; 20 of 12 are one or two of each.
    times = Counter(row["example_id"] for row in rows)
    assert {times[f"toy/a/train/{n}"] for n in range(30)} == {2}
    assert sorted(times[f"toy/b/train/{n}"] for n in range(12)) == [1] * 4 + [2] * 8
    assert 0 < tasks[:40].count("b_which") < 20
    assert [path.stat().st_size > 0 for path in sorted(result.folder.glob("*.jsonl"))] == [True] * 4
    again = export(settings, data_dir=data_dir, tasks=TASKS, out=tmp_path / "two")
    assert rows_in(again.folder) == rows
    other = settings_for(num_examples=80, shard_size=80, seed=1)
    assert rows_in(export(other, data_dir=data_dir, tasks=TASKS).folder) != rows


def test_a_complete_export_is_skipped_and_a_changed_one_made_again(data_dir, tmp_path, capsys):
    out = tmp_path / "out"
    export(settings_for(), data_dir=data_dir, tasks=TASKS, out=out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert export(settings_for(), data_dir=data_dir, tasks=TASKS, out=out).skipped
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert "export toy: complete, skipped" in capsys.readouterr().err
    (out / "train-00000-of-00001.jsonl").write_text("cut")
    assert not export(settings_for(), data_dir=data_dir, tasks=TASKS, out=out).skipped
    export(settings_for(shard_size=20), data_dir=data_dir, tasks=TASKS, out=out)
    assert sorted(path.name for path in out.glob("*.jsonl")) == [
        f"train-0000{n}-of-00003.jsonl" for n in range(3)
    ]
    assert len(rows_in(out)) == 42


def test_an_export_that_dies_leaves_nothing_that_looks_complete(data_dir, tmp_path, monkeypatch):
    from pipelines import export as module

    def die(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    monkeypatch.setattr(module.Card, "to_markdown", die)
    with pytest.raises(KeyboardInterrupt):
        export(settings_for(num_examples=10), data_dir=data_dir, tasks=TASKS, out=out)
    assert not (out / "COMPLETED").exists() and not (out / "README.md").exists()
    monkeypatch.undo()
    result = export(settings_for(num_examples=10), data_dir=data_dir, tasks=TASKS, out=out)
    assert not result.skipped and len(rows_in(out)) == 10
    assert not list(out.glob(".*"))


def test_the_card_lists_tasks_rates_and_licences(data_dir, tmp_path):
    out = tmp_path / "out"
    export(settings_for(), data_dir=data_dir, tasks=TASKS, held_out=HELD_OUT, out=out)
    front = front_matter(out)
    assert front["license"] == ["cc-by-sa-4.0", "mit"]
    assert front["size_categories"] == ["n<1K"]
    (config,) = front["configs"]
    assert config["data_files"] == [{"split": "train", "path": "train-*.jsonl"}]
    info = front["dataset_info"]
    assert info["splits"][0]["num_examples"] == 42
    assert info["download_size"] == sum(path.stat().st_size for path in out.glob("*.jsonl"))
    card = (out / "README.md").read_text()
    assert "| `a_plain` | toy/a | counting | 30 | 30 | 30 | 75.0000% | mit |" in card
    assert "| toy/c | counting | 3 |" in card
    assert "every rendered example is there once" in card.lower()


def test_a_task_that_is_not_rendered_is_an_error_or_told_and_recorded(data_dir, tmp_path, capsys):
    absent = ExportTask(name="absent", rendered="absent", rate=60.0, dataset="toy/absent")
    tasks = (*TASKS, absent)
    with pytest.raises(InputError, match=r"'absent' is not rendered.*--leave_out_missing"):
        export(settings_for(), data_dir=data_dir, tasks=tasks, out=tmp_path / "out")
    settings = settings_for(leave_out_missing=True)
    result = export(settings, data_dir=data_dir, tasks=tasks, out=tmp_path / "out")
    assert [(task.name, task.share) for task in result.left_out] == [("absent", 0.6)]
    assert "LEFT OUT 1 of 3 tasks, 60.0% of the mixture" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [task["name"] for task in manifest["metadata"]["left_out"]] == ["absent"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| `absent` | 60.000% | not rendered |" in card and "75.0000%" in card


def test_somebody_elses_readme_is_not_written_over(data_dir, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"README\.md: is there already.*--out"):
        export(settings_for(), data_dir=data_dir, tasks=TASKS, out=tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": "csv"}, "no format 'csv'"),
        ({"num_examples": 0}, "num_examples is 0"),
        ({"shard_size": -1}, "shard_size is -1"),
    ],
)
def test_wrong_settings_are_told(changes, problem):
    with pytest.raises(InputError, match=problem):
        settings_for(**changes)


@pytest.mark.parametrize("drawn", [None, 60])
def test_rows_that_a_list_names_are_not_exported_and_are_counted(data_dir, tmp_path, drawn):
    path = tmp_path / "rows.jsonl"
    excluded = [
        ("a_plain", "toy/a/train/3"),
        ("a_plain", "toy/a/train/4"),
        ("b_which", "toy/a/x/1"),
    ]
    lines = [json.dumps({"task": task, "example_id": each}) + "\n" for task, each in excluded]
    path.write_text("".join(lines))
    settings = settings_for(exclude=(str(path),), num_examples=drawn)
    result = export(settings, data_dir=data_dir, tasks=TASKS, out=tmp_path / "out")
    ids = {row["example_id"] for row in rows_in(tmp_path / "out")}
    assert len(ids) == 40
    assert not ids & {"toy/a/train/3", "toy/a/train/4"}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["dropped"] == {"excluded": 2}
    assert "2 rendered examples that a list names" in (result.folder / "README.md").read_text()
    path.write_text("".join(lines[::-1]))
    assert export(settings, data_dir=data_dir, tasks=TASKS, out=tmp_path / "out").skipped
    path.write_text(lines[0])
    assert not export(settings, data_dir=data_dir, tasks=TASKS, out=tmp_path / "out").skipped


def test_a_task_that_lists_empty_stops_the_export_unless_it_may_be_left_out(data_dir, tmp_path):
    rows = [row for row in exported(data_dir, tmp_path / "all") if row["task"] == "a_plain"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"example_id": row["example_id"]}) + "\n" for row in rows))
    settings = settings_for(exclude=(str(path),))
    with pytest.raises(InputError, match=r"all 30 examples of task a_plain.*--leave_out_emptied"):
        export(settings, data_dir=data_dir, tasks=TASKS[:1], out=tmp_path / "out")
    settings = settings_for(exclude=(str(path),), leave_out_emptied=True)
    with pytest.raises(InputError, match="nothing remains"):
        export(settings, data_dir=data_dir, tasks=TASKS[:1], out=tmp_path / "out")


def exported(data_dir, out):
    export(settings_for(), data_dir=data_dir, tasks=TASKS, out=out)
    return rows_in(out)
