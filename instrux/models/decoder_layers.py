"""The layers of a decoder-only language model, as Flax NNX modules."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from instrux.models.attention import attend
from instrux.models.decoder_config import DecoderConfig
from instrux.models.dropout import Masks, drop
from instrux.models.layers import Dense, LayerNorm, Mlp
from instrux.models.sharding import constrain

_INIT_STDDEV = 0.02  # GPT-2's, for every matrix and table
initializer = jax.nn.initializers.normal(stddev=_INIT_STDDEV)


class Rotation(NamedTuple):
    """Cosines and sines of rotary positions, float32 `[batch or 1, length, 1, kv / 2]`."""

    cos: jax.Array
    sin: jax.Array


class LayerCache(NamedTuple):
    """Keys and values of one layer, each `[batch, length, kv heads, kv]`."""

    keys: jax.Array
    values: jax.Array


def rotation(config: DecoderConfig, positions: jax.Array) -> Rotation | None:
    """What turns queries and keys at int `[batch or 1, length]`; None for learned positions."""
    if config.positions != "rotary":
        return None
    exponents = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    frequencies = _stretched(config.rotary_base**-exponents, config.rotary_scaling)
    angles = positions[..., None, None].astype(jnp.float32) * frequencies
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def _stretched(
    frequencies: jax.Array, scaling: tuple[float, float, float, int] | None
) -> jax.Array:
    """Rotary frequencies (radians a position) as Llama 3.1 stretches them.

    Those that turn fewer than `low` times over the first training length are divided by `factor`,
    those that turn more than `high` times stay, and between the two it goes over linearly.
    """
    if scaling is None:
        return frequencies
    factor, low, high, length = scaling
    turns = length * frequencies / (2 * jnp.pi)
    kept = jnp.clip((turns - low) / (high - low), 0.0, 1.0)
    return frequencies * (kept + (1.0 - kept) / factor)


def _rotate(x: jax.Array, by: Rotation | None) -> jax.Array:
    """Turns `[batch, length, heads, kv]`; unit i of a head's first half pairs with i of its second."""
    if by is None:
        return x
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = (first * by.cos - second * by.sin, second * by.cos + first * by.sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


class MeanLayerNorm(nnx.Module):
    """GPT-2's norm: subtracts the mean, divides by the standard deviation, in float32."""

    def __init__(self, config: DecoderConfig):
        self.scale = nnx.Param(jnp.ones((config.emb_dim,), jnp.float32), logical_axes=("embed",))
        self.bias = nnx.Param(jnp.zeros((config.emb_dim,), jnp.float32), logical_axes=("embed",))
        self.epsilon = config.layer_norm_epsilon
        self.dtype = config.compute_dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Norms `[..., embed]`; the result has the compute dtype."""
        x = x.astype(jnp.float32)
        x = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        normed = x * jax.lax.rsqrt(variance + self.epsilon)
        return (normed * self.scale[...] + self.bias[...]).astype(self.dtype)


def norm(config: DecoderConfig) -> nnx.Module:
    """The norm that the configuration names."""
    return MeanLayerNorm(config) if config.norm == "layer" else LayerNorm(config)


class SelfAttention(nnx.Module):
    """Multi-head attention in which several heads of queries may share keys and values."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        joined_keys = config.kv_heads * config.head_dim
        shared = {"dtype": config.compute_dtype, "rngs": rngs, "use_bias": config.use_bias}
        inward = {"axes": ("embed", "joined_kv"), "initializer": initializer, **shared}
        self.query = Dense((config.emb_dim, config.joined_kv), **inward)
        self.key = Dense((config.emb_dim, joined_keys), **inward)
        self.value = Dense((config.emb_dim, joined_keys), **inward)
        self.out = Dense(
            (config.joined_kv, config.emb_dim),
            ("joined_kv", "embed"),
            initializer=residual_initializer(config),
            **shared,
        )
        self.num_heads, self.kv_heads = config.num_heads, config.kv_heads
        self.head_dim = config.head_dim
        self.rate = config.dropout_rate
        self.implementation = config.attention

    def queries_keys_values(
        self, x: jax.Array, by: Rotation | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """`[batch, length, embed]` to scaled queries, keys and values, `[batch, length, …, kv]`."""
        queries = _rotate(self._heads(self.query(x), self.num_heads), by)
        keys = _rotate(self._heads(self.key(x), self.kv_heads), by)
        scale = jnp.asarray(self.head_dim**-0.5, queries.dtype)
        return queries * scale, keys, self._heads(self.value(x), self.kv_heads)

    def attend(
        self, queries: jax.Array, keys: jax.Array, values: jax.Array, *, mask: jax.Array, keep=None
    ) -> jax.Array:
        """Attends and projects back to `[batch, query length, embed]`; see `attention.attend`."""
        group = self.num_heads // self.kv_heads
        if group > 1:
            keys, values = jnp.repeat(keys, group, axis=2), jnp.repeat(values, group, axis=2)
        attended = attend(
            queries,
            keys,
            values,
            bias=None,
            mask=mask,
            keep=keep,
            rate=self.rate,
            implementation=self.implementation,
        )
        return self.project(attended)

    def attend_parts(
        self, queries: jax.Array, parts: list[tuple[jax.Array, jax.Array, jax.Array]]
    ) -> jax.Array:
        """Attends to keys that lie in several arrays, none of them copied for a head or a slot.

        Args:
            queries: `[batch, slots, query length, heads, kv]`.
            parts: keys, values and mask. Keys and values are `[batch, slots, length, kv heads, kv]`,
                or with 1 for `slots` where all slots share them; the mask is bool, broadcastable to
                `[batch, kv heads, group, slots, query length, length]`.

        Returns:
            `[batch, slots, query length, heads, kv]`.
        """
        batch, slots, length, _, width = queries.shape
        grouped = queries.reshape(batch, slots, length, self.kv_heads, -1, width)
        logits = []
        for keys, _, mask in parts:
            product = "bsqhgd,bkhd->bhgsqk" if keys.shape[1] == 1 else "bsqhgd,bskhd->bhgsqk"
            keys = keys[:, 0] if keys.shape[1] == 1 else keys
            part = jnp.einsum(product, grouped, keys, preferred_element_type=jnp.float32)
            logits.append(jnp.where(mask, part, -1e10))
        weights = jax.nn.softmax(jnp.concatenate(logits, axis=-1), axis=-1).astype(queries.dtype)
        attended, start = jnp.zeros((), queries.dtype), 0
        for (_, values, _), part in zip(parts, logits, strict=True):
            own = weights[..., start : start + part.shape[-1]]
            start += part.shape[-1]
            product = "bhgsqk,bkhd->bsqhgd" if values.shape[1] == 1 else "bhgsqk,bskhd->bsqhgd"
            values = values[:, 0] if values.shape[1] == 1 else values
            attended = attended + jnp.einsum(product, own, values)
        return attended.reshape(queries.shape)

    def project(self, attended: jax.Array) -> jax.Array:
        """`[batch, length, heads, kv]` to `[batch, length, embed]`."""
        attended = constrain(attended, "batch", "length", "heads", "kv")
        return self.out(attended.reshape(*attended.shape[:2], -1))

    def _heads(self, projected: jax.Array, heads: int) -> jax.Array:
        split = projected.reshape(*projected.shape[:-1], heads, self.head_dim)
        return constrain(split, "batch", "length", "heads", "kv")


def residual_initializer(config: DecoderConfig):
    """GPT-2's for maps into the residual stream: smaller as there are more of them."""
    return jax.nn.initializers.normal(stddev=_INIT_STDDEV * (2 * config.num_layers) ** -0.5)


class LanguageModelLayer(nnx.Module):
    """Self-attention and MLP, each normed before and added to the residual stream."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.pre_attention_layer_norm = norm(config)
        self.attention = SelfAttention(config, rngs=rngs)
        self.pre_mlp_layer_norm = norm(config)
        self.mlp = Mlp(
            config,
            rngs=rngs,
            use_bias=config.use_bias,
            initializers=(initializer, residual_initializer(config)),
        )
        self.rate = config.dropout_rate

    @staticmethod
    def mask_widths(config: DecoderConfig, length: int) -> dict[str, int]:
        """Widths of the dropout masks of one layer."""
        return {
            "attention_weights": config.num_heads * length,
            "attention": config.emb_dim,
            "mlp_hidden": config.mlp_dim,
            "mlp": config.emb_dim,
        }

    def queries_keys_values(
        self, x: jax.Array, by: Rotation | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the attention takes of `[batch, length, embed]`, normed."""
        return self.attention.queries_keys_values(self.pre_attention_layer_norm(x), by)

    def __call__(
        self, x: jax.Array, *, by: Rotation | None, mask: jax.Array, masks: Masks
    ) -> tuple[jax.Array, LayerCache]:
        """Maps `[batch, length, embed]` to the same shape; gives keys and values too."""
        queries, keys, values = self.queries_keys_values(x, by)
        attended = self.attention.attend(
            queries, keys, values, mask=mask, keep=masks.get("attention_weights")
        )
        return self.add(x, attended, masks), LayerCache(keys, values)

    def add(self, x: jax.Array, attended: jax.Array, masks: Masks) -> jax.Array:
        """Adds what the attention gave, then what the MLP makes of the sum."""
        x = x + drop(attended, masks.get("attention"), self.rate)
        x = constrain(x, "batch", "length", "embed")
        hidden = self.mlp(self.pre_mlp_layer_norm(x), masks.get("mlp_hidden"))
        x = x + drop(hidden, masks.get("mlp"), self.rate)
        return constrain(x, "batch", "length", "embed")

    def step(
        self,
        x: jax.Array,
        prompt: LayerCache,
        cache: LayerCache,
        *,
        index: jax.Array,
        by: Rotation | None,
        prompt_mask: jax.Array,
    ) -> tuple[jax.Array, LayerCache]:
        """Advances decoding by one position, of one or several answers a prompt.

        Args:
            x: `[batch * copies, 1, embed]`, the answers of a prompt one after another.
            prompt: keys and values of the prompts, `[batch, prompt length, ...]`.
            cache: keys and values of the answers so far, `[batch * copies, answer length, ...]`.
            index: where this position's go in `cache`, an int scalar.
            by: of this position.
            prompt_mask: bool `[batch, prompt length]`, True where answers see the prompt.
        """
        queries, key, value = self.queries_keys_values(x, by)
        cache = LayerCache(
            jax.lax.dynamic_update_slice_in_dim(cache.keys, key, index, axis=1),
            jax.lax.dynamic_update_slice_in_dim(cache.values, value, index, axis=1),
        )
        batch = prompt.keys.shape[0]

        def side_by_side(array: jax.Array) -> jax.Array:
            return array.reshape(batch, -1, *array.shape[1:])

        answered = jnp.arange(cache.keys.shape[1]) <= index
        parts = [
            (
                prompt.keys[:, None],
                prompt.values[:, None],
                prompt_mask[:, None, None, None, None, :],
            ),
            (side_by_side(cache.keys), side_by_side(cache.values), answered),
        ]
        attended = self.attention.attend_parts(side_by_side(queries), parts)
        attended = attended.reshape(-1, *attended.shape[2:])
        return self.add(x, self.attention.project(attended), {}), cache
