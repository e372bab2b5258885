"""TFRecord files: TensorFlow's format, and damage that is told."""

import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.data.tfrecord import TFRecordError, read_records, write_records

RECORDS = [b"", b"one", b"\x00" * 1000, "drei ß".encode()]


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=300)))
def test_records_read_back(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("records") / "a.tfrecord"
    assert write_records(path, records) == len(records)
    assert list(read_records(path)) == records


def test_tensorflow_reads_what_we_write_and_the_other_way_round(tmp_path):
    tf = pytest.importorskip("tensorflow")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write_records(ours, RECORDS)
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in RECORDS:
            writer.write(record)
    assert ours.read_bytes() == theirs.read_bytes()
    assert list(read_records(theirs)) == RECORDS


def test_every_cut_is_told_with_the_byte_where_its_record_starts(tmp_path):
    path = tmp_path / "cut"
    write_records(path, [b"first", b"second"])
    whole = path.read_bytes()
    second = 16 + len(b"first")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in (0, second):  # cut between records: nobody can tell
            assert len(list(read_records(path))) == (length == second)
            continue
        with pytest.raises(TFRecordError, match="the file ends") as caught:
            list(read_records(path))
        assert caught.value.offset == (0 if length < second else second)
        assert str(path) in str(caught.value)


def test_every_flipped_byte_is_told(tmp_path):
    path = tmp_path / "flipped"
    write_records(path, [b"first", b"second"])
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(TFRecordError):
            list(read_records(path))


def test_a_file_of_another_kind_is_told_without_reading_its_length(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"premise": "a", "hypothesis": "b"}\n')
    with pytest.raises(TFRecordError, match="no TFRecord file"):
        list(read_records(path))


def test_a_huge_length_with_a_right_checksum_is_not_believed(tmp_path):
    from instrux.data.tfrecord import masked_crc32c

    path = tmp_path / "huge"
    length = struct.pack("<Q", 1 << 60)
    path.write_bytes(length + struct.pack("<I", masked_crc32c(length)) + b"x" * 100)
    with pytest.raises(TFRecordError, match="length is damaged"):
        list(read_records(path))


def test_the_error_survives_the_way_from_a_worker():
    error = pickle.loads(pickle.dumps(TFRecordError("a/b", 12, "the file ends")))
    assert (error.path, error.offset) == ("a/b", 12)
    assert "byte 12" in str(error)
