import contextlib
import dataclasses
import json
import os
import random
import resource
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.models.t5 import T5, T5Config
from instrux.training import checkpoint_checks
from instrux.training.checkpoint_checks import DamagedCheckpointError
from instrux.training.checkpoints import (
    CheckpointError,
    Checkpoints,
    Position,
    all_steps,
    check_can_write,
    latest_step,
    load_params,
    load_run,
    save_run,
)
from instrux.training.digests import changed, digests
from instrux.training.keeping import KeepBest
from instrux.training.optimizers import Adafactor, AdamW
from instrux.training.run_folder import RunDescription
from instrux.training.schedules import constant
from instrux.training.train_step import TrainState, fresh_state

AXES = {"encoder": {"kernel": ("embed", "mlp")}, "scale": ("embed",)}


def state_at(step, *, mlp=6, optimizer=None):
    generator = np.random.default_rng(step)
    params = {
        "encoder": {"kernel": jnp.asarray(generator.standard_normal((4, mlp)), jnp.float32)},
        "scale": jnp.asarray(generator.standard_normal(4), jnp.float32),
    }
    built = (AdamW() if optimizer is None else optimizer).build(constant(), AXES)
    state = fresh_state(params, built, jax.random.key(step))
    return dataclasses.replace(state, step=jnp.int32(step))


def abstract(state: TrainState):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state
    )


def saved(model_dir, *steps, keep=5):
    checkpoints = Checkpoints(model_dir, keep=keep)
    for step in steps:
        checkpoints.save(state_at(step), Position(step, 2.5 * step, {"shard": step}))
    checkpoints.close()
    return Checkpoints(model_dir, keep=keep)


def test_a_checkpoint_gives_everything_back(tmp_path):
    checkpoints = saved(tmp_path, 3, 7)
    assert checkpoints.latest_step() == latest_step(tmp_path) == 7
    restored = checkpoints.restore(abstract(state_at(0)))
    jax.tree.map(np.testing.assert_array_equal, restored.state, state_at(7))
    assert restored.position == Position(7, 17.5, {"shard": 7})
    assert checkpoints.position(3) == Position(3, 7.5, {"shard": 3})
    jax.tree.map(
        np.testing.assert_array_equal,
        checkpoints.restore(abstract(state_at(0)), step=3).state,
        state_at(3),
    )


def test_the_newest_are_kept(tmp_path):
    assert saved(tmp_path, 1, 2, 3, keep=2).latest_step() == 3
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["2", "3"]


def test_multiples_stay_for_ever_beside_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1, keep_every_steps=2)
    for step in range(1, 6):
        checkpoints.save(state_at(step), Position(step))
    checkpoints.close()
    assert all_steps(tmp_path) == [2, 4, 5]


def test_saving_reads_the_state_before_the_next_step_takes_its_memory(tmp_path):
    # The loop donates the state to the next step while the write goes on in the background.
    double = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 2, state), donate_argnums=0)
    checkpoints = Checkpoints(tmp_path, keep=10)
    state = {"w": jnp.ones((500, 500))}
    for step in range(1, 6):
        full = dataclasses.replace(state_at(step), params=state)
        checkpoints.save(full, Position(step))
        for _ in range(3):
            state = double(state)
    checkpoints.close()
    shape = abstract(dataclasses.replace(state_at(0), params=state))
    for step in range(1, 6):
        restored = Checkpoints(tmp_path, keep=10).restore(shape, step)
        np.testing.assert_array_equal(restored.state.params["w"], 8.0 ** (step - 1))


def test_another_models_checkpoint_is_told_with_the_first_parameter_and_both_shapes(tmp_path):
    checkpoints = saved(tmp_path, 1)
    told = r"params/encoder/kernel is of shape \[4, 6\] in the checkpoint and of shape \[4, 8\]"
    with pytest.raises(CheckpointError, match=told):
        checkpoints.restore(abstract(state_at(0, mlp=8)))
    with pytest.raises(CheckpointError, match=told):
        load_params(tmp_path, abstract(state_at(0, mlp=8)).params)


def test_another_optimisers_checkpoint_is_told(tmp_path):
    checkpoints = saved(tmp_path, 1)
    with pytest.raises(
        CheckpointError, match=r"train/optimizer_state/.*the optimiser or what is frozen differs"
    ):
        checkpoints.restore(abstract(state_at(0, optimizer=Adafactor())))


def test_a_folder_that_was_not_finished_is_never_picked_up(tmp_path):
    saved(tmp_path, 1).close()
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "1", folder / "2.orbax-checkpoint-tmp")
    shutil.rmtree(folder / "2.orbax-checkpoint-tmp" / "train")
    assert latest_step(tmp_path) == 1
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore(abstract(state_at(0))).position.batches_read == 1


