"""What a noise process is, and what the classes of processes take from here by name.

    x_t = s(t) (x_0 + sigma(t) eps)

In canonical coordinates, ``y = x_t / s(t)``, only sigma is left, so every process is also a
grid. Levels are in standard deviations of the prior, which in evolution is 1; models of
images have other ranges.

A function of a process, of ``self``, is a method that a class takes by name, as in
``sigmas = falling_sigmas``.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax.noise.conversions import SIGMA_MAX, SIGMA_MIN, alpha_bar_from_sigma
from diffevo_jax.noise.ends import times_between
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


@runtime_checkable
class TimedProcess(Process, Protocol):
    """A process that knows at which time it has a noise level: what a model is told.

    ``Constant`` has no such time, and ``SDE`` no formula for it; give a class of your own
    this method, and models that were trained along it can answer
    (:func:`diffevo_jax.diffusion.from_model`).
    """

    def time(self, sigma: Number) -> jax.Array:
        """Return the time of noise levels of any shape, the inverse of ``sigma``.

        Levels beyond the ends of the process have the time of its end.
        """
        ...


def falling_sigmas(process: Process, num_levels: int) -> jax.Array:
    """Noise levels at the times of a process: finite, clipped, never rising.

    Args:
        process: a noise process, its numbers legal or not.
        num_levels: number of levels, at least 1.

    Returns:
        ``(num_levels,)`` noise levels in [1e-6, 1e6].
    """
    sigmas = jnp.clip(process.sigma(process.times(num_levels)), SIGMA_MIN, SIGMA_MAX)
    return jax.lax.cummin(sigmas)  # rounding, where neighbours are close


def uniform_times(process: object, num_levels: int) -> jax.Array:
    """``(num_levels,)`` uniform times from 1 to 0."""
    return times_between(0.0, 1.0, num_levels)


def no_scale(process: object, t: Number) -> jax.Array:
    """1: points keep their size."""
    return jnp.ones_like(jnp.asarray(t, dtype=float))


def unit_variance_scale(process: Process, t: Number) -> jax.Array:
    """``1 / sqrt(1 + sigma(t)^2)``: points of unit variance keep it."""
    return jnp.sqrt(alpha_bar_from_sigma(process.sigma(t)))
