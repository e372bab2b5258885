"""One mesh of devices and one table of rules from logical axes to its axes.

The mesh has three axes: `data` (rows of the batch, parameters copied), `fsdp` (rows of the batch,
parameters split along `embed`) and `tensor` (heads, feed-forward width and vocabulary split). The
same code runs on one CPU and on a pod: with one device every axis has size 1.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from instrux.errors import InputError

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")

# Earlier rows win where two would claim one mesh axis: an activation [batch, length, embed] gives
# `fsdp` to its batch, a kernel [embed, mlp], which has no batch, gives it to embed.
RULES: tuple[tuple[str, str | tuple[str, ...] | None], ...] = (
    ("batch", BATCH_AXES),
    ("vocab", "tensor"),
    ("mlp", "tensor"),
    ("heads", "tensor"),
    ("joined_kv", "tensor"),
    ("embed", "fsdp"),
    ("kv", None),
    ("length", None),
    ("layers", None),
    ("relpos_buckets", None),
    ("positions", None),
    ("prompt", None),
    ("lora_rank", None),
)


@dataclass(frozen=True)
class MeshShape:
    """Sizes of the mesh's axes; one of them may be -1, which takes the devices that are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def resolve(self, device_count: int) -> tuple[int, int, int]:
        """Gives the sizes (data, fsdp, tensor) for so many devices.

        Raises:
            InputError: a size is neither positive nor -1, more than one is -1, or the sizes do not
                multiply to `device_count`.
        """
        sizes = {"data": self.data, "fsdp": self.fsdp, "tensor": self.tensor}
        for axis, size in sizes.items():
            if size != -1 and size < 1:
                raise InputError(f"mesh: axis {axis!r} has size {size}; give 1 or more, or -1.")
        rest = [axis for axis, size in sizes.items() if size == -1]
        if len(rest) > 1:
            raise InputError(f"mesh: axes {rest} are all -1; only one can take the devices left.")
        known = math.prod(size for size in sizes.values() if size != -1)
        if rest:
            if device_count % known:
                raise InputError(
                    f"mesh: axis {rest[0]!r} cannot take the rest: {device_count} devices do not"
                    f" divide by {known}, the product of the other axes ({_worded(sizes)})."
                )
            sizes[rest[0]] = device_count // known
        elif known != device_count:
            raise InputError(
                f"mesh: {_worded(sizes)} needs {known} devices and there are {device_count}; set one"
                " axis to -1 to take what is left."
            )
        return sizes["data"], sizes["fsdp"], sizes["tensor"]


def _worded(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in sizes.items())


def make_mesh(shape: MeshShape, devices: Sequence[Any] | None = None) -> Mesh:
    """Lays the devices (all of them unless given) out as a mesh of `shape`."""
    if devices is None:
        devices = jax.devices()
    sizes = shape.resolve(len(devices))
    automatic = (AxisType.Auto,) * len(AXES)
    if devices[0].platform == "cpu":
        return Mesh(np.array(devices).reshape(sizes), AXES, axis_types=automatic)
    # On accelerators the order follows the wires between the chips.
    return jax.make_mesh(sizes, AXES, axis_types=automatic, devices=devices)


@contextlib.contextmanager
def activate(mesh: Mesh) -> Iterator[None]:
    """Makes the logical axis names of activations mean axes of `mesh` inside the block."""
    if mesh.size == 1:
        yield
        return
    with jax.set_mesh(mesh), nn.logical_axis_rules(RULES):
        yield


def partition_spec(axes: tuple[str | None, ...]) -> PartitionSpec:
    """The mesh axes of an array with these logical axes.

    Raises:
        InputError: an axis is not in the table of rules.
    """
    table = dict(RULES)
    for name in axes:
        if name is not None and name not in table:
            raise InputError(
                f"mesh: no rule for the logical axis {name!r}; known: {sorted(table)}."
            )
    taken: set[str] = set()
    spec: dict[str, str | tuple[str, ...]] = {}
    for name, target in RULES:
        wanted = (target,) if isinstance(target, str) else target
        if name in axes and wanted is not None and target is not None and taken.isdisjoint(wanted):
            spec[name] = target
            taken.update(wanted)
    return PartitionSpec(*(None if name is None else spec.get(name) for name in axes))


