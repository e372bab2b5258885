"""Folders of transformers 5, whose tokenizer is a tokenizer.json alone: T5's and Llama 3's."""

import json
import shutil

import jax
import numpy as np
import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.models.families import model_of
from instrux.training.checkpoints import load_run
from instrux.training.run_folder import RunDescription
from launch import foreign
from launch.convert import convert

pytestmark = pytest.mark.peers

TEXTS = ("Is it so! Stop! no", "an answer <extra_id_0> é 東京!", "a  question")


def t5(folder, unigram):
    """A T5 by transformers' own tokenizer and model classes, with rows to spare as released ones have."""
    transformers = pytest.importorskip("transformers")

    pieces = json.loads(unigram.to_str())["model"]["vocab"]
    tokenizer = transformers.T5Tokenizer(vocab=[tuple(piece) for piece in pieces], extra_ids=4)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    config = transformers.T5Config(
        vocab_size=64, **sizes, feed_forward_proj="gated-gelu", decoder_start_token_id=0
    )
    return saved(folder, tokenizer, transformers.T5ForConditionalGeneration(config))


def llama(folder, byte_level):
    """A Llama 3, whose configuration has several ends."""
    transformers = pytest.importorskip("transformers")

    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"
    )
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    ends = {"bos_token_id": 280, "eos_token_id": [281, 283]}
    config = transformers.LlamaConfig(vocab_size=284, **sizes, **heads, **ends)
    return saved(folder, tokenizer, transformers.LlamaForCausalLM(config))


def saved(folder, tokenizer, model):
    torch = pytest.importorskip("torch")

    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert {path.name for path in folder.glob("*token*")} == {
        "tokenizer.json",
        "tokenizer_config.json",
    }
    return folder, tokenizer, model


@pytest.fixture(scope="module")
def t5_peer(tmp_path_factory, unigram_tokenizer):
    return t5(tmp_path_factory.mktemp("t5"), unigram_tokenizer)


@pytest.fixture(scope="module")
def llama_peer(tmp_path_factory, llama_3_tokenizer):
    return llama(tmp_path_factory.mktemp("llama"), llama_3_tokenizer)


@pytest.fixture(scope="module", params=["t5", "llama"])
def peer(request):
    """A folder that transformers saved, with its tokenizer and model."""
    return request.getfixturevalue(f"{request.param}_peer")


@pytest.fixture(scope="module")
def run(peer, tmp_path_factory):
    """A run that was made of the folder, which is then out of reach."""
    path = tmp_path_factory.mktemp("made") / "run"
    away = shutil.copytree(peer[0], path.parent / "hf")
    convert(("hf", str(away)), ("instrux", str(path)))
    shutil.rmtree(away)
    return path


def test_ids_and_texts_are_transformers_own(peer, run):
    _, tokenizer, _ = peer
    description = RunDescription.read(run)
    assert description.vocabulary == VocabularySpec.parse(str(run / "tokenizer.json"))
    loaded = description.vocabulary.load()
    assert loaded.digest == description.vocabulary_digest
    assert loaded.exchanged(loaded.eos_id) == tokenizer.eos_token_id
    for text in TEXTS:
        theirs = tokenizer.encode(text, add_special_tokens=False)
        ours = loaded.encode(text)
        assert [loaded.exchanged(number) for number in ours] == theirs
        assert loaded.decode([*ours, loaded.eos_id]) == tokenizer.decode(theirs)


def test_logits_of_a_text_are_transformers_own(peer, run):
    import torch

    _, tokenizer, model = peer
    made, config = load_run(run), RunDescription.read(run).model
    loaded, ours = made.vocabulary.load(), model_of(config)
    texts = [loaded.encode(text) for text in TEXTS[:2]]
    theirs = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS[:2]]
    if model.config.model_type == "t5":
        given = {"input_ids": [theirs[0]], "decoder_input_ids": [[0, *theirs[1]]]}
        inputs, targets = np.array([texts[0]]), np.array([[0, *texts[1]]])

        def logits(params):
            encoded = ours.encode(params, inputs)
            return ours.logits(params, ours.decode(params, encoded, inputs, targets))
    else:
        given = {"input_ids": [[280, *theirs[0], *theirs[1]]]}
        tokens = np.array([[config.bos_id, *texts[0], *texts[1]]])

        def logits(params):
            return ours.logits(params, ours.decode(params, tokens))

    with torch.no_grad():
        tensors = {name: torch.tensor(ids) for name, ids in given.items()}
        expected = model(**tensors).logits.numpy()
    assert np.std(expected) > 0.1
    order = np.array([loaded.exchanged(number) for number in range(config.vocab_size)])
    found = np.asarray(jax.jit(logits)(made.params))
    np.testing.assert_allclose(found[..., order], expected, atol=1e-4)


