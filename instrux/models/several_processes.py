"""What changes where several processes compute as one: arrays on all their devices, and files."""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding


def is_first() -> bool:
    """Whether this is the process that writes files and prints results."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns once every process is here; `where` is the same text on all of them."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def placed(array: np.ndarray, sharding: Sharding) -> jax.Array:
    """Puts an array that every process holds whole on the devices of all of them."""
    if jax.process_count() == 1:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def fetched(array: Any) -> np.ndarray:
    """The whole array on this process; all processes must ask for it."""
    if jax.process_count() == 1 or not isinstance(array, jax.Array):
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def of_first(number: int) -> int:
    """The first process's number, on all of them."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))
