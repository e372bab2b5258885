"""The loop with a program that only counts: no model is compiled here."""

import dataclasses
import itertools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.models.losses import Loss
from instrux.training.checkpoints import Checkpoints, Position, latest_step
from instrux.training.flops import StepFlops
from instrux.training.loop import LoopSettings, NonFiniteLossError, Session
from instrux.training.mesh import HostShare
from instrux.training.metrics_log import read_metrics
from instrux.training.train_step import StepMetrics, TrainState


class CountingProgram:
    """Adds each batch's number to its one parameter; at the steps `broken` nothing is finite."""

    batch_size = 2
    share = HostShare(0, 1)

    def __init__(self, broken=(), on_step=None):
        self.broken, self.on_step = broken, on_step

    def step(self, state, batch):
        number = int(state.step) + 1
        if self.on_step is not None:
            self.on_step(number)
        finite = number not in self.broken
        params = {"sum": state.params["sum"] + (batch["number"] if finite else 0)}
        metrics = StepMetrics(
            *np.zeros(len(StepMetrics._fields), np.float32),
        )._replace(
            loss=np.float32(100 - number if finite else np.nan),
            encoder_tokens=np.float32(30),
            decoder_tokens=np.float32(10),
            finite=np.float32(finite),
        )
        new = dataclasses.replace(state, step=jnp.int32(number), params=params)
        return new, metrics

    def evaluate(self, params, batch):
        return Loss(*(jnp.float32(value) for value in (8, 6, 2, 4, 3)))


class Numbers:
    def batches(self, batch_size, seed, start_step=0, process_index=0, process_count=1):
        return ({"number": jnp.int32(10**number)} for number in itertools.count(start_step))


def zero_state():
    return TrainState(
        jnp.int32(0), {"sum": jnp.int32(0)}, {"none": jnp.int32(0)}, jnp.zeros(2, jnp.uint32)
    )


def session(model_dir, program=None, *, on_nonfinite="stop", eval_source=None, **settings):
    settings = LoopSettings(
        **({"train_steps": 5, "log_every_steps": 1, "tensorboard": False} | settings)
    )
    checkpoints = Checkpoints(model_dir, keep=settings.keep_checkpoints)
    state, position = zero_state(), Position(0)
    if checkpoints.latest_step() is not None:
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state
        )
        state, position = checkpoints.restore(abstract)
    return Session(
        CountingProgram() if program is None else program,
        settings,
        checkpoints,
        model_dir=model_dir,
        state=state,
        position=position,
        on_nonfinite=on_nonfinite,
        flops=StepFlops(2.0, 4.0),
        peak_flops_per_second=1000.0,
        eval_source=eval_source,
    )


def sum_of(model_dir):
    state = session(model_dir)._state
    return int(state.params["sum"])


def steps_logged(model_dir):
    return [line["step"] for line in read_metrics(model_dir)]


def test_every_batch_is_used_once_over_two_sessions(tmp_path):
    first = session(tmp_path, train_steps=3).run(Numbers())
    assert (first.step, first.stopped, first.loss) == (3, "train_steps", 97.0)
    second = session(tmp_path, train_steps=5).run(Numbers())
    assert second.step == 5 and second.seconds >= first.seconds
    assert sum_of(tmp_path) == 11111
    assert steps_logged(tmp_path) == [1, 2, 3, 4, 5]


def test_lines_are_written_as_often_as_asked_and_at_both_ends(tmp_path):
    session(tmp_path, train_steps=8, log_every_steps=3).run(Numbers())
    assert steps_logged(tmp_path) == [1, 3, 6, 8]
    lines = read_metrics(tmp_path)
    assert set(lines[0]) == {
        "step",
        "loss",
        "z_loss",
        "accuracy",
        "tokens_per_second",
        "model_flops_utilisation",
        "padding_share",
        "gradient_norm",
        "parameter_norm",
        "learning_rate",
        "seconds",
    }
    assert lines[0]["tokens_per_second"] is None  # the first step compiles
    # 30 encoder tokens at 2 FLOPs and 10 decoder tokens at 4 make 100 FLOPs for 40 tokens.
    utilisation = lines[1]["tokens_per_second"] * 100 / 40 / 1000
    assert lines[1]["model_flops_utilisation"] == pytest.approx(utilisation)


