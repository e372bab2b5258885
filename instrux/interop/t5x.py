"""T5X's checkpoints: read from `checkpoint_<step>` folders or old msgpack files, and written.

A folder holds one msgpack file, `checkpoint`, whose tree is `{version, optimizer: {state: {step,
…}, target: parameters}}`; a leaf is an array, or a reference to a zarr array in a folder beside
the file. T5X's `t5` names its layers (`encoder/layers_3/…`) and joins the heads of a kernel. Its
`scalable_t5` stacks the layers on axis 1 below a second `encoder` or `decoder`, keeps heads on an
axis of their own, and has a table of relative positions in every layer. docs/checkpoints.md has
the table of names. What T5X saves through Orbax has the same names (`t5x_orbax`); it is only read.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import serialization

from instrux.errors import InputError
from instrux.interop import t5x_orbax
from instrux.interop.msgpack_index import read_index
from instrux.interop.parameters import (
    FLOAT_DTYPES,
    CheckpointFormatError,
    OnPiece,
    Parameter,
    Weights,
    parameters,
    pieces,
)
from instrux.interop.t5x_arrays import StoredArray, ZarrArray, ZarrWriter, stored_arrays
from instrux.models.t5 import T5Config

INDEX = "checkpoint"
_VERSION = 3
_SCAN_AXIS = 1
_STEP_FOLDER = re.compile(r"checkpoint_(\d+)")
_LAYER = re.compile(r"(?P<stack>encoder|decoder)/layers_(?P<layer>\d+)/")
# Replicated on every device by T5X, and so kept in its msgpack file.
_INLINE = ("scale", "rel_embedding")
_ATTENTION_KERNEL = re.compile(r".*attention\.(?P<projection>query|key|value|out)\.kernel")


class Layout(NamedTuple):
    """How a checkpoint arranges what all have.

    Attributes:
        scanned: the layers of a stack are one array, on axis 1.
        split_heads: heads have an axis of their own in the attention's kernels.
    """

    scanned: bool
    split_heads: bool


UNSCANNED = Layout(scanned=False, split_heads=False)
SCANNED = Layout(scanned=True, split_heads=True)


def is_checkpoint(path: Path) -> bool:
    """Whether a path looks like a T5X checkpoint: a folder of one or of several, or the old file."""
    if path.is_dir():
        return _index_of(path) is not None or bool(_steps(path))
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(64)
    # A short map whose first key is one of the two that T5X writes.
    return head[:1] in (b"\x81", b"\x82") and (b"optimizer" in head or b"version" in head)


def find_index(path: Path) -> Path:
    """Gives the file that names the arrays of a checkpoint: T5X's own msgpack file, or Orbax's.

    Args:
        path: that file, the checkpoint's folder, or a folder of `checkpoint_<step>`, of which the newest counts.

    Raises:
        CheckpointFormatError: there is none.
    """
    if path.is_file():
        return path
    if (index := _index_of(path)) is not None:
        return index
    steps = _steps(path) if path.is_dir() else []
    if not steps:
        raise CheckpointFormatError(
            f"{path}: no T5X checkpoint here; name a folder `checkpoint_<step>` with a file"
            f" `{INDEX}` in it."
        )
    index = _index_of(path / f"checkpoint_{max(steps)}")
    assert index is not None  # it counts as a step by having one
    return index


def folder_of(index: Path) -> Path | None:
    """The folder of one checkpoint, all of whose files belong to it; None for the old single file.

    Args:
        index: what `find_index` gave.
    """
    if t5x_orbax.is_index(index):
        return index.parent.parent
    return index.parent if index.name == INDEX else None


def _index_of(folder: Path) -> Path | None:
    names = (INDEX, t5x_orbax.INDEX)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _steps(folder: Path) -> list[int]:
    matches = (
        _STEP_FOLDER.fullmatch(path.name)
        for path in folder.iterdir()
        if _index_of(path) is not None
    )
    return [int(match[1]) for match in matches if match is not None]


class T5XCheckpoint(Weights):
    """A T5X checkpoint of a T5 encoder-decoder.

    Attributes:
        layout: how it is arranged.
    """

    def __init__(self, path: str | Path, config: T5Config | None = None) -> None:
        """Reads the index; no array but the tables of relative positions.

        Args:
            path: as for `find_index`.
            config: the model; its sizes are told by the shapes of the arrays where None, and what
                shapes do not tell is as T5X has it.

        Raises:
            CheckpointFormatError: it is no T5X checkpoint, not a T5's, or not of `config`.
        """
        self.path = find_index(Path(path))
        if t5x_orbax.is_index(self.path):
            self._arrays, self.step = t5x_orbax.read_arrays(self.path)
        else:
            optimizer = _optimizer(self.path)
            self._arrays = stored_arrays(optimizer["target"], self.path)
            self.step = _step(optimizer, self.path)
        self.layout = _layout(self._arrays)
        self._held: tuple[str, np.ndarray] | None = None
        derived = _derive_config(self._arrays, self.layout.scanned, self.path)
        self.config = derived if config is None else config
        tables = _TablesOfLayers(self._arrays)
        if config is None and not tables.same():
            self.config = dataclasses.replace(derived, relpos_per_layer=True)
        if not self.config.relpos_per_layer:
            tables.unify(self.path)
        self._check(self.config)

    def read(self, name: str, layer: int | None) -> np.ndarray:
        """Reads one tensor.

        Where the chunks of a scanned parameter hold many layers, all are read and kept until
        another parameter is asked for.
        """
        if layer is None and name.endswith("relpos_bias.rel_embedding"):
            return self._table(name.partition(".")[0])
        key = _key(name, layer, scanned=self.layout.scanned)
        if layer is None or not self.layout.scanned:
            return _join_heads(name, self._arrays[key].read())
        array = self._arrays[key]
        if isinstance(array, ZarrArray) and array.has_slices(_SCAN_AXIS):
            return _join_heads(name, array.read(layer, axis=_SCAN_AXIS))
        if self._held is None or self._held[0] != key:
            self._held = None
            self._held = (key, np.moveaxis(array.read(), _SCAN_AXIS, 0))
        return _join_heads(name, np.ascontiguousarray(self._held[1][layer]))

    def _table(self, stack: str) -> np.ndarray:
        key = f"{stack}/{stack}/relpos_bias/rel_embedding"
        if key in self._arrays:
            return np.ascontiguousarray(self._arrays[key].read()[:, 0])
        return self._arrays[f"{stack}/relpos_bias/rel_embedding"].read()

    def _check(self, config: T5Config) -> None:
        """Holds names and shapes against the model's."""
        expected = dict(_stored_shapes(config, self.layout))
        for name in sorted(expected.keys() | self._arrays.keys()):
            array = self._arrays.get(name)
            there = "absent" if array is None else f"of shape {list(array.shape)}"
            wanted = expected.get(name)
            here = "not part of it" if wanted is None else f"of shape {list(wanted)}"
            if array is None or tuple(array.shape) != wanted:
                raise CheckpointFormatError(
                    f"{self.path}: target/{name} is {there} in the checkpoint and {here} in a T5 of"
                    f" {_worded(config)}; give the model's sizes, or another checkpoint."
                )


