"""Pages about packed sets: a packed row is shown as the examples that were packed."""

import dataclasses
import re

import numpy as np
import pytest

from instrux.data.packed_manifest import PackedTask, PackManifest
from instrux.data.vocabularies import VocabularySpec
from instrux.studio.packed.segments import rows_of, vocabulary_of

SPEC = VocabularySpec("bytes", None, 0)


def _manifest(**changed):
    task = {
        "rate": 1.0, "share_asked": 0.5, "share": 0.5, "examples": 1, "available": 1,
        "inputs_tokens": 2, "targets_tokens": 2, "inputs_truncated": 0, "targets_truncated": 0,
        "source_digest": "",
    }  # fmt: skip
    vocabulary = {"digest": SPEC.digest(), "extra_ids": 0} | changed
    settings = {"inputs_length": 8, "targets_length": 6, "vocabulary": vocabulary}
    return PackManifest(
        settings=settings, vocabulary_path=None, vocab_size=259,
        tasks=(PackedTask(name="first", **task), PackedTask(name="second", **task)), shards=(),
        rows=1, examples=2, inputs_efficiency=0.5, targets_efficiency=0.5, rows_lower_bound=1,
        instrux_version="0",
    )  # fmt: skip


@pytest.fixture
def record():
    """Two examples in a row: `ab` -> `c`, and `é` -> nothing but the end of sequence."""
    row = np.zeros(1, _manifest().layout.dtype)
    row["encoder_input_tokens"][0, :4] = [ord("a") + 3, ord("b") + 3, 0xC3 + 3, 0xA9 + 3]
    row["encoder_segment_ids"][0, :4] = [1, 1, 2, 2]
    row["decoder_target_tokens"][0, :3] = [ord("c") + 3, 1, 1]
    row["decoder_segment_ids"][0, :3] = [1, 1, 2]
    row["segment_tasks"][0, :2] = [1, 0]
    return row


def test_a_row_is_taken_apart_into_its_examples(record):
    manifest = _manifest()
    vocabulary, problem = vocabulary_of(manifest)
    assert vocabulary is not None and not problem
    (row,) = rows_of(record, [7], manifest, vocabulary)
    first, second = row.segments
    assert (row.number, row.inputs_fill, row.targets_fill) == (7, 4 / 8, 3 / 6)
    assert (first.task, first.inputs.text, first.targets.text) == ("second", "ab", "c")
    assert (second.task, second.inputs.text, second.targets.text) == ("first", "é", "")
    assert first.inputs.pieces == ("a", "b") and first.targets.pieces == ("c", "⏹")
    assert (second.inputs.start, second.targets.start) == (2, 2)
    assert first.colour != second.colour


def test_a_joined_row_is_taken_apart_too():
    made = _manifest()
    manifest = dataclasses.replace(made, settings=made.settings | {"joined": True})
    record = np.zeros(1, manifest.layout.dtype)
    record["tokens"][0, :6] = [ord("a") + 3, ord("b") + 3, ord("c") + 3, 1, ord("d") + 3, 1]
    record["segment_ids"][0, :6] = [1, 1, 1, 1, 2, 2]
    record["is_target"][0, :6] = [0, 0, 1, 1, 0, 1]
    record["segment_tasks"][0, :2] = [1, 0]
    (row,) = rows_of(record, [7], manifest, vocabulary_of(manifest)[0])
    first, second = row.segments
    assert (row.inputs_fill, row.targets_fill) == (3 / 14, 3 / 14)
    assert (first.task, first.inputs.text, first.targets.text) == ("second", "ab", "c")
    assert (second.inputs.text, second.inputs.start, second.targets.start) == ("d", 4, 5)


def test_without_its_vocabulary_a_row_is_shown_as_ids(record):
    manifest = _manifest(digest="another")
    vocabulary, problem = vocabulary_of(manifest)
    assert vocabulary is None and re.search("no longer", problem)
    (row,) = rows_of(record, [0], manifest, vocabulary)
    assert row.segments[0].inputs.text is None and row.segments[0].inputs.ids == (100, 101)
