"""The comparison of mixtures on a few real rows, from raw rows to its page: a base and two mixtures.

Its stages run in this process one after another, as each in its own would cost more than its work.
"""

import csv

import gin
import pytest

from launch import run_stage

pytestmark = pytest.mark.slow

STAGES = (
    "training/render", "evaluation/render", "demonstrations", "flan/pack", "demonstrations/pack",
    "base/train", "flan/train", "demonstrations/train",
    "base/evaluate", "flan/evaluate", "demonstrations/evaluate", "compare",
)  # fmt: skip
EVALUATED = ("super_glue_copa_best_option", "user_oriented_instructions")


@pytest.fixture
def options(tmp_path, shared_data, monkeypatch):
    """The recipe's options: few rows, a small model, two steps."""
    for name in ("INSTRUX_MIRROR", "INSTRUX_VOCABULARY"):
        monkeypatch.setenv(name, "")  # the stage `render` sets them: put back at the end
    mirror = (str(shared_data / "p3"), str(shared_data / "instruct"))
    inputs = (f"self_instruct={shared_data / 'instruct' / 'seed_tasks.jsonl'}",)
    bindings = (
        f"OUT={str(tmp_path / 'out')!r}", f"MIRROR={mirror!r}", f"INPUTS={inputs!r}",
        "VOCABULARY='bytes'",
        "training/stages.render.names=('compare_tiny_flan_train',)",
        f"evaluation/stages.render.names={EVALUATED!r}", f"evaluate.evaluate.tasks={EVALUATED!r}",
        "base/training_data.pack_settings.mixture='compare_tiny_flan_train'",
        "compare_mixtures.compare.tuned=[@flan/runs.RunForReport(), @demonstrations/runs.RunForReport()]",
        "TRAIN_STEPS=3", "BASE_STEPS=2", "schedules.linear_decay.warmup_steps=1", "NUM_EXAMPLES=100",
        "MAX_EXAMPLES=4", "EVAL_BATCH_SIZE=4", "MAX_DECODE_LENGTH=2",
        "TASK_FEATURE_LENGTHS={'inputs': 32, 'targets': 8}", "t5.T5Config.emb_dim=16",
        "t5.T5Config.num_heads=2", "t5.T5Config.head_dim=8", "t5.T5Config.mlp_dim=16",
        "t5.T5Config.vocab_size=384",
    )  # fmt: skip
    yield (
        tmp_path / "out",
        ["--gin_file", "compare_tiny.gin", *(f"--gin.{each}" for each in bindings)],
    )
    gin.clear_config()


def test_two_mixtures_are_compared_with_their_base_once(options, capfd):
    out, arguments = options
    for stage in STAGES:
        assert run_stage._main([stage, *arguments]) == 0, stage
    told = capfd.readouterr()
    assert f"parameters of {out}/base, step 2" in told.err
    rows = list(csv.DictReader((out / "compare.csv").open()))
    names = ("base", "FLAN", "demonstrations")
    assert [(row["group"], row["model"]) for row in rows if not row["dataset"]] == [
        (group, name)
        for group in ("held-out task types, as T0 asks", "open prompts")
        for name in names
    ]
    assert {row["examples"] for row in rows} == {"4"}
    html = (out / "compare.html").read_text()
    assert "What this shows, and what it does not" in html and "<h2>Missing" not in html
    assert (out / "compare.png").stat().st_size > 10_000
    assert "Report:" in told.out
    checkpoints = {path: path.stat().st_mtime_ns for path in out.rglob("checkpoints/*/*")}
    for stage in ("flan/pack", "flan/train", "flan/evaluate"):  # as when it is run again
        assert run_stage._main([stage, *arguments]) == 0, stage
        assert "complete" in capfd.readouterr().err, stage
    assert checkpoints
    assert checkpoints == {path: path.stat().st_mtime_ns for path in checkpoints}