class _TablesOfLayers:
    """The tables of relative positions of a stack, where every layer has one.

    T5X's scanned form always has; its unscanned form has for models whose tables differ.
    """

    def __init__(self, arrays: dict[str, StoredArray]) -> None:
        self._arrays = arrays
        self._names: dict[str, list[str]] = {}
        for stack in ("encoder", "decoder"):
            pattern = re.compile(rf"{stack}/(layers_\d+|{stack})/relpos_bias/rel_embedding")
            self._names[stack] = sorted(name for name in arrays if pattern.fullmatch(name))

    def same(self) -> bool:
        """Whether the layers of each stack have the same table, so that it may be shared."""
        return all(map(self._same, self._names))

    def unify(self, path: Path) -> None:
        """Keeps one table a stack.

        Raises:
            CheckpointFormatError: they differ.
        """
        for stack, names in self._names.items():
            if not self._same(stack):
                raise CheckpointFormatError(
                    f"{path}: every layer of the {stack} has a table of relative positions of its"
                    " own, as in umT5; set T5Config.relpos_per_layer."
                )
            if names and not _is_scanned(names[0]):
                self._arrays[f"{stack}/relpos_bias/rel_embedding"] = self._arrays[names[0]]
                for name in names:
                    del self._arrays[name]

    def _same(self, stack: str) -> bool:
        tables = [self._arrays[name].read() for name in self._names[stack]]
        if tables and _is_scanned(self._names[stack][0]):
            return tables[0].ndim == 3 and bool((tables[0] == tables[0][:, :1]).all())
        return all(np.array_equal(table, tables[0]) for table in tables)


def _is_scanned(name: str) -> bool:
    return "/layers_" not in name


def _optimizer(file: Path) -> Mapping[str, Any]:
    with file.open("rb") as opened:
        if opened.read(22) == b"model_checkpoint_path:":
            raise CheckpointFormatError(
                f"{file}: a checkpoint of Mesh TensorFlow; T5X's"
                " convert_tf_checkpoint makes its own of it, which is read here."
            )
    tree = read_index(file)
    if isinstance(tree, Mapping) and isinstance(tree.get("optimizer"), Mapping):
        tree = tree["optimizer"]
    if not isinstance(tree, Mapping) or not isinstance(tree.get("target"), Mapping):
        raise CheckpointFormatError(
            f"{file}: holds no optimizer/target, which is where T5X keeps a model's parameters."
        )
    return tree


