"""A packed dataset is read whole, in an order that a step number resumes, and as SeqIO packs."""

import json
import shutil
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

from instrux.beam.pack import PackPlan, report_name, write_packed_shard
from instrux.data.pack_blocks import Tokenizer, draw_copies
from instrux.data.pack_shard import ShardReport
from instrux.data.packed import PackedDataset, PackSettings
from instrux.data.packed_manifest import PackedTask, PackManifest
from instrux.data.packed_rows import RowLayout, model_features, rows_from_records
from instrux.data.sampling import TaskSample
from instrux.data.seal import sealed
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError

BYTES = VocabularySpec.parse("bytes")
SETTINGS = PackSettings(
    mixture="numbers",
    inputs_length=16,
    targets_length=8,
    vocabulary=BYTES,
    num_examples=300,
    num_shards=3,
)
TASK = "task"


def write_packed(folder):
    """Packs 300 examples whose inputs are their numbers into three shards, without Beam."""
    folder.mkdir(parents=True)
    sample = TaskSample(TASK, 300, 300, SETTINGS.seed)
    plan = PackPlan(
        mixture=SETTINGS.mixture,
        folder=str(folder),
        files=(),
        samples=(sample,),
        tokenizer=Tokenizer(BYTES.load(), 16, 8, inputs_eos=False),
        layout=RowLayout(16, 8, BYTES.load().vocab_size, 1),
        seed=SETTINGS.seed,
        num_shards=3,
        excluded=(np.zeros(0, np.uint64),),
    )
    block = plan.tokenizer.block([f"{n:03d}" for n in range(300)], ["abc"] * 300)
    copies = draw_copies(sample, np.arange(300), task=0, num_shards=3)
    everything = copies.with_tokens(block)
    reports = []
    for shard in range(3):
        part = everything.take(np.flatnonzero(copies.shard == shard)).to_bytes()
        write_packed_shard(plan, shard, [part])
        report = folder / report_name(plan.shard_name(shard))
        reports.append(ShardReport.from_json(report.read_text()))
        report.unlink()
    shards = tuple(report.shard for report in reports)
    manifest = PackManifest(
        settings=SETTINGS.identity(),
        vocabulary_path=None,
        vocab_size=plan.layout.vocab_size,
        tasks=(
            PackedTask(
                name=TASK, rate=1.0, share_asked=1.0, share=1.0, examples=300, available=300,
                inputs_tokens=900, targets_tokens=1200, inputs_truncated=0, targets_truncated=0,
                source_digest="",
            ),
        ),
        shards=shards,
        rows=sum(shard.rows for shard in shards),
        examples=300,
        inputs_efficiency=1.0,
        targets_efficiency=1.0,
        rows_lower_bound=150,
        instrux_version="0",
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "COMPLETED").touch()


@pytest.fixture(scope="module")
def packed_folder(tmp_path_factory):
    folder = SETTINGS.folder(tmp_path_factory.mktemp("data"))
    write_packed(folder)
    return folder


@pytest.fixture(scope="module")
def dataset(packed_folder):
    return PackedDataset(packed_folder)


@pytest.fixture
def copy(packed_folder, tmp_path):
    return shutil.copytree(packed_folder, tmp_path / packed_folder.name)


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def rows_in(batches):
    return [row.tobytes() for batch in batches for row in batch["encoder_input_tokens"]]


def test_batches_have_seqios_features_as_int32(dataset):
    batch = next(dataset.batches(4, seed=0))
    lengths = {"encoder": 16, "decoder": 8}
    assert len(batch) == 8
    for name, value in batch.items():
        assert value.dtype == np.int32
        assert value.shape == (4, lengths[name.partition("_")[0]])


def test_every_epoch_has_every_row_once_in_another_order(dataset):
    # 150 rows, 2 + 2 of 8 targets each; 25 batches of 6 are an epoch.
    assert len(dataset) == 150
    batches = list(islice(dataset.batches(6, seed=0), 50))
    first, second = rows_in(batches[:25]), rows_in(batches[25:])
    assert len(set(first)) == 150
    assert sorted(first) == sorted(second)
    assert first != second


def test_rows_of_two_epochs_may_share_a_batch_and_none_is_left_out(dataset):
    rows = rows_in(islice(dataset.batches(4, seed=0), 75))  # 300 rows, 150 is no multiple of 4
    assert sorted(rows[:150]) == sorted(rows[150:])
    assert len(set(rows[:150])) == 150


