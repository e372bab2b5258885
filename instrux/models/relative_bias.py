"""T5's relative position bias: a learned number a head for each bucket of distances."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from instrux.models.config import T5Config
from instrux.models.sharding import constrain


def relative_position_bucket(
    relative_position: np.ndarray, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> np.ndarray:
    """Gives the bucket of each distance (T5 paper, section 2.1).

    Half of a direction's buckets hold one distance each; the other half grow logarithmically up
    to `max_distance`, and the last one holds whatever lies beyond.

    Args:
        relative_position: int array, key position less query position.
        bidirectional: give keys after the query buckets of their own. Otherwise they share
            bucket 0, and causal masking hides them.
        num_buckets: buckets of both directions together.
        max_distance: distance at which the last bucket begins.

    Returns:
        An int32 array of the same shape, values in `[0, num_buckets)`.
    """
    offset = np.zeros_like(relative_position, dtype=np.int32)
    if bidirectional:
        num_buckets //= 2
        offset = np.where(relative_position > 0, num_buckets, 0).astype(np.int32)
        distance = np.abs(relative_position)
    else:
        distance = np.maximum(-relative_position, 0)
    exact = num_buckets // 2
    # float32 throughout: at some distances the bucket depends on the rounding, and the
    # checkpoints were trained with float32's.
    log_ratio = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    log_range = np.float32(np.log(max_distance / exact))
    logarithmic = exact + (log_ratio / log_range * np.float32(num_buckets - exact)).astype(np.int32)
    bucket = np.where(distance < exact, distance, np.minimum(logarithmic, num_buckets - 1))
    return (offset + bucket).astype(np.int32)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["table"],
    meta_fields=["bidirectional", "max_distance"],
)
@dataclass(frozen=True)
class RelativeBias:
    """T5's bias before it is spread over queries and keys.

    Attributes:
        table: float32 `[heads, buckets]`.
        bidirectional: whether keys after the query have buckets of their own.
        max_distance: distance from which on all positions share the last bucket.
    """

    table: jax.Array
    bidirectional: bool
    max_distance: int


class RelativePositionBias(nnx.Module):
    """The bias of one stack; all its layers share it."""

    def __init__(self, config: T5Config, *, bidirectional: bool, rngs: nnx.Rngs):
        initialize = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        shape = (config.num_heads, config.relpos_buckets)
        self.rel_embedding = nnx.Param(
            initialize(rngs.params(), shape, jnp.float32), logical_axes=("heads", "relpos_buckets")
        )
        self.bidirectional = bidirectional
        self.max_distance = config.relpos_max_distance

    def table(self) -> RelativeBias:
        """The bias before it is spread, for a kernel that reads it by distance."""
        return RelativeBias(self.rel_embedding[...], self.bidirectional, self.max_distance)

    def __call__(self, query_length: int, key_length: int) -> jax.Array:
        """Gives the bias of queries `0..query_length` towards keys `0..key_length`.

        Within a packed row the difference of two positions of one segment is the difference of
        their indices, so the same bias serves packed and unpacked rows.

        Returns:
            float32 `[1, heads, query_length, key_length]`.
        """
        by_distance = self._by_distance(query_length, key_length)
        bias = _expand_diagonals(by_distance, query_length, key_length)
        return constrain(bias[None], None, "heads", None, None)

    def _by_distance(self, query_length: int, key_length: int) -> jax.Array:
        """float32 `[heads, query_length + key_length]`: key less query, negatives at the end."""
        total = query_length + key_length
        distances = np.arange(total)
        distances = np.where(distances < key_length, distances, distances - total)
        buckets = relative_position_bucket(
            distances,
            bidirectional=self.bidirectional,
            num_buckets=self.rel_embedding.shape[1],
            max_distance=self.max_distance,
        )
        # A product with a constant, not a gather: its gradient is a product too, where a
        # gather's would be a scatter.
        one_hot = np.eye(self.rel_embedding.shape[1], dtype=np.float32)[:, buckets]
        return jnp.dot(self.rel_embedding[...], one_hot, precision=jax.lax.Precision.HIGHEST)


def _expand_diagonals(by_distance: jax.Array, query_length: int, key_length: int) -> jax.Array:
    """Makes `[heads, q, k]` with `out[:, q, k] = by_distance[:, k - q]` (indices wrap around).

    Rows of `total` elements read again in rows of `total - 1` shift by one from row to row. So
    this is a broadcast and two reshapes, and its gradient a sum over rows.
    """
    heads, total = by_distance.shape
    rows = jnp.broadcast_to(by_distance[:, None, :], (heads, query_length, total))
    flat = rows.reshape(heads, query_length * total)[:, : query_length * (total - 1)]
    return flat.reshape(heads, query_length, total - 1)[:, :, :key_length]
