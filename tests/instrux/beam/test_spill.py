"""Blobs that wait on disk: they come back as they were, and nothing is left of them."""

import fcntl
import random

import pytest

from instrux.beam.blobs import Blob, count_records
from instrux.beam.spill import SpillFile, spill_folder, spilled_bodies
from instrux.beam.write import write_file
from instrux.errors import InputError

BLOBS = [Blob(place, 2, bytes([65 + place]) * (place + 1)).to_bytes() for place in range(9)]


def test_a_file_of_references_is_the_file_of_their_blobs(tmp_path):
    expected = write_file(tmp_path / "whole" / "file", BLOBS)
    with spill_folder(str(tmp_path)) as folder:
        references = []
        for part in (BLOBS[::2], BLOBS[1::2]):  # two workers
            file = SpillFile(folder)
            references += map(file.put, part)
            file.close()
        random.Random(1).shuffle(references)
        assert count_records(references) == 18
        assert (
            write_file(tmp_path / "spilled" / "file", references, spill_folder=folder) == expected
        )
    assert (tmp_path / "spilled" / "file").read_bytes() == b"ABBCCCDDDD" + b"".join(
        bytes([65 + place]) * (place + 1) for place in range(4, 9)
    )
    assert list((tmp_path / "rendered").iterdir()) == []


def test_what_a_killed_job_left_is_removed_and_that_of_a_running_one_is_not(tmp_path):
    for name in ("killed", "running"):
        folder = tmp_path / "rendered" / f".spill-{name}"
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / "blobs").write_bytes(b"x")
    with (tmp_path / "rendered" / ".spill-running" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with spill_folder(str(tmp_path)):
            left = {path.name for path in (tmp_path / "rendered").iterdir()}
    assert ".spill-running" in left and ".spill-killed" not in left and len(left) == 2


def test_a_folder_that_takes_nothing_and_a_file_that_was_cut_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"gone.*cannot be written there for the time being \(No"):
        SpillFile(str(tmp_path / "gone"))
    file = SpillFile(str(tmp_path))
    reference = file.put(BLOBS[3])
    file.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"D")
    with pytest.raises(InputError, match="it was cut while the job ran"):
        list(spilled_bodies([reference], str(tmp_path)))
    path.unlink()
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        list(spilled_bodies([reference], str(tmp_path)))
