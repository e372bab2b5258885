"""The recipe of soft prompts, cut down to one dataset: prompts beside frozen bases, one page of both."""

import json

import gin
import numpy as np
import pytest

pytest.importorskip("seqio")

from instrux.training.checkpoints import load_run
from launch import foreign, gin_config, recipe, stages

pytestmark = pytest.mark.slow

LEAVES = [f"prompts/{base}/rte/seed0" for base in ("tuned", "untuned")]
STAGES = (
    "training/render",
    "held_out/render",
    "untuned/pack",
    "prompts/tuned/rte/pack",
    "untuned/train",
    "entailment/train",
    *(f"{leaf}/{stage}" for stage in ("train", "evaluate") for leaf in LEAVES),
    "report",
)
# Bytes and one small layer; the tuned model goes on with the untuned one's texts.
BINDINGS = (
    "VOCABULARY='bytes'",
    "HELD_OUT=('sample_rte_no_template',)",
    "training/stages.render.names=('sample_rte_prefix_lm',)",
    "entailment/training_data.pack_settings.mixture='sample_rte_prefix_lm'",
    "untuned/training_data.pack_settings.mixture='sample_rte_prefix_lm'",
    "schedules.linear_decay.warmup_steps=1",
    "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 32}",
    "PROMPT_FEATURE_LENGTHS={'inputs': 64, 'targets': 8}",
    *("NUM_EXAMPLES=40", "PROMPT_ROWS=40", "BATCH_SIZE=2", "PROMPT_BATCH_SIZE=2"),
    *("TRAIN_STEPS=2", "UNTUNED_STEPS=2", "PROMPT_STEPS=2", "MAX_EXAMPLES=6", "EVAL_BATCH_SIZE=6"),
    *("t5.T5Config.emb_dim=8", "t5.T5Config.num_heads=1", "t5.T5Config.head_dim=8"),
    *("t5.T5Config.mlp_dim=8", "t5.T5Config.vocab_size=384"),
    *("t5.T5Config.num_encoder_layers=1", "t5.T5Config.num_decoder_layers=1"),
    f"report.report.runs=[{', '.join(f'@{leaf}/runs.RunForReport()' for leaf in LEAVES)}]",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt_tuning")
    mirrored = folder / "mirror" / "super_glue" / "rte"
    mirrored.mkdir(parents=True)
    for split, count in (("train", 140), ("validation", 12)):
        rows = [
            {
                "premise": f"It rains {n} times a day.",
                "hypothesis": f"{n} is seen.",
                "label": n % 2,
                "idx": n,
            }
            for n in range(count)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (mirrored / f"{split}.jsonl").write_text(lines)
    given = (f"OUT={str(folder)!r}", f"MIRROR=({str(folder / 'mirror')!r},)", *BINDINGS)
    recipe.load(str(gin_config.folder() / "recipes" / "flan" / "prompt_tuning_tiny.gin"), given)
    try:
        for stage in STAGES:
            scope, _, name = stage.rpartition("/")
            with gin.config_scope(scope or None):
                gin.get_configurable(stages.function(name))()
    finally:
        gin.clear_config()
    return folder


def run(out, leaf):
    return out / "prompt_tuning" / leaf


def test_ten_embeddings_are_trained_beside_each_base_and_the_bases_stay(out):
    for leaf in LEAVES:
        shapes = foreign.StreamedParams(run(out, leaf), 2).shapes
        assert {tuple(shape) for shape in shapes.values()} == {(10, 8)}
        description = json.loads((run(out, leaf) / "model.json").read_text())
        own = "untuned" if "/untuned/" in leaf else "tuned/entailment"
        assert description["base"] == str(out / own)
    tuned, untuned = (load_run(out / own).params for own in ("tuned/entailment", "untuned"))
    table = "token_embedder"
    assert np.abs(tuned[table]["embedding"] - untuned[table]["embedding"]).max() > 0


def test_the_page_holds_prompts_on_the_tuned_model_against_those_on_the_untuned_one(out):
    page = (out / "prompt_tuning" / "report.html").read_text()
    assert "a prompt on the tuned model" in page and "the same model untuned" in page
    for leaf in LEAVES:
        (path,) = run(out, leaf).glob("eval/2/results.json")
        (task,) = json.loads(path.read_text())["tasks"]
        assert (task["task"], task["mode"], task["num_examples"]) == (
            "sample_rte_no_template",
            "generate",
            6,
        )
