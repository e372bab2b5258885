"""FLAN on real rows of a mirror: rendered once, exported at its proportions, packed with both ends marked."""

import json

import pytest

pytest.importorskip("seqio")

import pyarrow.parquet
import seqio

from instrux.data import registration
from instrux.data.packed import PackedDataset
from instrux.data.seqio_metrics import rank_classification, rank_target
from launch import stages
from launch.cli import main
from launch.training_data import pack_settings

MIXTURE = "flan_sample_inter_10templates_1tpc_train"
# Training rows of the mirror's SQuAD, SST-2, CommonGen and Winogrande: rates are rows up to 3,000.
RATES = {"squad_v1": 400, "sst2": 900, "common_gen": 120, "winogrande": 867}


@pytest.fixture(scope="module")
def data_dir(shared_data, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("flan"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUX_MIRROR", str(shared_data / "p3"))
        stages.render(names=(MIXTURE,), splits=("train",), data_dir=folder)
    return folder


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_mixture_is_exported_at_its_proportions(data_dir, tmp_path, form, capsys):
    out = tmp_path / form
    arguments = ["--mixture", MIXTURE, "--data_dir", data_dir, "--format", form]
    assert main(["export", *arguments, "--num_examples", "1000", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    (shard,) = out.glob(f"*.{form}")
    if form == "jsonl":
        rows = [json.loads(line) for line in shard.read_text().splitlines()]
    else:
        rows = pyarrow.parquet.read_table(shard).to_pylist()
    assert len(rows) == 1000
    for name, rate in RATES.items():
        own = [row for row in rows if row["task"] == f"sample_{name}_10templates"]
        assert abs(len(own) - 1000 * rate / sum(RATES.values())) <= 1
        # Templates take turns by row number, so that a part of the rows has all ten.
        assert len({row["template"] for row in own}) == 10
    sentiment = next(row for row in rows if row["dataset"] == "glue/sst2" and row["answer_choices"])
    assert sentiment["answer_choices"] == ["negative", "positive"]
    assert sentiment["inputs"].endswith("OPTIONS:\n- negative\n- positive")
    assert sentiment["example_id"].startswith("glue/sst2/train/")
    assert "| 175 | 400 | 400 | 17.4902% |" in (out / "README.md").read_text()  # 400 of 2,287


def test_packed_inputs_and_targets_end_with_the_end_of_sequence_and_carry_all_the_loss(data_dir):
    settings = pack_settings(
        mixture=MIXTURE,
        task_feature_lengths={"inputs": 256, "targets": 64},
        vocabulary="bytes",
        num_examples=200,
        inputs_eos=True,
    )
    stages.pack(settings=settings, data_dir=data_dir)
    batch = next(iter(PackedDataset(settings.folder(data_dir)).batches(batch_size=16, seed=0)))
    for feature, ids in (("encoder_input_tokens", "encoder"), ("decoder_target_tokens", "decoder")):
        tokens, segments = batch[feature], batch[f"{ids}_segment_ids"]
        ends = (segments[:, :-1] != segments[:, 1:]) & (segments[:, :-1] > 0)
        assert ends.any() and (tokens[:, :-1][ends] == 1).all()
    weights = batch["decoder_loss_weights"] > 0
    assert (weights == (batch["decoder_segment_ids"] > 0)).all()


def test_a_ranked_example_has_a_row_a_choice_and_any_right_answer_counts(tmp_path, monkeypatch):
    folder = tmp_path / "mirror" / "super_glue" / "record"
    folder.mkdir(parents=True)
    row = {
        "passage": "Ann and Bo met Cy.\n@highlight\nThey met",
        "query": "@placeholder was late",
        "entities": ["Ann", "Bo", "Cy"],
        "answers": ["Bo", "Cy"],
    }
    (folder / "validation.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path / "mirror"))
    name = registration.find_name("record_type_0_scoring_eval")
    # The source's own examples, before any vocabulary is looked for.
    source = seqio.get_mixture_or_task(name).source
    dataset = source.get_dataset(split="test", shuffle=False)
    examples = list(dataset.as_numpy_iterator())
    assert [example["idx"].tolist() for example in examples] == [[0, 0], [0, 1], [0, 2]]
    assert [example["targets"].decode() for example in examples] == [
        "Ann was late",
        "Bo was late",
        "Cy was late",
    ]
    targets = [rank_target(None, example, is_target=True) for example in examples]
    scored = {
        best: rank_classification(targets, [0.0 if n == best else -1.0 for n in range(3)])
        for best in range(3)
    }
    assert {best: found["accuracy"] for best, found in scored.items()} == {0: 0, 1: 100, 2: 100}
