import dataclasses
import os
import shutil

import jax
import ml_dtypes
import msgpack
import numpy as np
import orbax.checkpoint
import pytest
import tensorstore
from flax import serialization

from instrux.interop import t5x
from instrux.interop.parameters import CheckpointFormatError, load, parameters
from instrux.interop.t5x import SCANNED, UNSCANNED, T5XCheckpoint, write_checkpoint
from instrux.models.t5 import T5Config


@pytest.fixture
def written(tmp_path, held):
    """The index file of a checkpoint that may be damaged."""
    write_checkpoint(tmp_path / "out", held)
    return tmp_path / "out" / "checkpoint_7" / "checkpoint"


def change(index, edit):
    tree = serialization.msgpack_restore(index.read_bytes())
    edit(tree["optimizer"])
    index.write_bytes(serialization.msgpack_serialize(tree))


def test_a_real_checkpoint_tells_its_sizes_step_and_arrays(shared_data):
    checkpoint = T5XCheckpoint(shared_data / "t5x" / "test_t5_1_1_tiny" / "checkpoint_3")
    assert checkpoint.step == 3
    assert checkpoint.layout == UNSCANNED
    assert checkpoint.config == T5Config(
        vocab_size=32128,
        emb_dim=4,
        num_heads=2,
        head_dim=2,
        mlp_dim=8,
        num_encoder_layers=2,
        num_decoder_layers=2,
        relpos_buckets=4,
    )
    # By tensorstore and Flax alone, from the zarr folder and from the msgpack file.
    folder = checkpoint.path.parent / "target.decoder.layers_1.mlp.wo.kernel"
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    expected = tensorstore.open(spec).result().read().result()
    np.testing.assert_array_equal(checkpoint.read("decoder.layers.mlp.wo.kernel", 1), expected)
    tree = serialization.msgpack_restore(checkpoint.path.read_bytes())
    table = tree["optimizer"]["target"]["encoder"]["relpos_bias"]["rel_embedding"]
    found = checkpoint.read("encoder.relpos_bias.rel_embedding", None)
    np.testing.assert_array_equal(found, table)


def test_an_old_checkpoint_of_one_msgpack_file_is_read(shared_data):
    path = shared_data / "t5x" / "test_t5_tiny.checkpoint_0"
    assert t5x.is_checkpoint(path)
    checkpoint = T5XCheckpoint(path)
    sizes = checkpoint.config
    assert (sizes.emb_dim, sizes.num_heads, sizes.head_dim, sizes.mlp_dim) == (8, 4, 3, 16)
    target = serialization.msgpack_restore(path.read_bytes())["optimizer"]["target"]
    for layer in (0, 1):
        np.testing.assert_array_equal(
            checkpoint.read("decoder.layers.encoder_decoder_attention.out.kernel", layer),
            target["decoder"][f"layers_{layer}"]["encoder_decoder_attention"]["out"]["kernel"],
        )
    np.testing.assert_array_equal(
        checkpoint.read("decoder.logits_dense.kernel", None),
        target["decoder"]["logits_dense"]["kernel"],
    )


def test_a_checkpoint_of_something_else_is_told(shared_data):
    with pytest.raises(CheckpointFormatError, match=r"tiny_t5/checkpoint_1/checkpoint: .*no T5"):
        T5XCheckpoint(shared_data / "t5x" / "tiny_t5")


@pytest.mark.parametrize("layout", [UNSCANNED, SCANNED])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mlp_activations": ("relu",), "logits_via_embedding": True},
        {"relpos_per_layer": True},
    ],
)
def test_a_round_trip_loses_no_bit(tmp_path, held_of, assert_same, layout, changes):
    held = held_of(**changes)
    write_checkpoint(tmp_path, held, layout=layout)
    back = T5XCheckpoint(tmp_path)
    assert (back.config, back.step, back.layout) == (held.config, 7, layout)
    assert_same(held, back)
    write_checkpoint(tmp_path / "again", back)
    assert_same(held, T5XCheckpoint(tmp_path / "again"))


@pytest.mark.parametrize("layout", [UNSCANNED, SCANNED])
def test_weights_may_be_written_rounded_to_bfloat16(tmp_path, held, layout):
    write_checkpoint(tmp_path, held, layout=layout, dtype="bfloat16")
    back = T5XCheckpoint(tmp_path)
    for parameter in parameters(held.config):
        expected = held.arrays[parameter.name].astype(ml_dtypes.bfloat16)
        found = [back.read(parameter.name, layer) for layer in parameter.layers]
        assert found[0].dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(np.stack(found).reshape(expected.shape), expected)


