"""Dropout masks, drawn for a whole stack of layers at once.

As in T5X, a mask is shared by all positions of a row: it has the shape `[batch, width]`, not
`[batch, length, width]`. That is few enough bits that one draw serves every layer, outside the
scan over layers.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

Masks = Mapping[str, jax.Array]


def with_generator(key: jax.Array, random_bits: str) -> jax.Array:
    """Turns a key into one of another generator, seeded from it.

    Args:
        key: a typed key, or raw key data of the default generator.
        random_bits: name of a generator of `jax.random.key`.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if str(jax.random.key_impl(key)) == random_bits:
        return key
    words = 2 if random_bits == "threefry2x32" else 4
    return jax.random.wrap_key_data(jax.random.bits(key, (words,), jnp.uint32), impl=random_bits)


def keep_masks(
    key: jax.Array, rate: float, widths: Mapping[str, int], *, leading: tuple[int, ...]
) -> dict[str, jax.Array]:
    """Draws the masks of one stack.

    Args:
        key: a typed key.
        rate: share of units to drop.
        widths: width of each mask by name.
        leading: leading dimensions of all masks, `(layers, batch)` or `(batch,)`.

    Returns:
        By name a bool array `[*leading, width]`, True where the unit is kept.
    """
    bits = jax.random.bits(key, (*leading, sum(widths.values())), jnp.uint16)
    keep = bits >= jnp.uint16(round(rate * 2**16))
    masks, start = {}, 0
    for name, width in widths.items():
        masks[name] = keep[..., start : start + width]
        start += width
    return masks


def drop(x: jax.Array, keep: jax.Array | None, rate: float) -> jax.Array:
    """Zeroes the dropped units of `x` and scales the rest by `1 / (1 - rate)`.

    Args:
        x: `[batch, length, width]`.
        keep: bool `[batch, width]`, or None to leave `x` as it is.
        rate: the rate that `keep` was drawn with.
    """
    if keep is None:
        return x
    return x * keep_scale(keep, rate, x.dtype)[:, None, :]


def keep_scale(keep: jax.Array, rate: float, dtype: jax.typing.DTypeLike) -> jax.Array:
    """The factors of `drop`: 0 where dropped, else `1 / (1 - rate)`."""
    return jnp.where(keep, jnp.asarray(1.0 / (1.0 - rate), dtype), jnp.zeros((), dtype))
