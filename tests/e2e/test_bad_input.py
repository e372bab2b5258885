"""What a user gets wrong, through the command line: one line, exit status 2, nothing lost."""

import json
import shutil
import sys

import pytest

from launch import cli

TEMPLATES = """
dataset: {dataset}
templates:
  one:
    name: answer
    jinja: "{question}"
    answer_choices: no ||| yes
    metadata: {{original_task: true, choices_in_prompt: false, metrics: [Accuracy]}}
"""
GOOD = "{{question}} Yes or no?|||{{answer_choices[open]}}"
MODULE = """
from instrux.data.registration import add_dataset, add_mixture
from instrux.data.sources import JsonLinesSource
from instrux.prompts import TemplateCollection

add_dataset(
    JsonLinesSource("{dataset}", files={{"train": r"{folder}/rows.jsonl"}}),
    TemplateCollection.load(r"{folder}/templates")["{dataset}"],
    splits=["train"],
    prefix="bad:",
    train_examples=8,
)
add_mixture("bad:{dataset}_mixture", {{"bad:{dataset}_answer": 1.0}})
"""
ROWS = [{"question": f"Is shop {number} open?", "open": number % 2} for number in range(8)]

TRAIN_GIN = """
from __gin__ import dynamic_registration
from instrux.models import t5
from launch import train
from launch import training_data

WIDTH = 16
VOCABULARY = "bytes"
NUM_EXAMPLES = 16
training_data.pack_settings:
  mixture = "bad:{dataset}_mixture"
  task_feature_lengths = {{"inputs": 64, "targets": 8}}
  vocabulary = %VOCABULARY
  num_examples = %NUM_EXAMPLES
t5.T5Config:
  vocab_size = 384
  emb_dim = %WIDTH
  num_heads = 2
  head_dim = 8
  mlp_dim = 16
  num_encoder_layers = 1
  num_decoder_layers = 1
train.train:
  model_dir = r"{folder}/run"
  data_dir = r"{folder}/data"
  model = @t5.T5Config()
  pack = @training_data.pack_settings()
  batch_size = 2
  train_steps = 2
  tensorboard = False
"""


class Shop:
    """A user's folder: rows, templates, a module, and a data folder, under names of its own."""

    def __init__(self, folder, dataset, *, rows=ROWS, template=GOOD):
        self.folder, self.dataset = folder, dataset
        self.data_dir = folder / "data"
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        templates = folder / "templates" / dataset
        templates.mkdir(parents=True)
        (templates / "templates.yaml").write_text(
            TEMPLATES.format(dataset=dataset, question=template)
        )
        self.module = f"{dataset}_tasks"
        (folder / f"{self.module}.py").write_text(MODULE.format(dataset=dataset, folder=folder))
        self.gin = folder / "train.gin"
        self.gin.write_text(TRAIN_GIN.format(dataset=dataset, folder=folder))

    def render(self, capsys):
        return _run(
            capsys, "render", "--task", f"bad:{self.dataset}*", "--data_dir", str(self.data_dir),
            "--module_import", self.module,
        )  # fmt: skip

    def pack(self, capsys):
        return _run(
            capsys, "pack", "--mixture", f"bad:{self.dataset}_mixture",
            "--data_dir", str(self.data_dir), "--vocabulary", "bytes", "--inputs_length", "64",
            "--targets_length", "8", "--num_examples", "16", "--module_import", self.module,
        )  # fmt: skip

    def train(self, capsys, *bindings):
        return _run(
            capsys, "train", "--gin_file", str(self.gin), *(f"--gin.{each}" for each in bindings)
        )

    @property
    def rendered(self):
        return self.data_dir / "rendered" / f"bad:{self.dataset}_answer"


def _run(capsys, *arguments):
    status = cli.main(arguments)
    return status, capsys.readouterr().err


