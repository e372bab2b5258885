"""The loop with a program that only counts: no model is compiled here."""

import dataclasses
import itertools
import json
import math
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
from instrux.training.loop import NonFiniteLossError, Session
from instrux.training.loop_settings import EvalSet, LoopSettings
from instrux.training.mesh import HostShare
from instrux.training.metrics_log import read_metrics
from instrux.training.profiling import ProfileSteps
from instrux.training.spikes import LossWatch, Spikes
from instrux.training.train_step import StepMetrics, TrainState


class CountingProgram:
    """Adds each batch's number to its one parameter.

    Of the batches `broken` nothing is finite, and those of `losses` have another loss; batches are
    counted from 1, as steps are.
    """

    batch_size = 2
    share = HostShare(0, 1)

    def __init__(self, broken=(), on_step=None, losses=()):
        self.broken, self.on_step, self.losses = broken, on_step, dict(losses)
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        self.abstract_state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            zero_state(),
        )

    def step(self, state, batch, loss_limit=math.inf):
        number = int(state.step) + 1
        if self.on_step is not None:
            self.on_step(number)
        of_batch = len(str(int(batch["number"])))
        finite = of_batch not in self.broken
        loss = self.losses.get(of_batch, 100 - of_batch)
        kept = finite and loss <= loss_limit
        params = {"sum": state.params["sum"] + (batch["number"] if kept else 0)}
        metrics = StepMetrics(
            *np.zeros(len(StepMetrics._fields), np.float32),
        )._replace(
            loss=np.float32(loss if finite else np.nan),
            encoder_tokens=np.float32(30),
            decoder_tokens=np.float32(10),
            finite=np.float32(finite),
            kept=np.float32(kept),
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


def session(model_dir, program=None, *, on_nonfinite="stop", eval_sets=(), **settings):
    settings = LoopSettings(
        **({"train_steps": 5, "log_every_steps": 1, "tensorboard": False} | settings)
    )
    checkpoints = Checkpoints(model_dir, keep=settings.keep_checkpoints)
    state, position = zero_state(), Position(0)
    program = CountingProgram() if program is None else program
    if checkpoints.latest_step() is not None:
        state, position = checkpoints.restore(program.abstract_state)
    return Session(
        program,
        settings,
        checkpoints,
        model_dir=model_dir,
        state=state,
        position=position,
        on_nonfinite=on_nonfinite,
        flops=StepFlops(2.0, 4.0),
        peak_flops_per_second=1000.0,
        eval_sets=eval_sets,
    )


def sum_of(model_dir):
    state = session(model_dir)._state
    return int(state.params["sum"])


def steps_logged(model_dir):
    return [line["step"] for line in read_metrics(model_dir)]


def test_every_batch_is_used_once_over_two_sessions(tmp_path):
    first = session(tmp_path, train_steps=3).run(Numbers())
    assert (first.step, first.stopped, first.loss) == (3, "train_steps", 97.0)
    _, position = Checkpoints(tmp_path).restore(CountingProgram().abstract_state)
    second = session(tmp_path, train_steps=5).run(Numbers())
    assert second.step == 5 and second.seconds > position.seconds > 0
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
        "data_wait_share",
        "host_memory_gib",
        "device_memory_gib",
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


ROLL_BACK = {"on_nonfinite": "roll_back", "checkpoint_every_steps": 2}


def test_a_run_rolls_back_past_the_bad_batch_to_its_last_checkpoint(tmp_path, capsys):
    result = session(tmp_path, CountingProgram(broken={4}), train_steps=6, **ROLL_BACK).run(
        Numbers()
    )
    assert result.step == 6
    # Batches 3 and 4 are behind the checkpoint of step 2 and left out: 1, 2, then 5 to 8.
    assert sum_of(tmp_path) == 11110011
    assert steps_logged(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert read_metrics(tmp_path)[-1]["batches_left_out"] == 2
    told = capsys.readouterr().err
    assert "step 4: the loss or a gradient is not finite: back to the checkpoint of step 2" in told
    # A later session goes on with the right batch.
    session(tmp_path, train_steps=7).run(Numbers())
    assert sum_of(tmp_path) == 111110011


def test_a_run_that_cannot_get_past_bad_batches_ends(tmp_path):
    run = session(
        tmp_path, CountingProgram(broken=range(4, 99)), max_roll_backs=2, train_steps=9, **ROLL_BACK
    )
    with pytest.raises(
        NonFiniteLossError, match=r"rolled back 2 times since the checkpoint of step 2"
    ):
        run.run(Numbers())
    assert latest_step(tmp_path) == 2


def test_without_a_checkpoint_there_is_nothing_to_roll_back_to(tmp_path):
    run = session(tmp_path, CountingProgram(broken={1}), **ROLL_BACK)
    with pytest.raises(NonFiniteLossError, match="no checkpoint was written yet"):
        run.run(Numbers())


def spiky(tmp_path, action, **settings):
    spikes = Spikes(action=action, fewest=3, window=4, deviations=5.0)
    program = CountingProgram(losses={6: 500.0})
    settings = {"train_steps": 8, "checkpoint_every_steps": 4} | settings
    return session(tmp_path, program, spikes=spikes, **settings)


def test_a_loss_out_of_line_is_told_and_by_choice_skipped_rolled_back_or_the_end(tmp_path, capsys):
    spiky(tmp_path / "tell", "tell").run(Numbers())
    assert "step 6: the loss is 500.0000, out of line (above " in capsys.readouterr().err
    assert sum_of(tmp_path / "tell") == 11111111
    spiky(tmp_path / "skip", "skip").run(Numbers())
    assert sum_of(tmp_path / "skip") == 11011111
    spiky(tmp_path / "roll_back", "roll_back").run(Numbers())
    assert sum_of(tmp_path / "roll_back") == 1111001111
    with pytest.raises(NonFiniteLossError, match=r"step 6: .*500.0.* checkpoint of step 4 is kept"):
        spiky(tmp_path / "stop", "stop").run(Numbers())
    assert latest_step(tmp_path / "stop") == 4


def test_a_stop_in_between_changes_nothing_of_what_is_out_of_line(tmp_path):
    for end in (5, 6, 8):
        spiky(tmp_path, "skip", train_steps=end).run(Numbers())
    assert sum_of(tmp_path) == 11011111


def test_the_limit_is_the_median_and_so_many_deviations_of_the_losses_two_steps_ago():
    watch = LossWatch(Spikes(fewest=3, window=5, deviations=2.0))
    for step, loss in enumerate([10.0, 12.0, 14.0, 90.0], start=1):
        watch.add(step, loss)
    assert watch.limit(4) == math.inf  # of steps 1 and 2 only
    # Of 10, 12 and 14: the median is 12, the median distance from it 2.
    assert watch.limit(5) == pytest.approx(12 + 2 * 1.4826 * 2)
    again = LossWatch(Spikes(fewest=3, window=5, deviations=2.0), watch.recent())
    assert again.limit(5) == watch.limit(5) and again.limit(6) == watch.limit(6)


def test_a_summary_stands_at_the_end(tmp_path, capsys):
    session(tmp_path, eval_sets=[EvalSet(source=Numbers())], eval_every_steps=5).run(Numbers())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["step"], summary["stopped"], summary["loss"]) == (5, "train_steps", 95.0)
    assert summary["eval_loss"] == pytest.approx(6 / 4)
    assert summary["host_memory_gib"] > 0.05
    assert "eval loss 1.5000" in capsys.readouterr().err.splitlines()[-1]


class Remembering:
    def __init__(self):
        self.lines, self.closed = [], False

    def write(self, step, values):
        self.lines.append((step, values))

    def close(self):
        self.closed = True


def test_trackers_get_every_line(tmp_path):
    run = session(tmp_path, train_steps=2)
    run._log._trackers = [tracker := Remembering()]
    run.run(Numbers())
    assert [step for step, _ in tracker.lines] == [1, 2] and tracker.closed
    assert tracker.lines[1][1]["train/loss"] == 98.0
    assert "train/device_memory_gib" not in tracker.lines[1][1]  # not told on a CPU


def test_profiles_are_made_by_settings_by_a_file_and_by_a_signal(tmp_path, capsys, monkeypatch):
    traces = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: traces.append(str(folder)))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)

    def at_step(step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGUSR1)

    (tmp_path / "PROFILE").write_text("2")
    profile = ProfileSteps(first=4, last=4)
    program = CountingProgram(on_step=at_step)
    session(tmp_path, program, profile=profile, train_steps=9).run(Numbers())
    told = capsys.readouterr().err
    assert "profiling steps 2 to 3" in told and "profiling steps 4 to 4" in told
    assert "profiling steps 6 to 10" in told
    assert traces == [str(tmp_path / "profile")] * 3
    assert not (tmp_path / "PROFILE").exists()


def test_evaluations_stand_on_the_lines_of_their_steps(tmp_path):
    run = session(
        tmp_path, eval_sets=[EvalSet(source=Numbers())], eval_every_steps=2, eval_batches=3
    )
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
