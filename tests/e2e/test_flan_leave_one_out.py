"""FLAN's table at the tiny size, as its page has it, on a few rows: two clusters, each left out in turn."""

import csv
import itertools
import json

import pytest

from tests.docs.pages import command_of

pytestmark = pytest.mark.slow

# One dataset of each cluster that is left out, and one of another; the rest of the suite is missing.
ROWS = {
    "glue/sst2": {"train": 140, "validation": 6},
    "super_glue/rte": {"train": 140, "validation": 6},
    "common_gen/default": {"train": 120},
}
CLUSTERS = ("sentiment", "entailment")
STAGES = (
    ("training/render", "held_out/render"),
    "vocab",
    *(tuple(f"{each}/{stage}" for each in CLUSTERS) for stage in ("pack", "train", "evaluate")),
    "report",
)
SMALL = (
    "SKIP_FAILING_SOURCES=True", "MIRROR=('mirror',)", f"recipe.Recipe.stages={STAGES!r}",
    f"report.report.runs=[{', '.join(f'@{each}/runs.RunForReport()' for each in CLUSTERS)}]",
    "HELD_OUT=('flan_sample_without_sentiment_10templates_eval',"
    " 'flan_sample_without_entailment_10templates_eval')",
    "vocab.vocab.size=400", "NUM_EXAMPLES=60", "BATCH_SIZE=2", "TRAIN_STEPS=2", "MAX_EXAMPLES=2",
    "EVAL_BATCH_SIZE=2", "MAX_DECODE_LENGTH=4", "schedules.linear_decay.warmup_steps=1",
    "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}", "t5.T5Config.vocab_size=512",
    "t5.T5Config.emb_dim=16", "t5.T5Config.num_heads=2", "t5.T5Config.head_dim=8",
    "t5.T5Config.mlp_dim=16", "t5.T5Config.num_encoder_layers=1", "t5.T5Config.num_decoder_layers=1",
)  # fmt: skip


def test_each_cluster_is_asked_of_the_model_that_has_not_seen_it(
    tmp_path, shared_data, one_process, results
):
    for dataset, counts in ROWS.items():
        folder = tmp_path / "mirror" / dataset
        folder.mkdir(parents=True)
        for split, count in counts.items():
            with (shared_data / "p3" / dataset / f"{split}.jsonl").open() as lines:
                (folder / f"{split}.jsonl").write_text("".join(itertools.islice(lines, count)))
    words = command_of("docs/flan.md", "instrux run flan/leave_one_cluster_out_tiny").words[1:]
    ended = one_process(*words, *(f"--gin.{each}" for each in SMALL), folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    out = tmp_path / "flan_leave_one_cluster_out_tiny"
    for cluster, dataset in zip(CLUSTERS, ("sst2", "rte"), strict=True):
        run = out / "zero_shot" / cluster
        asked = {task["dataset"] for task in results(run)["tasks"]}
        assert {each.rpartition("/")[2] for each in asked} == {dataset}
        packs = [
            json.loads(path.read_text())
            for path in out.glob(f"data/packed/*{cluster}*/manifest.json")
        ]
        (pack,) = packs
        assert all(dataset not in task["name"] for task in pack["tasks"]) and len(pack["tasks"]) > 0
    rows = list(csv.DictReader((out / "report_flan.csv").open()))
    assert rows
