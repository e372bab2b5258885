"""Logical axis names on activations.

The model names the axes of its arrays; training binds those names to axes of its mesh with
`flax.linen.logical_axis_rules`. Where no rules are bound, or no mesh is set, nothing happens.
"""

import jax
from flax import linen


def constrain(array: jax.Array, *axes: str | None) -> jax.Array:
    """Pins an activation to the mesh axes that its logical axes are bound to.

    Args:
        array: an activation.
        axes: one logical name a dimension (`batch`, `length`, `embed`, `heads`, `kv`, `mlp`,
            `vocab`), or None for a dimension that is never split.

    Returns:
        The same values.
    """
    return linen.with_logical_constraint(array, axes)


def mesh_axes(axes: tuple[str | None, ...]) -> jax.sharding.PartitionSpec:
    """The mesh axes that these logical axes are bound to now."""
    return linen.logical_to_mesh_axes(axes) or jax.sharding.PartitionSpec()


def current_rules() -> tuple:
    """The rules bound now, hashable: an argument of jitted functions that trace with them."""
    return tuple(tuple(rule) for rule in linen.get_logical_axis_rules())
