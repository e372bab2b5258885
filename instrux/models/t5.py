"""T5 as pure functions of one tree of named parameters.

`T5` is static and hashable; its parameters are a nested dict of float32 arrays under T5X's
names, with the layers of a stack on axis 0. The modules behind it are Flax NNX modules; they are
bound to their parameters only while a function is traced.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from instrux.models import attention, dropout, layers
from instrux.models.config import T5Config
from instrux.models.relative_bias import RelativePositionBias

__all__ = ["T5", "Params", "T5Config"]

Params = dict[str, Any]


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
            return _parameters(_build(part, config, nnx.Rngs(params=next(keys))))

        def draw_stack(part: str, num_layers: int) -> Params:
            def one(layer_key: jax.Array) -> Params:
                return _parameters(_build(part, config, nnx.Rngs(params=layer_key)))

            return jax.vmap(one)(jax.random.split(next(keys), num_layers))

        norm = jnp.ones((config.emb_dim,), jnp.float32)
        params: Params = {
            "token_embedder": draw("embedder"),
            "encoder": {
                "relpos_bias": draw("encoder_bias"),
                "layers": draw_stack("encoder_layer", config.num_encoder_layers),
                "encoder_norm": {"scale": norm},
            },
            "decoder": {
                "relpos_bias": draw("decoder_bias"),
                "layers": draw_stack("decoder_layer", config.num_decoder_layers),
                "decoder_norm": {"scale": norm},
            },
        }
        if not config.logits_via_embedding:
            params["decoder"]["logits_dense"] = draw("logits_dense")
        return params

    def logical_axes(self) -> Params:
        """The tree of `init` with a tuple of logical axis names in place of each array."""

        def axes(part: str) -> Params:
            return _map_variables(_abstract(part, self.config)[1], _logical_axes)

        def stacked(part: str) -> Params:
            variables = _abstract(part, self.config)[1]
            return _map_variables(variables, lambda variable: ("layers", *_logical_axes(variable)))

        tree: Params = {
            "token_embedder": axes("embedder"),
            "encoder": {
                "relpos_bias": axes("encoder_bias"),
                "layers": stacked("encoder_layer"),
                "encoder_norm": axes("norm"),
            },
            "decoder": {
                "relpos_bias": axes("decoder_bias"),
                "layers": stacked("decoder_layer"),
                "decoder_norm": axes("norm"),
            },
        }
        if not self.config.logits_via_embedding:
            tree["decoder"]["logits_dense"] = axes("logits_dense")
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
        masks, edges = self._dropout_masks(
            dropout_key,
            layers.EncoderLayer.mask_widths(self.config, length),
            num_layers=self.config.num_encoder_layers,
            batch=batch,
        )
        stack = params["encoder"]
        bias = self.bind("encoder_bias", stack["relpos_bias"])(length, length)
        mask = attention.encoder_mask(encoder_input_tokens, encoder_segment_ids)

        def layer(layer_params: Params, layer_masks: dropout.Masks, x: jax.Array) -> jax.Array:
            module = self.bind("encoder_layer", layer_params)
            return module(x, bias=bias, mask=mask, masks=layer_masks)

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
        masks, edges = self._dropout_masks(
            dropout_key,
            layers.DecoderLayer.mask_widths(self.config, length, encoded.shape[1]),
            num_layers=self.config.num_decoder_layers,
            batch=batch,
        )
        stack = params["decoder"]
        bias = self.bind("decoder_bias", stack["relpos_bias"])(length, length)
        mask = attention.decoder_mask(length, decoder_segment_ids)
        cross = attention.cross_mask(encoder_input_tokens, encoder_segment_ids, decoder_segment_ids)

        def layer(layer_params: Params, layer_masks: dropout.Masks, x: jax.Array) -> jax.Array:
            module = self.bind("decoder_layer", layer_params)
            return module(x, encoded, bias=bias, mask=mask, cross_mask=cross, masks=layer_masks)

        x = self.embed(params, decoder_input_tokens)
        x = dropout.drop(x, edges.get("inputs"), self.config.dropout_rate)
        x = self._run_stack(layer, stack["layers"], masks, x)
        x = self.bind("norm", stack["decoder_norm"])(x)
        return dropout.drop(x, edges.get("outputs"), self.config.dropout_rate)

    def logits(self, params: Params, hidden: jax.Array) -> jax.Array:
        """Maps `[..., embed]` of `decode` to float32 `[..., vocab]`."""
        hidden, kernel = self.logits_projection(params, hidden)
        return jnp.dot(hidden, kernel, preferred_element_type=jnp.float32)

    def logits_projection(self, params: Params, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Gives two factors whose product is the logits: `[..., embed]` and `[embed, vocab]`."""
        dtype = self.config.compute_dtype
        if self.config.logits_via_embedding:
            scaled = hidden * jnp.asarray(self.config.emb_dim**-0.5, hidden.dtype)
            return scaled.astype(dtype), params["token_embedder"]["embedding"].T.astype(dtype)
        kernel = params["decoder"]["logits_dense"]["kernel"]
        return hidden.astype(dtype), kernel.astype(dtype)

    def embed(self, params: Params, tokens: jax.Array) -> jax.Array:
        """Looks up `[batch, length]` token ids: `[batch, length, embed]` in the compute dtype."""
        return self.bind("embedder", params["token_embedder"])(tokens)

    def bind(self, part: str, part_params: Params) -> Any:
        """Gives the NNX module of a part (a key of `_PARTS`) with these parameters in it."""
        graphdef, variables = _abstract(part, self.config)
        return nnx.merge(graphdef, _fill(variables, part_params))

    def _dropout_masks(
        self, key: jax.Array | None, widths: dict[str, int], *, num_layers: int, batch: int
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Masks of the layers, `[layers, batch, width]`, and of the stack's inputs and outputs."""
        rate = self.config.dropout_rate
        if key is None or rate == 0.0:
            return {}, {}
        key = dropout.with_generator(key, self.config.random_bits)
        layers_key, edges_key = jax.random.split(key)
        masks = dropout.keep_masks(layers_key, rate, widths, leading=(num_layers, batch))
        edge_widths = {"inputs": self.config.emb_dim, "outputs": self.config.emb_dim}
        return masks, dropout.keep_masks(edges_key, rate, edge_widths, leading=(batch,))

    def _run_stack(
        self,
        layer: Callable[[Params, dropout.Masks, jax.Array], jax.Array],
        stacked_params: Params,
        masks: dict[str, jax.Array],
        x: jax.Array,
    ) -> jax.Array:
        """Runs `x` through the layers, scanned or written out."""
        layer = _rematerialize(layer, self.config.remat)
        if not self.config.scan_layers:
            for layer_params, layer_masks in unstack((stacked_params, masks)):
                x = layer(layer_params, layer_masks, x)
            return x

        def body(carry: jax.Array, layer_inputs: Any) -> tuple[jax.Array, None]:
            layer_params, layer_masks = layer_inputs
            return layer(layer_params, layer_masks, carry), None

        return jax.lax.scan(body, x, (stacked_params, masks))[0]


def unstack(tree: Any) -> list[Any]:
    """Splits a tree of arrays along axis 0 into a list of trees."""
    # jnp.unstack's gradient is one concatenation, where indexing would add up padded copies.
    leaves, treedef = jax.tree.flatten(tree)
    return [
        jax.tree.unflatten(treedef, one)
        for one in zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True)
    ]


