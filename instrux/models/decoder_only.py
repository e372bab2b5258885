"""A decoder-only language model as pure functions of one tree of named parameters.

An example is one sequence: a prompt and its target, after `bos_id`. The prompt may be empty. The
settings make it GPT-2's model, Llama's, and shapes between them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from instrux.models import adapters, attention, dropout, layers, products
from instrux.models import decoder_layers as own_layers
from instrux.models.decoder_config import DecoderConfig
from instrux.models.parts import Params, Parts, run_stack, stack_masks
from instrux.models.sharding import constrain

__all__ = ["DecoderConfig", "DecoderOnly"]


@dataclass(frozen=True)
class DecoderOnly:
    """A decoder-only language model.

    Attributes:
        config: its sizes and settings.
    """

    config: DecoderConfig

    def init(self, key: jax.Array) -> Params:
        """Draws parameters as GPT-2 does: a nested dict of float32 arrays.

        Jit it with `out_shardings` to draw them sharded.
        """
        keys = iter(jax.random.split(key, 4))
        config = self.config
        params: Params = {
            "token_embedder": _PARTS.draw("embedder", config, next(keys)),
            "decoder": {
                "layers": _PARTS.draw_stack("layer", config, next(keys), config.num_layers),
                "decoder_norm": _PARTS.draw("norm", config, key),
            },
        }
        if config.positions == "learned":
            params["position_embedder"] = _PARTS.draw("positions", config, next(keys))
        if not config.logits_via_embedding:
            params["decoder"]["logits_dense"] = _PARTS.draw("logits_dense", config, next(keys))
        if config.prompt_length:
            params[adapters.PROMPT] = adapters.draw_prompt(config, jax.random.fold_in(key, 1))
        return params

    def logical_axes(self) -> Params:
        """The tree of `init` with a tuple of logical axis names in place of each array."""
        config = self.config
        tree: Params = {
            "token_embedder": _PARTS.logical_axes("embedder", config),
            "decoder": {
                "layers": _PARTS.logical_axes("layer", config, stacked=True),
                "decoder_norm": _PARTS.logical_axes("norm", config),
            },
        }
        if config.positions == "learned":
            tree["position_embedder"] = _PARTS.logical_axes("positions", config)
        if not config.logits_via_embedding:
            tree["decoder"]["logits_dense"] = _PARTS.logical_axes("logits_dense", config)
        if config.prompt_length:
            tree[adapters.PROMPT] = adapters.PROMPT_AXES
        return tree

    def decode(
        self,
        params: Params,
        tokens: jax.Array,
        segment_ids: jax.Array | None = None,
        positions: jax.Array | None = None,
        prefix: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Runs the model over whole rows at once, for training and scoring.

        Args:
            params: the tree of `init`.
            tokens: int `[batch, length]`. Padding behind the tokens needs no mask.
            segment_ids: int `[batch, length]`: positions see those of their own segment alone.
                Needed for packed rows and for padding before the tokens.
            positions: int `[batch, length]`, from 0 in each segment; 0, 1, 2, … where None.
            prefix: bool or int `[batch, length]`, true for prompts (`bos_id` included); they see
                each other whatever their order if the model is a prefix-LM.
            dropout_key: draws dropout masks; None for no dropout.

        Returns:
            `[batch, length, embed]` in the compute dtype: normed, ready for `logits`.
        """
        config = self.config
        batch, length = tokens.shape
        if positions is None:
            positions = jnp.arange(length, dtype=jnp.int32)[None]
        masks, edges = stack_masks(
            config,
            dropout_key,
            own_layers.LanguageModelLayer.mask_widths(config, length),
            num_layers=config.num_layers,
            batch=batch,
        )
        prefix = prefix.astype(bool) if config.prefix_lm and prefix is not None else None
        mask = attention.decoder_mask(length, segment_ids, prefix)
        by = own_layers.rotation(config, positions)

        def layer(layer_params: Params, layer_masks: dropout.Masks, x: jax.Array) -> jax.Array:
            return self.bind("layer", layer_params)(x, by=by, mask=mask, masks=layer_masks)[0]

        x = dropout.drop(
            self.embed(params, tokens, positions), edges.get("inputs"), config.dropout_rate
        )
        x = self.run_layers(layer, params, masks, x)
        return dropout.drop(self.norm(params, x), edges.get("outputs"), config.dropout_rate)

    def loss_inputs(
        self,
        params: Params,
        batch: Mapping[str, jax.Array],
        *,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Runs the model over a batch for `losses.loss`.

        Args:
            params: the tree of `init`.
            batch: features of `instrux.data.decoder_rows`, `[batch, length]`.
            dropout_key: draws dropout masks; None for no dropout.

        Returns:
            The model's output `[batch, length, embed]`, target ids and their float32 weights, both
            `[batch, length]`: `decoder_loss_weights` where a target stands, `prompt_loss_weight`
            where a prompt does.
        """
        tokens, segment_ids = batch["decoder_input_tokens"], batch["decoder_segment_ids"]
        positions = batch["decoder_positions"]
        held = segment_ids > 0
        tokens = jnp.where(held & (positions == 0), self.config.bos_id, tokens)
        params = adapters.drop_units(self.config, params, dropout_key)
        hidden = self.decode(
            params,
            tokens,
            segment_ids,
            positions,
            batch["decoder_causal_attention"],
            dropout_key,
        )
        weights = batch["decoder_loss_weights"].astype(jnp.float32)
        # Nothing predicts a soft prompt, whose ids are no rows of the logits.
        targets = batch["decoder_target_tokens"]
        of_vocabulary = targets < self.config.vocab_size
        of_prompt = held & (weights == 0.0) & of_vocabulary
        weights = jnp.where(of_prompt, self.config.prompt_loss_weight, weights)
        return hidden, jnp.where(of_vocabulary, targets, 0), weights

    def logits(self, params: Params, hidden: jax.Array) -> jax.Array:
        """Maps `[..., embed]` of `decode` to float32 `[..., vocab]`."""
        hidden, kernel = self.logits_projection(params, hidden)
        return products.map_rows(hidden, kernel, jnp.float32)

    def logits_projection(self, params: Params, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Gives two factors whose product is the logits: `[..., embed]` and `[embed, vocab]`."""
        dtype = self.config.compute_dtype
        if self.config.logits_via_embedding:
            kernel = params["token_embedder"]["embedding"].T
        else:
            kernel = params["decoder"]["logits_dense"]["kernel"]
        hidden = hidden.astype(dtype)
        return hidden, products.as_operand(hidden, kernel)

    def embed(self, params: Params, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        """Looks up `[batch, length]` tokens, and positions where they are learned.

        Returns:
            `[batch, length, embed]` in the compute dtype. Ids from `vocab_size` on are those of the
            soft prompt; see `adapters`. An id or a position out of range gives NaN.
        """
        embedder = self.bind("embedder", params["token_embedder"])
        x = adapters.embed(self.config, embedder, params, tokens)
        if self.config.positions == "learned":
            x = x + self.bind("positions", params["position_embedder"])(positions)
        return constrain(x, "batch", "length", "embed")

    def norm(self, params: Params, x: jax.Array) -> jax.Array:
        """The last norm."""
        return self.bind("norm", params["decoder"]["decoder_norm"])(x)

    def bind(self, part: str, part_params: Params) -> Any:
        """Gives the NNX module of a part (a name of `_PARTS`) with these parameters in it."""
        return _PARTS.bind(part, self.config, part_params)

    def run_layers(self, layer: Any, params: Params, masks: Any, x: Any) -> Any:
        """Runs `x` through all layers; see `parts.run_stack`."""
        settings = {"remat": self.config.remat, "scan_layers": self.config.scan_layers}
        return run_stack(layer, params["decoder"]["layers"], masks, x, **settings)


class PositionEmbedder(nnx.Module):
    """A learned table of positions `[positions, embed]`."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        shape = (config.max_positions, config.emb_dim)
        table = own_layers.initializer(rngs.params(), shape, jnp.float32)
        self.embedding = nnx.Param(table, logical_axes=("positions", "embed"))
        self.dtype = config.compute_dtype

    def __call__(self, positions: jax.Array) -> jax.Array:
        """Looks up `[batch or 1, length]` positions: `[batch or 1, length, embed]`."""
        return jnp.take(self.embedding[...], positions, axis=0, mode="fill").astype(self.dtype)


_PARTS = Parts(
    {
        "embedder": lambda config, rngs: layers.Embedder(config, rngs=rngs, init_stddev=0.02),
        "positions": lambda config, rngs: PositionEmbedder(config, rngs=rngs),
        "layer": lambda config, rngs: adapters.add_factors(
            own_layers.LanguageModelLayer(config, rngs=rngs), "decoder/layers", config, rngs
        ),
        "norm": lambda config, rngs: own_layers.norm(config),
        "logits_dense": lambda config, rngs: layers.Dense(
            (config.emb_dim, config.vocab_size),
            ("embed", "vocab"),
            initializer=own_layers.initializer,
            dtype=config.compute_dtype,
            rngs=rngs,
        ),
    }
)