def abstract_params(model: Any, mesh: Mesh) -> Any:
    """Shapes, dtypes and shardings of a model's parameters, as `jax.ShapeDtypeStruct`s.

    Args:
        model: has `init` and `logical_axes`.
        mesh: the mesh.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        parameter_shardings(mesh, model.logical_axes(), shapes),
    )


def parameter_shardings(mesh: Mesh, logical_axes: Any, shapes: Any) -> Any:
    """Shardings of the parameters: the tree of `logical_axes` with a sharding for every tuple.

    Args:
        mesh: the mesh.
        logical_axes: nested dictionaries of tuples of names, `model.logical_axes()`.
        shapes: the same tree with arrays, or with anything that has a `shape`.

    Raises:
        InputError: an axis of a parameter does not divide by the mesh axis that it is split over.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, axes, leaf: _checked(mesh, _name(path), axes, leaf.shape),
        logical_axes,
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def _checked(
    mesh: Mesh, name: str, axes: tuple[str | None, ...], shape: tuple[int, ...]
) -> NamedSharding:
    spec = partition_spec(axes)
    for axis, size, target in zip(axes, shape, spec, strict=True):
        if target is not None and size % mesh.shape[target]:
            raise InputError(
                f"mesh: axis {target!r} has size {mesh.shape[target]}, which does not divide {axis!r}"
                f" = {size} of the parameter {name}; choose a size that does."
            )
    return NamedSharding(mesh, spec)


def _name(path: Sequence[Any]) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path)


def optimizer_shardings(mesh: Mesh, optimizer_state: Any, shardings: Any, shapes: Any) -> Any:
    """Shardings of an optimiser's state.

    An entry that belongs to a parameter (its path ends with the parameter's) and has its shape is
    split as the parameter is; everything else (counts, Adafactor's means) is copied to every
    device.

    Args:
        mesh: the mesh.
        optimizer_state: the state, or its shapes.
        shardings: the parameters' shardings.
        shapes: the parameters, or their shapes.
    """
    of_shape = {
        _name(path): (leaf.shape, sharding)
        for (path, leaf), sharding in zip(
            jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(shardings), strict=True
        )
    }
    copied = NamedSharding(mesh, PartitionSpec())

    def sharding(path: Sequence[Any], leaf: Any) -> NamedSharding:
        for start in range(len(path)):
            shape, split = of_shape.get(_name(path[start:]), (None, copied))
            if shape is not None:
                return split if shape == leaf.shape else copied
        return copied

    return jax.tree_util.tree_map_with_path(sharding, optimizer_state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over `data` and `fsdp`; every other axis whole."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch_size(mesh: Mesh, batch_size: int, microbatches: int) -> None:
    """Checks that every microbatch can be split over the rows' devices.

    Raises:
        InputError: the batch size does not divide by microbatches times devices.
    """
    ways = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    if microbatches < 1:
        raise InputError(f"microbatches is {microbatches}; it must be 1 or more.")
    if batch_size < 1 or batch_size % (ways * microbatches):
        raise InputError(
            f"batch_size is {batch_size}; it must be a multiple of {ways * microbatches}"
            f" ({microbatches} microbatches on {mesh.shape['data']} x {mesh.shape['fsdp']} devices"
            " of the mesh axes data x fsdp)."
        )


class HostShare(NamedTuple):
    """Which part of every global batch this process reads: part `index` of `count` equal ones."""

    index: int
    count: int


def host_share(mesh: Mesh, batch_size: int) -> HostShare:
    """The rows that this process's devices hold; processes that share rows read the same ones."""
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    spans = [rows[0].indices(batch_size)[:2] for rows in indices.values() if rows is not None]
    start = min(low for low, _ in spans)
    rows = max(high for _, high in spans) - start
    return HostShare(index=start // rows, count=batch_size // rows)


def place_batch(
    sharding: NamedSharding, batch: Mapping[str, np.ndarray], batch_size: int
) -> dict[str, jax.Array]:
    """Puts this process's rows `[rows, length]` on its devices as part of the global batch."""
    if jax.process_count() == 1:
        return jax.device_put(dict(batch), sharding)  # one call for all features is cheaper
    return {
        name: jax.make_array_from_process_local_data(
            sharding, rows, global_shape=(batch_size, *rows.shape[1:])
        )
        for name, rows in batch.items()
    }
