import json
import shutil
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from instrux.interop import huggingface
from instrux.interop.huggingface import HuggingFaceFolder, Tokenizer, write_folder
from instrux.interop.huggingface_t5 import tensor_name
from instrux.interop.parameters import CheckpointFormatError, load, parameters

RELU = {"mlp_activations": ("relu",), "logits_via_embedding": True}


@pytest.fixture
def written(tmp_path, held):
    write_folder(tmp_path / "out", held)
    return tmp_path / "out"


def change_config(folder, **changes):
    path = folder / "config.json"
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))


def change_tensors(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "layer", "theirs"),
    [
        # As the published google/flan-t5-small has them.
        ("token_embedder.embedding", None, "shared.weight"),
        ("decoder.logits_dense.kernel", None, "lm_head.weight"),
        ("encoder.encoder_norm.scale", None, "encoder.final_layer_norm.weight"),
        (
            "decoder.relpos_bias.rel_embedding",
            None,
            "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        ),
        (
            "encoder.layers.attention.query.kernel",
            3,
            "encoder.block.3.layer.0.SelfAttention.q.weight",
        ),
        (
            "encoder.layers.pre_mlp_layer_norm.scale",
            0,
            "encoder.block.0.layer.1.layer_norm.weight",
        ),
        (
            "decoder.layers.encoder_decoder_attention.out.kernel",
            1,
            "decoder.block.1.layer.1.EncDecAttention.o.weight",
        ),
        (
            "decoder.layers.pre_cross_attention_layer_norm.scale",
            1,
            "decoder.block.1.layer.1.layer_norm.weight",
        ),
        (
            "decoder.layers.pre_self_attention_layer_norm.scale",
            1,
            "decoder.block.1.layer.0.layer_norm.weight",
        ),
        ("decoder.layers.mlp.wi_0.kernel", 2, "decoder.block.2.layer.2.DenseReluDense.wi_0.weight"),
    ],
)
def test_names_are_transformers(name, layer, theirs):
    assert tensor_name(name, layer) == theirs


@pytest.mark.parametrize("changes", [{}, RELU])
@pytest.mark.parametrize("shard_bytes", [10**9, 700])
def test_a_round_trip_loses_no_bit(tmp_path, held_of, assert_same, changes, shard_bytes):
    held = held_of(**changes)
    write_folder(tmp_path, held, shard_bytes=shard_bytes)
    assert (tmp_path / "model.safetensors").exists() == (shard_bytes == 10**9)
    back = HuggingFaceFolder(tmp_path)
    assert (back.config, back.step, back.tokenizer) == (held.config, 7, None)
    assert_same(held, back)


def test_the_safetensors_package_reads_what_is_written(tmp_path, held):
    write_folder(tmp_path, held, dtype="bfloat16")
    tensors = load_file(tmp_path / "model.safetensors")
    ours = held.arrays["encoder.layers.mlp.wo.kernel"][2].T.astype(ml_dtypes.bfloat16)
    theirs = tensors["encoder.block.2.layer.1.DenseReluDense.wo.weight"]
    np.testing.assert_array_equal(theirs, ours)
    back = HuggingFaceFolder(tmp_path).read("encoder.layers.mlp.wo.kernel", 2)
    assert back.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(back, ours.T)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_16_bits_are_read_exactly_into_float32(tmp_path, held, dtype, abstract, flat):
    write_folder(tmp_path, held, dtype=dtype)
    loaded = flat(load(HuggingFaceFolder(tmp_path), abstract(held.config)))
    narrow = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[dtype]
    for name, array in held.arrays.items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], array.astype(narrow).astype(np.float32))


def test_copies_of_the_shared_table_and_a_forgotten_tensor_are_passed_over(
    tmp_path, held_of, assert_same
):
    held = held_of(**RELU)
    write_folder(tmp_path, held)

    def add_copies(tensors):
        for name in (
            "encoder.embed_tokens.weight",
            "decoder.embed_tokens.weight",
            "lm_head.weight",
        ):
            tensors[name] = tensors["shared.weight"]
        unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        tensors[unused] = np.zeros((32, 2), np.float32)

    change_tensors(tmp_path, add_copies)
    assert_same(held, HuggingFaceFolder(tmp_path))


def test_a_table_under_another_name_alone_is_found(written, held):
    def rename(tensors):
        tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")

    change_tensors(written, rename)
    found = HuggingFaceFolder(written).read("token_embedder.embedding", None)
    np.testing.assert_array_equal(found, held.arrays["token_embedder.embedding"])


def test_a_tied_head_that_is_not_scaled_becomes_a_kernel_of_its_own(written, held):
    change_tensors(written, lambda tensors: tensors.pop("lm_head.weight"))
    folder = HuggingFaceFolder(written)
    assert not folder.config.logits_via_embedding
    table = held.arrays["token_embedder.embedding"]
    np.testing.assert_array_equal(folder.read("decoder.logits_dense.kernel", None), table.T)


