"""T5's vocabulary, put into the cache folder from a local copy, or from a hub that answers or not."""

import sys
import types

import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.data.vocabulary_release import fetch_t5_vocabulary, t5_vocabulary_path
from instrux.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch):
    """A hub that gives what the test puts into it."""
    module = types.ModuleType("huggingface_hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


def test_the_vocabulary_is_put_where_it_is_looked_for(shared_data):
    source = shared_data / "vocab" / "t5_32000.model"
    path = fetch_t5_vocabulary(str(source))
    assert path == t5_vocabulary_path()
    assert path.read_bytes() == source.read_bytes()
    assert fetch_t5_vocabulary("/nowhere") == path  # there already
    ids = (
        VocabularySpec.parse(str(path)).load().encode("translate English to German: That is good.")
    )
    assert ids == [13959, 1566, 12, 2968, 10, 466, 19, 207, 5]


def test_the_hub_is_asked_where_no_copy_is_given(shared_data, hub):
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        return str(shared_data / "vocab" / "t5_32000.model")

    hub.hf_hub_download = download
    assert fetch_t5_vocabulary().is_file()
    assert asked == [("google/t5-v1_1-small", "spiece.model")]


def test_another_file_is_refused_and_nothing_is_kept(tmp_path):
    other = tmp_path / "spiece.model"
    other.write_bytes(b"other")
    with pytest.raises(InputError, match="is not T5's vocabulary: its sha256 is"):
        fetch_t5_vocabulary(str(other))
    assert not t5_vocabulary_path().exists()


def test_an_absent_file_and_a_hub_that_fails_are_told_with_the_mend(tmp_path, hub):
    with pytest.raises(InputError, match=r"cannot be read .* by --source"):
        fetch_t5_vocabulary(str(tmp_path / "absent"))

    def download(repository, name):
        raise ConnectionError("no route")

    hub.hf_hub_download = download
    with pytest.raises(InputError, match=r"google/t5-v1_1-small .*no route.* by --source"):
        fetch_t5_vocabulary()
