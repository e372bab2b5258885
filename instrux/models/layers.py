"""The layers of a T5 model, as Flax NNX modules; language models share some of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from instrux.models.attention import Segments, attend
from instrux.models.config import T5Config
from instrux.models.decoder_config import DecoderConfig
from instrux.models.dropout import Masks, drop
from instrux.models.products import product
from instrux.models.relative_bias import RelativeBias
from instrux.models.sharding import constrain

Bias = jax.Array | RelativeBias
Mask = jax.Array | Segments

_truncated = jax.nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
_normal = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Dense(nnx.Module):
    """A linear map: kernel `[inputs, outputs]`, and by choice a bias `[outputs]`."""

    def __init__(
        self,
        shape: tuple[int, int],
        axes: tuple[str, str],
        *,
        initializer,
        dtype,
        rngs,
        use_bias: bool = False,
    ):
        self.kernel = nnx.Param(initializer(rngs.params(), shape, jnp.float32), logical_axes=axes)
        if use_bias:
            self.bias = nnx.Param(jnp.zeros(shape[1:], jnp.float32), logical_axes=axes[1:])
        self.use_bias = use_bias
        self.dtype = dtype
        self.axes = axes
        self.lora_scale: float | None = None

    def add_factors(self, rank: int, alpha: float, rngs: nnx.Rngs) -> None:
        """Adds low-rank factors A `[inputs, rank]` and B `[rank, outputs]`; see `adapters`."""
        inputs, outputs = self.kernel.shape
        first = jax.nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
        drawn = first(rngs.params(), (inputs, rank), jnp.float32)
        self.lora_a = nnx.Param(drawn, logical_axes=(self.axes[0], "lora_rank"))
        empty = jnp.zeros((rank, outputs), jnp.float32)
        self.lora_b = nnx.Param(empty, logical_axes=("lora_rank", self.axes[1]))
        self.lora_scale = alpha / rank

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., inputs]` to `[..., outputs]` in the layer's dtype."""
        x = x.astype(self.dtype)
        mapped = product(x, self.kernel[...])
        if self.lora_scale is not None:
            inner = product(x, self.lora_a[...])
            added = product(inner, self.lora_b[...])
            mapped = mapped + added * jnp.asarray(self.lora_scale, self.dtype)
        return mapped + self.bias[...].astype(self.dtype) if self.use_bias else mapped


class LayerNorm(nnx.Module):
    """T5's norm: divides by the root mean square, in float32; no mean, no bias."""

    def __init__(self, config: T5Config | DecoderConfig):
        self.scale = nnx.Param(jnp.ones((config.emb_dim,), jnp.float32), logical_axes=("embed",))
        self.epsilon = config.layer_norm_epsilon
        self.dtype = config.compute_dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Norms `[..., embed]`; the result has the compute dtype."""
        x = x.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        normed = x * jax.lax.rsqrt(mean_square + self.epsilon)
        return (normed * self.scale[...]).astype(self.dtype)


class Embedder(nnx.Module):
    """The table of token embeddings `[vocab, embed]`, shared by encoder and decoder."""

    def __init__(
        self, config: T5Config | DecoderConfig, *, rngs: nnx.Rngs, init_stddev: float = 1.0
    ):
        initialize = jax.nn.initializers.normal(stddev=init_stddev)
        shape = (config.vocab_size, config.emb_dim)
        self.embedding = nnx.Param(
            initialize(rngs.params(), shape, jnp.float32), logical_axes=("vocab", "embed")
        )
        self.dtype = config.compute_dtype

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Looks up `[batch, length]` ids: `[batch, length, embed]`. An id out of range gives NaN."""
        embedded = jnp.take(self.embedding[...], tokens, axis=0, mode="fill")
        return constrain(embedded.astype(self.dtype), "batch", "length", "embed")