def test_the_files_are_those_that_t5x_writes(tmp_path, held):
    write_checkpoint(tmp_path, held, layout=SCANNED)
    folder = tmp_path / "checkpoint_7"
    tree = serialization.msgpack_restore((folder / "checkpoint").read_bytes())
    assert tree["version"] == 3
    assert tree["optimizer"]["state"]["step"] == 7
    encoder = tree["optimizer"]["target"]["encoder"]["encoder"]
    # [embed, layers, heads, kv], and the tables of positions once a layer.
    assert encoder["attention"]["query"]["kernel"]["metadata"]["shape"] == [8, 3, 2, 3]
    assert encoder["attention"]["out"]["kernel"]["metadata"]["shape"] == [2, 3, 3, 8]
    assert encoder["relpos_bias"]["rel_embedding"].shape == (2, 3, 32)
    assert (folder / "target.encoder.encoder.mlp.wi_0.kernel" / ".zarray").is_file()
    reference = encoder["mlp"]["wo"]["kernel"]
    assert reference["kvstore"]["path"].rstrip("/") == "target.encoder.encoder.mlp.wo.kernel"
    assert tensorstore.Spec(reference).to_json()["dtype"] == "float32"


def test_references_of_a_bucket_are_found_beside_the_file(written, held, assert_same):
    def as_gcs(node):
        for key, child in node.items():
            if isinstance(child, dict) and "driver" in child:
                path = child["kvstore"]["path"]
                node[key] = child | {
                    "kvstore": {"driver": "gcs", "bucket": "t5x-dummy-bucket"},
                    "path": path.rstrip("/"),
                }
            elif isinstance(child, dict):
                as_gcs(child)

    change(written, lambda optimizer: as_gcs(optimizer["target"]))
    assert_same(held, T5XCheckpoint(written.parent))


def test_tables_that_layers_have_for_themselves_do_not_fit_a_model_that_shares_them_unless_equal(
    written, tmp_path, held
):
    def own_tables(optimizer, disturb=0.0):
        encoder = optimizer["target"]["encoder"]
        table = encoder.pop("relpos_bias")["rel_embedding"]
        for layer in range(3):
            own = {"rel_embedding": table + np.float32(disturb * layer)}
            encoder[f"layers_{layer}"]["relpos_bias"] = own

    shutil.copytree(written.parent, tmp_path / "other")
    change(written, own_tables)
    name = "encoder.relpos_bias.rel_embedding"
    np.testing.assert_array_equal(T5XCheckpoint(written).read(name, None), held.arrays[name])
    change(tmp_path / "other" / "checkpoint", lambda optimizer: own_tables(optimizer, 0.5))
    with pytest.raises(CheckpointFormatError, match=r"every layer of the encoder .*umT5"):
        T5XCheckpoint(tmp_path / "other", held.config)


def test_large_arrays_that_flax_cut_up_are_put_together(tmp_path, held, monkeypatch):
    def plain(name, layer):
        return held.read(name, layer)

    target: dict = {}
    for parameter in parameters(held.config):
        for layer in parameter.layers:
            key = parameter.name.replace(".layers.", f".layers_{layer}.").split(".")
            node = target
            for part in key[:-1]:
                node = node.setdefault(part, {})
            node[key[-1]] = plain(parameter.name, layer)
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 100)
    content = {"version": 3, "optimizer": {"target": target, "state": {"step": 5}}}
    (tmp_path / "old").write_bytes(serialization.msgpack_serialize(content))
    back = T5XCheckpoint(tmp_path / "old")
    assert back.step == 5
    name = "token_embedder.embedding"
    np.testing.assert_array_equal(back.read(name, None), held.arrays[name])


def test_missing_extra_and_mis_shaped_arrays_are_told_by_name(written):
    original = written.read_bytes()
    change(written, lambda o: o["target"]["decoder"]["layers_1"]["mlp"].pop("wi_1"))
    with pytest.raises(CheckpointFormatError, match=r"decoder/layers_1/mlp/wi_1/kernel is absent"):
        T5XCheckpoint(written)
    written.write_bytes(original)
    change(written, lambda o: o["target"]["decoder"].update(bias=np.zeros(3, np.float32)))
    with pytest.raises(CheckpointFormatError, match=r"target/decoder/bias is of shape \[3\]"):
        T5XCheckpoint(written)
    written.write_bytes(original)
    small = {"scale": np.ones(4, np.float32)}
    change(written, lambda o: o["target"]["encoder"].update(encoder_norm=small))
    told = r"encoder_norm/scale is of shape \[4\] in the checkpoint and of shape \[8\]"
    with pytest.raises(CheckpointFormatError, match=told):
        T5XCheckpoint(written)