def _one_line(err):
    """The error: the last line, after whatever progress was told."""
    lines = [line for line in err.splitlines() if line.startswith("instrux: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture
def shop(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    serial = iter(range(100))

    def make(**settings):
        # SeqIO's registry is one for the process: each test has names of its own.
        name = f"{request.node.name.partition('[')[0].removeprefix('test_')}{next(serial)}"
        return Shop(tmp_path, name, **settings)

    return make


def test_a_template_with_a_syntax_error(shop, capsys):
    bad = shop(template="{% if question %}{{question}}|||yes")
    status, err = bad.render(capsys)
    assert status == 2
    line = _one_line(err)
    assert "templates.yaml" in line
    assert "answer" in line


def test_a_template_that_is_not_there(shop, capsys):
    bad = shop()
    module = bad.folder / f"{bad.module}.py"
    one = f'[TemplateCollection.load(r"{bad.folder}/templates")["{bad.dataset}"]["anwser"]],'
    whole = f'TemplateCollection.load(r"{bad.folder}/templates")["{bad.dataset}"],'
    assert whole in module.read_text()
    module.write_text(module.read_text().replace(whole, one))
    status, err = bad.render(capsys)
    assert status == 2
    assert "anwser" in _one_line(err)
    assert "Did you mean 'answer'?" in _one_line(err)


def test_a_template_naming_a_field_that_no_row_has(shop, capsys):
    bad = shop(template="{{qestion}} Yes or no?|||{{answer_choices[open]}}")
    status, err = bad.render(capsys)
    assert status == 2
    line = _one_line(err)
    assert "qestion" in line
    assert "question" in line
    assert not (bad.rendered / "COMPLETED").exists()


def test_a_row_that_is_no_json(shop, capsys):
    bad = shop()
    rows = bad.folder / "rows.jsonl"
    rows.write_text(rows.read_text() + '{"question": \n')
    status, err = bad.render(capsys)
    assert status == 2
    assert "rows.jsonl" in _one_line(err)
    assert "9" in _one_line(err)


def test_an_empty_dataset(shop, capsys):
    bad = shop(rows=[])
    status, err = bad.render(capsys)
    assert status == 2
    assert bad.dataset in _one_line(err)


def test_a_folder_half_written_by_a_killed_job(shop, capsys):
    mine = shop()
    mine.rendered.mkdir(parents=True)
    (mine.rendered / "train.tfrecord-00000-of-00002").write_bytes(b"half a rec")
    status, err = mine.pack(capsys)
    assert status == 2
    line = _one_line(err)
    assert mine.dataset in line
    assert "render" in line

    assert mine.render(capsys)[0] == 0
    assert mine.pack(capsys)[0] == 0
    assert sorted(path.name for path in mine.rendered.glob("train.tfrecord*")) == [
        "train.tfrecord-00000-of-00001"
    ]


def test_a_truncated_tfrecord(shop, capsys):
    mine = shop()
    assert mine.render(capsys)[0] == 0
    (shard,) = mine.rendered.glob("train.tfrecord*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-5])
    status, err = mine.pack(capsys)
    assert status == 2
    assert shard.name in _one_line(err) or mine.dataset in _one_line(err)

    assert mine.render(capsys)[0] == 0
    assert shard.read_bytes() == whole
    assert mine.pack(capsys)[0] == 0


def test_a_vocabulary_that_is_not_the_one_packed_with(shop, capsys):
    mine = shop()
    assert mine.render(capsys)[0] == 0
    assert mine.pack(capsys)[0] == 0
    status, err = mine.train(capsys, "VOCABULARY='bytes:7'")
    assert status == 2
    assert "pack" in _one_line(err)


def test_a_checkpoint_of_another_model(shop, capsys):
    mine = shop()
    assert mine.render(capsys)[0] == 0
    assert mine.pack(capsys)[0] == 0
    assert mine.train(capsys)[0] == 0
    before = _files(mine.folder / "run")
    status, err = mine.train(capsys, "WIDTH=24", "train.train.train_steps=4")
    assert status == 2
    line = _one_line(err)
    assert "run" in line
    assert "24" in line
    assert _files(mine.folder / "run") == before


def test_a_damaged_checkpoint_is_told_and_left_alone(shop, capsys):
    mine = shop()
    assert mine.render(capsys)[0] == 0
    assert mine.pack(capsys)[0] == 0
    assert mine.train(capsys)[0] == 0
    (step,) = (path for path in (mine.folder / "run" / "checkpoints").iterdir() if path.is_dir())
    for path in step.rglob("d"):
        if path.is_dir():
            shutil.rmtree(path)
    status, err = mine.train(capsys, "train.train.train_steps=4")
    assert status == 2
    assert str(step.name) in _one_line(err)


def _files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
