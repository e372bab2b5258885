"""Render jobs that are killed, cut off or put on a disk that takes no more."""

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.render import render

ROOT = Path(__file__).resolve().parents[2]
KILLS = 5
TASKS = 6
RANDOM = random.Random(20_110_207)

JOB = """
import resource, sys
import pipelines.render as job
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template

rows, data_dir, largest_file = sys.argv[1:4]
if int(largest_file):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), int(largest_file)))
job._BYTES_A_PLAN = 1  # one pipeline a task, so that a kill finds some done and some not
source = JsonLinesSource("toy", files={"train": rows})
tasks = [
    PromptedTask(
        f"toy_{n}",
        source,
        Template(name=f"t{n}", jinja="{{ ['a', 'b', 'c'] | choice }} {{x}} ||| {{y}}"),
        {"train": "train"},
    )
    for n in range(6)
]
print("ready", flush=True)
try:
    job.render(tasks=tasks, data_dir=data_dir, num_shards=4)
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"x": f"row {n} " * 20, "y": n}) + "\n" for n in range(2000))
    )
    return path


def start(rows, data_dir, *, largest_file=0):
    command = [sys.executable, "-c", textwrap.dedent(JOB), str(rows), str(data_dir)]
    process = subprocess.Popen(
        [*command, str(largest_file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def records(data_dir):
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for path in data_dir.rglob("*.tfrecord-*")
        if not path.name.startswith(".")
    }


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(rows, tmp_path):
    undisturbed = start(rows, tmp_path / "undisturbed")
    began = time.monotonic()
    assert undisturbed.wait() == 0
    took = time.monotonic() - began
    expected = records(tmp_path / "undisturbed")
    assert len(expected) == 4 * TASKS
    disturbed = tmp_path / "disturbed"
    moments = [took * RANDOM.random() for _ in range(KILLS)]
    for moment in moments:
        process = start(rows, disturbed)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for split in (RenderedSplit(disturbed, f"toy_{n}", "train") for n in range(TASKS)):
            if split.exists():  # what looks complete is complete
                for path in split.shard_paths():
                    assert path.read_bytes() == expected[str(path.relative_to(disturbed))]
    assert start(rows, disturbed).wait() == 0
    assert records(disturbed) == expected
    assert not [path for path in disturbed.rglob("*") if path.name.endswith(".partial")]
    assert all(RenderedSplit(disturbed, f"toy_{n}", "train").exists() for n in range(TASKS))


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_one_line(rows, tmp_path):
    process = start(rows, tmp_path / "data", largest_file=50_000)
    _, said = process.communicate()
    assert process.returncode == 2
    assert len(said.splitlines()) == 1, said
    assert "cannot be written" in said and "train.tfrecord-0000" in said
    assert not list(tmp_path.rglob("manifest.*"))


@pytest.fixture
def task(rows):
    template = Template(name="t", jinja="{{x}} ||| {{y}}")
    source = JsonLinesSource("toy", files={"train": str(rows)})
    return PromptedTask("toy", source, template, {"train": "train"})


def test_half_of_a_killed_job_is_removed_and_made_again(task, tmp_path):
    folder = tmp_path / "rendered" / "toy"
    folder.mkdir(parents=True)
    (folder / "train.tfrecord-00000-of-00003").write_bytes(b"half")
    (folder / ".train.tfrecord-00001-of-00003.0123.partial").write_bytes(b"quarter")
    (folder / "COMPLETED").touch()  # of another split
    assert not RenderedSplit(tmp_path, "toy", "train").exists()
    render(tasks=[task], data_dir=tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "COMPLETED",
        "manifest.train.json",
        "train.tfrecord-00000-of-00001",
    ]


def test_a_job_that_dies_leaves_nothing_that_looks_complete(task, tmp_path, monkeypatch, capfd):
    render(tasks=[task], data_dir=tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("instrux.beam.write.write_atomically", full)
    capfd.readouterr()
    with pytest.raises(InputError, match=r"0000.-of-00002: cannot be written \(No space left"):
        render(tasks=[task], data_dir=tmp_path, num_shards=2)
    assert capfd.readouterr().err == ""
    assert not RenderedSplit(tmp_path, "toy", "train").exists()
    assert [path.name for path in (tmp_path / "rendered" / "toy").iterdir()] == []


def test_a_folder_that_cannot_be_made_is_one_line(task, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"file.*: cannot be used \(Not a directory\)"):
        render(tasks=[task], data_dir=tmp_path / "file" / "data")


class VanishingSource(JsonLinesSource):
    """Its file is there while the job is planned, and gone when it runs."""

    def fingerprint(self, split):
        digest = super().fingerprint(split)
        Path(self.files[split]).unlink()
        return digest


def test_rows_that_vanish_before_they_are_read_are_told(task, tmp_path, capfd):
    path = tmp_path / "gone.jsonl"
    path.write_text('{"x": 1, "y": 2}\n')
    source = VanishingSource("toy", files={"train": str(path)})
    with pytest.raises(InputError, match=r"gone\.jsonl: cannot be read \(No such file"):
        render(tasks=[dataclasses.replace(task, source=source)], data_dir=tmp_path / "data")
    assert "Traceback" not in capfd.readouterr().err
