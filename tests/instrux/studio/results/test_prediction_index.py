"""The index of a file of predictions: right outcomes whatever the texts hold, and bad lines told."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.evaluation.predictions import Prediction, write_predictions
from instrux.studio.results.prediction_index import Indices, PredictionIndex

_texts = st.text(max_size=30) | st.sampled_from(
    ['"correct": true, "credit": 1', '\\"correct\\": false', 'x", "correct": true', "é\u2028\n\r"]
)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            _texts, _texts, st.none() | st.booleans(), st.floats(0, 100, width=32), st.booleans()
        ),
        max_size=8,
    )
)
def test_outcomes_and_texts_are_those_of_the_file(tmp_path_factory, rows):
    made = [
        Prediction(f"id {text}", "t", text, said, said, (text,) if c else None, None, right, credit)
        for text, said, right, credit, c in rows
    ]
    path = tmp_path_factory.mktemp("index") / "p.jsonl"
    write_predictions(path, made)
    index = PredictionIndex(path)
    assert index.wait(10)
    lines = index.lines()
    assert lines.correct.tolist() == [
        -1 if right is None else int(right) for _, _, right, _, _ in rows
    ]
    np.testing.assert_allclose(lines.credits, [credit for *_, credit, _ in rows], rtol=1e-6)
    read = index.read(np.arange(len(rows)))
    plain = [json.loads(line) for line in path.read_bytes().decode().split("\n") if line]
    assert [json.loads(json.dumps(asdict(p))) for p in read] == plain


def test_a_line_that_is_no_prediction_does_not_hide_the_others(tmp_path):
    path = tmp_path / "p.jsonl"
    good = Prediction("a/0", "t", "in", "out", "out", None, None, True, 100.0)
    write_predictions(path, [good, good])
    path.write_bytes(b"not json\n\xff\xfe\n" + path.read_bytes() + b'{"example_id": "cut')
    index = PredictionIndex(path)
    assert index.wait(10)
    assert index.lines().correct.tolist() == [-1, -1, 1, 1, -1]
    first, second, third, _, last = index.read(np.arange(5))
    assert "line 1: not a prediction" in first and "not UTF-8" in second and third == good
    assert "line 5" in last


def test_a_file_that_changed_is_read_anew(tmp_path):
    path = tmp_path / "p.jsonl"
    write_predictions(path, [Prediction("a/0", "t", "i", "o", "o", None, None, True, 100.0)])
    indices = Indices()
    before = indices.of(path)
    assert indices.of(path) is before
    write_predictions(path, [])
    after = indices.of(path)
    assert after.wait(10) and len(after.lines()) == 0


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        Indices().of(tmp_path / "none.jsonl")