def test_checkpoints_come_at_their_steps_and_at_the_end(tmp_path):
    session(tmp_path, train_steps=7, checkpoint_every_steps=3, keep_checkpoints=9).run(Numbers())
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["3", "6", "7"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on_from_there(tmp_path, number):
    def at_step(step):
        if step == 3:
            os.kill(os.getpid(), number)

    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    result = session(tmp_path, CountingProgram(on_step=at_step)).run(Numbers())
    assert (result.step, result.stopped, result.signal) == (3, "signal", number)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert session(tmp_path).run(Numbers()).step == 5
    assert sum_of(tmp_path) == 11111 and steps_logged(tmp_path) == [1, 2, 3, 4, 5]


def test_the_time_limit_ends_the_run_with_a_checkpoint(tmp_path):
    result = session(tmp_path, train_steps=10**6, max_seconds=1e-9).run(Numbers())
    assert (result.step, result.stopped) == (1, "max_seconds")
    assert latest_step(tmp_path) == 1


def test_a_loss_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path):
    run = session(tmp_path, CountingProgram(broken={4}), checkpoint_every_steps=2)
    with pytest.raises(NonFiniteLossError, match=r"step 4: .* the checkpoint of step 2 is kept"):
        run.run(Numbers())
    assert latest_step(tmp_path) == 2
    # The same command, mended, goes on from the good one.
    assert session(tmp_path).run(Numbers()).step == 5
    assert sum_of(tmp_path) == 11111 and steps_logged(tmp_path) == [1, 2, 3, 4, 5]


def test_skipped_steps_are_told_and_leave_the_parameters(tmp_path, capsys):
    result = session(tmp_path, CountingProgram(broken={2, 4}), on_nonfinite="skip").run(Numbers())
    assert result.step == 5 and sum_of(tmp_path) == 10101
    told = capsys.readouterr().err
    assert "step 2 is not finite" in told and "step 4 is not finite" in told
    assert read_metrics(tmp_path)[1]["loss"] is None


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path):
    program = CountingProgram(broken={2, 3, 4})
    run = session(tmp_path, program, on_nonfinite="skip", max_skipped_steps=3)
    with pytest.raises(NonFiniteLossError, match="step 4: 3 steps in a row"):
        run.run(Numbers())


def test_evaluations_stand_on_the_lines_of_their_steps(tmp_path):
    run = session(tmp_path, eval_source=Numbers(), eval_every_steps=2, eval_batches=3)
    run.run(Numbers())
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines if "eval_loss" in line] == [2, 4, 5]
    # Three batches of nll 6 and 3 right of weight 4.
    assert lines[1]["eval_loss"] == pytest.approx(18 / 12)
    assert lines[1]["eval_accuracy"] == pytest.approx(9 / 12)


def test_metrics_are_read_one_step_late(tmp_path):
    order = []
    program = CountingProgram(on_step=lambda step: order.append(f"dispatch {step}"))
    run = session(tmp_path, program, train_steps=3)
    run._read = lambda dispatched: order.append(f"read {dispatched.step}")
    run.run(Numbers())
    assert order == ["dispatch 1", "dispatch 2", "read 1", "dispatch 3", "read 2", "read 3"]


@pytest.mark.parametrize("name", ["train_steps", "checkpoint_every_steps", "log_every_steps"])
def test_periods_below_one_are_refused(name):
    with pytest.raises(InputError, match=f"{name} is 0"):
        LoopSettings(**({"train_steps": 1} | {name: 0}))
