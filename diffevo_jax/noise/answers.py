"""What a denoiser may answer: the clean point, the noise, the score, or the velocity.

Each answer is the clean point in other words. All functions here are in canonical
coordinates, ``y = x_0 + sigma eps``, and have the clean point at one end; two of them take
any answer to any other.

In the coordinates of a variance-preserving process, ``x_t = y / sqrt(1 + sigma^2)``, the
clean point, the noise and the velocity are the same numbers. The score is a gradient and is
``sqrt(1 + sigma^2)`` times larger: ``-(x_t - sqrt(alpha_bar) x_0) / (1 - alpha_bar)``.
"""

import jax
import jax.numpy as jnp

from diffevo_jax.noise.conversions import alpha_bar_from_sigma
from diffevo_jax.pytree import Number


def noise_from_clean(y: jax.Array, clean: jax.Array, sigma: Number) -> jax.Array:
    """The noise that a clean point implies, ``eps = (y - x_0) / sigma``.

    Args:
        y: (..., D) noisy points, canonical.
        clean: (..., D) their clean points.
        sigma: noise level, > 0.

    Returns:
        eps (..., D), of unit variance if ``clean`` is right.

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eq. 9.
    """
    return (y - clean) / sigma


def clean_from_noise(y: jax.Array, eps: jax.Array, sigma: Number) -> jax.Array:
    """The clean point that a noise implies, ``x_0 = y - sigma eps``.

    Inverse of :func:`noise_from_clean`.
    """
    return y - sigma * eps


def score_from_clean(y: jax.Array, clean: jax.Array, sigma: Number) -> jax.Array:
    """The score that a clean point implies, ``(x_0 - y) / sigma^2`` (Tweedie's formula).

    Args:
        y: (..., D) noisy points, canonical.
        clean: (..., D) their clean points.
        sigma: noise level, > 0.

    Returns:
        (..., D) gradient of the log-density of the noisy points at y.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> float(de.noise.score_from_clean(jnp.array(3.0), jnp.array(1.0), 2.0))
        -0.5

    References:
        Efron, 2011, doi:10.1198/jasa.2011.tm11181, Tweedie's formula;
        Karras et al., 2022, arXiv:2206.00364, eq. 3.
    """
    return (clean - y) / sigma / sigma


def clean_from_score(y: jax.Array, score: jax.Array, sigma: Number) -> jax.Array:
    """The clean point that a score implies, ``x_0 = y + sigma^2 score``.

    Inverse of :func:`score_from_clean`.
    """
    return y + sigma * (sigma * score)


def velocity_from_clean(y: jax.Array, clean: jax.Array, sigma: Number) -> jax.Array:
    """The velocity that a clean point implies, well conditioned at every noise level.

        v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0
          = (eps - sigma x_0) / sqrt(1 + sigma^2)

    Args:
        y: (..., D) noisy points, canonical.
        clean: (..., D) their clean points.
        sigma: noise level, > 0.

    Returns:
        v (..., D).

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> y, clean = jnp.array(3.0), jnp.array(1.0)
        >>> v = de.noise.velocity_from_clean(y, clean, 2.0)
        >>> round(float(de.noise.clean_from_velocity(y, v, 2.0)), 5)
        1.0

    References:
        Salimans and Ho, 2022, arXiv:2202.00512, section 4 and appendix D.
    """
    signal = jnp.sqrt(alpha_bar_from_sigma(sigma))
    return signal * (noise_from_clean(y, clean, sigma) - sigma * clean)


def clean_from_velocity(y: jax.Array, velocity: jax.Array, sigma: Number) -> jax.Array:
    """The clean point that a velocity implies.

    ``x_0 = (y - sigma sqrt(1 + sigma^2) v) / (1 + sigma^2)``, which is
    ``sqrt(alpha_bar) x_t - sqrt(1 - alpha_bar) v``. Inverse of
    :func:`velocity_from_clean`.
    """
    signal = jnp.sqrt(alpha_bar_from_sigma(sigma))
    return signal * (signal * y - sigma * velocity)