class Attention(nnx.Module):
    """Multi-head attention. The usual division of logits by sqrt(head_dim) is in the query's init."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        def query_initializer(key, shape, dtype):
            return _normal(key, shape, dtype) * config.head_dim**-0.5

        inward = {"shape": (config.emb_dim, config.joined_kv), "axes": ("embed", "joined_kv")}
        shared = {"dtype": config.compute_dtype, "rngs": rngs}
        self.query = Dense(**inward, initializer=query_initializer, **shared)
        self.key = Dense(**inward, initializer=_normal, **shared)
        self.value = Dense(**inward, initializer=_normal, **shared)
        self.out = Dense(
            (config.joined_kv, config.emb_dim),
            ("joined_kv", "embed"),
            initializer=_normal,
            **shared,
        )
        self.num_heads = config.num_heads
        self.rate = config.dropout_rate
        self.implementation = config.attention

    def queries(self, x: jax.Array) -> jax.Array:
        """`[batch, length, embed]` to `[batch, length, heads, kv]`."""
        return self._heads(self.query(x))

    def keys_values(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`[batch, length, embed]` to keys and values, each `[batch, length, heads, kv]`."""
        return self._heads(self.key(x)), self._heads(self.value(x))

    def output(
        self,
        queries: jax.Array,
        keys: jax.Array,
        values: jax.Array,
        *,
        bias: Bias | None,
        mask: Mask | None,
        keep: jax.Array | None = None,
    ) -> jax.Array:
        """Attends and projects back to `[batch, query length, embed]`; see `attend`."""
        attended = attend(
            queries,
            keys,
            values,
            bias=bias,
            mask=mask,
            keep=keep,
            rate=self.rate,
            implementation=self.implementation,
        )
        return self.project(attended)

    def project(self, attended: jax.Array) -> jax.Array:
        """`[batch, length, heads, kv]` to `[batch, length, embed]`."""
        attended = constrain(attended, "batch", "length", "heads", "kv")
        return self.out(attended.reshape(*attended.shape[:2], -1))

    def _heads(self, projected: jax.Array) -> jax.Array:
        split = projected.reshape(*projected.shape[:-1], self.num_heads, -1)
        return constrain(split, "batch", "length", "heads", "kv")


