"""T5's decoder, one position at a time, over inputs that are encoded once.

The keys and values of an input are computed once and never copied, however many targets are
decoded for it: within attention, its targets stand side by side as one row's queries. For few
steps on a lone CPU they are not computed at all; see `absorbed_attention`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from instrux.models import absorbed_attention, attention
from instrux.models.attention import attend_heads_first, heads_first
from instrux.models.encoding import encode_inputs, on_lone_cpu
from instrux.models.layers import DecoderLayer
from instrux.models.parts import Params, unstack
from instrux.models.t5 import T5


class LayerCache(NamedTuple):
    """Keys and values of a layer's targets so far, each `[batch * copies, heads, length, kv]`."""

    keys: jax.Array
    values: jax.Array


class CachedDecoder:
    """The decoder over one batch of encoded inputs.

    Make it inside a jitted function: it takes the stacked parameters apart.

    Attributes:
        first_tokens: int `[batch * copies]`, what the first step is fed.
    """

    def __init__(
        self,
        model: T5,
        params: Params,
        encoder_input_tokens: jax.Array,
        *,
        decode_length: int,
        copies: int = 1,
    ):
        """Encodes the inputs.

        Args:
            model: the model.
            params: its parameters.
            encoder_input_tokens: int `[batch, encoder length]`, 0 for padding.
            decode_length: how many steps there are at most.
            copies: how many targets are decoded for each input, side by side.
        """
        self._model, self._params = model, params
        self._length, self._copies = decode_length, copies
        self._batch = encoder_input_tokens.shape[0]
        layers = unstack(params["decoder"]["layers"])
        self._layers: list[DecoderLayer] = [model.bind("decoder_layer", layer) for layer in layers]
        encoded = encode_inputs(model, params, encoder_input_tokens)
        self._absorbed = on_lone_cpu() and absorbed_attention.pays(
            model.config, decode_length * copies
        )
        self._prepare(encoded)
        self._cross_mask = attention.cross_mask(encoder_input_tokens, None, None)
        bias_of = model.layer_bias("decoder", params["decoder"], decode_length)
        self._biases = [bias_of(layer) for layer in layers]
        self.first_tokens = jnp.zeros((self._batch * copies,), jnp.int32)

    def _prepare(self, encoded: jax.Array) -> None:
        """What each layer's attention to the inputs reads at every step."""
        layers = [layer.encoder_decoder_attention for layer in self._layers]
        self._inputs: absorbed_attention.StepInputs | None = None
        if self._absorbed:
            self._inputs = absorbed_attention.step_inputs(encoded)
            self._encoded = [absorbed_attention.step_kernels(layer) for layer in layers]
        else:
            self._encoded = [
                tuple(map(heads_first, layer.keys_values(encoded))) for layer in layers
            ]

    def start(self) -> list[LayerCache]:
        """The caches of all layers before the first step."""
        config = self._model.config
        shape = (self._batch * self._copies, config.num_heads, self._length, config.head_dim)
        empty = jnp.zeros(shape, config.compute_dtype)
        return [LayerCache(empty, empty) for _ in self._layers]

    def step(
        self, tokens: jax.Array, caches: list[LayerCache], index: jax.Array
    ) -> tuple[jax.Array, list[LayerCache]]:
        """Feeds one token a target.

        Args:
            tokens: int `[batch * copies]`, the decoder's input at `index`.
            caches: as `start` or the last step gave them.
            index: the position, an int scalar below the decode length.

        Returns:
            float32 logits `[batch * copies, vocab]` of the next token, and the caches.
        """
        x = self._model.embed(self._params, tokens[:, None])
        mask = (jnp.arange(self._length) <= index)[None, None, None, :]
        updated = []
        of_layers = zip(self._layers, caches, self._encoded, self._biases, strict=True)
        for layer, cache, encoded, bias in of_layers:
            assert isinstance(bias, jax.Array)
            bias = jax.lax.dynamic_slice_in_dim(bias, index, 1, axis=2)
            attended, cache = _attend_to_targets(layer, x, cache, index=index, bias=bias, mask=mask)
            x = x + attended
            x = x + self._attend_to_inputs(layer, x, encoded)
            x = layer.feed_forward(x, {})
            updated.append(cache)
        x = self._model.bind("norm", self._params["decoder"]["decoder_norm"])(x)
        return self._model.logits(self._params, x)[:, 0], updated

    def _attend_to_inputs(
        self, layer: DecoderLayer, x: jax.Array, encoded: tuple[jax.Array, ...]
    ) -> jax.Array:
        """The cross-attention of `[batch * copies, 1, embed]`, to the same shape."""
        queries = layer.cross_queries(x)
        queries = queries.reshape(self._batch, self._copies, *queries.shape[2:])
        if isinstance(encoded, absorbed_attention.StepKernels):
            assert self._inputs is not None
            attended = absorbed_attention.attend_step(
                queries, encoded, self._inputs, self._cross_mask
            )
        else:
            keys, values = encoded
            attended = heads_first(
                attend_heads_first(
                    heads_first(queries), keys, values, bias=None, mask=self._cross_mask
                )
            )
        return layer.encoder_decoder_attention.project(attended).reshape(x.shape)


def _attend_to_targets(
    layer: DecoderLayer,
    x: jax.Array,
    cache: LayerCache,
    *,
    index: jax.Array,
    bias: jax.Array,
    mask: jax.Array,
) -> tuple[jax.Array, LayerCache]:
    """The self-attention of `[batch * copies, 1, embed]`, and the cache with this position in it."""
    own = layer.self_attention
    normed = layer.pre_self_attention_layer_norm(x)
    new = map(heads_first, own.keys_values(normed))
    cache = LayerCache(
        *(
            jax.lax.dynamic_update_slice_in_dim(array, one, index, axis=2)
            for array, one in zip(cache, new, strict=True)
        )
    )
    queries = heads_first(own.queries(normed))
    attended = attend_heads_first(queries, cache.keys, cache.values, bias=bias, mask=mask)
    return own.project(heads_first(attended)), cache
