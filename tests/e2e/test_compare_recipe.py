"""The comparison of four mixtures on a few real rows, from raw rows to its page."""

import csv

import pytest

pytestmark = pytest.mark.slow


def test_the_tiny_comparison_runs_to_its_table(tmp_path, shared_data, instrux):
    out = tmp_path / "out"
    mirror = tuple(
        str(shared_data / name)
        for name in ("p3", "natural_instructions/test119", "natural_instructions", "instruct")
    )
    inputs = (f"self_instruct={shared_data / 'instruct' / 'seed_tasks.jsonl'}",)
    done = instrux(
        "run", "compare_tiny.gin", f"--gin.OUT={str(out)!r}", f"--gin.MIRROR={mirror!r}",
        f"--gin.INPUTS={inputs!r}", "--gin.TRAIN_STEPS=2", "--gin.BASE_STEPS=2",
        "--gin.NUM_EXAMPLES=200", "--gin.MAX_EXAMPLES=2", "--gin.MAX_DECODE_LENGTH=2",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 32, 'targets': 8}",
        "--gin.t5.T5Config.emb_dim=16", "--gin.t5.T5Config.num_heads=2",
        "--gin.t5.T5Config.head_dim=8", "--gin.t5.T5Config.mlp_dim=16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = list(csv.DictReader((out / "compare.csv").open()))
    models = ["base", "FLAN", "T0", "Tk-Instruct", "demonstrations"]
    assert list(dict.fromkeys(row["model"] for row in rows)) == models
    groups = {row["group"] for row in rows}
    assert {f"held-out task types, as {who} asks" for who in ("T0", "FLAN", "Natural Instructions")} < groups  # fmt: skip
    assert {"open prompts", "open prompts without an answer"} < groups
    html = (out / "compare.html").read_text()
    assert "What this shows, and what it does not" in html and "Missing" not in html
    assert "Report:" in done.stdout