def test_a_batch_may_be_larger_than_the_dataset(dataset):
    (batch,) = islice(dataset.batches(400, seed=0), 1)
    assert len(rows_in([batch])) == 400
    assert len(set(rows_in([batch]))) == 150


def test_batches_resume_exactly_at_any_step(dataset):
    undisturbed = list(islice(dataset.batches(7, seed=3), 60))
    for start in (0, 1, 22, 59):
        resumed = islice(dataset.batches(7, seed=3, start_step=start), 60 - start)
        for one, other in zip(undisturbed[start:], resumed, strict=True):
            same(one, other)
    same(undisturbed[41], dataset.batch(41, 7, 3))


def test_threads_change_nothing(dataset):
    for one, other in zip(
        islice(dataset.batches(5, seed=1, threads=0), 10),
        islice(dataset.batches(5, seed=1, threads=3, prefetch=7), 10),
        strict=True,
    ):
        same(one, other)


def test_seeds_give_other_orders(dataset):
    one, other = (rows_in(islice(dataset.batches(6, seed=seed), 25)) for seed in (0, 1))
    assert sorted(one) == sorted(other)
    assert one != other


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_processes_share_each_batch_without_overlap(dataset, process_count):
    whole = islice(dataset.batches(8, seed=5), 10)
    parts = [
        dataset.batches(8, seed=5, process_index=index, process_count=process_count)
        for index in range(process_count)
    ]
    for batch in whole:
        pieces = [next(part) for part in parts]
        same(batch, {name: np.concatenate([piece[name] for piece in pieces]) for name in batch})


def test_a_batch_that_cannot_be_shared_is_refused(dataset):
    with pytest.raises(InputError, match="positive multiple of 3"):
        dataset.batches(8, seed=0, process_count=3)
    with pytest.raises(InputError, match="process_index is 2 of 2"):
        dataset.batches(8, seed=0, process_index=2, process_count=2)
    with pytest.raises(InputError, match="start_step is -1"):
        dataset.batches(8, seed=0, start_step=-1)


def test_every_target_knows_its_task(dataset):
    batch = next(dataset.batches(4, seed=0, task_ids=True))
    padding = batch["decoder_segment_ids"] == 0
    assert (batch["decoder_task_ids"][padding] == -1).all()
    assert (batch["decoder_task_ids"][~padding] == 0).all()
    assert dataset.manifest.tasks[0].name == TASK


def test_a_row_written_by_hand_has_the_features_of_seqios_docstring():
    # The example in the docstring of seqio.EncDecFeatureConverter.
    layout = RowLayout(10, 7, vocab_size=10, num_tasks=2)
    row = np.zeros(1, layout.dtype)
    row["encoder_input_tokens"] = [7, 8, 5, 1, 8, 4, 9, 3, 1, 0]
    row["encoder_segment_ids"] = [1, 1, 1, 1, 2, 2, 2, 2, 2, 0]
    row["decoder_target_tokens"] = [3, 9, 1, 4, 1, 0, 0]
    row["decoder_segment_ids"] = [1, 1, 1, 2, 2, 0, 0]
    row["segment_tasks"][:, 1] = 1
    features = model_features(rows_from_records([row.tobytes()], layout), task_ids=True)
    assert {name: value[0].tolist() for name, value in features.items()} == {
        "encoder_input_tokens": [7, 8, 5, 1, 8, 4, 9, 3, 1, 0],
        "encoder_segment_ids": [1, 1, 1, 1, 2, 2, 2, 2, 2, 0],
        "encoder_positions": [0, 1, 2, 3, 0, 1, 2, 3, 4, 0],
        "decoder_target_tokens": [3, 9, 1, 4, 1, 0, 0],
        "decoder_input_tokens": [0, 3, 9, 0, 4, 0, 0],
        "decoder_loss_weights": [1, 1, 1, 1, 1, 0, 0],
        "decoder_segment_ids": [1, 1, 1, 2, 2, 0, 0],
        "decoder_positions": [0, 1, 2, 0, 1, 0, 0],
        "decoder_task_ids": [0, 0, 0, 1, 1, -1, -1],
    }


def test_features_are_seqios_on_the_same_row(dataset):
    import seqio
    import tensorflow as tf

    batch = dataset.batch(0, 1, seed=0)
    segments = range(1, batch["encoder_segment_ids"].max() + 1)
    examples = [
        {
            "inputs": batch["encoder_input_tokens"][batch["encoder_segment_ids"] == segment],
            "targets": batch["decoder_target_tokens"][batch["decoder_segment_ids"] == segment],
        }
        for segment in segments
    ]
    assert len(examples) > 1
    spec = {name: tf.TensorSpec([None], tf.int32) for name in ("inputs", "targets")}
    theirs = seqio.EncDecFeatureConverter(pack=True)(
        tf.data.Dataset.from_generator(lambda: examples, output_signature=spec),
        task_feature_lengths={"inputs": 16, "targets": 8},
    )
    (row,) = theirs.as_numpy_iterator()
    assert set(row) == set(batch)
    for name, value in row.items():
        assert value.dtype == batch[name].dtype
        assert value.tolist() == batch[name][0].tolist(), name


