"""Noise levels: grids of sigma, and the change between coordinates.

Which alpha is which: ``alpha_bar`` here is the cumulative signal rate, from 1 (clean) to 0
(pure noise). The evolution paper (arXiv:2410.02543) writes it ``alpha``; the diffusion
literature keeps plain ``alpha = 1 - beta`` for one step. A variance-preserving process is

    x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps,

and in canonical coordinates, in which all processes look alike,

    y = x_t / sqrt(alpha_bar) = x_0 + sigma eps,  sigma = sqrt((1 - alpha_bar) / alpha_bar).

Individuals are kept and evaluated at *unit scale*, ``x = y / sqrt(1 + sigma^2)``, which is
``x_t`` itself: a population that starts as N(0, I) stays of that size.

A grid is an object with ``sigmas(num_levels)``. The three here are those published with
Diffusion Evolution, from the noisiest level to the cleanest; with one level, the noisiest.
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.pytree import Number

SIGMA_MIN = 1e-6
SIGMA_MAX = 1e6


@pytree.dataclass
class Cosine:
    """Cosine grid: long tails at both ends; the one for 10 to 50 generations.

    With ``u`` from 0 (clean) to 1 (noisy), ``alpha_bar = (cos^2(pi u / 2) + m) (1 - m) /
    (1 + m)``, so that with the default margin alpha_bar runs from 0.999 to 0.000998 and
    sigma from 0.0316 to 31.6.

    Args:
        margin: m, distance of alpha_bar from 0 and 1 at the ends, in (0, 1).

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.Cosine().sigmas(3)]
        ['31.6', '1', '0.0316']

    References:
        Nichol and Dhariwal, 2021, arXiv:2102.09672, eq. 17; with the margin of
        Zhang et al., 2024, arXiv:2410.02543.
    """

    margin: Number = pytree.number(default=1e-3, above=0.0, high=0.5)

    def sigmas(self, num_levels: int) -> jax.Array:
        """Return ``(num_levels,)`` decreasing noise levels."""
        angle = 0.5 * jnp.pi * _noisy_to_clean(num_levels)
        cos2, sin2, m = jnp.cos(angle) ** 2, jnp.sin(angle) ** 2, self.margin
        signal = (cos2 + m) * (1 - m) / (1 + m)
        noise = (sin2 + m * (cos2 + m)) / (1 + m)  # = 1 - signal, without cancellation
        return _sigma(signal, noise)


@pytree.dataclass
class Linear:
    """Linear grid: alpha_bar falls linearly, and so sigma rushes down at first.

    Args:
        min_noise: 1 - alpha_bar at the clean end, in (0, 1).
        min_signal: alpha_bar at the noisy end, in (0, 1).

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.Linear().sigmas(3)]
        ['1e+04', '1', '0.01']

    References:
        Zhang et al., 2024, arXiv:2410.02543 (its linear schedule).
    """

    min_noise: Number = pytree.number(default=1e-4, above=0.0, high=0.5)
    min_signal: Number = pytree.number(default=1e-8, above=0.0, high=0.5)

    def sigmas(self, num_levels: int) -> jax.Array:
        """Return ``(num_levels,)`` decreasing noise levels."""
        u = _noisy_to_clean(num_levels)
        signal = (1 - self.min_noise) * (1 - u) + self.min_signal * u
        noise = self.min_noise * (1 - u) + (1 - self.min_signal) * u
        return _sigma(signal, noise)


@pytree.dataclass
class DDPM:
    """DDPM grid: ``log alpha_bar`` is a quadratic in time, as for a linear beta schedule.

    The published form is ``alpha_bar(t) = exp(-beta t - gamma t^2)`` at ``t = i / n``,
    with beta and gamma such that alpha_bar is ``1 - epsilon`` at the clean end and
    ``epsilon`` at the noisy one. The Lagrange form of the same quadratic,

        log alpha_bar_i = log(1 - epsilon) i (n - i) / (n - 1)
                        + log(epsilon) i (i - 1) / (n (n - 1)),   i = 1..n,

    has no cancellation.

    Args:
        epsilon: distance of alpha_bar from 0 and 1 at the ends, in (0, 1). Where it is so
            large for the number of levels that the quadratic would rise again (0.01 above
            900 levels), sigma stays level there.

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.DDPM().sigmas(3)]
        ['100', '4.53', '0.01']

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239; Zhang et al., 2024, arXiv:2410.02543.
    """

    epsilon: Number = pytree.number(default=1e-4, above=0.0, high=0.5)

    def sigmas(self, num_levels: int) -> jax.Array:
        """Return ``(num_levels,)`` decreasing noise levels."""
        n, i = num_levels, jnp.arange(num_levels, 0, -1, dtype=float)
        clean_end, noisy_end = jnp.log1p(-self.epsilon), jnp.log(self.epsilon)
        if n == 1:
            log_signal = jnp.full((1,), noisy_end)
        else:
            log_signal = clean_end * i * (n - i) / (n - 1) + noisy_end * i * (i - 1) / (
                n * (n - 1)
            )
        sigmas = _sigma(jnp.exp(log_signal), -jnp.expm1(log_signal))
        return jax.lax.cummin(sigmas)  # the quadratic turns where epsilon is large


def _noisy_to_clean(num_levels: int) -> jax.Array:
    """Times from 1 (noisy) to 0 (clean); a single level is the noisy end."""
    return jnp.linspace(1.0, 0.0, num_levels) if num_levels > 1 else jnp.ones((1,))


def _sigma(signal: jax.Array, noise: jax.Array) -> jax.Array:
    return jnp.clip(jnp.sqrt(noise / signal), SIGMA_MIN, SIGMA_MAX)


def sigma_from_alpha_bar(alpha_bar: Number) -> jax.Array:
    """Noise level of a cumulative signal rate; safe at exactly 0 and 1.

    Args:
        alpha_bar: any shape, in [0, 1]; 1 is clean.

    Returns:
        sigma, same shape, clipped to [1e-6, 1e6].

    Example:
        >>> import diffevo_jax as de
        >>> float(de.noise.sigma_from_alpha_bar(0.5))
        1.0
    """
    alpha_bar = jnp.asarray(alpha_bar, dtype=float)
    return _sigma(jnp.clip(alpha_bar, SIGMA_MAX**-2, 1.0), 1.0 - alpha_bar)


def alpha_bar_from_sigma(sigma: Number) -> jax.Array:
    """Cumulative signal rate of a noise level, ``1 / (1 + sigma^2)``."""
    return 1.0 / (1.0 + jnp.asarray(sigma, dtype=float) ** 2)


def canonical_scale(sigma: Number) -> jax.Array:
    """Factor from unit scale to canonical coordinates, ``y = sqrt(1 + sigma^2) x``."""
    return jnp.sqrt(1.0 + jnp.asarray(sigma, dtype=float) ** 2)


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


def diffuse(key: jax.Array, clean: jax.Array, sigma: Number) -> jax.Array:
    """Forward diffusion to noise level sigma: evolution backwards.

    Args:
        key: a typed key.
        clean: (..., D) points in unit scale.
        sigma: noise level, >= 0; 0 returns the points, infinity pure noise.

    Returns:
        (..., D) noisy points in unit scale, ``(clean + sigma eps) / sqrt(1 + sigma^2)``.

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eq. 4.
    """
    sigma = jnp.asarray(sigma, dtype=float)
    eps = jax.random.normal(key, clean.shape, clean.dtype)
    noise = 1.0 / jnp.sqrt(1.0 + sigma**-2)  # sqrt(1 - alpha_bar), exact at both ends
    return jnp.sqrt(alpha_bar_from_sigma(sigma)) * clean + noise * eps
