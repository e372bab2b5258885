"""The quickstart, cut down, from raw rows to the report, through the command line."""

import pytest

pytestmark = pytest.mark.slow


def test_the_quickstart_goes_from_words_to_a_report_and_then_skips(
    tmp_path, instrux, results, losses
):
    out = tmp_path / "quickstart"
    command = (
        "quickstart", "--out", str(out), "--gin.TRAIN_STEPS=12", "--gin.NUM_EXAMPLES=600",
        "--gin.MAX_EXAMPLES=4", "--gin.train.train.log_every_steps=4",
        "--gin.schedules.linear_decay.warmup_steps=2",
    )  # fmt: skip
    first = instrux(*command)
    assert first.returncode == 0, first.stderr
    assert "All stages done" in first.stderr
    assert str(out / "report.html") in first.stdout
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for name in ("instructions", "no_instructions"):
        logged = losses(out / name)
        assert len(logged) == 4  # the first step, and every fourth
        assert logged[-1] < logged[0]
        assert results(out / name)["tasks"]

    made = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    second = instrux(*command)
    assert second.returncode == 0, second.stderr
    assert "skipped" in second.stderr
    assert "step 1 of" not in second.stderr
    data = {path for path in made if "data" in path.relative_to(out).parts[:1]}
    assert data
    assert {path: path.read_bytes() for path in data} == {path: made[path] for path in data}
