"""Folders of GPT-2 and Llama: what is written is read back to the bit, and what is not computed is refused."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from instrux.errors import InputError
from instrux.interop.huggingface import HuggingFaceFolder, Tokenizer, write_folder
from instrux.interop.parameters import CheckpointFormatError
from instrux.models.decoder_only import DecoderConfig

GPT_2 = DecoderConfig(
    vocab_size=31,
    emb_dim=6,
    num_heads=2,
    head_dim=3,
    mlp_dim=10,
    num_layers=3,
    max_positions=12,
    bos_id=30,
)
LLAMA = DecoderConfig(
    vocab_size=31,
    emb_dim=6,
    num_heads=4,
    head_dim=4,
    mlp_dim=10,
    num_layers=2,
    num_kv_heads=2,
    positions="rotary",
    norm="rms",
    use_bias=False,
    mlp_activations=("silu", "linear"),
    logits_via_embedding=False,
    layer_norm_epsilon=1e-6,
    bos_id=1,
)
SCALED = (8.0, 1.0, 4.0, 16)


@pytest.mark.parametrize("shard_bytes", [10**9, 300])
@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (GPT_2, {}),
        (GPT_2, {"logits_via_embedding": False, "mlp_activations": ("relu",)}),
        (LLAMA, {}),
        (LLAMA, {"use_bias": True, "rotary_scaling": SCALED, "logits_via_embedding": True}),
    ],
)
def test_a_round_trip_loses_no_bit(tmp_path, held_for, assert_same, config, changes, shard_bytes):
    held = held_for(dataclasses.replace(config, **changes))
    write_folder(tmp_path, held, shard_bytes=shard_bytes)
    back = HuggingFaceFolder(tmp_path)
    assert (back.config, back.step, back.tokenizer) == (held.config, 7, None)
    assert_same(held, back)


def test_gpt_2s_queries_keys_and_values_are_columns_of_one_tensor(tmp_path, held_for):
    held = held_for(GPT_2)
    write_folder(tmp_path, held)
    tensors = load_file(tmp_path / "model.safetensors")
    parts = ("query", "key", "value")
    for leaf, theirs in (("kernel", "weight"), ("bias", "bias")):
        ours = [held.arrays[f"decoder.layers.attention.{part}.{leaf}"][1] for part in parts]
        fused = tensors[f"transformer.h.1.attn.c_attn.{theirs}"]
        np.testing.assert_array_equal(fused, np.concatenate(ours, axis=-1))


def test_the_first_files_of_gpt_2_are_read(tmp_path, held_for, assert_same):
    """Without the prefix, with causal masks and a copy of the table as the head."""
    held = held_for(GPT_2)
    write_folder(tmp_path, held)
    file = tmp_path / "model.safetensors"
    tensors = {n.removeprefix("transformer."): t for n, t in load_file(file).items()}
    tensors["h.0.attn.bias"] = np.ones((1, 1, 12, 12), np.float32)
    tensors["lm_head.weight"] = tensors["wte.weight"]
    save_file(tensors, file)
    assert_same(held, HuggingFaceFolder(tmp_path))
    save_file(tensors | {"lm_head.weight": tensors["wte.weight"] + 1}, file)
    with pytest.raises(CheckpointFormatError, match=r"lm_head.weight differs from transformer.wte"):
        HuggingFaceFolder(tmp_path)


@pytest.mark.parametrize(
    ("config", "changes", "told"),
    [
        (GPT_2, {"activation_function": "gelu"}, "activation_function 'gelu' is not computed"),
        (GPT_2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is"),
        (GPT_2, {"n_embd": None}, "'n_embd' is absent"),
        (GPT_2, {"n_head": 4}, r"c_attn.bias has shape \[18\]; .*the shape \[12\]"),
        (LLAMA, {"rope_parameters": {"rope_type": "yarn"}}, "type 'yarn' are not computed"),
        (LLAMA, {"rope_parameters": {"rope_type": "llama3"}}, "'factor' is absent"),
        (LLAMA, {"attention_bias": True}, "attention_bias is True and mlp_bias False"),
        (LLAMA, {"pretraining_tp": 2}, "pretraining_tp is 2"),
        (LLAMA, {"num_key_value_heads": 3}, "num_kv_heads = 3"),
        (LLAMA, {"model_type": "mistral"}, "model_type is 'mistral'; t5"),
    ],
)
def test_what_is_not_computed_here_is_told(tmp_path, held_for, config, changes, told):
    write_folder(tmp_path, held_for(config))
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
    with pytest.raises(CheckpointFormatError, match=told) as caught:
        HuggingFaceFolder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "changes", "told"),
    [
        (GPT_2, {"prefix_lm": True}, "prefix_lm is True, and transformers' GPT-2"),
        (GPT_2, {"use_bias": False}, "use_bias is False"),
        (GPT_2, {"mlp_activations": ("gelu", "linear")}, "mlp_activations"),
        (LLAMA, {"norm": "layer"}, "norm is layer, and transformers' Llama"),
    ],
)
def test_a_model_that_transformers_cannot_compute_is_not_written(
    tmp_path, held_for, config, changes, told
):
    with pytest.raises(InputError, match=told):
        write_folder(tmp_path / "out", held_for(dataclasses.replace(config, **changes)))
    assert not (tmp_path / "out").exists()


def test_the_tokenizers_lie_where_transformers_looks(tmp_path, held_for):
    (tmp_path / "a").write_text("#version: 0.2\na b\n")
    merges = Tokenizer("byte_pairs", tmp_path / "a", 0, eos_id=30, files={"vocab.json": "{}"})
    write_folder(tmp_path / "gpt2", held_for(GPT_2), tokenizer=merges)
    assert json.loads((tmp_path / "gpt2" / "config.json").read_text())["eos_token_id"] == 30
    assert (tmp_path / "gpt2" / "vocab.json").read_text() == "{}"
    found = HuggingFaceFolder(tmp_path / "gpt2").tokenizer
    assert found == Tokenizer("byte_pairs", tmp_path / "gpt2" / "merges.txt", 0)
    pieces = Tokenizer("sentencepiece", tmp_path / "a", 0, eos_id=2)
    write_folder(tmp_path / "llama", held_for(LLAMA), tokenizer=pieces)
    found = HuggingFaceFolder(tmp_path / "llama").tokenizer
    assert found == Tokenizer("sentencepiece", tmp_path / "llama" / "tokenizer.model", 0)
