"""Vocabularies give SeqIO's ids, without TensorFlow."""

import hashlib
import json
import pickle
import subprocess
import sys

import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError

ODD_TEXTS = [
    "",
    " ",
    "I like <extra_id_0> and <extra_id_1>.",
    "a\n\nb\tc  d",
    "naïve ﬁne Ⅷ 東京 🙂‍↔️ \u200b",
    "</s> <pad> <unk>",
]


@pytest.fixture(scope="module")
def t5(shared_data):
    return VocabularySpec("sentencepiece", str(shared_data / "vocab" / "t5_32000.model"))


@pytest.fixture(scope="module")
def real_texts(shared_data):
    lines = (shared_data / "instruct" / "dolly_hhrlhf_train_small.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines[:200]]
    return [row[key] for row in rows for key in ("prompt", "response")]


def test_the_ids_of_the_t5_papers_sentence(t5):
    # The sentence of figure 1 of arXiv 1910.10683, with the ids of the published vocabulary.
    ids = t5.load().encode("translate English to German: That is good.")
    assert ids == [13959, 1566, 12, 2968, 10, 466, 19, 207, 5]


def test_sentencepiece_ids_and_texts_are_seqios_on_real_text(t5, real_texts):
    ours, theirs = t5.load(), t5.to_seqio()
    texts = real_texts + ODD_TEXTS
    batch = ours.encode_batch(texts)
    for text, ids in zip(texts, batch, strict=True):
        assert ids == list(theirs.encode(text)) == ours.encode(text)
        assert ours.decode(ids) == theirs.decode(ids)
    assert (ours.vocab_size, ours.eos_id, ours.unk_id, ours.pad_id) == (
        theirs.vocab_size,
        theirs.eos_id,
        theirs.unk_id,
        theirs.pad_id,
    )


def test_the_first_extra_id_is_the_highest(t5):
    vocabulary = t5.load()
    assert vocabulary.vocab_size == 32100
    assert vocabulary.encode("<extra_id_0>") == [32099]
    assert vocabulary.encode("<extra_id_99>") == [32000]


def test_bytes_are_their_value_plus_three():
    vocabulary = VocabularySpec.parse("bytes").load()
    assert vocabulary.encode("Az") == [0x41 + 3, 0x7A + 3]
    assert vocabulary.encode("é") == [0xC3 + 3, 0xA9 + 3]
    assert vocabulary.vocab_size == 3 + 256 + 100
    assert vocabulary.eos_id == 1


def test_byte_ids_and_texts_are_seqios(real_texts):
    spec = VocabularySpec.parse("bytes:7")
    ours, theirs = spec.load(), spec.to_seqio()
    assert ours.vocab_size == theirs.vocab_size
    for text in real_texts[:20] + ODD_TEXTS:
        ids = ours.encode(text)
        assert ids == list(theirs.encode(text))
        assert ours.decode([*ids, 260, 1, 70]) == theirs.decode([*ids, 260, 1, 70]) == text


def test_decoding_stops_at_the_end_of_sequence_and_takes_ids_out_of_range_for_unknown(t5):
    vocabulary = t5.load()
    assert vocabulary.decode([466, 19, 207, 1, 5, 5]) == "That is good"
    assert vocabulary.decode([466, 99_999]) == vocabulary.decode([466, vocabulary.unk_id])


def test_the_digest_is_that_of_the_file(t5):
    with open(t5.path, "rb") as file:
        assert t5.digest() == t5.load().digest == hashlib.sha256(file.read()).hexdigest()


def test_a_pickled_vocabulary_needs_no_file(t5, tmp_path):
    copy = tmp_path / "copy.model"
    with open(t5.path, "rb") as file:
        copy.write_bytes(file.read())
    pickled = pickle.dumps(VocabularySpec("sentencepiece", str(copy)).load())
    copy.unlink()
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).encode('That is good.'))"
    done = subprocess.run([sys.executable, "-c", program], input=pickled, capture_output=True)
    assert done.stdout.decode().strip() == "[466, 19, 207, 5]"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("bytes", VocabularySpec("bytes", None, 100)),
        ("bytes:0", VocabularySpec("bytes", None, 0)),
        ("/x/y.model", VocabularySpec("sentencepiece", "/x/y.model", 100)),
        ("/x/y.model:0", VocabularySpec("sentencepiece", "/x/y.model", 0)),
        ("gs://bucket/y.model", VocabularySpec("sentencepiece", "gs://bucket/y.model", 100)),
    ],
)
def test_a_specification_is_read_from_text(text, spec):
    assert VocabularySpec.parse(text) == spec
    assert VocabularySpec.parse(str(spec)) == spec


def test_the_environment_names_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    assert VocabularySpec.default().path == str(tmp_path / "vocab" / "t5_32000.model")
    monkeypatch.setenv("INSTRUX_VOCABULARY", "bytes:3")
    assert VocabularySpec.default() == VocabularySpec("bytes", None, 3)


def test_seqios_vocabulary_is_found_again(t5):
    import seqio

    assert VocabularySpec.from_seqio(t5.to_seqio()) == t5
    assert VocabularySpec.from_seqio(seqio.ByteVocabulary(extra_ids=2)) == VocabularySpec.parse(
        "bytes:2"
    )
    other_order = seqio.SentencePieceVocabulary(t5.path, extra_ids=100, reverse_extra_ids=False)
    assert VocabularySpec.from_seqio(other_order) is None
    assert VocabularySpec.from_seqio(seqio.PassThroughVocabulary(10)) is None


def test_a_missing_file_and_a_file_that_is_no_model_are_told_in_one_line(tmp_path):
    missing = VocabularySpec.parse(str(tmp_path / "none.model"))
    text = tmp_path / "text.model"
    text.write_text("no model at all")
    for spec in (missing, VocabularySpec.parse(str(text))):
        with pytest.raises(InputError, match=spec.path) as error:
            spec.load()
        assert "\n" not in str(error.value)


def test_a_model_that_does_not_pad_with_zero_is_refused(tmp_path):
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(["the quick brown fox", "jumps over the lazy dog"] * 20),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = tmp_path / "default.model"
    path.write_bytes(model.getvalue())
    with pytest.raises(InputError, match="padding id is -1, not 0"):
        VocabularySpec.parse(str(path)).load()


@pytest.mark.parametrize(
    "arguments",
    [("words", None, 0), ("bytes", "/x", 0), ("sentencepiece", None, 0), ("bytes", None, -1)],
)
def test_a_specification_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(InputError):
        VocabularySpec(*arguments)