def _rematerialize(layer: Callable, policy: str) -> Callable:
    if policy == "none":
        return layer
    if policy == "dots":
        saveable = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        return jax.checkpoint(layer, policy=saveable)
    return jax.checkpoint(layer)


_PARTS: dict[str, Callable[[T5Config, nnx.Rngs], nnx.Module]] = {
    "embedder": lambda config, rngs: layers.Embedder(config, rngs=rngs),
    "encoder_bias": lambda config, rngs: RelativePositionBias(
        config, bidirectional=True, rngs=rngs
    ),
    "decoder_bias": lambda config, rngs: RelativePositionBias(
        config, bidirectional=False, rngs=rngs
    ),
    "encoder_layer": lambda config, rngs: layers.EncoderLayer(config, rngs=rngs),
    "decoder_layer": lambda config, rngs: layers.DecoderLayer(config, rngs=rngs),
    "norm": lambda config, rngs: layers.LayerNorm(config),
    "logits_dense": lambda config, rngs: layers.Dense(
        (config.emb_dim, config.vocab_size),
        ("embed", "vocab"),
        initializer=jax.nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
        dtype=config.compute_dtype,
        rngs=rngs,
    ),
}


def _build(part: str, config: T5Config, rngs: nnx.Rngs) -> nnx.Module:
    return _PARTS[part](config, rngs)


def _parameters(module: nnx.Module) -> Params:
    return nnx.to_pure_dict(nnx.state(module, nnx.Param))


@functools.cache
def _abstract(part: str, config: T5Config) -> tuple[Any, Any]:
    """The graph of a part, and its variables with shapes in place of values."""
    module = nnx.eval_shape(lambda: _build(part, config, nnx.Rngs(params=0)))
    graphdef, variables = nnx.split(module)
    return graphdef, variables


def _map_variables(state: Any, function: Callable[[nnx.Variable], Any]) -> Params:
    if isinstance(state, nnx.Variable):
        return function(state)
    return {name: _map_variables(state[name], function) for name in state}


def _logical_axes(variable: nnx.Variable) -> tuple[str, ...]:
    return variable.get_metadata()["logical_axes"]


def _fill(state: Any, values: Params) -> Any:
    if isinstance(state, nnx.Variable):
        return state.replace(values)
    return nnx.State({name: _fill(state[name], values[name]) for name in state})
