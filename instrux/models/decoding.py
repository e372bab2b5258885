"""Cached decoding: greedy, and sampling with a temperature.

The input is encoded once and its keys and values are computed once. A step costs one position,
and the loop ends when every row has produced the end of its target.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from instrux.errors import InputError
from instrux.models import attention
from instrux.models.decoder_only import DecoderOnly
from instrux.models.families import Model
from instrux.models.layers import LayerCache
from instrux.models.parts import Params, unstack
from instrux.models.prompts import CachedLanguageModel
from instrux.models.sharding import current_rules
from instrux.models.t5 import T5

_Choose = Callable[[jax.Array, jax.Array], jax.Array]


def greedy(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array,
    *,
    max_decode_length: int,
    eos_id: int = 1,
) -> jax.Array:
    """Decodes the most probable token at each step.

    Compiled once for each shape and setting.

    Args:
        model: the model.
        params: its parameters.
        encoder_input_tokens: int `[batch, length]`, 0 for padding: inputs of an encoder, or
            prompts of a decoder-only model.
        max_decode_length: tokens to decode at most, the end included.
        eos_id: the token that ends a target.

    Returns:
        int32 `[batch, max_decode_length]`; 0 after `eos_id`.
    """
    _check_length(max_decode_length)
    return _decode_jitted(
        model,
        params,
        encoder_input_tokens,
        jax.random.key(0),
        max_decode_length=max_decode_length,
        eos_id=eos_id,
        temperature=0.0,
        top_k=0,
        rules=current_rules(),
    )


def sample(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array,
    key: jax.Array,
    *,
    max_decode_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    eos_id: int = 1,
) -> jax.Array:
    """Draws each token from the model's distribution.

    Args:
        model: the model.
        params: its parameters.
        encoder_input_tokens: int `[batch, length]`, 0 for padding.
        key: draws the tokens; a row's tokens depend on its place in the batch.
        max_decode_length: tokens to decode at most, the end included.
        temperature: divides the logits, above 0.
        top_k: draw from the `top_k` most probable tokens only; 0 for all.
        eos_id: the token that ends a target.

    Returns:
        int32 `[batch, max_decode_length]`; 0 after `eos_id`.
    """
    _check_length(max_decode_length)
    if not temperature > 0.0:
        raise InputError(f"temperature = {temperature}: give one above 0, or decode greedily")
    if not 0 <= top_k <= model.config.vocab_size:
        raise InputError(f"top_k = {top_k}: give 0 to {model.config.vocab_size}")
    return _decode_jitted(
        model,
        params,
        encoder_input_tokens,
        key,
        max_decode_length=max_decode_length,
        eos_id=eos_id,
        temperature=float(temperature),
        top_k=top_k,
        rules=current_rules(),
    )


class CachedDecoder:
    """The decoder, one position at a time, over one batch of encoded inputs.

    Make it inside a jitted function: it takes the stacked parameters apart.
    """

    def __init__(
        self,
        model: T5,
        params: Params,
        encoder_input_tokens: jax.Array,
        *,
        decode_length: int,
    ):
        self._model = model
        self._params = params
        self._length = decode_length
        layers = unstack(params["decoder"]["layers"])
        self._layers = [model.bind("decoder_layer", layer) for layer in layers]
        self._cross_mask = attention.cross_mask(encoder_input_tokens, None, None)
        bias = model.bind("decoder_bias", params["decoder"]["relpos_bias"])
        self._bias = bias(decode_length, decode_length)

    def start(self, encoded: jax.Array) -> list[LayerCache]:
        """The caches of all layers before the first step; `encoded` is what `encode` gave."""
        return [layer.empty_cache(encoded, self._length) for layer in self._layers]

    def step(
        self, tokens: jax.Array, caches: list[LayerCache], index: jax.Array
    ) -> tuple[jax.Array, list[LayerCache]]:
        """Feeds one token a row.

        Args:
            tokens: int `[batch]`, the decoder's input at `index` (0 at the first).
            caches: as `start` or the last step gave them.
            index: the position, an int scalar below the decode length.

        Returns:
            float32 logits `[batch, vocab]` of the next token, and the caches.
        """
        x = self._model.embed(self._params, tokens[:, None])
        bias = jax.lax.dynamic_slice_in_dim(self._bias, index, 1, axis=2)
        mask = (jnp.arange(self._length) <= index)[None, None, None, :]
        updated = []
        for layer, cache in zip(self._layers, caches, strict=True):
            x, cache = layer.step(
                x, cache, index=index, bias=bias, mask=mask, cross_mask=self._cross_mask
            )
            updated.append(cache)
        x = self._model.bind("norm", self._params["decoder"]["decoder_norm"])(x)
        return self._model.logits(self._params, x)[:, 0], updated


class _State(NamedTuple):
    index: jax.Array
    tokens: jax.Array
    decoded: jax.Array
    done: jax.Array
    key: jax.Array
    caches: Any


@functools.partial(
    jax.jit,
    static_argnames=("model", "max_decode_length", "eos_id", "temperature", "top_k", "rules"),
)
def _decode_jitted(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array,
    key: jax.Array,
    *,
    max_decode_length: int,
    eos_id: int,
    temperature: float,
    top_k: int,
    rules: Any,
) -> jax.Array:
    del rules  # in force while this is traced; an argument so that other rules trace anew
    decoder, first_tokens, caches = _start(
        model, params, encoder_input_tokens, decode_length=max_decode_length
    )
    choose = _chooser(temperature, top_k)
    batch = encoder_input_tokens.shape[0]

    def unfinished(state: _State) -> jax.Array:
        return (state.index < max_decode_length) & ~jnp.all(state.done)

    def advance(state: _State) -> _State:
        logits, caches = decoder.step(state.tokens, state.caches, state.index)
        key, draw_key = jax.random.split(state.key)
        tokens = jnp.where(state.done, 0, choose(logits, draw_key).astype(jnp.int32))
        decoded = jax.lax.dynamic_update_slice_in_dim(
            state.decoded, tokens[:, None], state.index, axis=1
        )
        done = state.done | (tokens == eos_id)
        return _State(state.index + 1, tokens, decoded, done, key, caches)

    start = _State(
        index=jnp.zeros((), jnp.int32),
        tokens=first_tokens.astype(jnp.int32),
        decoded=jnp.zeros((batch, max_decode_length), jnp.int32),
        # A row of padding alone has nothing to decode.
        done=~jnp.any(encoder_input_tokens > 0, axis=1),
        key=key,
        caches=caches,
    )
    return jax.lax.while_loop(unfinished, advance, start).decoded


def _start(
    model: Model, params: Params, inputs: jax.Array, *, decode_length: int
) -> tuple[CachedDecoder | CachedLanguageModel, jax.Array, Any]:
    """What makes the steps, the tokens `[batch]` that the first is fed, and its caches."""
    if isinstance(model, DecoderOnly):
        prompted = CachedLanguageModel(model, params, inputs, decode_length=decode_length)
        return prompted, prompted.first_tokens, prompted.start()
    encoded = model.encode(params, inputs)
    decoder = CachedDecoder(model, params, inputs, decode_length=decode_length)
    return decoder, jnp.zeros(inputs.shape[:1], jnp.int32), decoder.start(encoded)


def _chooser(temperature: float, top_k: int) -> _Choose:
    """How the next token `[batch]` comes of logits `[batch, vocab]` and a key."""

    def draw(logits: jax.Array, key: jax.Array) -> jax.Array:
        if top_k:
            lowest = jax.lax.top_k(logits, top_k)[0][:, -1:]
            logits = jnp.where(logits >= lowest, logits, -jnp.inf)
        return jax.random.categorical(key, logits / temperature, axis=-1)

    if temperature == 0.0:
        return lambda logits, key: jnp.argmax(logits, axis=-1)
    return draw


def _check_length(max_decode_length: int) -> None:
    if max_decode_length < 1:
        raise InputError(f"max_decode_length = {max_decode_length}: give at least 1")
