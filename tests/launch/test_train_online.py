"""Training straight on a SeqIO task: packed by SeqIO as it is read, and not packed."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from instrux.errors import InputError
from instrux.training.checkpoints import latest_step
from instrux.training.metrics_log import read_metrics

pytestmark = pytest.mark.slow

TINY_RUN = Path(__file__).parents[1] / "instrux" / "training" / "tiny_run.py"
TASK = "instrux_test_copying"
REGISTERS_THE_TASK = f"""
import functools
import seqio

def rows(split, shuffle_files, seed=None):
    import tensorflow as tf
    text = tf.data.Dataset.range(40)
    return text.map(lambda n: {{"inputs": tf.strings.as_string(n * 7919 % 997), "targets": tf.strings.as_string(n)}})

vocabulary = seqio.ByteVocabulary(extra_ids=5)
seqio.TaskRegistry.add(
    "{TASK}",
    source=seqio.FunctionDataSource(rows, splits=["train"], num_input_examples={{"train": 40}}),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={{name: seqio.Feature(vocabulary) for name in ("inputs", "targets")}},
    metric_fns=[],
)
"""

_spec = importlib.util.spec_from_file_location("tiny_run", TINY_RUN)
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "copying_task_module.py").write_text(REGISTERS_THE_TASK)
    sys.path.insert(0, str(folder))
    yield {
        "data_dir": tmp_path_factory.mktemp("data"),
        "pack": None,
        "mixture": TASK,
        "task_feature_lengths": {"inputs": 16, "targets": 8},
        "module_imports": ("copying_task_module",),
    }
    sys.path.remove(str(folder))


def losses(model_dir):
    return [(line["step"], line["loss"], line["padding_share"]) for line in read_metrics(model_dir)]


@pytest.mark.parametrize("pack_online", [True, False])
def test_a_resumed_run_gives_the_same_losses_bit_for_bit(settings, tmp_path, pack_online):
    settings = settings | {"pack_online": pack_online}
    tiny_run.train_tiny(tmp_path / "whole", train_steps=8, **settings)
    tiny_run.train_tiny(tmp_path / "halves", train_steps=4, **settings)
    tiny_run.train_tiny(tmp_path / "halves", train_steps=8, **settings)
    assert len(losses(tmp_path / "whole")) == 8
    assert losses(tmp_path / "halves") == losses(tmp_path / "whole")
    shares = [share for _, _, share in losses(tmp_path / "whole")]
    assert max(shares) < 0.5 if pack_online else min(shares) > 0.5


def test_a_run_that_was_killed_gives_the_same_losses_bit_for_bit(settings, tmp_path):
    model_dir = tmp_path / "killed"
    online = {name: value for name, value in settings.items() if name != "data_dir"}
    online |= {"train_steps": 10_000, "checkpoint_every_steps": 3}
    command = [sys.executable, str(TINY_RUN), str(model_dir), str(settings["data_dir"])]
    environment = os.environ | {"PYTHONPATH": sys.path[0]}  # where the task's module is
    process = subprocess.Popen(
        [*command, json.dumps(online)], env=environment, stderr=subprocess.DEVNULL
    )
    path = model_dir / "metrics.jsonl"
    while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") >= 8):
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -9
    steps = latest_step(model_dir) + 5
    tiny_run.train_tiny(model_dir, train_steps=steps, **settings)
    tiny_run.train_tiny(tmp_path / "whole", train_steps=steps, **settings)
    assert losses(model_dir) == losses(tmp_path / "whole")
    assert len(losses(model_dir)) == steps


def test_a_name_that_is_not_registered_is_told_with_near_ones(settings, tmp_path):
    settings = settings | {"mixture": TASK + "s"}
    with pytest.raises(InputError, match=rf"unknown task or mixture '{TASK}s'.*'{TASK}'"):
        tiny_run.train_tiny(tmp_path, **settings)


def test_lengths_must_be_given(settings, tmp_path):
    settings = settings | {"task_feature_lengths": {"inputs": 16}}
    with pytest.raises(InputError, match=r"task_feature_lengths is \{'inputs': 16\}; give"):
        tiny_run.train_tiny(tmp_path, **settings)
