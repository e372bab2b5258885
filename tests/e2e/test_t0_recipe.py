"""The tiny T0, cut down: a chosen checkpoint, held-out prompts and bias sets."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_the_tiny_t0_chooses_a_checkpoint_and_ranks_held_out_prompts_and_bias_sets(
    tmp_path, shared_data, one_process, results
):
    out = tmp_path / "t0"
    done = one_process(
        "run", "t0/t0_tiny.gin", f"--gin.OUT={str(out)!r}",
        f"--gin.MIRROR=({str(shared_data / 'p3')!r},)",
        f"--gin.VOCABULARY={str(shared_data / 'vocab' / 't5_32000.model')!r}",
        "--gin.TRAIN_STEPS=4", "--gin.CHECKPOINT_EVERY_STEPS=2", "--gin.BATCH_SIZE=2",
        "--gin.NUM_EXAMPLES=2000", "--gin.MAX_EXAMPLES=2", "--gin.t5.T5Config.emb_dim=32",
        "--gin.t5.T5Config.mlp_dim=32", "--gin.schedules.linear_decay.warmup_steps=1",
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    selected = json.loads((out / "run" / "selected.json").read_text())
    assert selected["step"] in (2, 4)
    assert len(selected["tasks"]) == 26
    evaluated = {task["task"] for task in results(out / "run")["tasks"]}
    assert len(evaluated) == 110  # only the selected step is evaluated on what is held out
    assert not evaluated & set(selected["tasks"])
    (bias,) = (out / "run").glob("bias/*/results.json")
    datasets = {task["dataset"].split("/")[0] for task in json.loads(bias.read_text())["tasks"]}
    assert datasets == {"crows_pairs", "wino_bias"}
    assert (out / "report_held_out.png").exists()
    assert "WinoBias" in (out / "report.html").read_text()
