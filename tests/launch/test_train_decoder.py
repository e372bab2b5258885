"""A decoder-only model through training, its run's folder, and reading."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.evaluation.reader import ReadingSettings
from instrux.models.decoder_only import DecoderConfig
from instrux.training.checkpoints import load_run
from launch import foreign, reading
from launch.convert import convert

_spec = importlib.util.spec_from_file_location(
    "tiny_run", Path(__file__).parents[1] / "instrux" / "training" / "tiny_run.py"
)
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)

CONFIG = DecoderConfig(
    vocab_size=tiny_run.VOCAB_SIZE,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    mlp_dim=16,
    num_layers=2,
    prefix_lm=True,
)


def train(model_dir, data_dir, **settings):
    return tiny_run.train_tiny(model_dir, data_dir, **{"model": CONFIG, **settings})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_run.write_packed_set(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir):
    folder = tmp_path_factory.mktemp("run")
    train(folder, data_dir, train_steps=6)
    return folder


def losses_of(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line["loss"] for line in map(json.loads, lines)}


def test_the_loss_falls_and_resuming_gives_the_same_numbers(run, data_dir, tmp_path):
    losses = losses_of(run)
    assert losses[6] < losses[1]
    train(tmp_path, data_dir, train_steps=3)
    train(tmp_path, data_dir, train_steps=6)
    assert losses_of(tmp_path) == losses


def test_a_set_that_is_packed_joined_trains_as_well(run, data_dir, tmp_path):
    joined = dataclasses.replace(tiny_run.PACK, joined=True)
    tiny_run.write_packed_set(tmp_path, joined)
    compiled = {"compile_cache": str(data_dir / "jax")}
    train(tmp_path / "run", tmp_path, pack=joined, train_steps=2, **compiled)
    # The same rows in both, joined as they are packed and as they are read.
    ours, others = losses_of(tmp_path / "run"), losses_of(run)
    np.testing.assert_allclose([ours[1], ours[2]], [others[1], others[2]], rtol=1e-6)
    t5 = {"model": tiny_run.CONFIG, "pack": joined}
    with pytest.raises(InputError, match="no place for an encoder; pack without joined"):
        train(tmp_path / "t5", tmp_path, **t5)


def test_metrics_count_what_is_no_padding(run):
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    rows = tiny_run.packed_rows()
    held = (rows["encoder_segment_ids"] > 0).mean() * 16 + (
        rows["decoder_segment_ids"] > 0
    ).mean() * 8
    assert 0.5 * (1 - held / 24) < line["padding_share"] < 1.5 * (1 - held / 24)


def test_the_run_is_loaded_as_what_it_is(run):
    loaded = load_run(run)
    assert loaded.model.config == CONFIG and loaded.step == 6
    assert json.loads((run / "model.json").read_text())["family"] == "decoder_only"


def test_the_run_ranks_and_writes(run):
    settings = ReadingSettings(inputs_length=16, targets_length=8, batch_size=2)
    with reading.opened(
        reading.find_run(str(run), step=None, vocabulary=None), settings, compile_cache=False
    ) as reader:
        inputs = reader.tokenize_inputs(["a", "bcd"])
        scores = reader.rank(inputs, [["x", "yz"], ["x", "yz", "w"]])
        texts = reader.generate(inputs)
    assert [len(row) for row in scores] == [2, 3]
    assert all((row < 0).all() and np.isfinite(row).all() for row in scores)
    assert len(texts) == 2


def test_another_family_does_not_go_on_in_the_same_folder(run, data_dir):
    with pytest.raises(InputError, match=r"family = decoder_only, this one has\s+t5"):
        tiny_run.train_tiny(run, data_dir, train_steps=8)


def test_too_few_positions_are_told_before_training(data_dir, tmp_path):
    short = dataclasses.replace(CONFIG, max_positions=20)
    with pytest.raises(InputError, match="take 24 positions"):
        train(tmp_path, data_dir, model=short)
    assert not list(tmp_path.iterdir())


def test_a_prefix_lm_is_read_for_a_conversion_and_not_written_as_gpt_2(run, tmp_path):
    assert foreign.open_weights(run).config == CONFIG
    with pytest.raises(InputError, match="prefix_lm is True, and transformers' GPT-2 has none"):
        convert(("instrux", str(run)), ("hf", str(tmp_path / "out")))
    assert not list(tmp_path.iterdir())


def test_split_over_devices_the_tree_has_an_axis_for_every_dimension():
    from instrux.models.decoder_only import DecoderOnly
    from instrux.training.mesh import RULES

    known = {name for name, _ in RULES}
    model = DecoderOnly(dataclasses.replace(CONFIG, logits_via_embedding=False))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    axes = model.logical_axes()
    jax.tree.map(
        lambda shape, names: _same(len(shape.shape), names, known),
        shapes,
        axes,
    )


def _same(rank, names, known):
    assert len(names) == rank
    assert set(names) <= known
