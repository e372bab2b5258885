"""A model's parameters one by one, wherever they lie: what every checkpoint format is read and written through.

Formats differ in names, in orientation and in whether the layers of a stack are one array. Here a
parameter has our name and orientation (docs/models.md), and is handed on one layer at a time, so
that a model is never held whole.
"""

import abc
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np

from instrux.errors import InputError
from instrux.models.families import ModelConfig, model_of

FLOAT_DTYPES: Mapping[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
    "float64": np.dtype(np.float64),
}
"""Dtypes of weights that are read."""

WRITTEN_DTYPES = ("float32", "bfloat16", "float16")
"""Dtypes of weights that are written."""

OnPiece = Callable[[int], None]
"""Called with the number of tensors done."""


class CheckpointFormatError(InputError):
    """A checkpoint of another system that cannot be read as a model of ours."""


class Parameter(NamedTuple):
    """One parameter of a model.

    Attributes:
        name: path in the tree of the model's `init`, joined by dots.
        shape: of one layer's tensor where the parameter is stacked, else its own.
        num_layers: layers stacked on axis 0; None for a parameter outside the stacks.
    """

    name: str
    shape: tuple[int, ...]
    num_layers: int | None

    @property
    def stacked_shape(self) -> tuple[int, ...]:
        """The shape of the array in the tree of the model's `init`."""
        return self.shape if self.num_layers is None else (self.num_layers, *self.shape)

    @property
    def layers(self) -> Iterable[int | None]:
        """What `Weights.read` takes to get all of it."""
        return (None,) if self.num_layers is None else range(self.num_layers)


class Weights(abc.ABC):
    """The parameters of one checkpoint, read a tensor at a time.

    Attributes:
        path: the checkpoint, for messages.
        config: sizes of the model.
        step: updates it was trained for; 0 where the format does not tell.
    """

    path: Path
    config: ModelConfig
    step: int

    @abc.abstractmethod
    def read(self, name: str, layer: int | None) -> np.ndarray:
        """Reads one parameter, or one layer of a stacked one, in the dtype it is stored in.

        Calls for the layers of one parameter should follow one another.
        """


@functools.lru_cache(maxsize=8)
def parameters(config: ModelConfig) -> tuple[Parameter, ...]:
    """Lists the parameters of a model."""
    shapes = jax.eval_shape(model_of(config).init, jax.random.key(0))
    return tuple(_parameters(shapes, ()))


def _parameters(tree: Any, path: tuple[str, ...]) -> Iterator[Parameter]:
    if isinstance(tree, Mapping):
        for key in sorted(tree):
            yield from _parameters(tree[key], (*path, key))
    elif "layers" in path:
        yield Parameter(".".join(path), tuple(tree.shape[1:]), tree.shape[0])
    else:
        yield Parameter(".".join(path), tuple(tree.shape), None)


def count_tensors(config: ModelConfig) -> int:
    """Number of tensors with every layer counted for itself."""
    return sum(len(list(parameter.layers)) for parameter in parameters(config))


def pieces(
    weights: Weights, dtype: np.dtype, on_piece: OnPiece = lambda done: None
) -> Iterator[tuple[Parameter, int | None, np.ndarray]]:
    """Reads every parameter, a layer at a time, cast to `dtype`.

    Args:
        weights: where they lie.
        dtype: what to give them as.
        on_piece: told of the progress.

    Raises:
        CheckpointFormatError: a tensor's shape is not the model's.
    """
    done = 0
    for parameter in parameters(weights.config):
        for layer in parameter.layers:
            yield (
                parameter,
                layer,
                read_checked(weights, parameter, layer).astype(dtype, copy=False),
            )
            done += 1
            on_piece(done)


def read_checked(weights: Weights, parameter: Parameter, layer: int | None) -> np.ndarray:
    """Reads one tensor and holds its shape against the model's."""
    tensor = weights.read(parameter.name, layer)
    if tensor.shape != parameter.shape:
        where = parameter.name if layer is None else f"{parameter.name}, layer {layer},"
        raise CheckpointFormatError(
            f"{weights.path}: {where} has shape {list(tensor.shape)} where the model has"
            f" {list(parameter.shape)}; the checkpoint is of another model or damaged."
        )
    return tensor


def load(weights: Weights, abstract_params: Any, on_piece: OnPiece = lambda done: None) -> Any:
    """Reads parameters onto devices, holding one parameter at a time in the host's memory.

    Every process reads what its own devices hold.

    Args:
        weights: where they lie.
        abstract_params: the tree of the model's `init` with `jax.ShapeDtypeStruct`s that name shardings.
        on_piece: told of the progress.

    Raises:
        CheckpointFormatError: a parameter's shape is not that of `abstract_params`.
    """
    wanted = dict(flatten(abstract_params))
    loaded: dict[str, jax.Array] = {}
    done = 0
    for parameter in parameters(weights.config):
        target = wanted.pop(parameter.name, None)
        if target is None or tuple(target.shape) != parameter.stacked_shape:
            raise _other_model(weights, parameter.name, parameter.stacked_shape, target)

        loaded[parameter.name] = _load_parameter(weights, parameter, target)
        done += len(list(parameter.layers))
        on_piece(done)
    for name, target in wanted.items():
        raise _other_model(weights, name, None, target)
    return nest(loaded)


def _other_model(
    weights: Weights, name: str, stored: tuple[int, ...] | None, target: Any
) -> CheckpointFormatError:
    here = "absent" if target is None else f"of shape {list(target.shape)}"
    there = "absent" if stored is None else f"of shape {list(stored)}"
    return CheckpointFormatError(
        f"{weights.path}: {name} is {there} in the checkpoint and {here} in this run's model;"
        " choose the model's gin file that fits the checkpoint."
    )


def _load_parameter(weights: Weights, parameter: Parameter, target: Any) -> jax.Array:
    """Fills a buffer for every different part that this process's devices hold."""
    shape = parameter.stacked_shape
    indices = target.sharding.addressable_devices_indices_map(shape)
    bounds = {
        device: tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))
        for device, index in indices.items()
    }
    buffers = {
        bound: np.empty([high - low for low, high in bound], target.dtype)
        for bound in set(bounds.values())
    }
    for layer in parameter.layers:
        tensor = read_checked(weights, parameter, layer)
        for bound, buffer in buffers.items():
            if layer is None:
                buffer[...] = tensor[tuple(slice(*pair) for pair in bound)]
            elif bound[0][0] <= layer < bound[0][1]:
                part = tensor[tuple(slice(*pair) for pair in bound[1:])]
                buffer[layer - bound[0][0]] = part
    arrays = [jax.device_put(buffers[bound], device) for device, bound in bounds.items()]
    return jax.make_array_from_single_device_arrays(shape, target.sharding, arrays)


def flatten(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Gives (dotted name, leaf) of a nested dictionary."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from flatten(value, (*path, str(key)))
    else:
        yield ".".join(path), tree


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undoes `flatten`."""
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = name.split(".")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = leaf
    return tree
