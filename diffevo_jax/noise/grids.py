"""Grids that are levels and nothing else: those of Diffusion Evolution, and lists.

A grid is an object with ``sigmas(num_levels)``, from the noisiest level to the cleanest;
with one level, the noisiest. A discrete chain of a generative model becomes a list of
levels by ``from_alpha_bars``, ``from_alphas`` or ``from_betas``.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from diffevo_jax import pytree
from diffevo_jax.base import Grid
from diffevo_jax.noise.conversions import SIGMA_MAX, SIGMA_MIN, sigma_from_rates
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


def levels_of(grid: Grid, num_levels: int) -> jax.Array:
    """The levels of a grid that anybody may have written, ``(num_levels,)``.

    Args:
        grid: gives them as an array of JAX or of NumPy, or as a list.
        num_levels: how many are asked for, >= 1.

    Raises:
        ValueError: it gives another number of them.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.noise import grids
        >>> grids.levels_of(de.noise.Constant(2.0), 3).tolist()
        [2.0, 2.0, 2.0]
    """
    levels = jnp.asarray(grid.sigmas(num_levels))
    if levels.shape != (num_levels,):
        got = f"levels of shape {levels.shape} of {type(grid).__name__}"
        raise ValueError(f"grid: got {got}, want ({num_levels},)")
    return levels


@pytree.dataclass
class Cosine:
    """Cosine grid: long tails at both ends; as published, for 10 to 50 generations.

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
        return sigma_from_rates(signal, noise)


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
        return sigma_from_rates(signal, noise)


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
        sigmas = sigma_from_rates(jnp.exp(log_signal), -jnp.expm1(log_signal))
        return jax.lax.cummin(sigmas)  # the quadratic turns where epsilon is large


@pytree.dataclass
class Levels:
    """A grid that is a list of noise levels.

    Args:
        values: (T,) noise levels from noisy to clean, > 0, never rising. T must be what the
            sampler asks for, one level a generation for most.

    Example:
        >>> import diffevo_jax as de
        >>> de.noise.Levels([8.0, 2.0, 0.5]).sigmas(3).tolist()
        [8.0, 2.0, 0.5]
    """

    values: ArrayLike | Sequence[float] = pytree.numbers(above=0.0)

    ordered = (("later", "earlier"),)

    def sigmas(self, num_levels: int) -> jax.Array:
        """The levels, ``(num_levels,)``; raise ValueError if there are not so many."""
        values = jnp.asarray(self.values, dtype=float)
        if values.shape != (num_levels,):
            raise ValueError(
                f"Levels.values: got {_count(values)}, but {num_levels} are asked for"
            )
        return jax.lax.cummin(jnp.clip(values, SIGMA_MIN, SIGMA_MAX))

    @property
    def earlier(self) -> jax.Array:
        """All levels but the last, ``(T - 1,)``."""
        return jnp.asarray(self.values, dtype=float)[:-1]

    @property
    def later(self) -> jax.Array:
        """All levels but the first, ``(T - 1,)``."""
        return jnp.asarray(self.values, dtype=float)[1:]

    def check(self) -> None:
        """Raise ValueError if the levels do not fall."""
        values = jnp.asarray(self.values, dtype=float)
        if values.ndim != 1 or not values.size:
            raise ValueError(f"Levels.values: got {_count(values)}, want shape (T,)")
        known = pytree.concrete(values)
        if known is None:
            return
        if (np.diff(known) > 0).any():
            raise ValueError(f"Levels.values: got {known}, want them from noisy to clean")


@checked
def from_alpha_bars(alpha_bars: ArrayLike | Sequence[float]) -> Levels:
    """The grid of cumulative signal rates, the ``alpha`` of the evolution paper.

    Args:
        alpha_bars: (T,) in [0, 1], in forward time: falling, from clean to noisy.

    Returns:
        Levels from noisy to clean, clipped to [1e-6, 1e6]. Where alpha_bar is close to 1,
        :func:`from_betas` keeps more digits.

    Example:
        >>> import diffevo_jax as de
        >>> levels = de.noise.from_alpha_bars([0.8, 0.5, 0.2])
        >>> [f"{sigma:.3g}" for sigma in levels.sigmas(3)]
        ['2', '1', '0.5']
    """
    signal = jnp.asarray(alpha_bars, dtype=float)[::-1]
    return Levels(sigma_from_rates(jnp.maximum(signal, SIGMA_MAX**-2), 1.0 - signal))


@checked
def from_alphas(alphas: ArrayLike | Sequence[float]) -> Levels:
    """The grid of a discrete chain, from the fraction of signal that each step keeps.

    Args:
        alphas: (T,) ``1 - beta`` of each step, in [0, 1], in forward time.

    Returns:
        Levels from noisy to clean, ``sqrt(1 / prod alpha - 1)``.

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.from_alphas([0.5, 0.4]).sigmas(2)]
        ['2', '1']
    """
    return _from_log_alphas(jnp.log(jnp.asarray(alphas, dtype=float)))


@checked
def from_betas(betas: ArrayLike | Sequence[float]) -> Levels:
    """The grid of a discrete chain, from the variance that each step adds.

    Args:
        betas: (T,) in [0, 1], in forward time; of DDPM 1e-4 to 0.02 in 1000 steps.

    Returns:
        Levels from noisy to clean, exact to rounding however small the betas.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> levels = de.noise.from_betas(jnp.linspace(1e-4, 0.02, 1000))
        >>> [f"{sigma:.3g}" for sigma in levels.sigmas(1000)[jnp.array([0, 999])]]
        ['157', '0.01']

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, section 4.
    """
    return _from_log_alphas(jnp.log1p(-jnp.asarray(betas, dtype=float)))


def _noisy_to_clean(num_levels: int) -> jax.Array:
    """Times from 1 (noisy) to 0 (clean); a single level is the noisy end."""
    return jnp.linspace(1.0, 0.0, num_levels) if num_levels > 1 else jnp.ones((1,))


def _count(values: jax.Array) -> str:
    return f"{len(values)} levels" if values.ndim == 1 else f"shape {values.shape}"


def _from_log_alphas(log_alphas: jax.Array) -> Levels:
    sigmas = jnp.sqrt(jnp.expm1(-jnp.cumsum(log_alphas)))
    return Levels(jnp.clip(sigmas[::-1], SIGMA_MIN, SIGMA_MAX))