def test_a_damaged_checkpoint_is_told_with_its_folder(tmp_path):
    checkpoints = saved(tmp_path, 1, 2)
    for path in (tmp_path / "checkpoints" / "2" / "params").rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"checkpoints/2: the checkpoint is damaged.*remove"):
        checkpoints.restore(abstract(state_at(0)))


def test_a_flipped_byte_is_told_wherever_it_is(tmp_path):
    checkpoints = saved(tmp_path, 1)
    wanted, original = abstract(state_at(0)), checkpoints.restore(abstract(state_at(0)))
    generator = random.Random(5)
    files = [f for f in (tmp_path / "checkpoints" / "1").rglob("*") if f.is_file()]
    told = 0
    for path in [f for f in files if f.parent.name == "d"] * 3 + files:
        content = path.read_bytes()
        place = generator.randrange(len(content))
        path.write_bytes(
            content[:place]
            + bytes([content[place] ^ 1 << generator.randrange(8)])
            + content[place + 1 :]
        )
        try:
            read = Checkpoints(tmp_path, keep=5).restore(wanted)
        except CheckpointError as error:
            told += isinstance(error, DamagedCheckpointError)
        else:  # a byte that says nothing of the arrays, such as a time
            jax.tree.map(np.testing.assert_array_equal, read.state, original.state)
        path.write_bytes(content)
    assert told >= 5


def test_one_changed_bit_changes_a_digest(tmp_path):
    array = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    stored = digests({"a": {"b": jnp.asarray(array)}})
    assert changed({"a": {"b": jnp.asarray(array)}}, stored) is None
    for place in range(array.size):
        flipped = array.copy()
        flipped.view(np.uint32).flat[place] ^= 1 << (place % 32)
        assert changed({"a": {"b": jnp.asarray(flipped)}}, stored) == "a/b"
    swapped = array[::-1].copy()
    assert changed({"a": {"b": jnp.asarray(swapped)}}, stored) == "a/b"


def test_a_changed_array_is_told_by_its_digest(tmp_path):
    checkpoints = saved(tmp_path, 1)
    position = tmp_path / "checkpoints" / "1" / "position" / "metadata"
    content = json.loads(position.read_text())
    content["digests"]["params/scale"][1] ^= 1
    position.write_text(json.dumps(content))
    with pytest.raises(DamagedCheckpointError, match="the position is not what was saved"):
        checkpoints.restore(abstract(state_at(0)))
    del content["checksum"]
    position.write_text(json.dumps(content))
    with pytest.raises(DamagedCheckpointError, match=r"params/scale is not what was saved"):
        checkpoints.restore(abstract(state_at(0)))
    with pytest.raises(DamagedCheckpointError, match=r"params/scale is not what was saved"):
        load_params(tmp_path, abstract(state_at(0)).params)
    # What was written before digests were kept is read as it is.
    del content["digests"]
    position.write_text(json.dumps(content))
    assert checkpoints.restore(abstract(state_at(0))).position.batches_read == 1


def test_by_choice_the_checkpoint_before_a_damaged_one_is_used(tmp_path, capsys):
    checkpoints = saved(tmp_path, 1, 2)
    for path in (tmp_path / "checkpoints" / "2" / "train").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-20])
    wanted = abstract(state_at(0))
    with pytest.raises(DamagedCheckpointError, match="on_damaged_checkpoint='previous'"):
        checkpoints.restore_whole(wanted)
    restored = checkpoints.restore_whole(wanted, on_damaged="previous")
    assert restored is not None and restored.position.batches_read == 1
    assert "checkpoints/2: the checkpoint is damaged" in capsys.readouterr().err
    assert all_steps(tmp_path) == [1] and (tmp_path / "damaged" / "2").is_dir()
    checkpoints.save(state_at(2), Position(2))  # its place is free again
    checkpoints.close()
    assert all_steps(tmp_path) == [1, 2]


def test_the_best_stay_beside_the_newest(tmp_path):
    settings = {"keep": 1, "keep_best": KeepBest(count=2, metric="eval_loss")}
    checkpoints = Checkpoints(tmp_path, **settings)
    values = {1: 3.0, 2: 1.0, 3: 2.0, 4: None, 5: 1.5, 6: 9.0}
    for step in (1, 2, 3):
        checkpoints.save(state_at(step), Position(step), {"eval_loss": values[step]})
    checkpoints.close()
    assert all_steps(tmp_path) == [2, 3]
    checkpoints = Checkpoints(tmp_path, **settings)  # the values are on disk, not in the process
    for step in (4, 5, 6):
        metrics = None if values[step] is None else {"eval_loss": values[step]}
        checkpoints.save(state_at(step), Position(step), metrics)
    checkpoints.close()
    assert all_steps(tmp_path) == [2, 5, 6]
    assert Checkpoints(tmp_path, **settings).restore(abstract(state_at(0))).position == Position(6)


