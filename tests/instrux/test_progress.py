"""What progress says: counts, a rate, the time left, and nothing of what was done before."""

import pytest

from instrux import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_has_count_rate_and_time_left(clock):
    shown = progress.Progress("render", total=3000, unit="rows")
    clock[0] = 10.0
    shown.done = 1000
    assert shown.line() == "render: 1,000/3,000 rows, 100.0/s, 20s left"


def test_what_was_done_before_counts_but_makes_no_rate(clock, capsys):
    shown = progress.Progress("train", total=1000, unit="steps", start=400)
    clock[0] = 50.0
    shown.update(500, "loss 1.0")
    # 100 steps in 50 seconds, and 500 to go.
    assert capsys.readouterr().err == "train: 500/1,000 steps, 2.0/s, 4m10s left, loss 1.0\n"
    shown.finish()
    assert capsys.readouterr().err == "train: 100 steps in 50s\n"


def test_plain_lines_come_every_few_seconds_only(clock, capsys):
    shown = progress.Progress("pack", unit="examples")
    for second in range(25):
        clock[0] = float(second)
        shown.update(second)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["pack: 10 examples, 1.0/s", "pack: 20 examples, 1.0/s"]


@pytest.mark.parametrize(
    ("seconds", "worded"), [(0.4, "0s"), (59, "59s"), (185, "3m05s"), (8040, "2h14m")]
)
def test_durations_are_worded(seconds, worded):
    assert progress.duration(seconds) == worded
