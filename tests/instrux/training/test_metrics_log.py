import json
import resource

import pytest

from instrux.errors import InputError
from instrux.training.metrics_log import MetricsLog, read_metrics


def write(folder, steps, *, resumed_at=0):
    log = MetricsLog(folder, resumed_at=resumed_at, tensorboard=False)
    for step in steps:
        log.write(step, {"loss": 1.0 / step})
    log.close()


def test_what_was_logged_past_the_restored_step_is_dropped(tmp_path):
    write(tmp_path, range(1, 7))
    write(tmp_path, range(5, 9), resumed_at=4)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_new_run_drops_what_lies_there(tmp_path):
    write(tmp_path, [1, 2])
    write(tmp_path, [1], resumed_at=0)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    write(tmp_path, [1, 2])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]
    write(tmp_path, [3], resumed_at=2)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_what_is_not_finite_is_null(tmp_path):
    log = MetricsLog(tmp_path, resumed_at=0, tensorboard=False)
    log.write(1, {"loss": float("nan"), "gradient_norm": float("inf"), "seconds": None})
    log.close()
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line) == {"step": 1, "loss": None, "gradient_norm": None, "seconds": None}
    assert "NaN" not in line


def test_a_log_that_is_none_is_told_with_its_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n[]\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 2"):
        MetricsLog(tmp_path, resumed_at=1)


def test_tensorboard_gets_the_scalars(tmp_path):
    log = MetricsLog(tmp_path, resumed_at=0)
    log.write(1, {"loss": 0.5, "eval_loss": None})
    log.close()
    events = list(tmp_path.glob("events.out.tfevents.*"))
    assert len(events) == 1
    content = events[0].read_bytes()
    assert b"train/loss" in content and b"eval_loss" not in content


def test_a_full_disk_is_told_once_and_leaves_the_lines_before(tmp_path):
    log = MetricsLog(tmp_path, resumed_at=0, tensorboard=False)
    log.write(1, {"loss": 0.5})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))
    try:
        with pytest.raises(
            InputError, match=r"metrics\.jsonl: cannot be written \(File too large\)"
        ):
            log.write(2, {"loss": 0.25})
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]
    write(tmp_path, [2], resumed_at=1)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]