def _step(optimizer: Mapping[str, Any], file: Path) -> int:
    state = optimizer.get("state")
    step = state.get("step") if isinstance(state, Mapping) else None
    if step is None or type(step) is int:
        return step or 0
    array = stored_arrays({"state/step": step}, file)["state/step"].read()
    return int(array) if array.shape == () and array.dtype.kind in "iu" else 0


def _derive_config(arrays: Mapping[str, StoredArray], scanned: bool, file: Path) -> T5Config:
    """The sizes of the model that has arrays of these shapes."""

    def shape(name: str, rank: int) -> tuple[int, ...]:
        array = arrays.get(name)
        if array is None or len(array.shape) != rank:
            found = "is absent" if array is None else f"has shape {list(array.shape)}"
            raise CheckpointFormatError(
                f"{file}: target/{name} {found}; this is no T5 encoder-decoder of T5X's own"
                " examples."
            )
        return array.shape

    layer, rank = ("encoder/encoder", 3) if scanned else ("encoder/layers_0", 2)
    query = arrays.get(f"{layer}/attention/query/kernel")
    table = "encoder/relpos_bias/rel_embedding"
    if table in arrays:
        num_heads, buckets = shape(table, 2)
    else:
        heads_first = shape(f"{layer}/relpos_bias/rel_embedding", rank)
        num_heads, buckets = heads_first[0], heads_first[-1]
    vocab_size, emb_dim = shape("token_embedder/embedding", 2)
    gated = f"{layer}/mlp/wi_0/kernel" in arrays
    mlp = shape(f"{layer}/mlp/{'wi_0' if gated else 'wi'}/kernel", rank)
    joined_kv = 0 if query is None else math.prod(query.shape[rank - 1 :])
    if num_heads < 1 or joined_kv < 1 or joined_kv % num_heads:
        raise CheckpointFormatError(
            f"{file}: {num_heads} heads do not share a width of {joined_kv} evenly."
        )
    try:
        return T5Config(
            vocab_size=vocab_size,
            emb_dim=emb_dim,
            num_heads=num_heads,
            head_dim=joined_kv // num_heads,
            mlp_dim=mlp[-1],
            num_encoder_layers=_depth(arrays, "encoder", scanned),
            num_decoder_layers=_depth(arrays, "decoder", scanned),
            mlp_activations=("gelu", "linear") if gated else ("relu",),
            logits_via_embedding="decoder/logits_dense/kernel" not in arrays,
            relpos_buckets=buckets,
        )
    except InputError as error:
        raise CheckpointFormatError(f"{file}: {error}") from error


def _layout(arrays: Mapping[str, StoredArray]) -> Layout:
    scanned = any(name.startswith("encoder/encoder/") for name in arrays)
    query = arrays.get(_key("encoder.layers.attention.query.kernel", 0, scanned=scanned))
    joined_rank = 3 if scanned else 2
    return Layout(scanned, split_heads=query is not None and len(query.shape) == joined_rank + 1)


def _join_heads(name: str, tensor: np.ndarray) -> np.ndarray:
    match = _ATTENTION_KERNEL.fullmatch(name)
    if match is None or tensor.ndim != 3:
        return tensor
    if match["projection"] == "out":
        return tensor.reshape(-1, tensor.shape[-1])
    return tensor.reshape(tensor.shape[0], -1)


def _depth(arrays: Mapping[str, StoredArray], stack: str, scanned: bool) -> int:
    if scanned:
        array = arrays.get(f"{stack}/{stack}/mlp/wo/kernel")
        return array.shape[_SCAN_AXIS] if array is not None and len(array.shape) == 3 else 0
    layers = {m["layer"] for name in arrays if (m := _LAYER.match(name)) and m["stack"] == stack}
    return len(layers)


def _worded(config: T5Config) -> str:
    return (
        f"{config.num_encoder_layers} + {config.num_decoder_layers} layers, width {config.emb_dim},"
        f" {config.num_heads} heads of {config.head_dim}, MLP {config.mlp_dim}"
    )


def _key(name: str, layer: int | None, *, scanned: bool) -> str:
    """T5X's name of a parameter, or of one layer of it."""
    stack, _, rest = name.partition(".layers.")
    if rest:
        own = f"{stack}/{stack}" if scanned else f"{stack}/layers_{layer}"
        return f"{own}/{rest.replace('.', '/')}"
    if scanned and name.endswith("relpos_bias.rel_embedding"):  # one that the layers share
        stack = name.partition(".")[0]
        return f"{stack}/{name.replace('.', '/')}"
    return name.replace(".", "/")


