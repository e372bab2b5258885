"""Cached decoding: greedy, drawn, or by beam search, one or several targets a prompt.

An input is encoded once, a prompt of a language model read once, whatever the number of its
targets. A step costs one position, and the loop ends when every row has its target.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from instrux.errors import InputError
from instrux.models import beam_search, sampling
from instrux.models.cached_decoder import CachedDecoder
from instrux.models.decoder_only import DecoderOnly
from instrux.models.decoding_settings import DecodingSettings
from instrux.models.families import Model
from instrux.models.parts import Params
from instrux.models.prompts import CachedLanguageModel
from instrux.models.sharding import current_rules

__all__ = ["CachedDecoder", "Decoded", "DecodingSettings", "Progress", "decode", "greedy", "sample"]


class Decoded(NamedTuple):
    """Targets of each prompt, the best first.

    Attributes:
        tokens: int32 `[batch, num_decodes, max_decode_length]`; 0 after the end.
        scores: float32 `[batch, num_decodes]`: the sum of `token_scores`, which beam search divides
            by its length penalty; minus infinity where a vocabulary gave too few targets.
        token_scores: float32, the shape of `tokens`: the log-probability of each token under the
            model, before temperature, top-k and top-p; 0 for tokens of a prefix and behind the end.
    """

    tokens: jax.Array
    scores: jax.Array
    token_scores: jax.Array


class Progress(NamedTuple):
    """What a logit callback may look at.

    Attributes:
        index: int scalar, how many tokens there are of each target.
        tokens: int32 `[rows, max_decode_length]`: those tokens, 0 behind them. The rows of one
            prompt lie one after another.
    """

    index: jax.Array
    tokens: jax.Array


LogitCallback = Callable[[jax.Array, Progress], jax.Array]


def greedy(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array,
    *,
    max_decode_length: int,
    eos_id: int = 1,
) -> jax.Array:
    """Decodes the most probable token at each step.

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
    tokens = _decode_jitted(
        model,
        params,
        encoder_input_tokens,
        jax.random.key(0),
        None,
        None,
        None,
        settings=DecodingSettings(),
        max_decode_length=max_decode_length,
        eos_id=eos_id,
        logit_callback=None,
        scored=False,
        rules=current_rules(),
    ).tokens
    return tokens[:, 0]


