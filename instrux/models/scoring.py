"""Rank classification: the log-probability of each answer choice given its input.

An input is encoded once, and the decoder's keys and values of it are computed once or, where choices
are short, not at all, whatever the number of its choices. Choices lie in one flat list, so inputs may differ in how many they have.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from instrux.errors import InputError
from instrux.models import absorbed_attention, attention, losses
from instrux.models.decoder_only import DecoderOnly
from instrux.models.encoding import encode_inputs
from instrux.models.families import Model
from instrux.models.parts import Params, unstack
from instrux.models.prompts import read_choices
from instrux.models.sharding import current_rules
from instrux.models.t5 import T5


def score_choices(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array | np.ndarray,
    choice_tokens: jax.Array | np.ndarray,
    choice_owner: jax.Array | np.ndarray,
) -> jax.Array:
    """Scores choices by the sum of their tokens' log-probabilities, the end included.

    There is no division by length (T0 paper, section 5.2). Compiled once for each shape and each
    power of two of the most choices of one input, so pad batches to few shapes.

    Args:
        model: the model.
        params: its parameters.
        encoder_input_tokens: int `[batch, encoder length]`, 0 for padding: inputs of an encoder,
            or prompts of a decoder-only model.
        choice_tokens: int `[choices, choice length]`, all choices of the batch, each with the end
            of sequence and then 0.
        choice_owner: int `[choices]`, the row of each choice's input. It is read on the host. A
            choice that is there as padding has tokens all 0, and any owner.

    Returns:
        float32 `[choices]`; 0 for padding.
    """
    owner = np.asarray(choice_owner)
    batch = encoder_input_tokens.shape[0]
    if owner.shape != choice_tokens.shape[:1]:
        raise InputError(f"choice_owner has shape {owner.shape} for choices {choice_tokens.shape}")
    if owner.size == 0:
        return jnp.zeros((0,), jnp.float32)
    if owner.min() < 0 or owner.max() >= batch:
        raise InputError(f"choice_owner names rows {owner.min()} to {owner.max()} of {batch}")
    slots = 1 << int(np.bincount(owner).max() - 1).bit_length()
    return _score_jitted(
        model,
        params,
        jnp.asarray(encoder_input_tokens),
        jnp.asarray(choice_tokens),
        jnp.asarray(owner, jnp.int32),
        jnp.asarray(_ranks(owner)),
        slots=slots,
        rules=current_rules(),
    )


def _ranks(owner: np.ndarray) -> np.ndarray:
    """The number of earlier choices of the same owner, int32 `[choices]`."""
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], owner[order], side="left")
    ranks = np.empty(owner.shape, np.int32)
    ranks[order] = np.arange(owner.size) - starts
    return ranks


@functools.partial(jax.jit, static_argnames=("model", "slots", "rules"))
def _score_jitted(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array,
    choice_tokens: jax.Array,
    owner: jax.Array,
    ranks: jax.Array,
    *,
    slots: int,
    rules: Any,
) -> jax.Array:
    del rules  # in force while this is traced; an argument so that other rules trace anew
    place = owner * slots + ranks
    if isinstance(model, DecoderOnly):
        hidden = read_choices(
            model, params, encoder_input_tokens, choice_tokens, owner, place, slots
        )
    else:
        encoded = encode_inputs(model, params, encoder_input_tokens)
        inputs = jnp.pad(choice_tokens[:, :-1], ((0, 0), (1, 0)))
        hidden = _decode_choices(model, params, encoded, encoder_input_tokens, inputs, place, slots)
    hidden, kernel = model.logits_projection(params, hidden)
    scores = losses.log_probabilities(
        hidden, kernel, choice_tokens, chunk_mib=model.config.logits_chunk_mib
    )
    return jnp.sum(jnp.where(choice_tokens > 0, scores, 0.0), axis=1)


def _decode_choices(
    model: T5,
    params: Params,
    encoded: jax.Array,
    encoder_input_tokens: jax.Array,
    decoder_input_tokens: jax.Array,
    position: jax.Array,
    slots: int,
) -> jax.Array:
    """The decoder's output `[choices, length, embed]`.

    Where a choice looks at its input, the queries of all choices of that input stand in one row,
    at `position` of `[batch * slots]`. So keys and values are never copied for a choice.
    """
    batch, length = encoded.shape[0], decoder_input_tokens.shape[1]
    stack = params["decoder"]
    bias = model.bind("decoder_bias", stack["relpos_bias"])(length, length)
    mask = attention.decoder_mask(length, None)
    cross_mask = attention.cross_mask(encoder_input_tokens, None, None)
    x = model.embed(params, decoder_input_tokens)

    def run_layer(layer_params: Params, x: jax.Array) -> jax.Array:
        layer = model.bind("decoder_layer", layer_params)
        x = layer.attend_to_targets(x, bias=bias, mask=mask, masks={})
        cross = layer.encoder_decoder_attention
        queries = layer.cross_queries(x)
        rows = (
            jnp.zeros((batch * slots, *queries.shape[1:]), queries.dtype).at[position].set(queries)
        )
        rows = rows.reshape(batch, slots * length, *queries.shape[2:])
        if absorbed_attention.pays(model.config, slots * length):
            attended = absorbed_attention.attend(cross, rows, encoded, cross_mask)
        else:
            keys, values = cross.keys_values(encoded)
            attended = cross.output(rows, keys, values, bias=None, mask=cross_mask)
        x = x + attended.reshape(batch * slots, length, -1)[position]
        return layer.feed_forward(x, {})

    if model.config.scan_layers:
        x = jax.lax.scan(lambda x, layer: (run_layer(layer, x), None), x, stack["layers"])[0]
    else:
        for layer_params in unstack(stack["layers"]):
            x = run_layer(layer_params, x)
    return model.bind("norm", stack["decoder_norm"])(x)
