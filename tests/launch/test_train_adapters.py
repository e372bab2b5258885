"""Runs of soft prompts and low-rank factors: what is trained, saved, read, merged and refused."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import gin
import jax
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.evaluation.reader import ReadingSettings
from instrux.models import adapters
from instrux.models.decoder_only import DecoderConfig
from instrux.models.families import model_of
from instrux.models.t5 import T5Config
from instrux.training.checkpoints import load_run, save_run
from instrux.training.optimizers import AdamW
from instrux.training.run_folder import RunDescription
from instrux.training.schedules import constant
from launch import foreign, gin_config, reading
from launch.adapters import PromptInit, prompt_tokens
from launch.convert import convert

_spec = importlib.util.spec_from_file_location(
    "tiny_run", Path(__file__).parents[1] / "instrux" / "training" / "tiny_run.py"
)
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)

SIZES = {"vocab_size": tiny_run.VOCAB_SIZE, "emb_dim": 8, "num_heads": 2, "head_dim": 4}
T5_BASE = T5Config(**SIZES, mlp_dim=16, num_encoder_layers=2, num_decoder_layers=2)
DECODER_BASE = DecoderConfig(**SIZES, mlp_dim=16, num_layers=2, max_positions=64)
PROMPT = {"prompt_length": 3, "prompt_examples": 8}
LORA = {"lora_rank": 2, "lora_alpha": 8.0, "lora_dropout": 0.1, "lora_targets": ".*/kernel"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_run.write_packed_set(folder)
    return folder


@pytest.fixture(scope="module", params=["t5 prompt", "decoder lora"])
def case(request, tmp_path_factory, data_dir):
    """A base, and a run of six steps beside it."""
    family, kind = request.param.split()
    base = T5_BASE if family == "t5" else DECODER_BASE
    config = dataclasses.replace(base, **(PROMPT if kind == "prompt" else LORA))
    folder = tmp_path_factory.mktemp("runs")
    tiny_run.train_tiny(folder / "base", data_dir, model=base, train_steps=1)
    settings = {
        "model": config,
        "initial_checkpoint_path": str(folder / "base"),
        "optimizer": AdamW(),
        "learning_rate": constant(0.05),
    }
    tiny_run.train_tiny(folder / "run", data_dir, train_steps=6, **settings)
    return kind, config, folder, settings


def losses_of(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line["loss"] for line in map(json.loads, lines)}


def opened(folder):
    run = reading.find_run(str(folder), step=None, vocabulary=None)
    settings = ReadingSettings(inputs_length=16, targets_length=8, batch_size=2)
    return reading.opened(run, settings, compile_cache=False)


QUESTIONS = [[5, 6, 7], [9, 8]]
CHOICES = [["a", "bc"], ["d", "e"]]


def test_adapters_alone_are_trained_saved_and_resumed(case, data_dir, tmp_path):
    _, config, folder, settings = case
    assert losses_of(folder / "run")[6] < losses_of(folder / "run")[1]
    stored = foreign.StreamedParams(folder / "run", 6).shapes
    own = adapters.adapter_params(model_of(config).logical_axes())
    assert len(stored) == len(jax.tree.leaves(own, is_leaf=lambda leaf: isinstance(leaf, tuple)))
    assert all("prompt" in name or "lora" in name for name in stored)
    tiny_run.train_tiny(tmp_path, data_dir, train_steps=3, **settings)
    tiny_run.train_tiny(tmp_path, data_dir, train_steps=6, **settings)
    assert losses_of(tmp_path) == losses_of(folder / "run")


def test_a_run_is_read_with_its_base_and_merged_where_it_can_be(case, tmp_path):
    kind, config, folder, _ = case
    with opened(folder / "run") as reader, opened(folder / "base") as base:
        scores = reader.rank(QUESTIONS, CHOICES)
        assert np.abs(np.stack(scores) - np.stack(base.rank(QUESTIONS, CHOICES))).max() > 1e-4
        answers = reader.generate(QUESTIONS)
    with pytest.raises(InputError, match="holds adapters beside"):
        load_run(folder / "run")
    source, target = ("instrux", str(folder / "run")), ("instrux", str(tmp_path / "merged"))
    if kind == "prompt":
        with pytest.raises(InputError, match="holds a soft prompt"):
            convert(source, target)
        return
    convert(source, target)
    assert load_run(tmp_path / "merged").model.config == adapters.without_adapters(config)
    with opened(tmp_path / "merged") as merged:
        np.testing.assert_allclose(merged.rank(QUESTIONS, CHOICES), scores, atol=1e-5)
        assert merged.generate(QUESTIONS) == answers


def train_both(folder, data_dir, base, **settings):
    """A prompt and factors together, beside a base of one layer."""
    model = dataclasses.replace(DECODER_BASE, num_layers=1, **PROMPT, **LORA)
    about = {"model": model, "optimizer": AdamW(), "learning_rate": constant(0.05)}
    settings = {**about, "initial_checkpoint_path": str(base), "train_steps": 4, **settings}
    tiny_run.train_tiny(folder, data_dir, **settings)


@pytest.mark.slow
def test_eight_devices_train_save_and_resume_adapters_as_one(data_dir, tmp_path):
    base = dataclasses.replace(DECODER_BASE, num_layers=1)
    about = RunDescription.of(base, tiny_run.VOCABULARY, inputs_length=16, targets_length=8)
    save_run(tmp_path / "base", about, model_of(base).init(jax.random.key(3)), step=0)
    script = Path(__file__).with_name("adapters_on_eight_devices.py")
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    folders = [str(folder) for folder in (tmp_path / "split", data_dir, tmp_path / "base")]
    done = subprocess.run(
        [sys.executable, str(script), *folders],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    train_both(tmp_path / "alone", data_dir, tmp_path / "base")
    ours, others = (losses_of(tmp_path / name) for name in ("split", "alone"))
    assert ours.keys() == others.keys() and others[4] < others[1]
    np.testing.assert_allclose([*ours.values()], [*others.values()], rtol=1e-5)
    saved = [foreign.StreamedParams(tmp_path / name, 4) for name in ("split", "alone")]
    assert saved[0].shapes == saved[1].shapes and "prompt.embedding" in saved[0].shapes
    for name in saved[0].shapes:
        both = [stored.read(name) for stored in saved]
        np.testing.assert_allclose(*both, atol=2e-3, err_msg=name)


def test_what_does_not_fit_is_told(data_dir, tmp_path):
    def train(**changes):
        tiny_run.train_tiny(tmp_path / "run", data_dir, train_steps=1, **changes)

    lora = dataclasses.replace(T5_BASE, **LORA)
    with pytest.raises(InputError, match="name its checkpoint in INITIAL_CHECKPOINT_PATH"):
        train(model=lora)
    none = dataclasses.replace(lora, lora_targets="attention/query")
    with pytest.raises(InputError, match="'attention/query' matches no kernel"):
        train(model=none, initial_checkpoint_path="/base")
    tiny_run.train_tiny(tmp_path / "base", data_dir, model=T5_BASE, train_steps=1)
    small = dataclasses.replace(T5_BASE, prompt_length=2, prompt_examples=1)
    with pytest.raises(InputError, match="there is room for 1 prompts; set prompt_examples to"):
        train(model=small, initial_checkpoint_path=str(tmp_path / "base"))


def test_a_prompt_begins_with_embeddings_of_texts():
    vocabulary = tiny_run.VOCABULARY.load()
    # A byte's id is its value plus 3.
    labels = PromptInit("labels", ("ab", "c"))
    groups = prompt_tokens(labels, vocabulary, 4, seed=0)
    assert groups[:2] == [[100, 101], [102]] and len(groups) == 4
    assert all(len(group) == 1 and group[0] > 2 for group in groups[2:])
    assert prompt_tokens(PromptInit("text", ("ab",)), vocabulary, 2, seed=0) == [[100], [101]]
    with pytest.raises(InputError, match="make 3 rows, and the prompt has 2"):
        prompt_tokens(PromptInit("text", ("abc",)), vocabulary, 2, seed=0)
    with pytest.raises(InputError, match="take texts"):
        PromptInit("labels")


@pytest.mark.parametrize(
    ("file", "field", "value", "rate"),
    [("prompt_tuning", "prompt_length", 100, 0.3), ("lora", "lora_rank", 8, 2e-4)],
)
def test_the_files_of_runs_turn_a_run_into_one_of_adapters(file, field, value, rate):
    files = ["runs/finetune.gin", "models/t5_1_1_small.gin", f"runs/{file}.gin"]
    names = ("MIXTURE_OR_TASK_NAME", "MODEL_DIR", "DATA_DIR", "INITIAL_CHECKPOINT_PATH")
    bindings = [f"{name}='x'" for name in names]
    bindings += ["TASK_FEATURE_LENGTHS={'inputs': 8, 'targets': 8}", "VOCABULARY='bytes'"]
    gin_config.parse(files, [*bindings, "NUM_EXAMPLES=1", "TRAIN_STEPS=1"])
    try:
        bound = gin.get_bindings("launch.train.train")
    finally:
        gin.clear_config()
    assert getattr(bound["model"], field) == value
    assert bound["learning_rate"](0) == pytest.approx(rate)
    prompt = PromptInit("vocabulary") if file == "prompt_tuning" else None
    assert bound.get("prompt_init") == prompt
