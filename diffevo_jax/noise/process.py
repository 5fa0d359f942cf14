"""What a noise process is, and what all of them share: times, ends, the walk to sigma.

A process adds noise in continuous time, ``x_t = s(t) (x_0 + sigma(t) eps)``. In canonical
coordinates, ``y = x_t / s(t)``, only sigma is left, so every process is also a grid.
"""

from typing import Protocol

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.conversions import SIGMA_MAX, SIGMA_MIN
from diffevo_jax.pytree import Number


class Process(Protocol):
    """Noise in continuous time, ``x_t = s(t) (x_0 + sigma(t) eps)``; also a grid.

    Write your own class with these members: ``scale`` and ``sigma`` take times of any shape
    and can be differentiated in them.
    """

    def scale(self, t: Number) -> jax.Array:
        """Return s, the size of a clean point in the process's own coordinates."""
        ...

    def sigma(self, t: Number) -> jax.Array:
        """Return the noise level of ``x_t / s(t)``, which never falls with t."""
        ...

    def times(self, num_levels: int) -> jax.Array:
        """Return ``(num_levels,)`` decreasing times; with one level, the noisy end."""
        ...

    def sigmas(self, num_levels: int) -> jax.Array:
        """Return ``(num_levels,)`` decreasing noise levels, within [1e-6, 1e6]."""
        ...


def sigmas_of(process: Process, num_levels: int) -> jax.Array:
    """Noise levels at the times of a process: finite, clipped, never rising.

    Args:
        process: a noise process, its numbers legal or not.
        num_levels: number of levels, at least 1.

    Returns:
        ``(num_levels,)`` noise levels in [1e-6, 1e6].
    """
    sigmas = jnp.clip(process.sigma(process.times(num_levels)), SIGMA_MIN, SIGMA_MAX)
    return jax.lax.cummin(sigmas)  # rounding, where neighbours are close


def times_between(t_min: Number, t_max: Number, num_levels: int) -> jax.Array:
    """Uniform times from ``t_max`` to ``t_min``, both exact; one is ``t_max``."""
    noisy, clean = shares(num_levels)
    return noisy * t_max + clean * t_min


def shares(num_levels: int) -> tuple[jax.Array, jax.Array]:
    """Shares of the noisy and the clean end in each level.

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