class Mlp(nnx.Module):
    """The position-wise MLP: product of one or more activated projections, then one back."""

    def __init__(
        self,
        config: T5Config | DecoderConfig,
        *,
        rngs: nnx.Rngs,
        use_bias: bool = False,
        initializers: tuple = (_truncated, _truncated),
    ):
        shared = {"dtype": config.compute_dtype, "rngs": rngs, "use_bias": use_bias}
        inward, outward = initializers
        self.activations = config.mlp_activations
        for name in self._input_names():
            shape = (config.emb_dim, config.mlp_dim)
            setattr(self, name, Dense(shape, ("embed", "mlp"), initializer=inward, **shared))
        shape = (config.mlp_dim, config.emb_dim)
        self.wo = Dense(shape, ("mlp", "embed"), initializer=outward, **shared)
        self.rate = config.dropout_rate

    def __call__(self, x: jax.Array, keep: jax.Array | None) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape; `keep` is `[batch, mlp]`."""
        hidden = None
        for name, activation in zip(self._input_names(), self.activations, strict=True):
            projected = _activate(getattr(self, name)(x), activation)
            hidden = projected if hidden is None else hidden * projected
        assert hidden is not None
        hidden = constrain(drop(hidden, keep, self.rate), "batch", "length", "mlp")
        return self.wo(hidden)

    def _input_names(self) -> list[str]:
        if len(self.activations) == 1:
            return ["wi"]
        return [f"wi_{index}" for index in range(len(self.activations))]


def _activate(x: jax.Array, activation: str) -> jax.Array:
    if activation == "gelu":
        return jax.nn.gelu(x, approximate=True)
    if activation == "silu":
        return jax.nn.silu(x)
    return jax.nn.relu(x) if activation == "relu" else x


class EncoderLayer(nnx.Module):
    """Self-attention and MLP, each normed before and added to the residual stream."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.pre_attention_layer_norm = LayerNorm(config)
        self.attention = Attention(config, rngs=rngs)
        self.pre_mlp_layer_norm = LayerNorm(config)
        self.mlp = Mlp(config, rngs=rngs)
        self.rate = config.dropout_rate

    @staticmethod
    def mask_widths(config: T5Config, length: int) -> dict[str, int]:
        """Widths of the dropout masks of one layer."""
        return {
            "attention_weights": config.num_heads * length,
            "attention": config.emb_dim,
            "mlp_hidden": config.mlp_dim,
            "mlp": config.emb_dim,
        }

    def __call__(self, x: jax.Array, *, bias: Bias, mask: Mask, masks: Masks) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape."""
        normed = self.pre_attention_layer_norm(x)
        keys, values = self.attention.keys_values(normed)
        attended = self.attention.output(
            self.attention.queries(normed),
            keys,
            values,
            bias=bias,
            mask=mask,
            keep=masks.get("attention_weights"),
        )
        x = x + drop(attended, masks.get("attention"), self.rate)
        x = constrain(x, "batch", "length", "embed")
        hidden = self.mlp(self.pre_mlp_layer_norm(x), masks.get("mlp_hidden"))
        x = x + drop(hidden, masks.get("mlp"), self.rate)
        return constrain(x, "batch", "length", "embed")


class DecoderLayer(nnx.Module):
    """Causal self-attention, attention to the encoder's output, and MLP."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.pre_self_attention_layer_norm = LayerNorm(config)
        self.self_attention = Attention(config, rngs=rngs)
        self.pre_cross_attention_layer_norm = LayerNorm(config)
        self.encoder_decoder_attention = Attention(config, rngs=rngs)
        self.pre_mlp_layer_norm = LayerNorm(config)
        self.mlp = Mlp(config, rngs=rngs)
        self.rate = config.dropout_rate

    @staticmethod
    def mask_widths(config: T5Config, length: int, encoded_length: int) -> dict[str, int]:
        """Widths of the dropout masks of one layer."""
        return {
            "self_attention_weights": config.num_heads * length,
            "self_attention": config.emb_dim,
            "cross_attention_weights": config.num_heads * encoded_length,
            "cross_attention": config.emb_dim,
            "mlp_hidden": config.mlp_dim,
            "mlp": config.emb_dim,
        }

    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        *,
        bias: Bias,
        mask: Mask,
        cross_mask: Mask,
        masks: Masks,
    ) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape."""
        x = self.attend_to_targets(x, bias=bias, mask=mask, masks=masks)
        keys, values = self.encoder_decoder_attention.keys_values(encoded)
        attended = self.encoder_decoder_attention.output(
            self.cross_queries(x),
            keys,
            values,
            bias=None,
            mask=cross_mask,
            keep=masks.get("cross_attention_weights"),
        )
        x = x + drop(attended, masks.get("cross_attention"), self.rate)
        return self.feed_forward(x, masks)

    def attend_to_targets(self, x: jax.Array, *, bias: Bias, mask: Mask, masks: Masks) -> jax.Array:
        """The self-attention with its norm and residual."""
        normed = self.pre_self_attention_layer_norm(x)
        keys, values = self.self_attention.keys_values(normed)
        attended = self.self_attention.output(
            self.self_attention.queries(normed),
            keys,
            values,
            bias=bias,
            mask=mask,
            keep=masks.get("self_attention_weights"),
        )
        return x + drop(attended, masks.get("self_attention"), self.rate)

    def cross_queries(self, x: jax.Array) -> jax.Array:
        """What the attention to the encoder asks for: `[batch, length, heads, kv]`."""
        return self.encoder_decoder_attention.queries(self.pre_cross_attention_layer_norm(x))

    def feed_forward(self, x: jax.Array, masks: Masks) -> jax.Array:
        """The MLP with its norm and residual."""
        hidden = self.mlp(self.pre_mlp_layer_norm(x), masks.get("mlp_hidden"))
        x = x + drop(hidden, masks.get("mlp"), self.rate)
        return constrain(x, "batch", "length", "embed")