def _layers_as_stored(parameter: Parameter, config: T5Config, *, scanned: bool) -> int | None:
    """Layers that a scanned array stacks: also of the table of relative positions."""
    if not scanned:
        return None
    if parameter.name.endswith("relpos_bias.rel_embedding"):
        encoder = parameter.name.startswith("encoder.")
        return config.num_encoder_layers if encoder else config.num_decoder_layers
    return parameter.num_layers


def _layer_shape(parameter: Parameter, config: T5Config, *, split_heads: bool) -> tuple[int, ...]:
    """The shape that one layer of a parameter has in a checkpoint."""
    match = _ATTENTION_KERNEL.fullmatch(parameter.name)
    if match is None or not split_heads:
        return parameter.shape
    heads = (config.num_heads, config.head_dim)
    out = match["projection"] == "out"
    return (*heads, config.emb_dim) if out else (config.emb_dim, *heads)


def _scanned_shape(shape: tuple[int, ...], num_layers: int) -> tuple[int, ...]:
    return (*shape[:_SCAN_AXIS], num_layers, *shape[_SCAN_AXIS:])


def _stored_shapes(config: T5Config, layout: Layout) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    for parameter in parameters(config):
        shape = _layer_shape(parameter, config, split_heads=layout.split_heads)
        stacked = _layers_as_stored(parameter, config, scanned=layout.scanned)
        if stacked is not None:
            key = _key(parameter.name, None, scanned=True)
            found.append((key, _scanned_shape(shape, stacked)))
        else:
            for layer in parameter.layers:
                found.append((_key(parameter.name, layer, scanned=layout.scanned), shape))
    return found


def write_checkpoint(
    folder: Path,
    weights: Weights,
    *,
    layout: Layout = UNSCANNED,
    dtype: str = "float32",
    on_piece: OnPiece = lambda done: None,
) -> None:
    """Writes `<folder>/checkpoint_<step>` as T5X has it: parameters and step, no optimiser state.

    T5X reads it for evaluation and inference as it is; to train from it, it starts its optimiser
    afresh (docs/checkpoints.md).

    Args:
        folder: gets the checkpoint's folder; the caller sees to it that it appears whole.
        weights: what to write.
        layout: `UNSCANNED` for T5X's `t5`, `SCANNED` for its `scalable_t5`.
        dtype: one of `WRITTEN_DTYPES`.
        on_piece: told of the progress.

    Raises:
        CheckpointFormatError: a tensor of `weights` does not fit its model.
        InputError: the model is decoder-only.
    """
    config = weights.config
    if not isinstance(config, T5Config):
        raise InputError(
            f"{weights.path}: holds a decoder-only model, which is not written for T5X; choose `hf`."
        )
    own = folder / f"checkpoint_{weights.step}"
    own.mkdir(parents=True)
    tree: dict[str, Any] = {}
    held: dict[str, Any] = {}
    for parameter, layer, piece in pieces(weights, FLOAT_DTYPES[dtype], on_piece):
        key = _key(parameter.name, layer, scanned=layout.scanned)
        shape = _layer_shape(parameter, config, split_heads=layout.split_heads)
        num_layers = _layers_as_stored(parameter, config, scanned=layout.scanned)
        tensor = piece.reshape(shape)
        if key.rpartition("/")[2] in _INLINE:
            _put(tree, key, _inline(held, key, tensor, layer, num_layers))
        elif num_layers is None:
            writer = _writer(own, key, shape, dtype, slice_axis=None)
            writer.write(tensor)
            _put(tree, key, writer.reference)
        else:
            if layer == 0:
                stacked = _scanned_shape(shape, num_layers)
                held[key] = _writer(own, key, stacked, dtype, slice_axis=_SCAN_AXIS)
            held[key].write(tensor, layer)
            _put(tree, key, held[key].reference)
    step = np.asarray(weights.step, np.int32)
    content = {"version": _VERSION, "optimizer": {"state": {"step": step}, "target": tree}}
    (own / INDEX).write_bytes(serialization.msgpack_serialize(content))


def _writer(
    folder: Path, key: str, shape: tuple[int, ...], dtype: str, *, slice_axis: int | None
) -> ZarrWriter:
    name = f"target/{key}".replace("/", ".")
    return ZarrWriter(folder, name, shape=shape, dtype=dtype, slice_axis=slice_axis)


def _inline(
    held: dict[str, Any], key: str, tensor: np.ndarray, layer: int | None, num_layers: int | None
) -> np.ndarray:
    """A small array as the msgpack file gets it: layers are gathered, a table is repeated."""
    if num_layers is None:
        return tensor
    if layer is None:
        return np.repeat(np.expand_dims(tensor, _SCAN_AXIS), num_layers, axis=_SCAN_AXIS)
    held.setdefault(key, []).append(tensor)
    return np.stack(held[key], axis=_SCAN_AXIS)


def _put(tree: dict[str, Any], key: str, leaf: Any) -> None:
    *parents, last = key.split("/")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = leaf
