"""Models as pure functions of a parameter tree: their parts, drawn, bound and stacked.

A part is a Flax NNX module with a name, such as a layer or a norm. A stack is one kind of layer
several times, its parameters joined along a first axis.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from instrux.models import dropout, products

_RESIDUAL_BRANCHES = ("attention", "self_attention", "cross_attention", "mlp")
"""Masks of what is added to the residual stream, in the layers of every family."""

Params = dict[str, Any]
Build = Callable[[Any, nnx.Rngs], nnx.Module]


class Parts:
    """The parts of one family of models, each a function of a configuration and random keys."""

    def __init__(self, builders: Mapping[str, Build]):
        self._builders = builders
        self._abstract = functools.cache(self._make_abstract)

    def draw(self, part: str, config: Any, key: jax.Array) -> Params:
        """Random parameters of a part."""
        module = self._builders[part](config, nnx.Rngs(params=key))
        return nnx.to_pure_dict(nnx.state(module, nnx.Param))

    def draw_stack(self, part: str, config: Any, key: jax.Array, num_layers: int) -> Params:
        """Random parameters of a stack of `num_layers`, with the layers on axis 0."""
        keys = jax.random.split(key, num_layers)
        return jax.vmap(lambda layer_key: self.draw(part, config, layer_key))(keys)

    def logical_axes(self, part: str, config: Any, *, stacked: bool = False) -> Params:
        """The tree of `draw` (or of `draw_stack`) with names of axes in place of arrays."""
        leading = ("layers",) if stacked else ()
        return _map_variables(
            self._abstract(part, config)[1], lambda variable: (*leading, *_axes_of(variable))
        )

    def bind(self, part: str, config: Any, params: Params) -> Any:
        """The module of a part with these parameters in it."""
        graphdef, variables = self._abstract(part, config)
        return nnx.merge(graphdef, _fill(variables, params))

    def _make_abstract(self, part: str, config: Any) -> tuple[Any, Any]:
        """The graph of a part, and its variables with shapes in place of values."""
        build = self._builders[part]
        return nnx.split(nnx.eval_shape(lambda: build(config, nnx.Rngs(params=0))))


def run_stack(
    layer: Callable[[Params, dropout.Masks, jax.Array], Any],
    stacked_params: Params,
    masks: dict[str, jax.Array],
    x: Any,
    *,
    remat: str,
    scan_layers: bool,
) -> Any:
    """Runs `x` through the layers of a stack, scanned or written out.

    Args:
        layer: a function of one layer's parameters, its dropout masks and `x`.
        stacked_params: parameters with the layers on axis 0.
        masks: dropout masks with the layers on axis 0; empty for none.
        x: an array, or a tree of arrays, that every layer maps to its like.
        remat: `none`, `dots` or `full`; see `T5Config.remat`.
        scan_layers: whether to compile one layer for all.
    """
    layer = _rematerialize(layer, remat)
    if not scan_layers:
        for layer_params, layer_masks in unstack((stacked_params, masks)):
            x = layer(layer_params, layer_masks, x)
        return x

    def body(carry: Any, layer_inputs: Any) -> tuple[Any, None]:
        layer_params, layer_masks = layer_inputs
        return layer(layer_params, layer_masks, carry), None

    return jax.lax.scan(body, x, (stacked_params, masks))[0]


def stack_masks(
    config: Any, key: jax.Array | None, widths: dict[str, int], *, num_layers: int, batch: int
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Dropout masks of a stack's layers, `[layers, batch, width]`, and of its `inputs` and `outputs`.

    Args:
        config: has `dropout_rate`, `residual_dropout_only`, `random_bits` and `emb_dim`.
        key: draws them; None for no dropout, which gives no masks.
        widths: width of each mask of a layer by name.
        num_layers: layers of the stack.
        batch: rows of the batch.
    """
    rate = config.dropout_rate
    if key is None or rate == 0.0:
        return {}, {}
    key = dropout.with_generator(key, config.random_bits)
    layers_key, edges_key = jax.random.split(key)
    if config.residual_dropout_only:
        widths = {name: width for name, width in widths.items() if name in _RESIDUAL_BRANCHES}
        return dropout.keep_masks(layers_key, rate, widths, leading=(num_layers, batch)), {}
    masks = dropout.keep_masks(layers_key, rate, widths, leading=(num_layers, batch))
    edge_widths = {"inputs": config.emb_dim, "outputs": config.emb_dim}
    return masks, dropout.keep_masks(edges_key, rate, edge_widths, leading=(batch,))


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
        policies = jax.checkpoint_policies
        saveable = policies.save_from_both_policies(
            policies.dots_with_no_batch_dims_saveable,
            policies.save_only_these_names(products.SAVED),
        )
        return jax.checkpoint(layer, policy=saveable)
    return jax.checkpoint(layer)


def _map_variables(state: Any, function: Callable[[nnx.Variable], Any]) -> Params:
    if isinstance(state, nnx.Variable):
        return function(state)
    return {name: _map_variables(state[name], function) for name in state}


def _axes_of(variable: nnx.Variable) -> tuple[str, ...]:
    return variable.get_metadata()["logical_axes"]


def _fill(state: Any, values: Params) -> Any:
    if isinstance(state, nnx.Variable):
        return state.replace(values)
    return nnx.State({name: _fill(state[name], values[name]) for name in state})
