import json
import pickle

import pytest

from instrux.data.byte_pairs import BytePairs
from instrux.errors import InputError


@pytest.fixture(scope="module")
def pieces(shared_data):
    return BytePairs.load(shared_data / "vocab" / "gpt2" / "merges.txt")


def test_known_words_have_gpt2s_pieces(pieces):
    assert pieces.encode("Entailment") == ["Ent", "ail", "ment"]
    assert pieces.encode("entailment") == ["ent", "ail", "ment"]
    assert pieces.encode("Hello world!") == ["Hello", "Ġworld", "!"]
    assert pieces.encode("a  b\n") == ["a", "Ġ", "Ġb", "Ċ"]
    assert pieces.encode("") == []


@pytest.mark.parametrize("text", ["naïve café", "日本語 テスト", "emoji 🙂!", "it's 3.14\t½ x_y"])
def test_pieces_give_the_text_back(pieces, text):
    assert pieces.decode(pieces.encode(text)) == text
    assert pickle.loads(pickle.dumps(pieces)).encode(text) == pieces.encode(text)


def test_merges_of_a_tokenizer_json_are_read_if_it_splits_words_as_gpt_2(tmp_path):
    splitter = {"type": "ByteLevel", "use_regex": True, "add_prefix_space": False}

    def written(name, **changes):
        path = tmp_path / name
        content = {
            "normalizer": None,
            "pre_tokenizer": splitter,
            "model": {"type": "BPE", "merges": [["Ġ", "t"], "h e"]},
        }
        path.write_text(json.dumps(content | changes), encoding="utf-8")
        return BytePairs.load(path)

    assert written("a").encode("the t") == ["t", "he", "Ġt"]
    with pytest.raises(InputError, match="splits text into words otherwise than GPT-2"):
        written("b", pre_tokenizer=splitter | {"use_regex": False})
    with pytest.raises(InputError, match=r"not a tokenizer\.json of byte pairs"):
        written("c", model={"type": "Unigram", "merges": []})


@pytest.mark.peers
def test_pieces_are_those_of_the_peer(pieces, shared_data):
    transformers = pytest.importorskip("transformers")
    folder = shared_data / "vocab" / "gpt2"
    peer = transformers.GPT2TokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=10**6
    )
    for path in sorted((shared_data / "natural_instructions" / "case_tasks").glob("*.json")):
        text = path.read_text(encoding="utf-8")[:6000]
        assert pieces.encode(text) == peer.tokenize(text)


def test_a_file_without_merges_is_refused(tmp_path):
    bad = tmp_path / "merges.txt"
    bad.write_text("#version: 0.2\none two three\n")
    with pytest.raises(InputError, match="line 2: a merge is two pieces"):
        BytePairs.load(bad)
    with pytest.raises(InputError, match="cannot be read"):
        BytePairs.load(tmp_path / "absent.txt")
