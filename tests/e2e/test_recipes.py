"""The shipped recipes, cut down, from raw rows to the report, through the command line."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def _instrux(*arguments):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=900,
    )


def _results(run):
    (path,) = run.glob("eval/*/results.json")
    return json.loads(path.read_text())


def _losses(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_the_quickstart_goes_from_words_to_a_report_and_then_skips(tmp_path):
    out = tmp_path / "quickstart"
    command = (
        "quickstart", "--out", str(out), "--gin.TRAIN_STEPS=12", "--gin.NUM_EXAMPLES=600",
        "--gin.MAX_EXAMPLES=4", "--gin.train.train.log_every_steps=4",
        "--gin.schedules.linear_decay.warmup_steps=2",
    )  # fmt: skip
    first = _instrux(*command)
    assert first.returncode == 0, first.stderr
    assert "All stages done" in first.stderr
    assert str(out / "report.html") in first.stdout
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for name in ("instructions", "no_instructions"):
        losses = _losses(out / name)
        assert len(losses) == 4  # the first step, and every fourth
        assert losses[-1] < losses[0]
        assert _results(out / name)["tasks"]

    made = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    second = _instrux(*command)
    assert second.returncode == 0, second.stderr
    assert "skipped" in second.stderr
    assert "step 1 of" not in second.stderr
    data = {path for path in made if "data" in path.relative_to(out).parts[:1]}
    assert data
    assert {path: path.read_bytes() for path in data} == {path: made[path] for path in data}


def test_the_p3_sample_runs_on_real_rows_and_templates(tmp_path, shared_data):
    out = tmp_path / "p3"
    done = _instrux(
        "run", "p3_sample.gin", f"--gin.OUT={str(out)!r}",
        f"--gin.MIRROR=({str(shared_data / 'p3')!r},)",
        f"--gin.VOCABULARY={str(shared_data / 'vocab' / 't5_32000.model')!r}",
        "--gin.TRAIN_STEPS=3", "--gin.BATCH_SIZE=2", "--gin.NUM_EXAMPLES=2000",
        "--gin.MAX_EXAMPLES=2", "--gin.t5.T5Config.emb_dim=32", "--gin.t5.T5Config.num_heads=2",
        "--gin.t5.T5Config.head_dim=16", "--gin.t5.T5Config.mlp_dim=32",
        "--gin.train.train.log_every_steps=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").exists()
    losses = _losses(out / "run")
    assert len(losses) == 3
    assert losses[0] == pytest.approx(10.4, abs=1.5)  # near ln(32128), as random parameters have
    tasks = {task["task"] for task in _results(out / "run")["tasks"]}
    assert any(name.startswith("super_glue_rte") for name in tasks)
    manifest = json.loads(next((out / "data" / "packed").glob("*/manifest.json")).read_text())
    assert len(manifest["tasks"]) == 190


def test_the_tiny_t0_chooses_a_checkpoint_and_ranks_held_out_prompts_and_bias_sets(
    tmp_path, shared_data
):
    out = tmp_path / "t0"
    done = _instrux(
        "run", "t0/t0_tiny.gin", f"--gin.OUT={str(out)!r}",
        f"--gin.MIRROR=({str(shared_data / 'p3')!r},)",
        f"--gin.VOCABULARY={str(shared_data / 'vocab' / 't5_32000.model')!r}",
        "--gin.TRAIN_STEPS=4", "--gin.CHECKPOINT_EVERY_STEPS=2", "--gin.BATCH_SIZE=2",
        "--gin.NUM_EXAMPLES=2000", "--gin.MAX_EXAMPLES=2", "--gin.t5.T5Config.emb_dim=32",
        "--gin.t5.T5Config.mlp_dim=32", "--gin.schedules.linear_decay.warmup_steps=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    selected = json.loads((out / "run" / "selected.json").read_text())
    assert selected["step"] in (2, 4)
    assert len(selected["tasks"]) == 26
    evaluated = {task["task"] for task in _results(out / "run")["tasks"]}
    assert len(evaluated) == 110  # only the selected step is evaluated on what is held out
    assert not evaluated & set(selected["tasks"])
    (bias,) = (out / "run").glob("bias/*/results.json")
    datasets = {task["dataset"].split("/")[0] for task in json.loads(bias.read_text())["tasks"]}
    assert datasets == {"crows_pairs", "wino_bias"}
    assert (out / "report_held_out.png").exists()
    assert "WinoBias" in (out / "report.html").read_text()