def test_reading_imports_no_tensorflow(packed_folder):
    program = (
        "import sys; from instrux.data.packed import PackedDataset;"
        f"next(PackedDataset({str(packed_folder)!r}).batches(4, seed=0));"
        "print(sorted({'tensorflow', 'seqio', 'apache_beam', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_an_equal_vocabulary_elsewhere_passes_and_another_is_told_by_both_digests(dataset):
    dataset.check_vocabulary(VocabularySpec.parse("bytes"))
    with pytest.raises(InputError, match=r"100 extra ids .* and 5"):
        dataset.check_vocabulary(VocabularySpec.parse("bytes:5"))


def test_another_vocabulary_file_is_told_by_both_digests(dataset, tmp_path):
    other = tmp_path / "other.model"
    other.write_bytes(b"another model")
    spec = VocabularySpec.parse(str(other))
    with pytest.raises(InputError) as error:
        dataset.check_vocabulary(spec)
    assert BYTES.digest() in str(error.value)
    assert spec.digest() in str(error.value)


def one_line_error(folder, **settings):
    with pytest.raises(InputError) as error:
        PackedDataset(folder, **settings)
    message = str(error.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def test_an_absent_and_an_uncompleted_dataset_are_told(copy, tmp_path):
    assert "no packed dataset here" in one_line_error(tmp_path / "absent")
    (copy / "COMPLETED").unlink()
    assert "not completed" in one_line_error(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"gap": 1}'])
def test_a_broken_manifest_is_told(copy, text):
    (copy / "manifest.json").write_text(text)
    assert "cannot be read" in one_line_error(copy)


def test_another_format_is_told(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"]["format"] = 999
    path.write_text(json.dumps(sealed(manifest)))
    assert "packed in format 999" in one_line_error(copy)


def test_a_dataset_that_was_packed_by_the_earlier_rule_is_read(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    rows = len(PackedDataset(copy))
    manifest["settings"]["format"] = 1
    path.write_text(json.dumps(sealed(manifest)))
    assert len(PackedDataset(copy)) == rows


def test_a_truncated_a_missing_and_an_altered_shard_are_told(copy):
    shard = sorted(copy.glob("rows.array_record-*"))[1]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    message = one_line_error(copy)
    assert shard.name in message and f"{len(content) // 2} bytes" in message
    shard.unlink()
    assert shard.name in one_line_error(copy)
    middle = len(content) // 2
    shard.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert "checksum" in one_line_error(copy)
    with pytest.raises(InputError, match="checksum"):
        PackedDataset(copy, verify=False).verify()


def test_a_folder_is_named_by_what_the_bytes_depend_on(tmp_path, shared_data):
    import dataclasses

    assert SETTINGS.folder(tmp_path).parent == tmp_path / "packed"
    assert SETTINGS.folder(tmp_path).name.startswith("numbers-")
    others = [
        {"split": "validation"}, {"inputs_length": 17}, {"targets_length": 9}, {"num_examples": 301},
        {"seed": 1}, {"num_shards": 4}, {"inputs_eos": True},
        {"vocabulary": VocabularySpec.parse("bytes:1")},
    ]  # fmt: skip
    folders = {dataclasses.replace(SETTINGS, **other).folder(tmp_path) for other in others}
    assert len(folders | {SETTINGS.folder(tmp_path)}) == len(others) + 1
    # A vocabulary counts by its content.
    model = shared_data / "vocab" / "t5_32000.model"
    (tmp_path / "moved.model").write_bytes(model.read_bytes())
    moved = [
        dataclasses.replace(SETTINGS, vocabulary=VocabularySpec.parse(str(path))).folder(tmp_path)
        for path in (model, tmp_path / "moved.model")
    ]
    assert moved[0] == moved[1]


@pytest.mark.parametrize(
    "wrong", [{"inputs_length": 0}, {"num_examples": 0}, {"num_shards": 0}, {"num_shards": 301}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    import dataclasses

    with pytest.raises(InputError, match="pack numbers"):
        dataclasses.replace(SETTINGS, **wrong)
