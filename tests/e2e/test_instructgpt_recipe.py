"""InstructGPT's tiny recipe, as its page has it, on a few real seed tasks, from the file to a report of every epoch."""

import json

import pytest

from instrux.training.checkpoints import all_steps
from tests.docs.pages import command_of

pytestmark = pytest.mark.slow


def test_the_tiny_recipe_goes_from_demonstrations_to_a_chosen_epoch(
    tmp_path, shared_data, instrux, losses
):
    out = tmp_path / "instructgpt_tiny"
    rows = (shared_data / "instruct" / "seed_tasks.jsonl").read_text().splitlines()
    (tmp_path / "seed_tasks.jsonl").write_text("\n".join(rows[:60]))
    own = {"prompt": "Name a bird that sings at night.", "response": "The nightingale does."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(own))
    done = instrux(
        *command_of("docs/instructgpt.md", "instrux run instructgpt/tiny").words[1:],
        "--gin.EPOCHS=2", "--gin.MAX_EXAMPLES=3", "--gin.MAX_DECODE_LENGTH=4",
        "--gin.vocab.vocab.size=300", "--gin.decoder_only.DecoderConfig.vocab_size=320",
        "--gin.decoder_only.DecoderConfig.emb_dim=32", "--gin.decoder_only.DecoderConfig.head_dim=8",
        "--gin.decoder_only.DecoderConfig.mlp_dim=64", "--gin.decoder_only.DecoderConfig.num_layers=1",
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "prompts by source" in done.stdout
    run = out / "run"
    steps = all_steps(run)
    assert len(steps) == 2 and steps[1] == 2 * steps[0]
    selected = json.loads((run / "selected.json").read_text())
    assert selected["rule"] == "rougeL_to_demonstration"
    assert set(selected["scores"]) == set(selected["losses"]) == set(map(str, steps))
    assert (run / "eval" / str(selected["step"]) / "results.json").exists()
    assert "rougeL_to_demonstration on validation prompts" in (out / "report.html").read_text()
    assert losses(run)[-1] < losses(run)[0]
