"""Tk-Instruct's tiny recipe on a few real task files, from the files to the released scores."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_the_tiny_recipe_goes_from_task_files_to_scores_that_the_files_give_again(
    tmp_path, shared_data, instrux
):
    out, folder = tmp_path / "out", shared_data / "natural_instructions"
    mirror = (str(folder / "test119"), str(shared_data))
    done = instrux(
        "run", "tk_instruct/tiny.gin", f"--gin.OUT={str(out)!r}", f"--gin.MIRROR={mirror!r}",
        f"--gin.VOCABULARY={str(shared_data / 'vocab' / 't5_32000.model')!r}",
        "--gin.MIXTURE_OR_TASK_NAME='ni_task003_mctaco_question_generation_event_duration:train:e2'",
        "--gin.TEST=('ni_task033_winogrande_answer_generation:len256',"
        " 'ni_task1356_xlsum_title_generation')",
        "--gin.TRAIN_STEPS=3", "--gin.BATCH_SIZE=2", "--gin.NUM_EXAMPLES=50", "--gin.MAX_EXAMPLES=3",
        "--gin.MAX_DECODE_LENGTH=4", "--gin.t5.T5Config.emb_dim=32", "--gin.t5.T5Config.num_heads=2",
        "--gin.t5.T5Config.head_dim=16", "--gin.t5.T5Config.mlp_dim=32",
        "--gin.schedules.linear_decay.warmup_steps=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Tk-Instruct 11B" in done.stdout
    assert (out / "report.html").exists()
    (step,) = (out / "run" / "eval").iterdir()
    scores = json.loads((step / "natural_instructions.json").read_text())
    assert [score["instances"] for score in scores["tracks"]] == [6]
    assert {score["name"] for score in scores["tasks"]["default"]} == {
        "task033_winogrande_answer_generation",
        "task1356_xlsum_title_generation",
    }
    again = tmp_path / "again.json"
    released = str(step / "predicted_examples.jsonl")
    done = instrux("score", "--predictions", released, "--out", str(again))
    assert done.returncode == 0, done.stderr
    assert json.loads(again.read_text())["released"] == scores["released"]
