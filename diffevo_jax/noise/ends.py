"""The two ends of a process or a grid: made legal, in order, and what lies between them."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.conversions import SIGMA_MAX, SIGMA_MIN
from diffevo_jax.pytree import Number


def times_between(t_min: Number, t_max: Number, num_levels: int) -> jax.Array:
    """Uniform times from ``t_max`` to ``t_min``, both exact; one is ``t_max``."""
    noisy, clean = weights_of_ends(num_levels)
    return noisy * t_max + clean * t_min


def weights_of_ends(num_levels: int) -> tuple[jax.Array, jax.Array]:
    """Weights of the noisy and the clean end in each level.

    Each is rounded once: the small one is not 1 minus the large one.
    """
    steps = jnp.arange(num_levels, dtype=float) / max(num_levels - 1, 1)
    return (steps[::-1], steps) if num_levels > 1 else (jnp.ones(1), jnp.zeros(1))


def sorted_ends(low: Number, high: Number) -> tuple[jax.Array, jax.Array]:
    """Noise levels of the ends, made legal where they are traced, so not checked."""
    return (
        jnp.clip(jnp.minimum(low, high), SIGMA_MIN, SIGMA_MAX),
        jnp.clip(jnp.maximum(low, high), SIGMA_MIN, SIGMA_MAX),
    )


def sorted_times(low: Number, high: Number) -> tuple[jax.Array, jax.Array]:
    """Times of the ends, the same for times in [0, 1]."""
    return jnp.clip(jnp.minimum(low, high), 0, 1), jnp.clip(jnp.maximum(low, high), 0, 1)


def check_order(
    low_name: str, low: Number, high_name: str, high: Number, equal: bool = False
) -> None:
    """Raise ValueError if two concrete numbers are in the wrong order."""
    first, second = pytree.concrete(low), pytree.concrete(high)
    if first is None or second is None:
        return
    if not (first <= second if equal else first < second).all():
        want = "at most" if equal else "less than"
        raise ValueError(f"{low_name}: got {low}, want {want} {high_name}, {high}")
