"""The numbers of transformers' own models, saved by it and read here, and the other way."""

import json

import jax
import numpy as np
import pytest

from instrux.interop.huggingface import HuggingFaceFolder, write_folder
from instrux.interop.parameters import load
from instrux.interop.t5x import SCANNED, UNSCANNED, T5XCheckpoint, write_checkpoint
from instrux.models.t5 import T5

pytestmark = pytest.mark.peers

SIZES = {
    "vocab_size": 97,
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 40,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 3,
}
# Kind -> class of transformers, settings of its configuration, whether the head is its own.
KINDS = {
    "t5": ("T5", {}, False),
    "t5_1_1": ("T5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, True),
    "untied_by_config_alone": (
        "T5",
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        False,
    ),
    "ul2": ("T5", {"feed_forward_proj": "gated-silu"}, False),
    "mt5": ("MT5", {}, True),
    "mt5_tied": ("MT5", {}, False),
    "umt5": ("UMT5", {}, True),
    "umt5_tied": ("UMT5", {}, False),
    "few_buckets": (
        "T5",
        {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 9},
        False,
    ),
}


@pytest.fixture(params=KINDS, scope="module")
def peer(request, tmp_path_factory):
    """A model of transformers with weights of trained size, and the folder it was saved in."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    family, settings, own_head = KINDS[request.param]
    torch.manual_seed(len(request.param))
    config = getattr(transformers, f"{family}Config")(**SIZES, **settings)
    model = getattr(transformers, f"{family}ForConditionalGeneration")(config).eval()
    if own_head:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(97, 32))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" in name:
                weight.add_(0.3 * torch.randn_like(weight))
            elif "relative" in name:
                weight.copy_(2 * torch.randn_like(weight))
    if family == "UMT5" and own_head:
        # transformers 5 takes every umT5 for tied, and scales its logits; before, and in T5X, those of
        # an own head are not scaled.
        model.config.tie_word_embeddings = False
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder, max_shard_size="60KB" if family == "MT5" else "5GB")
    return model, folder


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(5)
    inputs = random.integers(2, 97, (2, 40)).astype(np.int32)
    inputs[1, 23:] = 0
    targets = random.integers(2, 97, (2, 30)).astype(np.int32)
    targets[:, 0] = 0
    return inputs, targets


def peer_logits(model, rows):
    import torch

    inputs, targets = (torch.from_numpy(row).long() for row in rows)
    with torch.no_grad():
        return model(
            input_ids=inputs, attention_mask=(inputs > 0).long(), decoder_input_ids=targets
        ).logits.numpy()


def our_logits(weights, abstract, rows):
    model = T5(weights.config)
    params = load(weights, abstract(weights.config))

    @jax.jit
    def logits(params, inputs, targets):
        hidden = model.decode(params, model.encode(params, inputs), inputs, targets)
        return model.logits(params, hidden)

    return np.asarray(logits(params, *rows))


def test_logits_of_what_transformers_saved_are_its_own(peer, rows, abstract):
    model, folder = peer
    expected = peer_logits(model, rows)
    assert np.std(expected) > 0.1
    ours = our_logits(HuggingFaceFolder(folder), abstract, rows)
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_transformers_reads_what_is_written_to_the_bit(peer, rows, tmp_path):
    import transformers

    model, folder = peer
    write_folder(tmp_path / "out", HuggingFaceFolder(folder), shard_bytes=50_000)
    again, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    again.config.tie_word_embeddings = model.config.tie_word_embeddings  # a umT5's, see `peer`
    np.testing.assert_array_equal(peer_logits(again.eval(), rows), peer_logits(model, rows))


@pytest.mark.parametrize("layout", [UNSCANNED, SCANNED])
def test_a_way_through_t5x_and_back_loses_no_bit(peer, tmp_path, assert_same, layout):
    folder = HuggingFaceFolder(peer[1])
    write_checkpoint(tmp_path, folder, layout=layout)
    assert_same(folder, T5XCheckpoint(tmp_path))


@pytest.mark.parametrize(
    "peer", [kind for kind, (family, *_) in KINDS.items() if family == "T5"], indirect=True
)
def test_the_first_form_of_flan_t5s_files_is_read(peer, rows, abstract, tmp_path):
    """Before its version 5, transformers wrote every name of a shared table, and tying as it was."""
    import shutil

    from safetensors.numpy import load_file, save_file

    model, folder = peer
    settings = json.loads((folder / "config.json").read_text())
    shutil.copytree(folder, tmp_path / "old")
    settings["tie_word_embeddings"] = settings.pop("scale_decoder_outputs")
    (tmp_path / "old" / "config.json").write_text(json.dumps(settings))
    tensors = load_file(folder / "model.safetensors")
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        tensors[name] = tensors["shared.weight"]
    tensors.setdefault("lm_head.weight", tensors["shared.weight"])
    save_file(tensors, tmp_path / "old" / "model.safetensors")
    ours = our_logits(HuggingFaceFolder(tmp_path / "old"), abstract, rows)
    np.testing.assert_allclose(ours, peer_logits(model, rows), atol=1e-4)