def sample(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array,
    key: jax.Array,
    *,
    max_decode_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
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
        top_p: draw from the fewest most probable tokens that reach this probability; 1 for all.
        eos_id: the token that ends a target.

    Returns:
        int32 `[batch, max_decode_length]`; 0 after `eos_id`.
    """
    _check_length(max_decode_length)
    if not temperature > 0.0:
        raise InputError(f"temperature = {temperature}: give one above 0, or decode greedily")
    settings = DecodingSettings(temperature=float(temperature), top_k=top_k, top_p=float(top_p))
    _check_vocabulary(model, settings)
    tokens = _decode_jitted(
        model,
        params,
        encoder_input_tokens,
        key,
        None,
        None,
        None,
        settings=settings,
        max_decode_length=max_decode_length,
        eos_id=eos_id,
        logit_callback=None,
        scored=False,
        rules=current_rules(),
    ).tokens
    return tokens[:, 0]


def decode(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array | np.ndarray,
    settings: DecodingSettings,
    *,
    max_decode_length: int,
    eos_id: int = 1,
    target_prefix: jax.Array | np.ndarray | None = None,
    draw_ids: jax.Array | np.ndarray | None = None,
    stops: jax.Array | np.ndarray | None = None,
    logit_callback: LogitCallback | None = None,
    scored: bool = True,
) -> Decoded:
    """Decodes by the settings: greedily, drawn, or by beam search.

    Compiled once for each shape, setting (the seed apart) and callback.

    Args:
        model: the model.
        params: its parameters.
        encoder_input_tokens: int `[batch, length]`, 0 for padding: inputs of an encoder, or
            prompts of a decoder-only model.
        settings: how.
        max_decode_length: tokens to decode at most, prefix and end included.
        eos_id: the token that ends a target.
        target_prefix: int `[batch, at most max_decode_length]`: what each target begins with, 0
            behind it; for T5 too.
        draw_ids: int `[batch]`: a prompt's draws are a function of the seed and its id alone, so
            the same in any batch; its place in the batch where None.
        stops: bool `[vocab]`: tokens that end a target as `eos_id` does, such as all that hold a
            newline; None for none. Not with beam search, whose targets run on to their end.
        logit_callback: gives new logits, `[rows, vocab]`, for those of each step and the
            `Progress`; to forbid tokens, give them minus infinity. It is traced: write it with
            jax.numpy, and pass the same function again, as another one compiles anew.
        scored: False spares the scores of single targets, which then are zeros and empty.

    Raises:
        InputError: a setting does not fit the model or the prefix.
    """
    _check_length(max_decode_length)
    _check_vocabulary(model, settings)
    prefix = None
    if target_prefix is not None:
        prefix = jnp.asarray(target_prefix, jnp.int32)
        room = max_decode_length - prefix.shape[1]
        if room < 0:
            raise InputError(
                f"max_decode_length = {max_decode_length}: less than target_prefix's {prefix.shape[1]}"
            )
        prefix = jnp.pad(prefix, ((0, 0), (0, room)))
    return _decode_jitted(
        model,
        params,
        encoder_input_tokens,
        jax.random.key(settings.seed),
        prefix,
        None if draw_ids is None else jnp.asarray(draw_ids, jnp.int32),
        None if stops is None or settings.num_beams > 1 else jnp.asarray(stops, bool),
        settings=dataclasses.replace(settings, seed=0),  # another seed compiles nothing anew
        max_decode_length=max_decode_length,
        eos_id=eos_id,
        logit_callback=logit_callback,
        scored=scored or settings.num_decodes > 1,
        rules=current_rules(),
    )


@functools.partial(
    jax.jit,
    static_argnames=(
        "model",
        "settings",
        "max_decode_length",
        "eos_id",
        "logit_callback",
        "scored",
        "rules",
    ),
)
def _decode_jitted(
    model: Model,
    params: Params,
    encoder_input_tokens: jax.Array,
    key: jax.Array,
    prefix: jax.Array | None,
    draw_ids: jax.Array | None,
    stops: jax.Array | None,
    *,
    settings: DecodingSettings,
    max_decode_length: int,
    eos_id: int,
    logit_callback: LogitCallback | None,
    scored: bool,
    rules: Any,
) -> Decoded:
    del rules  # in force while this is traced; an argument so that other rules trace anew
    by_beams = settings.num_beams > 1
    copies = settings.num_beams if by_beams else settings.num_decodes
    family: Any = CachedLanguageModel if isinstance(model, DecoderOnly) else CachedDecoder
    decoder = family(
        model, params, encoder_input_tokens, decode_length=max_decode_length, copies=copies
    )

    def logits_of(tokens, caches, index, so_far):
        logits, caches = decoder.step(tokens, caches, index)
        if logit_callback is not None:
            logits = logit_callback(logits, Progress(index, so_far))
        return logits, caches

    # A row of padding alone has nothing to decode.
    done = ~jnp.any(encoder_input_tokens > 0, axis=1)
    shared = {"max_decode_length": max_decode_length, "eos_id": eos_id, "done": done}
    if by_beams:
        found = beam_search.search(
            lambda *fed: _log_probabilities(*logits_of(*fed)),
            decoder.first_tokens.astype(jnp.int32),
            decoder.start(),
            settings,
            prefix=prefix,
            **shared,
        )
        return _first_decodes(Decoded(*found), settings.num_decodes)
    ids = jnp.arange(done.shape[0]) if draw_ids is None else draw_ids
    ids = ids[:, None] * copies + jnp.arange(copies) if copies > 1 else ids[:, None]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, ids.reshape(-1))
    decoded = _one_by_one(
        logits_of,
        decoder,
        keys,
        settings,
        prefix=prefix,
        stops=stops,
        copies=copies,
        scored=scored,
        **shared,
    )
    return _best_first(decoded) if copies > 1 else decoded


def _log_probabilities(logits: jax.Array, caches: Any) -> tuple[jax.Array, Any]:
    return jax.nn.log_softmax(logits, axis=-1), caches


def _first_decodes(decoded: Decoded, count: int) -> Decoded:
    """The first so many decodes of a beam search; none is a target of nothing."""
    tokens, scores, token_scores = (array[:, :count] for array in decoded)
    there = scores > 0.5 * beam_search.NOTHING
    return Decoded(
        jnp.where(there[..., None], tokens, 0),
        jnp.where(there, scores, -jnp.inf),
        jnp.where(there[..., None], token_scores, 0.0),
    )


def _best_first(decoded: Decoded) -> Decoded:
    order = jnp.argsort(-decoded.scores, axis=1)
    return Decoded(
        jnp.take_along_axis(decoded.tokens, order[..., None], axis=1),
        jnp.take_along_axis(decoded.scores, order, axis=1),
        jnp.take_along_axis(decoded.token_scores, order[..., None], axis=1),
    )


class _State(NamedTuple):
    index: jax.Array
    tokens: jax.Array  # int [rows]: what is fed next
    decoded: jax.Array
    token_scores: jax.Array
    done: jax.Array
    caches: Any


def _one_by_one(
    logits_of: Callable,
    decoder: Any,
    keys: jax.Array,
    settings: DecodingSettings,
    *,
    prefix: jax.Array | None,
    stops: jax.Array | None,
    copies: int,
    scored: bool,
    max_decode_length: int,
    eos_id: int,
    done: jax.Array,
) -> Decoded:
    """One token after another, the most probable or drawn with `keys`, `[rows]`."""
    rows = keys.shape[0]
    forced = None if prefix is None else jnp.repeat(prefix, copies, axis=0)

    def unfinished(state: _State) -> jax.Array:
        return (state.index < max_decode_length) & ~jnp.all(state.done)

    def choose(logits: jax.Array, index: jax.Array) -> jax.Array:
        if not settings.draws:
            return jnp.argmax(logits, axis=-1)
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
        return sampling.draw(logits, step_keys, settings)

    def advance(state: _State) -> _State:
        index, token_scores = state.index, state.token_scores
        logits, caches = logits_of(state.tokens, state.caches, index, state.decoded)
        tokens = jnp.where(state.done, 0, choose(logits, index).astype(jnp.int32))
        ends = tokens == eos_id
        if stops is not None:
            ends |= stops[tokens]
        given = jnp.zeros((rows,), jnp.int32) if forced is None else forced[:, index]
        is_given = (given > 0) & ~state.done
        tokens = jnp.where(is_given, given, tokens)
        if scored:
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, None], axis=1)[:, 0]
            chosen = jnp.where(state.done | is_given, 0.0, chosen)
            token_scores = token_scores.at[:, index].set(chosen)
        return _State(
            index=index + 1,
            tokens=tokens,
            decoded=state.decoded.at[:, index].set(tokens),
            token_scores=token_scores,
            done=state.done | (ends & ~is_given),
            caches=caches,
        )

    start = _State(
        index=jnp.zeros((), jnp.int32),
        tokens=decoder.first_tokens.astype(jnp.int32),
        decoded=jnp.zeros((rows, max_decode_length), jnp.int32),
        token_scores=jnp.zeros((rows, max_decode_length if scored else 0), jnp.float32),
        done=jnp.repeat(done, copies),
        caches=decoder.start(),
    )
    last = jax.lax.while_loop(unfinished, advance, start)
    tokens = last.decoded.reshape(-1, copies, max_decode_length)
    token_scores = last.token_scores.reshape(tokens.shape[0], copies, -1)
    return Decoded(tokens, jnp.sum(token_scores, axis=-1), token_scores)


def _check_length(max_decode_length: int) -> None:
    if max_decode_length < 1:
        raise InputError(f"max_decode_length = {max_decode_length}: give at least 1")


def _check_vocabulary(model: Model, settings: DecodingSettings) -> None:
    if settings.top_k > model.config.vocab_size:
        raise InputError(f"top_k = {settings.top_k}: give 0 to {model.config.vocab_size}")
    if settings.num_beams > model.config.vocab_size:
        raise InputError(f"num_beams = {settings.num_beams}: the vocabulary is smaller")