def test_parameters_are_saved_in_half_the_space_where_asked(tmp_path):
    checkpoints = Checkpoints(tmp_path, save_dtype="bfloat16")
    checkpoints.save(state_at(1), Position(1))
    checkpoints.wait()
    restored = checkpoints.restore(abstract(state_at(0))).state
    expected = state_at(1).params["scale"].astype(jnp.bfloat16).astype(jnp.float32)
    np.testing.assert_array_equal(restored.params["scale"], expected)
    assert restored.params["scale"].dtype == jnp.float32
    jax.tree.map(
        np.testing.assert_array_equal, restored.optimizer_state, state_at(1).optimizer_state
    )


def test_a_disk_that_fills_up_leaves_the_checkpoints_before_it_whole(tmp_path):
    checkpoints = saved(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = dataclasses.replace(state_at(2), params={"w": jnp.asarray(np.random.rand(500, 500))})
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"could not be written .* already there are whole"
        ):
            checkpoints.save(big, Position(2))
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all_steps(tmp_path) == [1]
    again = opened_after_a_failure(tmp_path)
    assert again.restore(abstract(state_at(0))).position.batches_read == 1


def opened_after_a_failure(model_dir):
    """As a new process does it, where nothing of the failed write still runs in the background."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            opened = Checkpoints(model_dir, keep=5)
            if os.listdir(model_dir / "checkpoints") == ["1"]:
                return opened
        time.sleep(0.1)
    raise AssertionError("what the failed write left is never removed")


def test_a_missing_step_is_told_with_those_that_are_there(tmp_path):
    checkpoints = saved(tmp_path, 1, 2)
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 5; there are \[1, 2\]"):
        checkpoints.restore(abstract(state_at(0)), step=5)
    with pytest.raises(CheckpointError, match="no checkpoints here"):
        load_params(tmp_path / "nowhere", {})


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"cannot be written there.*choose another MODEL_DIR"):
        check_can_write(tmp_path / "file" / "run", {})


def test_a_full_disk_is_told_before_training(tmp_path, monkeypatch):
    state = {"w": jax.ShapeDtypeStruct((2**28,), jnp.float32)}
    usage = shutil.disk_usage(tmp_path)._replace(free=2**29)
    monkeypatch.setattr(checkpoint_checks.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CheckpointError, match=r"takes 1\.00 GiB and the disk has 0\.50 GiB left"):
        check_can_write(tmp_path, state)
    check_can_write(tmp_path, {"w": jax.ShapeDtypeStruct((2**26,), jnp.float32)})


CONFIG = T5Config(
    vocab_size=264,
    emb_dim=4,
    num_heads=1,
    head_dim=4,
    mlp_dim=4,
    num_encoder_layers=1,
    num_decoder_layers=1,
)


def describe(config=CONFIG, **lengths):
    vocabulary = VocabularySpec("bytes", extra_ids=5)
    return RunDescription.of(
        config, vocabulary, **({"inputs_length": 16, "targets_length": 8} | lengths)
    )


def test_a_run_of_parameters_alone_is_loaded_and_not_resumed(tmp_path):
    shapes = jax.eval_shape(T5(CONFIG).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5, leaf.dtype), shapes)
    save_run(tmp_path, describe(), params, step=12)
    run = load_run(tmp_path)
    assert (run.model, run.vocabulary, run.step) == (
        T5(CONFIG),
        VocabularySpec("bytes", extra_ids=5),
        12,
    )
    jax.tree.map(np.testing.assert_array_equal, run.params, params)
    built = AdamW().build(constant(), T5(CONFIG).logical_axes())
    wanted = abstract(fresh_state(params, built, jax.random.key(0)))
    with pytest.raises(CheckpointError, match=r"holds no 'train'.*INITIAL_CHECKPOINT_PATH"):
        Checkpoints(tmp_path).restore(wanted)


def test_a_step_folder_names_its_step(tmp_path):
    saved(tmp_path, 3, 7).close()
    shapes = abstract(state_at(0)).params
    assert load_params(tmp_path / "checkpoints" / "3", shapes).step == 3
    assert load_params(tmp_path, shapes).step == 7


def test_a_run_goes_on_only_with_the_same_model(tmp_path):
    describe().write(tmp_path)
    earlier = RunDescription.read(tmp_path)
    assert earlier == describe()
    describe(dataclasses.replace(CONFIG, remat="full")).check_continues(earlier, tmp_path)
    with pytest.raises(Exception, match=r"model.json: .*model\.emb_dim = 4, this one has 8"):
        describe(dataclasses.replace(CONFIG, emb_dim=8)).check_continues(earlier, tmp_path)
    with pytest.raises(Exception, match="inputs_length = 16, this one has 32"):
        describe(inputs_length=32).check_continues(earlier, tmp_path)


def test_a_description_that_is_none_is_told(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps({"model": {"emb": 3}}))
    with pytest.raises(Exception, match=r"model\.json: not a run's description"):
        RunDescription.read(tmp_path)
    with pytest.raises(Exception, match="no run here"):
        RunDescription.read(tmp_path / "nowhere")
