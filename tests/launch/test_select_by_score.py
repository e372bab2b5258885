"""Epochs: all are run and kept whatever the loss does, and a scorer chooses among them."""

import json

import pytest

from instrux.data.demonstrations import Demonstration
from instrux.data.selected_step import read_selected
from instrux.errors import InputError
from instrux.evaluation.runs import RunForReport
from instrux.models.decoder_only import DecoderConfig
from instrux.training import optimizers, schedules
from instrux.training.checkpoints import all_steps, load_run
from launch import epochs, training_data
from launch.demonstrations import demonstrations
from launch.evaluate import evaluate
from launch.report import report
from launch.select_by_score import select_by_score
from launch.train import train
from pipelines.pack import pack

EPOCHS = 16  # the paper's
CHOSEN = 12
BATCH = 4


class PrefersTheTwelfthEpoch:
    """A scorer that counts how often it is asked: it likes what it is asked twelfth best."""

    name = "prefers_the_twelfth"

    def __init__(self):
        self.asked = 0
        self.seen = {}

    def see(self, found):
        self.asked += 1
        self.seen = found

    def score(self, prompt, completion):
        assert prompt in self.seen and isinstance(completion, str)
        return 100.0 if self.asked == CHOSEN else float(self.asked)


def last_letter(prompt, completion):
    return float(len(completion))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small model on a few demonstrations, with validation rows that break their rule."""
    root = tmp_path_factory.mktemp("sft")
    # What is learned first, the letters and the end, holds for all rows; their order does not.
    splits = {"train": ("abcd", 24), "validation": ("acbd", 6), "test": ("adcb", 4)}
    rows = [
        Demonstration(
            id=f"{split}{n}", prompt=f"Say {n} of {split}", completion=letters, split=split
        ).to_row()
        for split, (letters, count) in splits.items()
        for n in range(count)
    ]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data_dir = str(root / "data")
    demonstrations(
        inputs=[f"instrux={root / 'rows.jsonl'}"],
        name="words",
        data_dir=data_dir,
        vocabulary="bytes",
        declared_splits=True,
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
    batch = {"pack": packs["train"], "data_dir": data_dir, "batch_size": BATCH}
    each = epochs.steps_per_epoch(**batch)
    train(
        model_dir=str(root / "run"),
        data_dir=data_dir,
        model=DecoderConfig(
            vocab_size=259,
            emb_dim=32,
            num_heads=2,
            head_dim=16,
            mlp_dim=64,
            num_layers=1,
            max_positions=48,
            residual_dropout_only=True,
            dropout_rate=0.0,
        ),
        learning_rate=schedules.cosine(
            peak=1e-2,
            total_steps=epochs.train_steps(**batch, epochs=EPOCHS),
            warmup_steps=0,
            floor_share=0.1,
        ),
        optimizer=optimizers.AdamW(b1=0.9, b2=0.95, weight_decay=0.0),
        batch_size=BATCH,
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
        max_examples=3,
        max_decode_length=4,
        compile_cache=False,
    ).selected


def test_every_epoch_is_run_kept_and_measured(run):
    root, _, each, _ = run
    rows = epochs.examples(tasks=["demonstrations_words"], data_dir=run[1])
    assert each == round(rows / BATCH)
    steps = [each * epoch for epoch in range(1, EPOCHS + 1)]
    assert all_steps(root / "run") == steps
    lines = [json.loads(line) for line in (root / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval_loss" in line] == steps


def test_the_scorer_chooses_a_late_epoch_and_loss_has_no_say(run):
    root, _, each, _ = run
    selected = chosen_by(PrefersTheTwelfthEpoch(), run)
    assert selected.step == CHOSEN * each
    assert list(selected.scores) == [each * epoch for epoch in range(1, EPOCHS + 1)]
    lowest = min(selected.losses, key=selected.losses.get)
    # The surer of the training rows, the less likely the others, as in the paper.
    assert lowest <= 4 * each
    assert selected.losses[selected.step] > 1.2 * selected.losses[lowest]
    assert read_selected(root / "run") == selected
    assert load_run(root / "run", step="selected").step == CHOSEN * each


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
    chosen_by(PrefersTheTwelfthEpoch(), run)
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
    assert f"Epoch {CHOSEN} of {EPOCHS} was chosen by prefers_the_twelfth" in html
    assert "Validation loss, which has no say, was lowest at epoch" in html
    assert f"lowest at epoch {CHOSEN}" not in html
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
        epochs.train_steps(pack=packs["train"], data_dir=data_dir, batch_size=BATCH, epochs=0)
