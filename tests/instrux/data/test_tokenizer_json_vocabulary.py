"""A tokenizer.json: the ids of `tokenizers`, but that 0 pads and no text ends itself."""

import hashlib
import json
import pickle
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.data.byte_pair_vocabulary import BytePairVocabulary
from instrux.data.byte_pairs import BytePairs
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError

TEXTS = ("Is it so? Stop! no", "é 東京 🙂\n\n\tok!!", "ÿ <extra_id_0> a <|start_header_id|>", "")


def written(folder, tokenizer, tokenizer_config=None, **beside):
    """Writes a folder's tokenizer.json, and tokenizer_config.json and others where given."""
    folder.mkdir(exist_ok=True)
    text = tokenizer if isinstance(tokenizer, str) else tokenizer.to_str()
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    for name, content in ({"tokenizer_config": tokenizer_config} | beside).items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return VocabularySpec.parse(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def t5(unigram_tokenizer, tmp_path_factory):
    return written(tmp_path_factory.mktemp("t5"), unigram_tokenizer, {"eos_token": "</s>"})


@pytest.fixture(scope="module")
def llama(llama_3_tokenizer, tmp_path_factory):
    ends = {"bos_token": "<|begin_of_text|>", "eos_token": {"content": "<|eot_id|>"}}
    return written(tmp_path_factory.mktemp("llama"), llama_3_tokenizer, ends)


def test_a_unigram_models_ids_are_the_files(t5, unigram_tokenizer):
    loaded = t5.load()
    assert (t5.kind, t5.extra_ids, loaded.exchanged_id) == ("tokenizer_json", 0, None)
    assert (loaded.pad_id, loaded.eos_id, loaded.unk_id) == (0, 1, 2)
    assert loaded.vocab_size == unigram_tokenizer.get_vocab_size()
    for text in TEXTS:
        assert loaded.encode(text) == unigram_tokenizer.encode(text).ids
    assert loaded.encode("<extra_id_0>") == [loaded.vocab_size - 1]
    text = "Is it so? <extra_id_1>"
    assert loaded.decode([*loaded.encode(text), 0, 1, 5]) == text


def test_llama_3s_first_piece_and_a_byte_of_no_text_change_places(llama, llama_3_tokenizer):
    loaded = llama.load()
    # "!" is the first printing byte and 0xFF the 188th; 256 bytes, 24 merges, four more.
    assert loaded.exchanged_id == 187
    assert (loaded.vocab_size, loaded.eos_id, loaded.unk_id) == (284, 283, 0)
    assert loaded.encode("!") == [187]
    for text in TEXTS:
        theirs = llama_3_tokenizer.encode(text).ids
        assert loaded.encode(text) == [187 if number == 0 else number for number in theirs]
        assert loaded.decode(loaded.encode(text)) == text
    assert loaded.decode([*loaded.encode("so!"), 0, 283, 40]) == "so!"
    assert loaded.encode("<|start_header_id|>") == [282]


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_no_text_pads_or_ends_itself(name, request):
    loaded = request.getfixturevalue(name).load()
    spelled = st.sampled_from(["<pad>", "</s>", "<|eot_id|>", "!", "\x00", " "])

    @given(st.lists(spelled | st.text(max_size=4)).map("".join))
    def holds(text):
        ids = loaded.encode(text)
        assert not {0, loaded.eos_id} & set(ids)
        if name == "llama":
            assert loaded.decode(ids) == text

    holds()
    loaded.encode("\ud800")


def test_it_is_plain_data_and_travels(t5, llama):
    for spec in (t5, llama):
        assert VocabularySpec.parse(str(spec)) == pickle.loads(pickle.dumps(spec)) == spec
        loaded = spec.load()
        with open(spec.path, "rb") as file:
            assert spec.digest() == loaded.digest == hashlib.sha256(file.read()).hexdigest()
        again = pickle.loads(pickle.dumps(loaded))
        assert again.encode_batch(TEXTS) == [loaded.encode(text) for text in TEXTS]
        assert (again.eos_id, again.exchanged_id) == (loaded.eos_id, loaded.exchanged_id)
    with pytest.raises(InputError, match="holds its extra ids"):
        VocabularySpec("tokenizer_json", t5.path, 100)
    with pytest.raises(InputError, match=r"SeqIO has none of a tokenizer\.json"):
        t5.to_seqio()


def test_what_cuts_and_fills_texts_is_left_out(tmp_path, unigram_tokenizer, t5):
    settings = json.loads(unigram_tokenizer.to_str())
    settings["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    cut = written(tmp_path, json.dumps(settings), {"eos_token": "</s>"}).load()
    assert cut.encode(TEXTS[0]) == t5.load().encode(TEXTS[0])


def test_gpt_2s_content_is_gpt_2s_vocabulary(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    merges = [("Ġ", "t"), ("h", "e")]
    released = BytePairVocabulary(BytePairs(merges), "").released_ids()
    pieces = {piece: number for piece, number in released.items() if number < 258}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(pieces, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|endoftext|>"])
    spec = written(tmp_path, made)
    assert spec.kind == "byte_pairs"
    assert spec.load().eos_id == 258
    # The same pieces with another token at the end are no longer GPT-2's.
    made.add_special_tokens(["<|end|>"])
    spec = written(tmp_path / "other", made, {"eos_token": "<|end|>"})
    assert (spec.kind, spec.load().eos_id, spec.load().exchanged_id) == ("tokenizer_json", 259, 187)


def test_an_end_at_0_changes_places_as_a_token_of_text_does(tmp_path, llama_3_tokenizer):
    settings = json.loads(llama_3_tokenizer.to_str())
    first, last = "<|begin_of_text|>", settings["model"]["vocab"]
    settings["model"]["vocab"] = {first: 0} | {piece: number + 1 for piece, number in last.items()}
    for number, token in enumerate(settings["added_tokens"]):
        token["id"] = 0 if number == 0 else 280 + number
    spec = written(tmp_path, json.dumps(settings), {"eos_token": first})
    loaded = spec.load()
    assert (loaded.exchanged_id, loaded.eos_id, loaded.exchanged(188)) == (188, 188, 0)
    assert not {0, 188} & set(loaded.encode(f"so! {first}"))
    # It may pad where another token ends.
    other = written(tmp_path / "b", json.dumps(settings), {"eos_token": "<|eot_id|>"}).load()
    assert (other.exchanged_id, other.encode("!")) == (None, [1])


@pytest.mark.parametrize(
    ("beside", "eos_id"),
    [
        ({"config": {"eos_token_id": [2, 282, 283]}}, 282),
        ({"config": {"eos_token_id": 2}, "generation_config": {"eos_token_id": 281}}, 281),
        ({"config": {"eos_token_id": 281}, "tokenizer_config": {"eos_token": "<|eot_id|>"}}, 283),
    ],
)
def test_the_end_is_what_the_folder_says(tmp_path, llama_3_tokenizer, beside, eos_id):
    assert written(tmp_path, llama_3_tokenizer, **beside).load().eos_id == eos_id


def without_byte_255(text):
    return text.replace('"ÿ":187', '"":187')


@pytest.mark.parametrize(
    ("change", "config", "told"),
    [
        (without_byte_255, {"eos_token": "<|eot_id|>"}, "no id may pad: 0 is a token of text"),
        (str, {"eos_token": "</s>"}, "nothing beside it says what ends a text; put an eos_token"),
        (lambda text: text[:500], {"eos_token": "<|eot_id|>"}, "or a damaged one; copy the file"),
        (lambda text: "[]", None, r"not a tokenizer\.json"),
        (
            lambda text: text.replace('"type":"BPE"', '"type":"Else"'),
            {"eos_token": "<|eot_id|>"},
            "tokenizers cannot read it .*; copy the file anew",
        ),
        (
            lambda text: text.replace('"id":283', '"id":290'),
            {"eos_token": "<|end_of_text|>"},
            "has the id 290 there, and tokenizers gives it 283",
        ),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(tmp_path, llama_3_tokenizer, change, config, told):
    compact = json.dumps(
        json.loads(llama_3_tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")
    )
    spec = written(tmp_path, change(compact), config)
    with pytest.raises(InputError, match=told) as caught:
        spec.load()
    assert str(caught.value).startswith(f"vocabulary {tmp_path / 'tokenizer.json'}: ")
    assert "\n" not in str(caught.value)


def test_an_absent_file_and_an_absent_package_are_told(tmp_path, unigram_tokenizer, monkeypatch):
    with pytest.raises(InputError, match=r"No such file or directory; name the tokenizer\.json"):
        VocabularySpec.parse(str(tmp_path / "tokenizer.json")).load()
    # Other bytes than any that this process has read.
    spec = written(tmp_path, unigram_tokenizer.to_str() + " ", {"eos_token": "</s>"})
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'instrux\[hf\]'"):
        spec.load()


@pytest.mark.peers
def test_t5s_own_vocabulary_gives_the_ids_of_its_spiece_model(shared_data, tmp_path):
    """As transformers writes it, of the released model."""
    transformers = pytest.importorskip("transformers")
    model = shared_data / "vocab" / "t5_32000.model"
    (tmp_path / "spiece.model").write_bytes(model.read_bytes())
    peer = transformers.T5Tokenizer.from_pretrained(tmp_path)
    peer.save_pretrained(tmp_path / "saved")
    spec = VocabularySpec.parse(str(tmp_path / "saved" / "tokenizer.json"))
    loaded, pieces = spec.load(), VocabularySpec("sentencepiece", str(model), 100).load()
    assert (loaded.vocab_size, loaded.eos_id, loaded.unk_id) == (32100, 1, 2)
    folder = shared_data / "natural_instructions" / "case_tasks"
    texts = ["<extra_id_0> x <extra_id_99>"]
    for path in sorted(folder.glob("*.json")):
        instances = json.loads(path.read_text(encoding="utf-8"))["Instances"]
        texts += [instance["input"] for instance in instances]
    assert len(texts) > 10
    ids = [peer.encode(text, add_special_tokens=False) for text in texts]
    assert loaded.encode_batch(texts) == ids
    assert [loaded.decode(each) for each in ids] == [peer.decode(each) for each in ids]
    # Here transformers ends and pads. A run of underscores has several cuts of one score.
    texts = ["ends</s>here <pad>", *(re.sub("__+", "_", text) for text in texts)]
    assert loaded.encode_batch(texts) == pieces.encode_batch(texts)
