"""Readers given what nobody wrote: they give something that is right, or one InputError.

The harness feeds them by the thousand (`tests/faults/harness/fuzz.py`); here hypothesis looks for the
smallest thing that they choke on.
"""

import contextlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.errors import InputError
from tests.faults.harness import damage, fuzz
from tests.faults.harness.trials import Outcome

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=9,
)


def fed(read, data):
    with contextlib.suppress(InputError):
        read(data)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(fuzz.JINJA), max_size=25).map("".join) | st.text(max_size=60))
def test_the_template_engine(text):
    fed(fuzz.template_engine, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(damage.YAML)), st.sampled_from(fuzz.YAML), st.integers(0, 9))
def test_template_files(at, piece, replaced):
    text = damage.YAML[:at] + piece + damage.YAML[at + replaced :]
    fed(fuzz.template_file, text.encode())


TASK = {
    "Categories": ["Mathematics"],
    "Definition": ["Name it."],
    "Positive Examples": [{"input": "i", "output": "o", "explanation": "e"}],
    "Negative Examples": [],
    "Instances": [{"id": "task001-1", "input": "q", "output": ["a"]}],
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*TASK, "Contributors", "Input_language"]), json_values)
def test_tasks_of_natural_instructions(field, value):
    fed(fuzz.natural_instructions, json.dumps(TASK | {field: value}).encode())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=3), st.binary(max_size=30))
def test_tfrecords(records, rest):
    fed(fuzz.tfrecord, b"".join(map(fuzz.frame, records)) + rest)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 90))
def test_records(inserted, at):
    whole = fuzz.RenderedExample("inputs", "targets", "a/b/train/0", "t").to_bytes()
    fed(fuzz.example, whole[:at] + inserted + whole[at:])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_packed_manifests(seed):
    fed(fuzz.packed_manifest, fuzz._manifest_bytes(random.Random(seed)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.binary(max_size=9))
def test_packed_rows(place, inserted):
    content = sorted(fuzz._packed().glob("rows.*"))[0].read_bytes()
    at = place % len(content)
    fed(fuzz.packed_rows, content[:at] + inserted + content[at + len(inserted) :])


# --- What fuzzing found ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("rows", "7", "PackManifest.rows is '7', which is no int"),
        ("rows", -1, "its shards have other rows than it says"),
        ("settings", [], "PackManifest.settings is"),
        ("vocab_size", 0, "its lengths, vocabulary and tasks are"),
        ("tasks", [], "its lengths, vocabulary and tasks are"),
    ],
)
def test_a_sealed_manifest_that_makes_no_sense_is_told(field, value, told):
    manifest = json.loads((fuzz._packed() / "manifest.json").read_text())
    with pytest.raises(InputError, match=told) as error:
        fuzz.packed_manifest(json.dumps(manifest | {field: value}).encode())
    assert "\n" not in str(error.value)


def test_a_shard_is_named_by_its_name_alone():
    manifest = json.loads((fuzz._packed() / "manifest.json").read_text())
    manifest["shards"][0]["name"] = "../../etc/passwd"
    with pytest.raises(InputError, match="a name that is none"):
        fuzz.packed_manifest(json.dumps(manifest).encode())


def test_the_kinds_of_the_harness_feed_every_reader():
    for kind in fuzz.kinds():
        with contextlib.suppress(InputError):
            assert kind.attempt(random.Random(0), None) in (Outcome.HELD, Outcome.UNSEEN)
