"""The comparison of mixtures on a few real rows, from raw rows to its page: a base and one mixture."""

import csv

import pytest

pytestmark = pytest.mark.slow

STAGES = (
    "training/render", "evaluation/render", "flan/pack", "base/train", "flan/train",
    ("base/evaluate", "flan/evaluate"), "compare",
)  # fmt: skip


def test_a_mixture_is_compared_with_its_base(tmp_path, shared_data, instrux):
    out = tmp_path / "out"
    mirror = (str(shared_data / "p3"), str(shared_data / "instruct"))
    done = instrux(
        "run", "compare_tiny.gin", f"--gin.OUT={str(out)!r}", f"--gin.MIRROR={mirror!r}",
        f"--gin.recipe.Recipe.stages={STAGES!r}", "--gin.VOCABULARY='bytes'",
        "--gin.training/stages.render.names=('compare_tiny_flan_train',)",
        "--gin.evaluation/stages.render.names=('super_glue_copa_best_option', 'user_oriented_instructions')",
        "--gin.evaluate.evaluate.tasks=('super_glue_copa_*', 'user_oriented_instructions')",
        "--gin.base/training_data.pack_settings.mixture='compare_tiny_flan_train'",
        "--gin.compare_mixtures.compare.tuned=[@flan/runs.RunForReport()]",
        "--gin.TRAIN_STEPS=3", "--gin.BASE_STEPS=2", "--gin.schedules.linear_decay.warmup_steps=1",
        "--gin.NUM_EXAMPLES=100",
        "--gin.MAX_EXAMPLES=4", "--gin.EVAL_BATCH_SIZE=4", "--gin.MAX_DECODE_LENGTH=2",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 32, 'targets': 8}", "--gin.t5.T5Config.emb_dim=16",
        "--gin.t5.T5Config.num_heads=2", "--gin.t5.T5Config.head_dim=8",
        "--gin.t5.T5Config.mlp_dim=16", "--gin.t5.T5Config.vocab_size=384",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "parameters of" in done.stderr and "base, step 2" in done.stderr
    rows = list(csv.DictReader((out / "compare.csv").open()))
    assert [(row["group"], row["model"]) for row in rows if not row["dataset"]] == [
        ("held-out task types, as T0 asks", "base"),
        ("held-out task types, as T0 asks", "FLAN"),
        ("open prompts", "base"),
        ("open prompts", "FLAN"),
    ]
    html = (out / "compare.html").read_text()
    assert "What this shows, and what it does not" in html and "<h2>Missing" not in html
    assert "Report:" in done.stdout
