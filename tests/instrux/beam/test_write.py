"""Blobs between stages, files after them, and reports beside them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.beam.blobs import Blob, BlobBuffers, bodies, count_records, in_order
from instrux.beam.report import RowReport, add_up
from instrux.beam.write import write_file
from instrux.errors import InputError

KEY = (0, "train.tfrecord-00000-of-00001")
OTHER = (1, "train.tfrecord-00000-of-00001")


@settings(max_examples=50)
@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    bytes_at_once=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_records_come_back_in_order_however_they_were_cut_and_mixed(lengths, bytes_at_once, seed):
    records = [bytes([row % 251]) * length for row, length in enumerate(lengths)]
    buffers, blobs = BlobBuffers(bytes_at_once), []
    for row, record in enumerate(records):
        buffers.add(KEY, row + 250, record)  # rows beyond one byte
        buffers.add(OTHER, row, b"other")
        if buffers.is_full:
            blobs += buffers.drain()
    blobs += buffers.drain()
    mine = [blob for key, blob in blobs if key == KEY]
    random.Random(seed).shuffle(mine)
    assert b"".join(bodies(in_order(mine))) == b"".join(records)
    assert count_records(mine) == len(records)


def test_a_blob_knows_its_place():
    blob = Blob(place=2**40, records=3, body=b"abc")
    assert Blob.from_bytes(blob.to_bytes()) == blob


def test_a_file_is_what_its_blobs_hold(tmp_path):
    blobs = [Blob(5, 1, b"five").to_bytes(), Blob(0, 2, b"zero one ").to_bytes()]
    record = write_file(tmp_path / "new" / "file", blobs)
    assert (tmp_path / "new" / "file").read_bytes() == b"zero one five"
    assert (record.name, record.bytes, record.records) == ("file", 13, 3)
    assert write_file(tmp_path / "new" / "file", blobs[::-1]) == record


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "in_the_way").touch()
    with pytest.raises(InputError, match=r"in_the_way.file: cannot be written \("):
        write_file(tmp_path / "in_the_way" / "file", [])


def test_reports_add_up_in_any_order():
    first = RowReport(rows=3, examples=1, row_fields=("x",), first_failure="b")
    first.failed["render_error"] += 2
    second = RowReport(rows=4, examples=3, row_fields=("x",), first_failure="a")
    second.failed["render_error"] += 1
    second.missing_fields["y"] += 4
    there = [RowReport.from_bytes(report.to_bytes()) for report in (first, second)]
    assert there == [first, second]
    total = add_up(there)
    assert total == add_up(reversed(there))
    assert (total.rows, total.examples, total.first_failure) == (7, 4, "a")
    assert (total.failed, total.missing_fields) == ({"render_error": 3}, {"y": 4})
