"""A language model over prompts that are read once: step by step, or over many answer choices.

A prompt is fed as `bos_id` and its tokens. Its last token is fed once more with what follows, as
that is where the first token of an answer is told: what follows sees the keys and values of all
before it.
"""

import jax
import jax.numpy as jnp

from instrux.models import attention
from instrux.models.decoder_layers import LanguageModelLayer, LayerCache, rotation
from instrux.models.decoder_only import DecoderOnly
from instrux.models.parts import Params, unstack


class _Fed:
    """Prompts as they are fed, `[batch, 1 + prompt length]`, and what they see of each other.

    Attributes:
        tokens: `bos_id`, the prompts, padding.
        last: int `[batch]`, the position of a prompt's last token.
        mask: bool `[batch or 1, 1, length, length]`.
        before_last: bool `[batch, length]`, the positions before the last token's.
    """

    def __init__(self, model: DecoderOnly, prompts: jax.Array):
        config = model.config
        start = jnp.full((prompts.shape[0], 1), config.bos_id, prompts.dtype)
        self.tokens = jnp.concatenate([start, prompts], axis=1)
        self.length = self.tokens.shape[1]
        self.last = jnp.sum(prompts > 0, axis=1)
        index = jnp.arange(self.length)[None]
        prefix = index <= self.last[:, None] if config.prefix_lm else None
        self.mask = attention.decoder_mask(self.length, None, prefix)
        self.before_last = index < self.last[:, None]
        self.positions = index
        self.rotation = rotation(config, index)

    def last_tokens(self) -> jax.Array:
        """The last token of each prompt, int `[batch]`; `bos_id` where it is empty."""
        return jnp.take_along_axis(self.tokens, self.last[:, None], axis=1)[:, 0]


class CachedLanguageModel:
    """The model, one position at a time, behind a batch of prompts.

    Make it inside a jitted function: it takes the stacked parameters apart. Keys and values of a
    prompt are never copied, however many answers it gets.

    Attributes:
        first_tokens: int `[batch * copies]`, what the first step is fed.
    """

    def __init__(
        self,
        model: DecoderOnly,
        params: Params,
        prompts: jax.Array,
        *,
        decode_length: int,
        copies: int = 1,
    ):
        """Reads the prompts.

        Args as for `cached_decoder.CachedDecoder`; prompts are int `[batch, length]`, 0 behind
        them.

        Raises:
            InputError: the model has too few positions.
        """
        model.config.check_length(
            prompts.shape[1] + decode_length, "a prompt and its longest answer"
        )
        self._model, self._params = model, params
        self._length, self._copies = decode_length, copies
        layers = unstack(params["decoder"]["layers"])
        self._layers: list[LanguageModelLayer] = [model.bind("layer", one) for one in layers]
        self._fed = fed = _Fed(model, prompts)
        self.first_tokens = jnp.repeat(fed.last_tokens(), copies)
        self._prompts = []
        x = model.embed(params, fed.tokens, fed.positions)
        for layer in self._layers:
            x, cache = layer(x, by=fed.rotation, mask=fed.mask, masks={})
            self._prompts.append(cache)

    def start(self) -> list[LayerCache]:
        """The caches of all layers before the first step, with room for the answers."""

        def room(array: jax.Array) -> jax.Array:
            batch, _, *rest = array.shape
            return jnp.zeros((batch * self._copies, self._length, *rest), array.dtype)

        return [LayerCache(room(one.keys), room(one.values)) for one in self._prompts]

    def step(
        self, tokens: jax.Array, caches: list[LayerCache], index: jax.Array
    ) -> tuple[jax.Array, list[LayerCache]]:
        """Feeds one token an answer; see `cached_decoder.CachedDecoder.step`."""
        fed = self._fed
        positions = (jnp.repeat(fed.last, self._copies) + index)[:, None]
        x = self._model.embed(self._params, tokens[:, None], positions)
        by = rotation(self._model.config, positions)
        updated = []
        for layer, prompt, cache in zip(self._layers, self._prompts, caches, strict=True):
            x, cache = layer.step(x, prompt, cache, index=index, by=by, prompt_mask=fed.before_last)
            updated.append(cache)
        return self._model.logits(self._params, self._model.norm(self._params, x))[:, 0], updated


def read_choices(
    model: DecoderOnly,
    params: Params,
    prompts: jax.Array,
    choice_tokens: jax.Array,
    owner: jax.Array,
    place: jax.Array,
    slots: int,
) -> jax.Array:
    """The model's output where each token of each choice is told, each prompt read once.

    Keys and values of a prompt are never copied for a choice: within attention, the choices of
    one prompt stand side by side in `slots`.

    Args:
        model: the model.
        params: its parameters.
        prompts: int `[batch, length]`, 0 behind them.
        choice_tokens: int `[choices, choice length]`, 0 behind them.
        owner: int `[choices]`, the row of each choice's prompt.
        place: int `[choices]`, where in `[batch * slots]` a choice stands, all different.
        slots: most choices of one prompt.

    Returns:
        `[choices, choice length, embed]`, normed.

    Raises:
        InputError: the model has too few positions.
    """
    length = choice_tokens.shape[1]
    batch = prompts.shape[0]
    model.config.check_length(prompts.shape[1] + length, "a prompt and its longest choice")
    fed = _Fed(model, prompts)
    first = fed.last_tokens()[owner][:, None]
    tokens = jnp.concatenate([first, choice_tokens[:, :-1]], axis=1)
    positions = fed.last[owner][:, None] + jnp.arange(length)[None]
    by = rotation(model.config, positions)
    prompt_mask = fed.before_last[:, None, None, None, None, :]
    own_mask = attention.decoder_mask(length, None)[:, :, None, None]

    def side_by_side(array: jax.Array) -> jax.Array:
        empty = jnp.zeros((batch * slots, *array.shape[1:]), array.dtype)
        return empty.at[place].set(array).reshape(batch, slots, *array.shape[1:])

    def layer(layer_params: Params, masks: object, both: tuple) -> tuple[jax.Array, jax.Array]:
        del masks
        bound: LanguageModelLayer = model.bind("layer", layer_params)
        of_prompts, of_choices = both
        of_prompts, cache = bound(of_prompts, by=fed.rotation, mask=fed.mask, masks={})
        queries, keys, values = map(side_by_side, bound.queries_keys_values(of_choices, by))
        parts = [
            (cache.keys[:, None], cache.values[:, None], prompt_mask),
            (keys, values, own_mask),
        ]
        attended = bound.attention.attend_parts(queries, parts)
        attended = attended.reshape(batch * slots, *attended.shape[2:])[place]
        return of_prompts, bound.add(of_choices, bound.attention.project(attended), {})

    start = (
        model.embed(params, fed.tokens, fed.positions),
        model.embed(params, tokens, positions),
    )
    return model.norm(params, model.run_layers(layer, params, {}, start)[1])
