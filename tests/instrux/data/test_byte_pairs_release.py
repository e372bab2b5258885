import pytest

from instrux.data.byte_pairs import BytePairs
from instrux.data.byte_pairs_release import fetch_gpt2_merges
from instrux.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))


def test_the_merges_are_put_where_they_are_looked_for(shared_data, tmp_path):
    source = shared_data / "vocab" / "gpt2" / "merges.txt"
    path = fetch_gpt2_merges(str(source))
    assert path.read_bytes() == source.read_bytes()
    assert fetch_gpt2_merges("/nowhere") == path  # there already
    assert BytePairs.load().encode("Hello world") == ["Hello", "Ġworld"]


def test_another_file_is_refused(tmp_path):
    other = tmp_path / "merges.txt"
    other.write_text("#version: 0.2\na b\n")
    with pytest.raises(InputError, match=r"is not GPT-2's merges\.txt: its sha256 is"):
        fetch_gpt2_merges(str(other))
    with pytest.raises(InputError, match="cannot be read"):
        fetch_gpt2_merges(str(tmp_path / "absent"))
