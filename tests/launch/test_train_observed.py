"""What a run tells of itself and keeps, with a packed set of two tasks: one compiled step for all."""

import dataclasses
import importlib.util
import json
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.training.assignment import load_assigned
from instrux.training.checkpoints import all_steps, load_run
from instrux.training.keeping import KeepBest
from instrux.training.metrics_log import read_metrics
from instrux.training.profiling import ProfileSteps
from instrux.training.trackers import Wandb

TINY_RUN = Path(__file__).parents[1] / "instrux" / "training" / "tiny_run.py"
_spec = importlib.util.spec_from_file_location("tiny_run", TINY_RUN)
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)
HELD_OUT = dataclasses.replace(tiny_run.PACK, split="validation")


class FakeWandb(types.ModuleType):
    """As much of the package as the tracker uses."""

    def __init__(self):
        super().__init__("wandb")
        self.started, self.lines, self.finished, self.id = [], [], 0, "abc123"

    def init(self, **arguments):
        self.started.append(arguments)
        return self

    def log(self, values, step):
        self.lines.append((step, values))

    def finish(self):
        self.finished += 1


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_run.write_packed_set(folder, tasks=("first", "second"))
    tiny_run.write_packed_set(folder, pack=HELD_OUT, tasks=("first", "second"))
    return folder


def train(model_dir, data_dir, **settings):
    return tiny_run.train_tiny(model_dir, data_dir, model=tiny_run.SMALLEST, **settings)


@pytest.fixture(scope="module")
def observed(data_dir):
    """A run that tells all it can, and the trackers' module."""
    wandb = FakeWandb()
    sys.modules["wandb"] = wandb
    try:
        for steps in (3, 6):
            train(
                data_dir / "run",
                data_dir,
                train_steps=steps,
                checkpoint_every_steps=1,
                keep_best=KeepBest(count=1),
                task_loss_every_steps=3,
                eval_pack=[tiny_run.PACK, HELD_OUT],
                eval_every_steps=1,
                eval_batches=2,
                eval_by_task=True,
                profile=ProfileSteps(first=2, last=2),
                trackers=[Wandb(project="tests", mode="offline")],
            )
    finally:
        del sys.modules["wandb"]
    return data_dir / "run", wandb


def test_the_loss_is_told_by_task(observed):
    lines = read_metrics(observed[0])
    assert [line["step"] for line in lines if "task_loss" in line] == [1, 3, 6]
    by_task = lines[0]["task_loss"]
    assert set(by_task) == {"first", "second"} and by_task["first"] != by_task["second"]
    # Random logits over 264 ids: about ln 264 nats a token.
    assert all(4 < loss < 9 for loss in by_task.values())


def test_several_held_out_sets_are_told_by_task_and_split(observed):
    line = read_metrics(observed[0])[-1]
    by_task = line["eval_task_loss"]
    splits = ("train", "validation")
    assert set(by_task) == {f"{task} ({split})" for task in ("first", "second") for split in splits}
    # Both sets hold the same rows, and each task the same targets in each set.
    assert by_task["first (train)"] == by_task["first (validation)"]
    # The loss over all lies between those of its tasks.
    assert min(by_task.values()) <= line["eval_loss"] <= max(by_task.values())


def test_the_best_checkpoint_stays_beside_the_newest(observed):
    losses = {line["step"]: line["eval_loss"] for line in read_metrics(observed[0])}
    best = min(losses, key=lambda step: (losses[step], -step))
    assert set(all_steps(observed[0])) == {6, best}


def test_wandb_gets_every_line_in_one_run_over_both_sessions(observed):
    run, wandb = observed
    first, second = wandb.started
    assert (first["project"], first["name"], first["mode"]) == ("tests", "run", "offline")
    assert (first["id"], second["id"], second["resume"]) == (None, "abc123", "allow")
    assert [step for step, _ in wandb.lines] == [1, 2, 3, 4, 5, 6] and wandb.finished == 2
    _, values = wandb.lines[2]
    line = read_metrics(run)[2]
    assert values["train/loss"] == line["loss"]
    assert values["task_loss/first"] == line["task_loss"]["first"]


def test_a_profile_of_the_asked_step_lies_in_the_folder(observed):
    assert list((observed[0] / "profile").rglob("*.xplane.pb"))


def test_the_summary_tells_how_the_run_ended(observed):
    summary = json.loads((observed[0] / "summary.json").read_text())
    last = read_metrics(observed[0])[-1]
    assert (summary["step"], summary["stopped"]) == (6, "train_steps")
    assert (summary["loss"], summary["eval_loss"]) == (last["loss"], last["eval_loss"])
    assert 0 <= summary["data_wait_share"] <= 1


def test_parts_of_a_checkpoint_under_other_names_start_a_run(observed, data_dir, tmp_path, capsys):
    source, target = load_run(observed[0]), tmp_path / "run"
    train(
        target,
        data_dir,
        train_steps=1,
        seed=5,
        initial_checkpoint_path=str(observed[0]),
        # The decoder's norms from the encoder's, its feed-forward part fresh, the rest as it is.
        assignment_map=[
            (r"decoder/decoder_norm/(.*)", r"encoder/encoder_norm/\1"),
            ("decoder/layers/mlp/.*", None),
        ],
        frozen=("encoder/.*", "decoder/decoder_norm/.*", "decoder/layers/.*/query/.*"),
    )
    assert "parameters assigned" in capsys.readouterr().err
    got = load_run(target).params
    jax.tree.map(np.testing.assert_array_equal, got["encoder"], source.params["encoder"])
    np.testing.assert_array_equal(
        got["decoder"]["decoder_norm"]["scale"], source.params["encoder"]["encoder_norm"]["scale"]
    )
    mine, theirs = (params["decoder"]["layers"]["mlp"] for params in (got, source.params))
    apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), mine, theirs)
    assert min(jax.tree.leaves(apart)) > 0.01


@pytest.mark.parametrize(
    ("assignment_map", "told"),
    [
        ([("decoder/(.*)", r"nowhere/\1")], r"holds no 'nowhere/.*' for 'decoder/"),
        ([("lora", None)], "'lora' matches no parameter"),
        ([("(", None)], "no regular expression"),
        (
            [("encoder/encoder_norm/scale", "token_embedder/embedding")],
            r"token_embedder/embedding has the shape \[264, 8\], and encoder/encoder_norm/scale",
        ),
    ],
)
def test_assignments_that_do_not_fit_are_told(observed, assignment_map, told):
    params = load_run(observed[0]).params
    with pytest.raises(InputError, match=told):
        load_assigned(str(observed[0]), params, assignment_map)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keep_best": KeepBest()}, "keep_best needs eval_pack"),
        ({"trackers": [Wandb(project="x")]}, r"pip install 'instrux\[wandb\]'"),
        ({"save_dtype": "int8"}, "save_dtype is 'int8'"),
        ({"on_damaged_checkpoint": "ignore"}, "on_damaged_checkpoint is 'ignore'"),
    ],
)
def test_settings_that_do_not_fit_are_told(data_dir, tmp_path, settings, told, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed
    with pytest.raises(InputError, match=told):
        train(tmp_path, data_dir, **settings)