def test_the_way_back_loses_no_bit(peer, run, tmp_path):
    import transformers

    folder, tokenizer, model = peer
    convert(("instrux", str(run)), ("hf", str(tmp_path / "hf")))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "hf" / name).read_bytes() == (folder / name).read_bytes()
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert type(again) is type(transformers.AutoTokenizer.from_pretrained(folder))
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    ours = type(model).from_pretrained(tmp_path / "hf")
    assert ours.config.eos_token_id == tokenizer.eos_token_id
    for name in ("bos_token_id", "decoder_start_token_id"):
        assert getattr(ours.config, name, None) == getattr(model.config, name, None)
    theirs = model.state_dict()
    assert ours.state_dict().keys() == theirs.keys()
    for name, tensor in ours.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), theirs[name].numpy(), err_msg=name)


def test_an_end_that_a_configuration_names_goes_along(llama_peer, tmp_path):
    folder = shutil.copytree(llama_peer[0], tmp_path / "hf")
    (folder / "tokenizer_config.json").unlink()
    convert(("hf", str(folder)), ("instrux", str(tmp_path / "run")))
    # The first of the configuration's two.
    assert load_run(tmp_path / "run").vocabulary.load().eos_id == 281
    said = json.loads((tmp_path / "run" / "tokenizer_config.json").read_text())
    assert said == {"eos_token": "<|end_of_text|>"}


def test_a_t5_whose_id_0_is_a_token_of_text_is_told(t5_peer, tmp_path, llama_3_tokenizer):
    folder = shutil.copytree(t5_peer[0], tmp_path / "hf")
    llama_3_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|eot_id|>"}')
    weights = foreign.open_weights(folder)
    spec = foreign.vocabulary_of(weights)
    with pytest.raises(
        InputError, match=r"id 0 is a token of text, and a T5 begins and pads with 0"
    ):
        foreign.between_ids(weights, spec)
    with pytest.raises(InputError, match=r"has 64 embeddings, and .* has ids up to 283"):
        convert(("hf", str(folder)), ("instrux", str(tmp_path / "run")))


def test_a_beginning_at_0_changes_places_too(llama_peer, tmp_path):
    """As of small published Llamas, whose 0 begins and ends a text."""
    folder = shutil.copytree(llama_peer[0], tmp_path / "hf")
    settings = json.loads((folder / "tokenizer.json").read_text())
    pieces = settings["model"]["vocab"]
    settings["model"]["vocab"] = {"<|begin_of_text|>": 0} | {p: n + 1 for p, n in pieces.items()}
    for number, token in enumerate(settings["added_tokens"]):
        token["id"] = 280 + number if number else 0
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    said = {"bos_token": "<|begin_of_text|>", "eos_token": "<|begin_of_text|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    config = json.loads((folder / "config.json").read_text())
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    (folder / "config.json").write_text(json.dumps(config | ends))
    convert(("hf", str(folder)), ("instrux", str(tmp_path / "run")))
    made = RunDescription.read(tmp_path / "run")
    assert (made.model.bos_id, made.vocabulary.load().eos_id) == (188, 188)
    # A run that starts from the folder has the same model.
    model = foreign.checkpoint_model(path=str(folder))
    assert model == made.model
    foreign.check_same_model(
        foreign.between_ids(foreign.open_weights(folder), made.vocabulary), model
    )
    convert(("instrux", str(tmp_path / "run")), ("hf", str(tmp_path / "back")))
    back = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {name: back[name] for name in ends} == ends
