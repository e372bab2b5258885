"""The numbers of transformers' GPT-2 and Llama, saved by it and read here, and the other way."""

import jax
import numpy as np
import pytest

from instrux.interop.huggingface import HuggingFaceFolder, write_folder
from instrux.interop.parameters import load
from instrux.models.families import model_of

pytestmark = pytest.mark.peers

LLAMA = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
SCALED = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
# Kind -> class of transformers and settings of its configuration.
KINDS = {
    "gpt2": (
        "GPT2",
        {"vocab_size": 97, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    ),
    "gpt2_untied": (
        "GPT2",
        {
            "vocab_size": 97,
            "n_embd": 24,
            "n_inner": 40,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": 64,
            "tie_word_embeddings": False,
        },
    ),
    "llama": ("Llama", LLAMA | {"num_key_value_heads": 2, "head_dim": 12}),
    "llama_3": ("Llama", LLAMA | {"rope_parameters": SCALED, "tie_word_embeddings": True}),
    "llama_biased": ("Llama", LLAMA | {"attention_bias": True, "mlp_bias": True}),
}


@pytest.fixture(params=KINDS, scope="module")
def peer(request, tmp_path_factory):
    """A model of transformers with weights of trained size, and the folder it was saved in."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    family, settings = KINDS[request.param]
    ids = {"bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{family}Config")(**settings, **ids)
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    torch.manual_seed(len(request.param))
    model = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder, max_shard_size="20KB" if request.param == "llama" else "5GB")
    return model, folder


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(5).integers(0, 97, (2, 40)).astype(np.int32)


def peer_logits(model, tokens):
    import torch

    with torch.no_grad():
        return model(input_ids=torch.from_numpy(tokens).long()).logits.numpy()


def test_logits_of_what_transformers_saved_are_its_own(peer, tokens, abstract):
    model, folder = peer
    expected = peer_logits(model, tokens)
    assert np.std(expected) > 0.1
    weights = HuggingFaceFolder(folder)
    ours = model_of(weights.config)
    params = load(weights, abstract(weights.config))
    logits = jax.jit(lambda params: ours.logits(params, ours.decode(params, tokens)))(params)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_transformers_reads_what_is_written_to_the_bit(peer, tokens, tmp_path):
    import transformers

    model, folder = peer
    write_folder(tmp_path / "out", HuggingFaceFolder(folder), shard_bytes=20_000)
    again, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert type(again) is type(model)
    np.testing.assert_array_equal(peer_logits(again.eval(), tokens), peer_logits(model, tokens))
