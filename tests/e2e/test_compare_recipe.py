"""The comparison of mixtures, as its page has it, on a few real rows: a base and two mixtures."""

import csv
import json

import pytest

from tests.docs.pages import command_of

pytestmark = pytest.mark.slow

STAGES = (
    "training/render", "evaluation/render", "demonstrations", "flan/pack", "demonstrations/pack",
    "base/train", "flan/train", "demonstrations/train",
    "base/evaluate", "flan/evaluate", "demonstrations/evaluate", "compare",
)  # fmt: skip
EVALUATED = ("super_glue_copa_best_option", "user_oriented_instructions")
# Few rows, a small model, two steps.
BINDINGS = (
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


@pytest.fixture
def run_stages(tmp_path, shared_data, one_process):
    """Runs stages of the page's command, and gives what it wrote to its output and error."""
    (tmp_path / "data").symlink_to(shared_data)
    own = {"prompt": "Name a bird that sings at night.", "response": "The nightingale does."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(own))
    words = command_of("docs/compare.md", "instrux run").words[1:]

    def run(stages):
        bindings = (*BINDINGS, f"recipe.Recipe.stages={stages!r}")
        ended = one_process(*words, *(f"--gin.{each}" for each in bindings), folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr

    return run


def test_two_mixtures_are_compared_with_their_base_once(tmp_path, run_stages):
    out = tmp_path / "compare_tiny"
    printed, told = run_stages(STAGES)
    assert "parameters of compare_tiny/base, step 2" in told
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
    _, told = run_stages(again)
    for stage, said in zip(again, told.split("stage flan/")[1:], strict=True):
        assert "complete" in said, stage
    assert checkpoints
    assert checkpoints == {path: path.stat().st_mtime_ns for path in checkpoints}
