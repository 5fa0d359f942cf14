"""Shaping of fitness of which some may have failed."""

import jax
import jax.numpy as jnp

from diffevo_jax.base import Shaping
from diffevo_jax.pytree.annotations import checked


@checked
def log_weight(shaping: Shaping, fitness: jax.Array) -> jax.Array:
    """Shape fitness of which some may have failed.

    Failed values (NaN, infinite) are replaced by the lowest finite value before shaping,
    and get weight zero after it: the others have the same bits whatever the failure was.

    Args:
        shaping: a map from finite fitness to log-weights.
        fitness: (N,).

    Returns:
        (N,) finite, or ``-inf`` for weight zero; never NaN.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> fitness = jnp.array([jnp.nan, 2.0, jnp.inf])
        >>> de.shaping.log_weight(de.shaping.Boltzmann(), fitness).tolist()
        [-inf, 0.0, -inf]
    """
    filled, valid = without_failures(fitness)
    shaped = shaping.log_weight(filled, valid)
    return jnp.where(valid, shaped, -jnp.inf)


@checked
def without_failures(fitness: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Fitness ``(N,)`` with the lowest value where it failed, and where it did not fail.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> fitness = jnp.array([jnp.nan, 5.0, 2.0, jnp.inf])
        >>> [each.tolist() for each in de.shaping.without_failures(fitness)]
        [[2.0, 5.0, 2.0, 2.0], [False, True, True, False]]
    """
    valid = jnp.isfinite(fitness)
    lowest = jnp.min(jnp.where(valid, fitness, jnp.inf))  # infinite if none is valid
    return jnp.where(valid, fitness, jnp.where(lowest < jnp.inf, lowest, 0.0)), valid
