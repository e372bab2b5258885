"""The comparison of mixtures on a few real rows, from raw rows to its page: a base and two mixtures.

Its stages run in one process, as each in its own would cost more than its work; but not in the
tests' own, whose registry may hold the same tasks with another vocabulary.
"""

import csv
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

STAGES = (
    "training/render", "evaluation/render", "demonstrations", "flan/pack", "demonstrations/pack",
    "base/train", "flan/train", "demonstrations/train",
    "base/evaluate", "flan/evaluate", "demonstrations/evaluate", "compare",
)  # fmt: skip
EVALUATED = ("super_glue_copa_best_option", "user_oriented_instructions")
RUN_STAGES = """
import sys
from launch import run_stage

stages, *arguments = sys.argv[1:]
for stage in stages.split(","):
    print(f"stage {stage}", file=sys.stderr, flush=True)
    if run_stage._main([stage, *arguments]):
        sys.exit(f"stage {stage} failed")
"""


@pytest.fixture
def run_stages():
    """Runs stages in a process, and gives what it wrote to its standard output and error."""

    def run(stages, arguments):
        ended = subprocess.run(
            [sys.executable, "-c", RUN_STAGES, ",".join(stages), *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            timeout=900,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr

    return run


@pytest.fixture
def options(tmp_path, shared_data):
    """The recipe's options: few rows, a small model, two steps."""
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
    return (
        tmp_path / "out",
        ["--gin_file", "compare_tiny.gin", *(f"--gin.{each}" for each in bindings)],
    )


def test_two_mixtures_are_compared_with_their_base_once(options, run_stages):
    out, arguments = options
    printed, told = run_stages(STAGES, arguments)
    assert f"parameters of {out}/base, step 2" in told
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
    assert "Report:" in printed
    checkpoints = {path: path.stat().st_mtime_ns for path in out.rglob("checkpoints/*/*")}
    again = ("flan/pack", "flan/train", "flan/evaluate")
    _, told = run_stages(again, arguments)
    for stage, said in zip(again, told.split("stage flan/")[1:], strict=True):
        assert "complete" in said, stage
    assert checkpoints
    assert checkpoints == {path: path.stat().st_mtime_ns for path in checkpoints}
