"""The P3 sample, cut down, on real rows, templates and vocabulary."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_the_p3_sample_runs_on_real_rows_and_templates(
    tmp_path, shared_data, instrux, results, losses
):
    out = tmp_path / "p3"
    done = instrux(
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
    logged = losses(out / "run")
    assert len(logged) == 3
    assert logged[0] == pytest.approx(10.4, abs=1.5)  # near ln(32128), as random parameters have
    tasks = {task["task"] for task in results(out / "run")["tasks"]}
    assert any(name.startswith("super_glue_rte") for name in tasks)
    manifest = json.loads(next((out / "data" / "packed").glob("*/manifest.json")).read_text())
    assert len(manifest["tasks"]) == 190
