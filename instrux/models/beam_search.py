"""Beam search: the most probable whole targets, as far as the most probable beginnings lead to them.

The rules are those of Hugging Face's `generate` with `early_stopping="never"`: in each step the
`2 * num_beams` best continuations of all beams of a prompt are looked at. Of the `num_beams` best,
those that end are finished, and compete by their sum of log-probabilities over a length penalty;
the `num_beams` best that do not end go on. A prompt is done when no beam can still beat its
finished ones.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from instrux.models.decoding_settings import DecodingSettings

NOTHING = -1e9
"""The score of a beam that holds no target."""

_Step = Callable[[jax.Array, Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


class Found(NamedTuple):
    """Targets of each prompt, the best first.

    Attributes:
        tokens: int32 `[batch, beams, length]`; 0 after the end.
        scores: float32 `[batch, beams]`, under the length penalty; `NOTHING` or below for none.
        token_scores: float32 `[batch, beams, length]`, log-probabilities.
    """

    tokens: jax.Array
    scores: jax.Array
    token_scores: jax.Array


class _State(NamedTuple):
    index: jax.Array
    fed: jax.Array  # int [batch * beams]
    live: Found  # scores without the penalty
    finished: Found
    done: jax.Array  # bool [batch]
    caches: Any


def search(
    step: _Step,
    first_tokens: jax.Array,
    caches: Any,
    settings: DecodingSettings,
    *,
    max_decode_length: int,
    eos_id: int,
    prefix: jax.Array | None,
    done: jax.Array,
) -> Found:
    """Searches for the best targets.

    Args:
        step: gives float32 log-probabilities `[batch * beams, vocab]` and new caches, for the
            tokens fed `[batch * beams]`, the caches, the index of the step, and the tokens so far
            `[batch * beams, length]`.
        first_tokens: int `[batch * beams]`, what the first step is fed.
        caches: arrays whose first axis is `batch * beams`; they follow their beams.
        settings: `num_beams` and the length penalty.
        max_decode_length: a target of this length is finished whether it ends or not.
        eos_id: the token that ends a target.
        prefix: int `[batch, max_decode_length]`, tokens that a target begins with, 0 behind them;
            or None. They count neither for scores nor for lengths.
        done: bool `[batch]`, prompts that want nothing.
    """
    beams, batch = settings.num_beams, done.shape[0]
    if prefix is None:
        prefix = jnp.zeros((batch, max_decode_length), jnp.int32)
    free_length = max_decode_length - jnp.sum(prefix > 0, axis=1)

    def unfinished(state: _State) -> jax.Array:
        return (state.index < max_decode_length) & ~jnp.all(state.done)

    def advance(state: _State) -> _State:
        so_far = state.live.tokens.reshape(batch * beams, -1)
        log_probs, caches = step(state.fed, state.caches, state.index, so_far)
        log_probs = jnp.maximum(log_probs, NOTHING).reshape(batch, beams, -1)
        forced = prefix[:, state.index]
        log_probs = _forced(log_probs, forced)
        candidates, parents, tokens = _continued(state.live, log_probs, state.index)
        last = state.index + 1 == max_decode_length
        ends = ((tokens == eos_id) & (forced == 0)[:, None]) | last
        length = state.index + 1 - jnp.sum(prefix > 0, axis=1)
        finished = _finish(state, candidates, ends, _penalty(length, settings))
        candidates = candidates._replace(scores=jnp.where(ends, NOTHING, candidates.scores))
        live, kept = _best(candidates, beams)
        parents = jnp.take_along_axis(parents, kept, axis=1)
        best_possible = live.scores[:, 0] / _penalty(free_length, settings)
        done = state.done | (best_possible <= finished.scores[:, -1])
        return _State(
            index=state.index + 1,
            fed=jnp.take_along_axis(tokens, kept, axis=1).reshape(-1),
            live=live,
            finished=finished,
            done=done,
            caches=_follow(caches, parents),
        )

    nothing = _nothing(batch, beams, max_decode_length)
    # All beams of a prompt are the same at first: only the first of them is looked at.
    first = nothing._replace(scores=nothing.scores.at[:, 0].set(0.0))
    start = _State(jnp.zeros((), jnp.int32), first_tokens, first, nothing, done, caches)
    return jax.lax.while_loop(unfinished, advance, start).finished


def _nothing(batch: int, beams: int, length: int) -> Found:
    return Found(
        jnp.zeros((batch, beams, length), jnp.int32),
        jnp.full((batch, beams), NOTHING, jnp.float32),
        jnp.zeros((batch, beams, length), jnp.float32),
    )


def _forced(log_probs: jax.Array, forced: jax.Array) -> jax.Array:
    """Where a token is forced (`[batch]`, 0 for none), it is sure and all others are out."""
    is_forced = jnp.arange(log_probs.shape[-1]) == forced[:, None, None]
    sure = jnp.where(is_forced, 0.0, NOTHING)
    return jnp.where((forced > 0)[:, None, None], sure, log_probs)


def _continued(
    live: Found, log_probs: jax.Array, index: jax.Array
) -> tuple[Found, jax.Array, jax.Array]:
    """The best continuations `[batch, 2 * beams, ...]`, the beam each continues, its new token."""
    batch, beams, vocab = log_probs.shape
    totals = (live.scores[..., None] + log_probs).reshape(batch, -1)
    scores, places = jax.lax.top_k(totals, min(2 * beams, vocab * beams))
    parents, tokens = places // vocab, (places % vocab).astype(jnp.int32)
    new_scores = jnp.take_along_axis(log_probs.reshape(batch, -1), places, axis=1)
    continued = Found(
        _take(live.tokens, parents).at[:, :, index].set(tokens),
        scores,
        _take(live.token_scores, parents).at[:, :, index].set(new_scores),
    )
    return continued, parents, tokens


def _finish(state: _State, candidates: Found, ends: jax.Array, penalty: jax.Array) -> Found:
    """The finished targets with those of the best candidates that end among them."""
    beams = state.finished.scores.shape[1]
    rank = jnp.arange(candidates.scores.shape[1])
    # Sums below this continue a beam that holds nothing.
    holds = candidates.scores > 0.5 * NOTHING
    counts = ends & holds & (rank < beams) & ~state.done[:, None]
    scores = jnp.where(counts, candidates.scores / penalty[:, None], NOTHING)
    ended = candidates._replace(scores=scores)
    both = Found(*(jnp.concatenate(pair, 1) for pair in zip(state.finished, ended, strict=True)))
    return _best(both, beams)[0]


def _best(found: Found, count: int) -> tuple[Found, jax.Array]:
    """The `count` of the highest scores, and their places `[batch, count]`."""
    scores, places = jax.lax.top_k(found.scores, count)
    return Found(_take(found.tokens, places), scores, _take(found.token_scores, places)), places


def _take(array: jax.Array, places: jax.Array) -> jax.Array:
    return jnp.take_along_axis(array, places[..., None], axis=1)


def _follow(caches: Any, parents: jax.Array) -> Any:
    """Each beam's caches are those of the beam that it continues."""
    batch, beams = parents.shape
    rows = (jnp.arange(batch)[:, None] * beams + parents).reshape(-1)
    return jax.tree.map(lambda array: array[rows], caches)


def _penalty(length: jax.Array, settings: DecodingSettings) -> jax.Array:
    length = jnp.maximum(length, 1).astype(jnp.float32)
    base = (5.0 + length) / 6.0 if settings.length_penalty_form == "brevity" else length
    return base**settings.length_penalty
