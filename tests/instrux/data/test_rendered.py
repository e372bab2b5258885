"""Rendered splits on disk, as the stages after render find them."""

import pytest

from instrux.data.examples import RenderedExample
from instrux.data.files import write_atomically
from instrux.data.manifest import FileRecord, Manifest
from instrux.data.rendered import RenderedSplit, rendered_task_names, shard_name
from instrux.data.tfrecord import TFRecordError, frame
from instrux.errors import InputError

METADATA = {
    "dataset": "toy",
    "config": None,
    "template": "t",
    "cluster": "nli",
    "metrics": ["accuracy"],
    "answer_choices": ["Yes", "No"],
    "original_task": True,
    "train_examples": None,
}


@pytest.fixture
def split(tmp_path):
    """Two shards of two examples each, written by hand."""
    split = RenderedSplit(tmp_path, "toy_t", "train")
    files = []
    for shard in range(2):
        name = shard_name("train", shard, 2)
        records = [example(2 * shard + n).to_bytes() for n in range(2)]
        size, digest = write_atomically(split.folder / name, map(frame, records))
        files.append(FileRecord(name, size, digest, 2))
    manifest = Manifest(
        stage="render",
        settings={},
        files=files,
        counts={"examples": 4, "rows": 5},
        dropped={"not_applicable": 1},
        metadata=METADATA,
    )
    split.completed().complete(manifest)
    return split


def example(row):
    return RenderedExample(f"in {row}", "Yes", f"toy/default/train/{row}", "t", ("Yes", "No"))


def test_the_layout_is_the_documented_one(split, tmp_path):
    assert sorted(path.name for path in (tmp_path / "rendered" / "toy_t").iterdir()) == [
        "COMPLETED",
        "manifest.train.json",
        "train.tfrecord-00000-of-00002",
        "train.tfrecord-00001-of-00002",
    ]


def test_examples_and_what_is_known_of_them(split, tmp_path):
    assert split.exists() and split.count == 4
    assert list(split.read()) == [example(row) for row in range(4)]
    manifest = split.manifest()
    assert (manifest.answer_choices, manifest.config) == (("Yes", "No"), None)
    assert (manifest.rows, manifest.dropped) == (5, {"not_applicable": 1})
    assert rendered_task_names(tmp_path) == ["toy_t"]


def test_tensorflow_reads_a_split(split):
    tf = pytest.importorskip("tensorflow")
    paths = [str(path) for path in split.shard_paths()]
    records = list(tf.data.TFRecordDataset(paths).as_numpy_iterator())
    assert records == [example(row).to_bytes() for row in range(4)]


@pytest.mark.parametrize("absent", ["COMPLETED", "manifest.train.json"])
def test_a_split_without_its_last_files_does_not_exist(split, absent):
    (split.folder / absent).unlink()
    assert not split.exists()
    with pytest.raises(InputError, match=r"'train' of task 'toy_t' is not rendered"):
        split.manifest()


def test_a_missing_shard_is_told_before_anything_is_read(split):
    (split.folder / "train.tfrecord-00001-of-00002").unlink()
    with pytest.raises(InputError, match=r"train\.tfrecord-00001-of-00002: missing"):
        next(split.read())


def test_a_damaged_record_is_told(split):
    path = split.folder / "train.tfrecord-00001-of-00002"
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + b"\x00" + whole[41:])
    with pytest.raises(TFRecordError, match="checksum"):
        list(split.read())


def test_a_task_name_that_is_nearly_right_is_told(split, tmp_path):
    with pytest.raises(InputError, match=r"Did you mean 'toy_t'"):
        RenderedSplit(tmp_path, "toy_tt", "train").manifest()


def test_a_manifest_of_another_stage_is_told(split):
    split.completed().complete(Manifest(stage="pack", settings={}, files=()))
    with pytest.raises(InputError, match="not the manifest of a rendered split"):
        split.manifest()


def test_the_fingerprint_follows_the_bytes(split):
    before = split.manifest().fingerprint
    manifest = split.completed().manifest()
    other = [FileRecord(file.name, file.bytes, "00" * 32, 2) for file in manifest.files]
    split.completed().complete(Manifest(**{**vars(manifest), "files": other}))
    assert split.manifest().fingerprint != before
