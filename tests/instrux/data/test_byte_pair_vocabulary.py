"""GPT-2's ids follow from its merges, but that 0 pads."""

import json
import pickle

import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError


@pytest.fixture(scope="module")
def spec(shared_data):
    return VocabularySpec.parse(str(shared_data / "vocab" / "gpt2" / "merges.txt"))


@pytest.fixture(scope="module")
def vocabulary(spec):
    return spec.load()


def test_ids_are_those_of_the_published_vocabulary(vocabulary, shared_data):
    published = json.loads((shared_data / "vocab" / "gpt2" / "vocab.json").read_text())
    assert vocabulary.released_ids() == published
    assert (vocabulary.vocab_size, vocabulary.eos_id) == (50257, 50256)
    # As GPT-2's own encoder has them.
    assert vocabulary.encode("Hello world") == [15496, 995]


def test_no_text_has_the_id_that_pads(vocabulary):
    # "!" is GPT-2's 0, and the 188th printing byte, 0xFF, its 187.
    assert vocabulary.encode("!") == [187]
    assert vocabulary.encode("ÿ é 東京 🙂 \x00!!!").count(0) == 0
    text = "Wait! What?! naïve ÿ 東京 🙂\n\tok!"
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.decode([*vocabulary.encode("a!"), 0, 0, 50256, 15496]) == "a!"


def test_it_travels_and_is_named_in_one_line(spec, vocabulary):
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again.encode("Hello world!") == vocabulary.encode("Hello world!")
    assert VocabularySpec.parse(str(spec)) == spec
    with pytest.raises(InputError, match="no extra ids"):
        VocabularySpec("byte_pairs", spec.path, 100)
    with pytest.raises(InputError, match="SeqIO has no GPT-2"):
        spec.to_seqio()


def test_the_name_gpt2_is_the_fetched_one(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    spec = VocabularySpec.parse("gpt2")
    assert (spec.kind, spec.extra_ids) == ("byte_pairs", 0)
    with pytest.raises(InputError, match="instrux fetch gpt2"):
        spec.load()
