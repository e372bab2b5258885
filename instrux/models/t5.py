"""T5 as pure functions of one tree of named parameters.

`T5` is static and hashable; its parameters are a nested dict of float32 arrays under T5X's
names, with the layers of a stack on axis 0. The modules behind it are Flax NNX modules; they are
bound to their parameters only while a function is traced.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from instrux.models import adapters, attention, dropout, layers, products
from instrux.models.config import T5Config
from instrux.models.parts import Params, Parts, run_stack, stack_masks, unstack
from instrux.models.relative_bias import RelativePositionBias

__all__ = ["T5", "Params", "T5Config", "unstack"]


@dataclass(frozen=True)
class T5:
    """A T5 encoder-decoder.

    Attributes:
        config: its sizes and settings.
    """

    config: T5Config

    def init(self, key: jax.Array) -> Params:
        """Draws parameters as T5 does: a nested dict of float32 arrays.

        Jit it with `out_shardings` to draw them sharded.
        """
        keys = iter(jax.random.split(key, 6))
        config = self.config

        def draw(part: str) -> Params:
            return _PARTS.draw(part, config, next(keys))

        def draw_layers(stack: str, num_layers: int) -> Params:
            tables = draw_tables(stack, num_layers)
            layers = _PARTS.draw_stack(f"{stack}_layer", config, next(keys), num_layers)
            if config.relpos_per_layer:
                return {"layers": layers | {"relpos_bias": tables}}
            return {"relpos_bias": tables, "layers": layers}

        def draw_tables(stack: str, num_layers: int) -> Params:
            if config.relpos_per_layer:
                return _PARTS.draw_stack(f"{stack}_bias", config, next(keys), num_layers)
            return draw(f"{stack}_bias")

        norm = jnp.ones((config.emb_dim,), jnp.float32)
        params: Params = {
            "token_embedder": draw("embedder"),
            "encoder": {
                **draw_layers("encoder", config.num_encoder_layers),
                "encoder_norm": {"scale": norm},
            },
            "decoder": {
                **draw_layers("decoder", config.num_decoder_layers),
                "decoder_norm": {"scale": norm},
            },
        }
        if not config.logits_via_embedding:
            params["decoder"]["logits_dense"] = draw("logits_dense")
        if config.prompt_length:
            params[adapters.PROMPT] = adapters.draw_prompt(config, jax.random.fold_in(key, 1))
        return params

    def logical_axes(self) -> Params:
        """The tree of `init` with a tuple of logical axis names in place of each array."""

        def axes(part: str, *, stacked: bool = False) -> Params:
            return _PARTS.logical_axes(part, self.config, stacked=stacked)

        def layer_axes(stack: str) -> Params:
            per_layer = self.config.relpos_per_layer
            tables = {"relpos_bias": axes(f"{stack}_bias", stacked=per_layer)}
            layers = axes(f"{stack}_layer", stacked=True)
            return {"layers": layers | tables} if per_layer else {**tables, "layers": layers}

        tree: Params = {
            "token_embedder": axes("embedder"),
            "encoder": {**layer_axes("encoder"), "encoder_norm": axes("norm")},
            "decoder": {**layer_axes("decoder"), "decoder_norm": axes("norm")},
        }
        if not self.config.logits_via_embedding:
            tree["decoder"]["logits_dense"] = axes("logits_dense")
        if self.config.prompt_length:
            tree[adapters.PROMPT] = adapters.PROMPT_AXES
        return tree

    def encode(
        self,
        params: Params,
        encoder_input_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        encoder_positions: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Encodes inputs.

        Args:
            params: the tree of `init`.
            encoder_input_tokens: int `[batch, length]`, 0 for padding.
            encoder_segment_ids: int `[batch, length]` for packed rows: 1, 2, ... for the
                examples of a row, 0 for padding. Without it, all tokens but padding are seen.
            encoder_positions: unused, since T5 knows differences of positions only, and these are
                differences of indices; taken so that a batch may be passed whole.
            dropout_key: draws dropout masks; None for no dropout.

        Returns:
            `[batch, length, embed]` in the compute dtype.
        """
        del encoder_positions
        batch, length = encoder_input_tokens.shape
        masks, edges = stack_masks(
            self.config,
            dropout_key,
            layers.EncoderLayer.mask_widths(self.config, length),
            num_layers=self.config.num_encoder_layers,
            batch=batch,
        )
        stack = params["encoder"]
        fused = self._fused(length, length)
        bias_of = self.layer_bias("encoder", stack, length, fused=fused)
        if fused:
            mask = attention.encoder_segments(encoder_input_tokens, encoder_segment_ids)
        else:
            mask = attention.encoder_mask(encoder_input_tokens, encoder_segment_ids)

        def layer(layer_params: Params, layer_masks: dropout.Masks, x: jax.Array) -> jax.Array:
            module = self.bind("encoder_layer", layer_params)
            return module(x, bias=bias_of(layer_params), mask=mask, masks=layer_masks)

        x = self.embed(params, encoder_input_tokens)
        x = dropout.drop(x, edges.get("inputs"), self.config.dropout_rate)
        x = self._run_stack(layer, stack["layers"], masks, x)
        x = self.bind("norm", stack["encoder_norm"])(x)
        return dropout.drop(x, edges.get("outputs"), self.config.dropout_rate)

    def decode(
        self,
        params: Params,
        encoded: jax.Array,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        decoder_positions: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Runs the decoder over whole targets at once, for training and scoring.

        Args:
            params: the tree of `init`.
            encoded: what `encode` gave, `[batch, encoder length, embed]`.
            encoder_input_tokens: int `[batch, encoder length]`, 0 for padding.
            decoder_input_tokens: int `[batch, length]`: the targets shifted right by one, 0 first.
            encoder_segment_ids: as for `encode`.
            decoder_segment_ids: int `[batch, length]` for packed rows; give both or neither.
            decoder_positions: unused; see `encode`.
            dropout_key: draws dropout masks; None for no dropout.

        Returns:
            `[batch, length, embed]` in the compute dtype: normed, ready for `logits`.
        """
        del decoder_positions
        batch, length = decoder_input_tokens.shape
        masks, edges = stack_masks(
            self.config,
            dropout_key,
            layers.DecoderLayer.mask_widths(self.config, length, encoded.shape[1]),
            num_layers=self.config.num_decoder_layers,
            batch=batch,
        )
        stack = params["decoder"]
        fused = self._fused(length, length)
        bias_of = self.layer_bias("decoder", stack, length, fused=fused)
        if fused:
            mask = attention.decoder_segments(decoder_input_tokens, decoder_segment_ids)
        else:
            mask = attention.decoder_mask(length, decoder_segment_ids)
        encoder_side = (encoder_input_tokens, encoder_segment_ids)
        if self._fused(length, encoded.shape[1]):
            cross = attention.cross_segments(
                *encoder_side, decoder_input_tokens, decoder_segment_ids
            )
        else:
            cross = attention.cross_mask(*encoder_side, decoder_segment_ids)

        def layer(layer_params: Params, layer_masks: dropout.Masks, x: jax.Array) -> jax.Array:
            module = self.bind("decoder_layer", layer_params)
            bias = bias_of(layer_params)
            return module(x, encoded, bias=bias, mask=mask, cross_mask=cross, masks=layer_masks)

        x = self.embed(params, decoder_input_tokens)
        x = dropout.drop(x, edges.get("inputs"), self.config.dropout_rate)
        x = self._run_stack(layer, stack["layers"], masks, x)
        x = self.bind("norm", stack["decoder_norm"])(x)
        return dropout.drop(x, edges.get("outputs"), self.config.dropout_rate)

    def logits(self, params: Params, hidden: jax.Array) -> jax.Array:
        """Maps `[..., embed]` of `decode` to float32 `[..., vocab]`."""
        hidden, kernel = self.logits_projection(params, hidden)
        return products.map_rows(hidden, kernel, jnp.float32)

    def logits_projection(self, params: Params, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Gives two factors whose product is the logits: `[..., embed]` and `[embed, vocab]`."""
        dtype = self.config.compute_dtype
        if self.config.logits_via_embedding:
            scaled = hidden * jnp.asarray(self.config.emb_dim**-0.5, hidden.dtype)
            return scaled.astype(dtype), params["token_embedder"]["embedding"].T.astype(dtype)
        kernel = params["decoder"]["logits_dense"]["kernel"]
        hidden = hidden.astype(dtype)
        return hidden, products.as_operand(hidden, kernel)

    def embed(self, params: Params, tokens: jax.Array) -> jax.Array:
        """Looks up `[batch, length]` token ids: `[batch, length, embed]` in the compute dtype.

        Ids from `vocab_size` on are those of the soft prompt; see `adapters`.
        """
        embedder = self.bind("embedder", params["token_embedder"])
        return adapters.embed(self.config, embedder, params, tokens)

    def bind(self, part: str, part_params: Params) -> Any:
        """Gives the NNX module of a part (a name of `_PARTS`) with these parameters in it."""
        return _PARTS.bind(part, self.config, part_params)

    def layer_bias(
        self, stack: str, stack_params: Params, length: int, *, fused: bool = False
    ) -> Callable[[Params], layers.Bias]:
        """The relative position bias of a stack's layers, as a function of one layer's parameters.

        Args:
            stack: `encoder` or `decoder`.
            stack_params: that part of the tree of `init`.
            length: positions of queries and keys.
            fused: give it as the kernel takes it, before it is spread over positions.
        """

        def spread(holder: Params) -> layers.Bias:
            bias = self.bind(f"{stack}_bias", holder["relpos_bias"])
            return bias.table() if fused else bias(length, length)

        if self.config.relpos_per_layer:
            return spread
        shared = spread(stack_params)
        return lambda layer_params: shared

    def _fused(self, query_length: int, key_length: int) -> bool:
        """Whether attention runs in the kernel that takes tables and segments."""
        config = self.config
        chosen = attention.choose(
            config.attention,
            dtype=config.compute_dtype,
            heads_and_width=(config.num_heads, config.head_dim),
            lengths=(query_length, key_length),
        )
        return chosen == "pallas"

    def _run_stack(self, layer: Any, stacked_params: Params, masks: Any, x: jax.Array) -> jax.Array:
        settings = {"remat": self.config.remat, "scan_layers": self.config.scan_layers}
        return run_stack(layer, stacked_params, masks, x, **settings)

    def loss_inputs(
        self,
        params: Params,
        batch: Mapping[str, jax.Array],
        *,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Runs the model over a batch for `losses.loss`, which documents it.

        Returns:
            The decoder's output `[batch, length, embed]`, target ids and their float32 weights,
            both `[batch, length]`.
        """
        keys = (None, None) if dropout_key is None else tuple(jax.random.split(dropout_key))
        params = adapters.drop_units(self.config, params, keys[0])
        encoded = self.encode(
            params,
            batch["encoder_input_tokens"],
            batch.get("encoder_segment_ids"),
            dropout_key=keys[0],
        )
        hidden = self.decode(
            params,
            encoded,
            batch["encoder_input_tokens"],
            batch["decoder_input_tokens"],
            batch.get("encoder_segment_ids"),
            batch.get("decoder_segment_ids"),
            dropout_key=keys[1],
        )
        targets = batch["decoder_target_tokens"]
        weights = batch.get("decoder_loss_weights")
        weights = targets > 0 if weights is None else weights
        return hidden, targets, weights.astype(jnp.float32)


_PARTS = Parts(
    {
        "embedder": lambda config, rngs: layers.Embedder(config, rngs=rngs),
        "encoder_bias": lambda config, rngs: RelativePositionBias(
            config, bidirectional=True, rngs=rngs
        ),
        "decoder_bias": lambda config, rngs: RelativePositionBias(
            config, bidirectional=False, rngs=rngs
        ),
        "encoder_layer": lambda config, rngs: adapters.add_factors(
            layers.EncoderLayer(config, rngs=rngs), "encoder/layers", config, rngs
        ),
        "decoder_layer": lambda config, rngs: adapters.add_factors(
            layers.DecoderLayer(config, rngs=rngs), "decoder/layers", config, rngs
        ),
        "norm": lambda config, rngs: layers.LayerNorm(config),
        "logits_dense": lambda config, rngs: layers.Dense(
            (config.emb_dim, config.vocab_size),
            ("embed", "vocab"),
            initializer=jax.nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
            dtype=config.compute_dtype,
            rngs=rngs,
        ),
    }
)
