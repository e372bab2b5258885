"""Digests of arrays, made on the devices: what was saved is what was read back, on any mesh.

A digest is the sum, modulo 2^32, of every element's bits times an odd number that its place gives.
It depends on the values and their places alone, never on how an array is split, so that several
processes make it together and a run that goes on elsewhere finds the same. A change of a single
element always changes it; many changes hide from it once in about four billion cases.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_STRIDE = np.uint32(2654435761)  # Knuth's multiplier: neighbours get very different factors

Digest = tuple[str, int]
"""The dtype of the array and its digest; in JSON a list of both."""


def digests(tree: Any, stored: Mapping[str, Digest] | None = None) -> dict[str, Digest]:
    """The digest of every array of a tree, by its path with slashes.

    Args:
        tree: arrays on devices.
        stored: the digests of a checkpoint; arrays are taken as the dtypes they were saved in,
            from which they may have been widened since.
    """
    arrays = named_arrays(tree)
    if stored is not None:
        arrays = {name: array for name, array in arrays.items() if name in stored}
    dtypes = {
        name: str(array.dtype) if stored is None else stored[name][0]
        for name, array in arrays.items()
    }
    numbers = jax.device_get(_sums(arrays, tuple(sorted(dtypes.items()))))
    return {name: (dtypes[name], int(number)) for name, number in numbers.items()}


def changed(tree: Any, stored: Mapping[str, Digest]) -> str | None:
    """The name of the first array that is not what was saved, None where all are."""
    made = digests(tree, stored)
    return next((name for name in made if made[name] != tuple(stored[name])), None)


def named_arrays(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths; a field of a named tuple counts as a key."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_name(path): leaf for path, leaf in leaves}


def path_name(path: tuple[Any, ...]) -> str:
    """A path of a tree as text with slashes, as Orbax has it in a checkpoint."""
    # A field of a named tuple is stored as a key of a dictionary, an entry of a tuple as an index.
    return "/".join(
        str(next(getattr(key, name) for name in ("key", "name", "idx") if hasattr(key, name)))
        for key in path
    )


def _sum(array: jax.Array, dtype: str) -> jax.Array:
    array = array.astype(dtype)
    bits = jax.lax.bitcast_convert_type(array, _UNSIGNED[array.dtype.itemsize])
    place = jnp.zeros(array.shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(array.ndim)):
        number = jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
        place = place + number * np.uint32(stride % 2**32)
        stride *= array.shape[axis]
    return jnp.sum(bits.astype(jnp.uint32) * (place * _STRIDE | np.uint32(1)), dtype=jnp.uint32)


_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def _sums_of(arrays: dict[str, jax.Array], dtypes: tuple[tuple[str, str], ...]) -> Any:
    of = dict(dtypes)
    return {name: _sum(array, of[name]) for name, array in arrays.items()}


_sums = jax.jit(_sums_of, static_argnums=1)
