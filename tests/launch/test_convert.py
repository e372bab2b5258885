"""Conversions between all formats: what comes out, what is refused, what memory it takes."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.interop.parameters import flatten, parameters
from instrux.models.t5 import T5, T5Config
from instrux.training.checkpoints import load_run, save_run
from instrux.training.run_folder import RunDescription
from launch import cli
from launch import whole_folder as module
from launch.convert import ConvertSettings, convert, gin_model
from launch.foreign import kind_of, open_weights

BYTES = VocabularySpec.parse("bytes:5")
CONFIG = T5Config(
    vocab_size=264,
    emb_dim=8,
    num_heads=2,
    head_dim=3,
    mlp_dim=12,
    num_encoder_layers=3,
    num_decoder_layers=2,
)


# 3 encoder layers of 9, 2 decoder layers of 14, the embeddings, the logits' kernel, two norms and
# two tables of relative positions.
TENSORS = 3 * 9 + 2 * 14 + 6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run as the trainer saves it, with two checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    description = RunDescription.of(CONFIG, BYTES, inputs_length=32, targets_length=8)
    draw = jax.jit(T5(CONFIG).init)
    for step in (4, 9):
        save_run(folder, description, draw(jax.random.key(step)), step=step)
    return folder


def same(one, other):
    """Whether two checkpoints hold the same bits."""
    return all(
        np.array_equal(one.read(p.name, layer), other.read(p.name, layer))
        for p in parameters(one.config)
        for layer in p.layers
    )


@pytest.mark.parametrize(
    ("ways", "scanned"), [(("hf", "t5x"), False), (("t5x", "hf"), True), (("instrux",), False)]
)
def test_every_way_round_loses_no_bit(run, tmp_path, ways, scanned):
    path = ("instrux", str(run))
    settings = ConvertSettings(scanned=scanned, inputs_length=32, targets_length=8)
    for number, kind in enumerate([*ways, "instrux"]):
        out = tmp_path / str(number)
        made = convert(path, (kind, str(out)), vocabulary="bytes:5", settings=settings)
        assert (made.out, made.config, made.step, made.tensors) == (out, CONFIG, 9, TENSORS)
        assert kind_of(out) == kind
        path = (kind, str(out))
    assert same(open_weights(run), open_weights(out))
    ours, back = load_run(run), load_run(out)
    assert (back.model, back.vocabulary, back.step) == (ours.model, BYTES, 9)
    jax.tree.map(np.testing.assert_array_equal, back.params, ours.params)


def test_the_checkpoint_of_a_step_is_converted_where_it_is_named(run, tmp_path):
    convert(("instrux", str(run)), ("hf", str(tmp_path / "named")), step=4)
    convert(("instrux", str(run / "checkpoints" / "4")), ("hf", str(tmp_path / "folder")))
    expected = dict(flatten(load_run(run, 4).params))["token_embedder.embedding"]
    for name in ("named", "folder"):
        weights = open_weights(tmp_path / name)
        assert weights.step == 4
        np.testing.assert_array_equal(weights.read("token_embedder.embedding", None), expected)


def test_checkpoints_are_told_apart_by_content_wherever_they_lie(run, tmp_path):
    convert(("instrux", str(run)), ("t5x", str(tmp_path / "checkpoints")))
    assert kind_of(run) == kind_of(run / "checkpoints" / "4") == "instrux"
    for path in ("checkpoints", "checkpoints/checkpoint_9", "checkpoints/checkpoint_9/checkpoint"):
        assert kind_of(tmp_path / path) == "t5x"
    with pytest.raises(InputError, match=r"no checkpoint that is known here"):
        kind_of(tmp_path / "checkpoints" / "checkpoint_9" / "target.token_embedder.embedding")


def test_the_vocabulary_goes_along(shared_data, tmp_path):
    source = ("t5x", str(shared_data / "t5x" / "test_t5_tiny.checkpoint_0"))
    model = shared_data / "vocab" / "t5_32000.model"
    convert(source, ("hf", str(tmp_path / "hf")), vocabulary=str(model))
    assert (tmp_path / "hf" / "spiece.model").read_bytes() == model.read_bytes()
    convert(("hf", str(tmp_path / "hf")), ("instrux", str(tmp_path / "run")))
    assert (tmp_path / "run" / "vocabulary.model").read_bytes() == model.read_bytes()
    shutil.rmtree(tmp_path / "hf")  # a run stands alone
    assert load_run(tmp_path / "run").vocabulary.load().vocab_size == 32100


def test_an_output_that_exists_is_not_touched(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(InputError, match=r"out: exists already"):
        convert(("instrux", str(run)), ("hf", str(tmp_path / "out")))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    convert(("instrux", str(run)), ("hf", str(tmp_path / "empty")))


@pytest.mark.parametrize("kind", ["hf", "t5x", "instrux"])
def test_a_conversion_that_fails_leaves_nothing(run, tmp_path, kind):
    convert(("instrux", str(run)), ("t5x", str(tmp_path / "in")))
    chunk = next((tmp_path / "in" / "checkpoint_9").glob("*layers_1.mlp.wi_1*/0.0"))
    chunk.unlink()
    with pytest.raises(InputError, match=r"layers_1/mlp/wi_1/kernel cannot be read"):
        convert(("t5x", str(tmp_path / "in")), (kind, str(tmp_path / "out")), vocabulary="bytes:5")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_is_told_before_anything_is_written(run, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"out: the weights take 0\.00 GiB and the disk has"):
        convert(("instrux", str(run)), ("hf", str(tmp_path / "out")))
    assert not list(tmp_path.iterdir())


def test_a_run_needs_a_vocabulary_that_fits(run, tmp_path):
    convert(("instrux", str(run)), ("t5x", str(tmp_path / "in")))
    source, target = ("t5x", str(tmp_path / "in")), ("instrux", str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"no vocabulary lies there.*--vocabulary"):
        convert(source, target)
    with pytest.raises(InputError, match=r"has 264 embeddings, and bytes:6 has ids up to 264"):
        convert(source, target, vocabulary="bytes:6")


def test_a_gin_file_gives_what_shapes_do_not_tell(run, tmp_path):
    convert(("instrux", str(run)), ("t5x", str(tmp_path / "in")))
    source = ("t5x", str(tmp_path / "in"))
    told = dataclasses.replace(CONFIG, remat="full", relpos_max_distance=64)
    made = convert(source, ("instrux", str(tmp_path / "a")), vocabulary="bytes:5", model=told)
    assert made.config == load_run(tmp_path / "a").model.config == told
    with pytest.raises(InputError, match=r"is of shape .* a T5 of 2 \+ 2 layers, width 128"):
        model = gin_model("models/t5_tiny.gin")
        convert(source, ("instrux", str(tmp_path / "b")), vocabulary="bytes:5", model=model)
    with pytest.raises(InputError, match="tells its own sizes"):
        convert(("instrux", str(run)), ("hf", str(tmp_path / "b")), model=told)


def test_a_run_whose_arrays_are_not_its_models_is_told(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    description = json.loads((tmp_path / "run" / "model.json").read_text())
    description["model"]["mlp_dim"] = 16
    (tmp_path / "run" / "model.json").write_text(json.dumps(description))
    told = r"wi_0.kernel is of shape \[2, 8, 12\] in the checkpoint and of shape \[2, 8, 16\]"
    with pytest.raises(InputError, match=told):
        convert(("instrux", str(tmp_path / "run")), ("hf", str(tmp_path / "out")))


def test_the_command_converts(run, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert cli.main(["convert", "--from", "instrux", str(run), "--to", "hf", out]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == out
    assert f"convert: {TENSORS} tensors" in captured.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "hf", "/nowhere", "--to", "t5x", "out"], "/nowhere/config.json: No such file"),
        (
            ["--from", "torch", "/nowhere", "--to", "t5x", "out"],
            "no format 'torch'; choose from t5x",
        ),
        (["--from", "t5x", "/nowhere", "--to", "hf", "out"], "/nowhere: no T5X checkpoint here"),
        (["--from", "instrux", "/nowhere", "--to", "hf", "out"], "no checkpoint of a run"),
        (["--from", "hf", "/nowhere", "--to", "hf", "out", "--dtype", "int8"], "dtype 'int8'"),
        (["--from", "hf", "--to", "hf", "out"], "--from: expected 2 arguments"),
        (["--from", "hf", "/nowhere"], "--to"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["convert", *arguments]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_memory_is_bounded_by_tensors_and_not_by_the_model(tmp_path):
    """322 MiB of weights, of which the largest tensor is 4 and the largest stacked one 40."""
    script = Path(__file__).with_name("converted_memory.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", "JAX_PLATFORMS": "cpu", "MALLOC_ARENA_MAX": "2"},
    )
    measured = json.loads(done.stdout)
    assert measured["model_mib"] > 300
    assert max(measured["growth_mib"].values()) < 100, measured
