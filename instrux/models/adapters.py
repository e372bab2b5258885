"""What is trained beside frozen parameters: soft prompts and low-rank factors.

A soft prompt (Lester et al., arXiv 2104.08691) is a table of embeddings for tokens that no
vocabulary has: `prompt_length` ids from `vocab_size` on. Whoever makes inputs puts these ids in
front of each (`prompt_ids`), so packing, positions, masks and caches see tokens like others.

Low-rank factors (LoRA; Hu et al., arXiv 2106.09685) stand beside a kernel: its product becomes
`x W + alpha / rank * drop(x) A B`. B starts at zero.
"""

import dataclasses
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from instrux.errors import InputError
from instrux.models.config import SharedSettings
from instrux.models.layers import Dense

PATTERNS = ("prompt/embedding", ".*/lora_[ab]")
"""Regular expressions of the names of adapters, as `instrux.training.freezing` takes them."""

PROMPT = "prompt"
_FACTORS = ("lora_a", "lora_b")
# Lester et al., section 3.2: random prompts are drawn uniformly between -0.5 and 0.5.
_UNIFORM = 0.5


def has_adapters(config: SharedSettings) -> bool:
    """Whether a model has parameters beside those of its base."""
    return config.prompt_length > 0 or config.lora_rank > 0


def prompt_ids(config: SharedSettings) -> list[int]:
    """The ids of a soft prompt, in order; empty where there is none."""
    return list(range(config.vocab_size, config.vocab_size + config.prompt_length))


def draw_prompt(config: SharedSettings, key: jax.Array) -> dict[str, jax.Array]:
    """A random prompt, float32 `[prompt length, embed]`."""
    shape = (config.prompt_length, config.emb_dim)
    return {"embedding": jax.random.uniform(key, shape, jnp.float32, -_UNIFORM, _UNIFORM)}


PROMPT_AXES = {"embedding": ("prompt", "embed")}
"""Logical axes of `draw_prompt`."""


def embed(
    config: SharedSettings, embedder: Any, params: Mapping[str, Any], tokens: jax.Array
) -> jax.Array:
    """Looks up `[batch, length]` tokens, those of the soft prompt in its own table."""
    if not config.prompt_length:
        return embedder(tokens)
    of_prompt = tokens >= config.vocab_size
    index = jnp.clip(tokens - config.vocab_size, 0, config.prompt_length - 1)
    prompt = params[PROMPT]["embedding"].astype(config.compute_dtype)
    own = embedder(jnp.where(of_prompt, 0, tokens))
    return jnp.where(of_prompt[..., None], jnp.take(prompt, index, axis=0), own)


def add_factors(module: nnx.Module, path: str, config: Any, rngs: nnx.Rngs) -> Any:
    """Gives the kernels of a module that `lora_targets` names their factors.

    Args:
        module: a layer.
        path: its name in the tree of parameters, such as `encoder/layers`.
        config: has `lora_rank`, `lora_alpha` and `lora_targets`.
        rngs: draws A.
    """
    if not config.lora_rank:
        return module
    for name, dense in _denses(module, path):
        if re.fullmatch(config.lora_targets, f"{name}/kernel"):
            dense.add_factors(config.lora_rank, config.lora_alpha, rngs)
    return module


def drop_units(config: Any, params: Mapping[str, Any], key: jax.Array | None) -> Any:
    """Parameters with units of the factors' inputs dropped, each for all rows and positions.

    Args:
        config: has `lora_rank` and `lora_dropout`.
        params: the tree of `init`.
        key: draws what is dropped; None for no dropout.
    """
    if key is None or not config.lora_rank or not config.lora_dropout:
        return params

    def dropped(path: tuple, leaf: jax.Array) -> jax.Array:
        if path[-1].key != "lora_a":
            return leaf
        name = "/".join(part.key for part in path)
        own = jax.random.fold_in(key, zlib.crc32(name.encode()))
        keep = jax.random.bernoulli(own, 1.0 - config.lora_dropout, (*leaf.shape[:-1], 1))
        return leaf * keep / (1.0 - config.lora_dropout)

    return jax.tree_util.tree_map_with_path(dropped, params)


def adapter_params(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The adapters of a tree of parameters, or of what belongs to them."""
    return _part(tree, wanted=True, within=False)


def base_params(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What a tree has without adapters: the tree of the model without them."""
    return _part(tree, wanted=False, within=False)


def joined(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of base and adapters together."""
    both = dict(base)
    for name, child in own.items():
        below = both.get(name)
        both[name] = joined(below, child) if isinstance(below, Mapping) else child
    return both


def without_adapters(config: Any) -> Any:
    """The configuration of the base."""
    return dataclasses.replace(config, prompt_length=0, lora_rank=0)


class Adapted:
    """A model as its adapters alone: their tree is its parameters, and the base is at hand.

    It lives while a function is traced, so that the base may be an argument of that function.
    """

    def __init__(self, model: Any, base: Mapping[str, Any]) -> None:
        self.config = model.config
        self._model, self._base = model, base

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Draws the adapters."""
        return adapter_params(self._model.init(key))

    def logical_axes(self) -> dict[str, Any]:
        """The tree of `init` with a tuple of logical axis names in place of each array."""
        return adapter_params(self._model.logical_axes())

    def loss_inputs(self, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As the model's."""
        return self._model.loss_inputs(joined(self._base, params), *args, **kwargs)

    def logits_projection(self, params: Mapping[str, Any], hidden: jax.Array) -> Any:
        """As the model's."""
        return self._model.logits_projection(joined(self._base, params), hidden)


def check_targets(config: Any, axes: Mapping[str, Any]) -> None:
    """Checks that `lora_targets` names kernels.

    Args:
        config: the model's.
        axes: `logical_axes` of the model.

    Raises:
        InputError: it names none.
    """
    if config.lora_rank and not set(adapter_params(axes)) - {PROMPT}:
        raise InputError(
            f"{type(config).__name__}.lora_targets = {config.lora_targets!r} matches no kernel of a"
            " layer from start to end; names are such as decoder/layers/mlp/wo/kernel"
        )


def _part(tree: Mapping[str, Any], *, wanted: bool, within: bool) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, child in tree.items():
        is_adapter = within or name == PROMPT or name in _FACTORS
        if isinstance(child, Mapping):
            if part := _part(child, wanted=wanted, within=is_adapter):
                kept[name] = part
        elif is_adapter == wanted:
            kept[name] = child
    return kept


def _denses(module: Any, path: str) -> Iterator[tuple[str, Dense]]:
    for name, child in vars(module).items():
        below = f"{path}/{name}"
        if isinstance(child, Dense):
            yield below, child
        elif isinstance(child, nnx.Module):
            yield from _denses(child, below)
