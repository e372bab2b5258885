"""Epochs: all are run and kept whatever the loss does, and a scorer chooses among them."""

import json

import pytest

from instrux.data.demonstrations import Demonstration
from instrux.data.selected_step import read_selected
from instrux.errors import InputError
from instrux.evaluation.runs import RunForReport
from instrux.models.decoder_only import DecoderConfig
from instrux.training.checkpoints import all_steps, load_run
from launch import epochs, training_data
from launch.demonstrations import demonstrations
from launch.evaluate import evaluate
from launch.report import report
from launch.select_by_score import select_by_score
from launch.train import train
from pipelines.pack import pack

EPOCHS = 4
WORDS = ("red", "blue", "green", "black", "white", "brown")


class PrefersTheThirdEpoch:
    """A scorer that has been told when it is asked: it likes what it is asked third best."""

    name = "prefers_the_third"

    def __init__(self):
        self.asked = 0
        self.seen = {}

    def see(self, found):
        self.asked += 1
        self.seen = found

    def score(self, prompt, completion):
        assert prompt in self.seen and isinstance(completion, str)
        return 10.0 if self.asked == 3 else float(self.asked)


def last_letter(prompt, completion):
    return float(len(completion))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small model on a few demonstrations, at a rate at which it must overfit."""
    root = tmp_path_factory.mktemp("sft")
    rows = [
        Demonstration(id=f"{n}", prompt=f"Say {a} {b}", completion=f"{b} {a}").to_row()
        for n, (a, b) in enumerate((a, b) for a in WORDS for b in WORDS)
    ]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data_dir = str(root / "data")
    demonstrations(
        inputs=[f"instrux={root / 'rows.jsonl'}"],
        name="words",
        data_dir=data_dir,
        vocabulary="bytes",
        validation_share=0.2,
        test_share=0.1,
    )
    packs = {}
    for split in ("train", "validation"):
        packs[split] = training_data.pack_settings(
            mixture="sft_words",
            split=split,
            task_feature_lengths={"inputs": 32, "targets": 16},
            vocabulary="bytes:0",
            num_examples=epochs.examples(
                tasks=["demonstrations_words"], data_dir=data_dir, split=split
            ),
            one_example_a_row=True,
        )
        pack(packs[split], data_dir=data_dir, rates={"demonstrations_words": 1})
    batch = {"pack": packs["train"], "data_dir": data_dir, "batch_size": 4}
    each = epochs.steps_per_epoch(**batch)
    train(
        model_dir=str(root / "run"),
        data_dir=data_dir,
        model=DecoderConfig(
            vocab_size=259,
            emb_dim=16,
            num_heads=2,
            head_dim=8,
            mlp_dim=32,
            num_layers=1,
            max_positions=48,
            residual_dropout_only=True,
            dropout_rate=0.2,
        ),
        batch_size=4,
        train_steps=epochs.train_steps(**batch, epochs=EPOCHS),
        pack=packs["train"],
        eval_pack=packs["validation"],
        eval_every_steps=each,
        eval_batches=None,
        checkpoint_every_steps=each,
        keep_checkpoints=EPOCHS,
        tensorboard=False,
        compile_cache=False,
    )
    return root, data_dir, each, packs


def chosen_by(scorer, run):
    root, data_dir, each, _ = run
    return select_by_score(
        model_dir=str(root / "run"),
        data_dir=data_dir,
        tasks=["demonstrations_words"],
        scorer=scorer,
        steps_per_epoch=each,
        max_examples=4,
        max_decode_length=4,
        compile_cache=False,
    ).selected


def test_every_epoch_is_run_kept_and_measured(run):
    root, _, each, _ = run
    rows = epochs.examples(tasks=["demonstrations_words"], data_dir=run[1])
    assert each == round(rows / 4)
    steps = [each * epoch for epoch in range(1, EPOCHS + 1)]
    assert all_steps(root / "run") == steps
    lines = [json.loads(line) for line in (root / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval_loss" in line] == steps


def test_the_scorer_chooses_a_late_epoch_and_loss_has_no_say(run):
    root, _, each, _ = run
    selected = chosen_by(PrefersTheThirdEpoch(), run)
    assert selected.step == 3 * each
    assert list(selected.scores.values()) == [1.0, 2.0, 10.0, 4.0]
    assert sorted(selected.losses) == sorted(selected.scores)
    assert read_selected(root / "run") == selected
    assert load_run(root / "run", step="selected").step == 3 * each


def test_a_plain_function_or_its_name_will_do(run):
    by_function = chosen_by(last_letter, run)
    assert by_function.rule == "last_letter"
    by_rouge = chosen_by("instrux.evaluation.completion_scores:RougeLToDemonstration", run)
    assert by_rouge.rule == "rougeL_to_demonstration"
    assert all(0 <= score <= 100 for score in by_rouge.scores.values())
    with pytest.raises(InputError, match="cannot be imported"):
        chosen_by("acme_absent:score", run)
    with pytest.raises(InputError, match="not finite"):
        chosen_by(lambda prompt, completion: float("nan"), run)


def test_the_report_shows_both_curves_and_the_choice(run, capsys):
    root, data_dir, _, _ = run
    chosen_by(PrefersTheThirdEpoch(), run)
    evaluate(
        model_dir=str(root / "run"),
        data_dir=data_dir,
        tasks=["demonstrations_words"],
        split="test",
        step="selected",
        max_decode_length=4,
        compile_cache=False,
    )
    about = RunForReport(name="SFT", model_dir=str(root / "run"), step="selected")
    report(runs=[about], out=root / "report")
    html = (root / "report" / "report.html").read_text()
    assert "Epoch 3 of 4 was chosen by prefers_the_third" in html
    assert "Validation loss, which has no say, was lowest at epoch" in html
    assert (root / "report" / "report_selection_0.png").stat().st_size > 1000


def test_rows_are_measured_once_each(run):
    _, data_dir, _, packs = run
    data = training_data.packed(packs["validation"], data_dir)
    rows = epochs.examples(tasks=["demonstrations_words"], data_dir=data_dir, split="validation")
    size = rows - 1
    once, batches = training_data.once(data, size)
    assert batches == 2
    found = once.source.batches(size, 0, 0, 0, 1)
    held = [(next(found)["decoder_segment_ids"].max(axis=1) > 0).sum() for _ in range(batches)]
    assert held == [size, 1]


def test_settings_are_checked(run):
    _, data_dir, _, packs = run
    with pytest.raises(InputError, match="epochs is 0"):
        epochs.train_steps(pack=packs["train"], data_dir=data_dir, batch_size=4, epochs=0)