def test_a_tied_head_that_differs_is_refused(written):
    change_config(written, tie_word_embeddings=True)
    with pytest.raises(CheckpointFormatError, match=r"lm_head.weight differs from shared.weight"):
        HuggingFaceFolder(written)
    # transformers 5 writes so for an untied T5 1.1, and says in another field that it is one.
    change_config(written, scale_decoder_outputs=False)
    assert not HuggingFaceFolder(written).config.logits_via_embedding


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "longt5"}, r"config.json: model_type is 'longt5'; t5"),
        ({"feed_forward_proj": "gated-gelu_fast"}, r"with 'gelu_fast' is not computed"),
        ({"feed_forward_proj": "gelu"}, "'gelu' with 'gelu' is not computed"),
        ({"d_model": "wide"}, r"config.json: T5Config.emb_dim = 'wide'"),
        ({"d_kv": None}, "'d_kv' is absent"),
        ({"decoder_start_token_id": 5}, "decoder_start_token_id is 5"),
        ({"d_ff": 16}, r"wi_0.weight has shape \[12, 8\]; .*the shape \[16, 8\]"),
        ({"num_layers": 4}, "encoder.block.3.layer.0.SelfAttention.k.weight is absent"),
        ({"num_layers": 2}, r"encoder.block.2.layer.0.SelfAttention.k.weight .*no place for it"),
    ],
)
def test_what_does_not_fit_is_told_with_file_and_tensor(written, changes, told):
    change_config(written, **changes)
    with pytest.raises(CheckpointFormatError, match=told) as caught:
        HuggingFaceFolder(written)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(written):
    (written / "model.safetensors").rename(written / "pytorch_model.bin")
    assert huggingface.is_folder(written)
    with pytest.raises(
        CheckpointFormatError, match=r"pytorch_model.bin.*save_pretrained"
    ) as caught:
        HuggingFaceFolder(written)
    assert "\n" not in str(caught.value)


def damage(folder, content):
    (folder / "model.safetensors").write_bytes(content)


def header(entries):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a safetensors file"),
        (struct.pack("<Q", 2**60), "not a safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "its JSON is no object"),
        (struct.pack("<Q", 1) + b"{", "its JSON is malformed"),
        (header({"a": {"dtype": "F32", "shape": [2]}}), "entry of a is malformed"),
        (
            header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}) + b"0000",
            "does not fit its place",
        ),
        (
            header({"a": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}) + b"0",
            "does not fit its place",
        ),
        (
            header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-8, -4]}}) + b"0",
            "entry of a is malformed",
        ),
        (
            header({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}) + b"00000000",
            "a has dtype I64",
        ),
    ],
)
def test_a_damaged_or_hostile_file_is_refused(written, content, told):
    damage(written, content)
    with pytest.raises(CheckpointFormatError, match=told):
        HuggingFaceFolder(written)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", 3])
def test_an_index_that_leads_out_of_the_folder_is_refused(written, name):
    index = {"weight_map": {"shared.weight": name}}
    (written / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointFormatError, match=r"refused|no file beside it"):
        HuggingFaceFolder(written)


def test_an_index_with_a_missing_file_or_tensor_is_told(tmp_path, held):
    write_folder(tmp_path, held, shard_bytes=2000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    file = index["weight_map"]["shared.weight"]
    index["weight_map"]["another.weight"] = file
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointFormatError, match=f"{file}: another.weight is absent"):
        HuggingFaceFolder(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(CheckpointFormatError, match=f"{file}: No such file"):
        HuggingFaceFolder(tmp_path)


def test_the_tokenizer_goes_with_the_folder(tmp_path, held):
    (tmp_path / "some.model").write_bytes(b"a model")
    piece = Tokenizer("sentencepiece", tmp_path / "some.model", 100)
    write_folder(tmp_path / "pieces", held, tokenizer=piece)
    found = HuggingFaceFolder(tmp_path / "pieces").tokenizer
    assert found == Tokenizer("sentencepiece", tmp_path / "pieces" / "spiece.model", 100)
    assert (tmp_path / "pieces" / "spiece.model").read_bytes() == b"a model"
    write_folder(tmp_path / "bytes", held, tokenizer=Tokenizer("bytes", None, 125))
    assert HuggingFaceFolder(tmp_path / "bytes").tokenizer == Tokenizer("bytes", None, 125)


def test_extra_ids_are_t5s_unless_the_folder_says_otherwise(written):
    (written / "spiece.model").write_bytes(b"")
    assert HuggingFaceFolder(written).tokenizer.extra_ids == 100
    shutil.copytree(written, written.parent / "mt5")
    change_config(written.parent / "mt5", model_type="mt5")
    assert HuggingFaceFolder(written.parent / "mt5").tokenizer.extra_ids == 0
    (written / "tokenizer_config.json").write_text('{"extra_ids": 64}')
    assert HuggingFaceFolder(written).tokenizer.extra_ids == 64


def test_every_parameter_has_a_name_of_its_own(held):
    names = [tensor_name(p.name, layer) for p in parameters(held.config) for layer in p.layers]
    assert len(set(names)) == len(names)
