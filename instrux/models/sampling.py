"""Drawing tokens: temperature, the most probable few (top-k), the most probable mass (top-p)."""

import jax
import jax.numpy as jnp

from instrux.models.decoding_settings import DecodingSettings


def draw(logits: jax.Array, keys: jax.Array, settings: DecodingSettings) -> jax.Array:
    """Draws a token a row.

    Args:
        logits: float32 `[rows, vocab]`.
        keys: random keys `[rows]`, one a row.
        settings: with a temperature above 0.

    Returns:
        int `[rows]`.
    """
    logits = narrowed(logits / settings.temperature, top_k=settings.top_k, top_p=settings.top_p)
    return jax.vmap(jax.random.categorical)(keys, logits)


def narrowed(logits: jax.Array, *, top_k: int, top_p: float) -> jax.Array:
    """Leaves the most probable tokens their logits, and gives all others minus infinity.

    Args:
        logits: float32 `[rows, vocab]`.
        top_k: tokens left; 0 for all. Ties with the last of them are left too.
        top_p: the fewest tokens are left whose probabilities, after `top_k`, reach it; 1 for all.
    """
    if 0 < top_k < logits.shape[-1]:
        lowest = jax.lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits >= lowest, logits, -jnp.inf)
    if top_p < 1.0:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        probabilities = jax.nn.softmax(ordered, axis=-1)
        # A token is left if those before it do not reach `top_p` yet; so the first always is.
        left = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
        lowest = jnp.min(jnp.where(left, ordered, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits >= lowest, logits, -jnp.inf)
    return logits
