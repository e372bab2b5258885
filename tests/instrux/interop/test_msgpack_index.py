import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.interop.msgpack_index import Span, read_index
from instrux.interop.parameters import CheckpointFormatError

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=300)),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=8), inner, max_size=20)
    ),
    max_leaves=30,
)


def with_bytes(tree, content):
    """Puts a span's bytes in its place."""
    if isinstance(tree, dict):
        return {key: with_bytes(value, content) for key, value in tree.items()}
    if isinstance(tree, list):
        return [with_bytes(value, content) for value in tree]
    if isinstance(tree, Span):
        data = content[tree.start : tree.start + tree.size]
        return data if tree.code is None else msgpack.ExtType(tree.code, data)
    return tree


@given(tree=TREES)
def test_it_reads_what_the_msgpack_library_writes(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("msgpack") / "file"
    content = msgpack.packb(tree)
    path.write_bytes(content)
    assert with_bytes(read_index(path), content) == tree


@given(content=st.binary(min_size=1, max_size=200))
def test_any_other_bytes_are_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("msgpack") / "file"
    path.write_bytes(content)
    try:
        read_index(path)
    except CheckpointFormatError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b"\x91" * 100 + b"\x00", "nested deeper than 64"),
        (b"\xdd" + struct.pack(">I", 2**32 - 1), "entries are announced"),
        (b"\xdf" + struct.pack(">I", 2**31), "entries are announced"),
        (b"\xdb" + struct.pack(">I", 2**32 - 1) + b"a", "a text of"),
        (b"\xc6" + struct.pack(">I", 2**32 - 1) + b"a", "it ends at byte"),
        (b"\x81\x01\x02", "is not text"),
        (b"\x82\xa1a\x01\xa1a\x02", "'a' is there twice"),
        (b"\xa1\xff", "is not UTF-8"),
        (b"\xc1", "begins no value"),
        (b"\x01\x02", "1 bytes follow its end"),
    ],
)
def test_a_hostile_file_is_refused_before_memory_is_taken(tmp_path, content, told):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointFormatError, match=told):
        read_index(tmp_path / "file")
