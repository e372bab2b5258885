"""Encoding of inputs for evaluation: without a gradient, so a few rows at a time where that is faster."""

import jax

from instrux.models.parts import Params
from instrux.models.t5 import T5

# Positions that a lone CPU encodes at once. At T5 1.1 small, 32 rows of 512, by 1,024, 4,096 or all
# 16,384 positions: 4.43, 3.75 and 3.89 CPU-seconds with the CPU kernels, which pack a layer's
# parameters anew at each call; 6.43, 6.33 and 6.56 by XLA. What a layer hands on stays in the caches.
_POSITIONS = 4096


def encode_inputs(
    model: T5,
    params: Params,
    encoder_input_tokens: jax.Array,
    encoder_segment_ids: jax.Array | None = None,
) -> jax.Array:
    """Encodes rows of inputs `[batch, length]`: `[batch, length, embed]`; see `T5.encode`.

    Devices other than one CPU get the whole batch at once.
    """
    batch, length = encoder_input_tokens.shape
    rows = _rows_at_once(batch, length)
    if not on_lone_cpu() or rows == batch:
        return model.encode(params, encoder_input_tokens, encoder_segment_ids)
    pieces = jax.tree.map(
        lambda array: array.reshape(-1, rows, length), (encoder_input_tokens, encoder_segment_ids)
    )
    encoded = jax.lax.map(lambda piece: model.encode(params, *piece), pieces)
    return encoded.reshape(batch, length, -1)


def _rows_at_once(batch: int, length: int) -> int:
    """The most rows that divide the batch and hold `_POSITIONS` at most; one row at least."""
    most = max(1, _POSITIONS // length)
    return max(rows for rows in range(1, batch + 1) if batch % rows == 0 and rows <= most)


def on_lone_cpu() -> bool:
    """Whether this process computes on one CPU device, the only one there is."""
    return jax.default_backend() == "cpu" and jax.device_count() == 1
