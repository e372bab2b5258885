"""Rank classification: the log-probability of each answer choice given its input.

An input is encoded once, and the decoder's keys and values of it are computed once or, where choices
are short, not at all, whatever the number of its choices. Choices lie in one flat list, so inputs may
differ in how many they have. Several inputs may share a row, and several choices, so that little that
is computed is padding.
"""

import functools
from dataclasses import dataclass
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


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["inputs", "choices", "owners"],
    meta_fields=[],
)
@dataclass(frozen=True)
class ChoiceSegments:
    """What lies where in rows that hold several inputs, or several choices.

    Attributes:
        inputs: int `[batch, encoder length]`: 1, 2, ... for the inputs of a row, 0 for padding.
        choices: int `[choice rows, choice length]`: the same for the choices of a row.
        owners: int `[choice rows, choice length]`: the number in `inputs` of the input that a
            choice belongs to, 0 for padding.
    """

    inputs: jax.Array
    choices: jax.Array
    owners: jax.Array


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
    if len(choice_owner) == 0 and len(choice_tokens) == 0:
        return jnp.zeros((0,), jnp.float32)
    scores = _score(model, params, encoder_input_tokens, choice_tokens, choice_owner, None)
    return jnp.sum(scores, axis=1)


def score_packed_choices(
    model: T5,
    params: Params,
    encoder_input_tokens: jax.Array | np.ndarray,
    choice_tokens: jax.Array | np.ndarray,
    choice_owner: jax.Array | np.ndarray,
    segments: ChoiceSegments,
) -> jax.Array:
    """Scores the tokens of choices that share rows, for inputs that share rows.

    Args:
        model: the model, an encoder-decoder.
        params: its parameters.
        encoder_input_tokens: int `[batch, encoder length]`, each row one or more inputs, then 0.
        choice_tokens: int `[choice rows, choice length]`, each row one or more choices, each with
            the end of sequence, then 0.
        choice_owner: int `[choice rows]`, the row of the inputs that a row's choices belong to. It
            is read on the host. A row of padding has any owner.
        segments: what lies where.

    Returns:
        The tokens' log-probabilities, float32 `[choice rows, choice length]`; 0 for padding.
    """
    return _score(model, params, encoder_input_tokens, choice_tokens, choice_owner, segments)


def _score(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array | np.ndarray,
    choice_tokens: jax.Array | np.ndarray,
    choice_owner: jax.Array | np.ndarray,
    segments: ChoiceSegments | None,
) -> jax.Array:
    owner = np.asarray(choice_owner)
    batch = encoder_input_tokens.shape[0]
    if owner.shape != choice_tokens.shape[:1]:
        raise InputError(f"choice_owner has shape {owner.shape} for choices {choice_tokens.shape}")
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
        segments,
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
    segments: ChoiceSegments | None,
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
        read = None if segments is None else segments.inputs
        encoded = encode_inputs(model, params, encoder_input_tokens, read)
        inputs = _shifted(choice_tokens, segments)
        hidden = _decode_choices(
            model, params, encoded, encoder_input_tokens, inputs, place, segments, slots=slots
        )
    hidden, kernel = model.logits_projection(params, hidden)
    scores = losses.log_probabilities(
        hidden, kernel, choice_tokens, chunk_mib=model.config.logits_chunk_mib
    )
    return jnp.where(choice_tokens > 0, scores, 0.0)


def _shifted(choice_tokens: jax.Array, segments: ChoiceSegments | None) -> jax.Array:
    """What the decoder reads: each choice's tokens but the last, behind a 0."""
    before = jnp.pad(choice_tokens[:, :-1], ((0, 0), (1, 0)))
    if segments is None:
        return before
    number_before = jnp.pad(segments.choices[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(segments.choices == number_before, before, 0)


def _decode_choices(
    model: T5,
    params: Params,
    encoded: jax.Array,
    encoder_input_tokens: jax.Array,
    decoder_input_tokens: jax.Array,
    position: jax.Array,
    segments: ChoiceSegments | None,
    *,
    slots: int,
) -> jax.Array:
    """The decoder's output `[choice rows, length, embed]`.

    Where choices look at their inputs, the queries of all that belong to one row of inputs stand
    in one row, at `position` of `[batch * slots]`. So keys and values are never copied for a choice.
    """
    batch, length = encoded.shape[0], decoder_input_tokens.shape[1]
    stack = params["decoder"]
    bias_of = model.layer_bias("decoder", stack, length)

    def by_input(rows: jax.Array) -> jax.Array:
        """`[choice rows, length, ...]` to `[batch, slots * length, ...]`."""
        placed = jnp.zeros((batch * slots, *rows.shape[1:]), rows.dtype).at[position].set(rows)
        return placed.reshape(batch, slots * length, *rows.shape[2:])

    if segments is None:
        mask = attention.decoder_mask(length, None)
        cross_mask = attention.cross_mask(encoder_input_tokens, None, None)
    else:
        mask = attention.decoder_mask(length, segments.choices)
        owners = by_input(segments.owners)
        cross_mask = attention.cross_mask(encoder_input_tokens, segments.inputs, owners)
    x = model.embed(params, decoder_input_tokens)

    def run_layer(layer_params: Params, x: jax.Array) -> jax.Array:
        layer = model.bind("decoder_layer", layer_params)
        x = layer.attend_to_targets(x, bias=bias_of(layer_params), mask=mask, masks={})
        cross = layer.encoder_decoder_attention
        rows = by_input(layer.cross_queries(x))
        if absorbed_attention.pays_at_once(model.config, slots * length):
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
