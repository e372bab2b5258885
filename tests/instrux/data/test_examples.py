"""The rendered example as bytes, checked against TensorFlow's own messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.data.examples import RenderedExample, parse_features
from instrux.errors import InputError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
EXAMPLES = st.builds(
    RenderedExample,
    inputs=TEXT,
    targets=TEXT,
    example_id=TEXT,
    template=TEXT,
    answer_choices=st.none() | st.lists(TEXT, min_size=1).map(tuple),
    references=st.none() | st.lists(TEXT, min_size=1).map(tuple),
)


@given(EXAMPLES)
def test_bytes_read_back_as_the_same_example(example):
    assert RenderedExample.from_bytes(example.to_bytes()) == example


def test_tensorflow_reads_what_we_write():
    tf = pytest.importorskip("tensorflow")
    example = RenderedExample(
        inputs="Füße " * 100,
        targets="<NO LABEL>",
        example_id="super_glue/rte/train/0",
        template="can we infer",
        answer_choices=("Yes", "No"),
    )
    features = tf.train.Example.FromString(example.to_bytes()).features.feature
    assert {key: list(value.bytes_list.value) for key, value in features.items()} == {
        "inputs": [("Füße " * 100).encode()],
        "targets": [b"<NO LABEL>"],
        "example_id": [b"super_glue/rte/train/0"],
        "template": [b"can we infer"],
        "answer_choices": [b"Yes", b"No"],
    }


def test_we_read_what_tensorflow_writes():
    tf = pytest.importorskip("tensorflow")
    written = tf.train.Example()
    for key, values in {
        "inputs": [b"a"],
        "targets": [b"b"],
        "example_id": [b"d/default/train/7"],
        "template": [b"t"],
        "references": [b"b", b"c"],
    }.items():
        written.features.feature[key].bytes_list.value.extend(values)
    assert RenderedExample.from_bytes(written.SerializeToString()) == RenderedExample(
        inputs="a",
        targets="b",
        example_id="d/default/train/7",
        template="t",
        references=("b", "c"),
    )


def test_the_group_of_an_example_is_kept():
    example = RenderedExample("a", "b", "d/default/train/0", "t", group="3/7")
    assert RenderedExample.from_bytes(example.to_bytes()) == example


def test_a_lone_surrogate_is_written_as_a_question_mark():
    example = RenderedExample("half \ud83d here", "x", "d/default/train/0", "t")
    assert RenderedExample.from_bytes(example.to_bytes()).inputs == "half ? here"


def test_bytes_that_are_no_example_are_an_input_error():
    with pytest.raises(InputError, match=r"not a tf\.train\.Example"):
        RenderedExample.from_bytes(b"\xff\xff\xff\xff")


def test_a_missing_feature_is_named():
    no_targets = RenderedExample("a", "b", "c", "d").to_bytes().replace(b"targets", b"Targets")
    assert "Targets" in parse_features(no_targets)
    with pytest.raises(InputError, match="'targets', and has 0"):
        RenderedExample.from_bytes(no_targets)


def test_a_feature_that_is_not_text_is_named():
    damaged = (
        RenderedExample("aaaa", "b", "c", "d").to_bytes().replace(b"aaaa", b"\xff\xfe\xfd\xfc")
    )
    with pytest.raises(InputError, match=r"'inputs' .* not UTF-8"):
        RenderedExample.from_bytes(damaged)
