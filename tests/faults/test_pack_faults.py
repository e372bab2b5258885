"""What a pack job leaves behind when it is killed, when disks fail, and when inputs are damaged."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from instrux.data.packed import PackedDataset, PackSettings
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.pack import pack
from pipelines.render import render

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = PackSettings(
    mixture="toy",
    inputs_length=64,
    targets_length=16,
    vocabulary=VocabularySpec.parse("bytes"),
    num_examples=2000,
    num_shards=8,
)
RATES = {"numbers": 1.0}
PROGRAM = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import test_pack_faults as faults
faults.pack(faults.SETTINGS, data_dir={data_dir!r}, rates=faults.RATES)
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    path = data_dir / "numbers.jsonl"
    path.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(2000)))
    task = PromptedTask(
        "numbers",
        JsonLinesSource("toy", "numbers", {"train": str(path)}),
        Template(name="count", jinja="say {{n}} again ||| {{n}}"),
        splits={"train": "train"},
    )
    render(tasks=[task], data_dir=data_dir, num_shards=4)
    return data_dir


@pytest.fixture
def data_dir(rendered, tmp_path):
    """The rendered examples alone, in a folder that a test may change."""
    shutil.copytree(rendered / "rendered", tmp_path / "data" / "rendered")
    return tmp_path / "data"


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def killed_pack(data_dir, *, once):
    """Starts a pack in a process of its own and kills it as soon as `once` is true."""
    program = PROGRAM.format(
        root=str(ROOT), tests=str(Path(__file__).parent), data_dir=str(data_dir)
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not once() and time.monotonic() < deadline:
        time.sleep(0.002)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return was_running


@pytest.mark.slow
@pytest.mark.parametrize("shards_before", [0, 1, 6])
def test_a_killed_pack_looks_incomplete_and_the_next_one_gives_the_same_bytes(
    rendered, data_dir, shards_before
):
    folder = SETTINGS.folder(data_dir)

    def written():
        return folder.is_dir() and len(list(folder.glob("rows.array_record-*"))) >= shards_before

    if killed_pack(data_dir, once=written):
        with pytest.raises(InputError, match="not completed"):
            PackedDataset(folder)
    again = pack(SETTINGS, data_dir=data_dir, rates=RATES)
    assert not again.skipped
    undisturbed = pack(SETTINGS, data_dir=rendered, rates=RATES)
    assert digests(again.folder) == digests(undisturbed.folder)


def test_what_a_killed_writer_left_is_removed(data_dir):
    folder = SETTINGS.folder(data_dir)
    folder.mkdir(parents=True)
    for name in (
        ".rows.array_record-00000-of-00008.0123.partial",
        "rows.array_record-00007-of-00009",
        "report.rows.array_record-00007-of-00009.json",
    ):
        (folder / name).write_bytes(b"left over")
    result = pack(SETTINGS, data_dir=data_dir, rates=RATES)
    names = {path.name for path in folder.iterdir()}
    assert names == {shard.name for shard in result.manifest.shards} | {
        "manifest.json",
        "COMPLETED",
    }


def test_a_dataset_that_lost_a_shard_is_packed_again(data_dir, capsys):
    result = pack(SETTINGS, data_dir=data_dir, rates=RATES)
    before = digests(result.folder)
    lost = result.folder / result.manifest.shards[2].name
    lost.unlink()
    again = pack(SETTINGS, data_dir=data_dir, rates=RATES)
    assert not again.skipped
    assert f"{lost} is missing or cut" in capsys.readouterr().err
    assert digests(again.folder) == before


def one_line_error(data_dir):
    with pytest.raises(InputError) as error:
        pack(SETTINGS, data_dir=data_dir, rates=RATES)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError):
        PackedDataset(SETTINGS.folder(data_dir))
    return str(error.value)


def test_a_rendered_file_cut_short_is_named(data_dir):
    path = data_dir / "rendered" / "numbers" / "train.tfrecord-00002-of-00004"
    path.write_bytes(path.read_bytes()[:-5])
    assert str(path) in one_line_error(data_dir)


def test_a_rendered_record_with_a_flipped_bit_is_named_with_its_place(data_dir):
    path = data_dir / "rendered" / "numbers" / "train.tfrecord-00002-of-00004"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = one_line_error(data_dir)
    assert str(path) in message and "byte" in message


def test_a_folder_that_cannot_be_written_is_named(data_dir):
    (data_dir / "packed").write_text("a file where a folder should be")
    assert str(data_dir / "packed") in one_line_error(data_dir)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_leaves_nothing_complete(data_dir, monkeypatch):
    from instrux.beam import pack as beam_pack

    def full(path, chunks):
        with open("/dev/full", "wb", buffering=0) as file:
            for chunk in chunks:
                file.write(chunk)
        raise AssertionError("the disk was not full")

    monkeypatch.setattr(beam_pack, "write_atomically", full)
    message = one_line_error(data_dir)
    assert os.strerror(28) in message


def test_an_option_that_beam_does_not_know_is_told_before_anything_starts(data_dir):
    with pytest.raises(InputError, match="--direct_num_workerz"):
        pack(SETTINGS, data_dir=data_dir, rates=RATES, beam_args=["--direct_num_workerz=2"])
    assert not (data_dir / "packed").exists()