def test_a_missing_chunk_is_an_error_and_not_zeros(written):
    (written.parent / "target.token_embedder.embedding" / "0.0").unlink()
    checkpoint = T5XCheckpoint(written)
    with pytest.raises(CheckpointFormatError, match=r"token_embedder/embedding cannot be read"):
        checkpoint.read("token_embedder.embedding", None)


@pytest.mark.parametrize("path", ["../secret", "/etc", "..", "", "a/b", "link"])
def test_a_reference_out_of_the_folder_is_refused(written, tmp_path, path):
    shutil.copytree(written.parent / "target.token_embedder.embedding", tmp_path / "out" / "secret")
    os.symlink(tmp_path / "out" / "secret", written.parent / "link")

    def lead_out(optimizer):
        optimizer["target"]["token_embedder"]["embedding"]["kvstore"]["path"] = path

    change(written, lead_out)
    with pytest.raises(CheckpointFormatError, match=r"token_embedder/embedding .*refused"):
        T5XCheckpoint(written)


@pytest.mark.parametrize(
    ("shape", "dtype", "size", "told"),
    [
        ([2**20, 2**20], "float32", 8, "holds 8 bytes for the shape"),
        ([2], "object", 16, "has dtype 'object'"),
        ([2], "V8", 16, "has dtype 'V8'"),
        ([-2], "float32", 8, "no array of Flax"),
        ("ab", "float32", 8, "no array of Flax"),
    ],
)
def test_a_hostile_array_is_refused_before_memory_is_taken(written, shape, dtype, size, told):
    content = msgpack.ExtType(1, msgpack.packb([shape, dtype, b"\0" * size]))
    tree = msgpack.unpackb(written.read_bytes())
    tree["optimizer"]["target"]["encoder"]["encoder_norm"]["scale"] = content
    written.write_bytes(msgpack.packb(tree))
    with pytest.raises(CheckpointFormatError, match=told):
        T5XCheckpoint(written)


def test_arrays_are_loaded_straight_into_a_models_tree(written, held, abstract, flat):
    found = flat(load(T5XCheckpoint(written), abstract(held.config)))
    assert found.keys() == held.arrays.keys()
    for name, array in held.arrays.items():
        assert isinstance(found[name], jax.Array)
        np.testing.assert_array_equal(found[name], array)


def test_another_models_parameters_are_not_loaded(written, held, abstract):
    wide = dataclasses.replace(held.config, mlp_dim=16)
    told = r"decoder.layers.mlp.wi_0.kernel is of shape \[2, 8, 12\] .* \[2, 8, 16\] in this run"
    with pytest.raises(CheckpointFormatError, match=told):
        load(T5XCheckpoint(written), abstract(wide))


def test_mesh_tensorflow_checkpoints_and_empty_folders_are_told(tmp_path):
    assert not t5x.is_checkpoint(tmp_path)
    with pytest.raises(CheckpointFormatError, match="no T5X checkpoint here"):
        T5XCheckpoint(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-0"\n')
    with pytest.raises(CheckpointFormatError, match="Mesh TensorFlow"):
        T5XCheckpoint(tmp_path)


@pytest.fixture
def saved_by_orbax(tmp_path, written):
    """A folder `checkpoint_7` as T5X saves it today: the same arrays, through Orbax itself."""
    stored = T5XCheckpoint(written)._arrays
    target = {}
    for name, array in stored.items():
        *folders, last = name.split("/")
        node = target
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = array.read()
    tree = {"state": {"step": np.int32(7), "param_states": np.zeros(3)}, "target": target}
    folder = tmp_path / "orbax" / "checkpoint_7"
    with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", tree)
    return folder


def test_what_t5x_saves_through_orbax_is_read_to_the_bit(saved_by_orbax, held, assert_same):
    for place in (saved_by_orbax, saved_by_orbax.parent):
        assert t5x.is_checkpoint(place)
        back = T5XCheckpoint(place)
        assert (back.config, back.step) == (held.config, 7)
        assert_same(held, back)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda state: (state / "_METADATA").write_text("{}"), "no index that Orbax would write"),
        (lambda state: (state / "manifest.ocdbt").write_bytes(b"x"), "cannot be read"),
        (lambda state: (state / "manifest.ocdbt").unlink(), "cannot be read"),
        (
            lambda state: (state / "_METADATA").write_text(
                (state / "_METADATA").read_text().replace('"key": "wo"', '"key": "../../x"')
            ),
            "refused",
        ),
    ],
)
def test_damage_of_what_orbax_saved_is_told_in_one_line(saved_by_orbax, damage, told):
    damage(saved_by_orbax / "state")
    with pytest.raises(CheckpointFormatError, match=told) as error:
        T5XCheckpoint(saved_by_orbax)
    assert "\n" not in str(error.value)
