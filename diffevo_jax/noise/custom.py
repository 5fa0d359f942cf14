"""Noise of one's own: explicit levels, discrete chains, any linear stochastic equation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.noise.conversions import SIGMA_MAX, SIGMA_MIN, sigma_from_rates
from diffevo_jax.noise.process import check_order, sigmas_of, times_between
from diffevo_jax.pytree import Number

#: Gauss-Legendre quadrature: panels of equal length, and nodes in each.
_PANELS, _NODES = 16, 8


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

    values: Any = pytree.numbers()

    def sigmas(self, num_levels: int) -> jax.Array:
        """The levels, ``(num_levels,)``; raise ValueError if there are not so many."""
        values = jnp.asarray(self.values, dtype=float)
        if values.shape != (num_levels,):
            raise ValueError(
                f"Levels.values: got {_count(values)}, but {num_levels} are asked for"
            )
        return jax.lax.cummin(jnp.clip(values, SIGMA_MIN, SIGMA_MAX))

    def check(self) -> None:
        """Raise ValueError if the levels are not positive, finite and falling."""
        values = jnp.asarray(self.values, dtype=float)
        if values.ndim != 1 or not values.size:
            raise ValueError(f"Levels.values: got {_count(values)}, want shape (T,)")
        known = pytree.concrete(values)
        if known is None:
            return
        if not (np.isfinite(known) & (known > 0)).all():
            raise ValueError(f"Levels.values: got {known}, want positive finite numbers")
        if (np.diff(known) > 0).any():
            raise ValueError(f"Levels.values: got {known}, want them from noisy to clean")


def _count(values: jax.Array) -> str:
    return f"{len(values)} levels" if values.ndim == 1 else f"shape {values.shape}"


def from_alpha_bars(alpha_bars: Any) -> Levels:
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


def from_alphas(alphas: Any) -> Levels:
    """The grid of a discrete chain, from the share of signal that each step keeps.

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


def from_betas(betas: Any) -> Levels:
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


def _from_log_alphas(log_alphas: jax.Array) -> Levels:
    sigmas = jnp.sqrt(jnp.expm1(-jnp.cumsum(log_alphas)))
    return Levels(jnp.clip(sigmas[::-1], SIGMA_MIN, SIGMA_MAX))


@pytree.dataclass
class SDE:
    """The process of a linear stochastic differential equation of one's own.

        dx = f(t) x dt + g(t) dw
        s(t) = exp(int_0^t f),  sigma(t)^2 = int_0^t g^2 / s^2.

    The noise is all that has come in since time 0; ``t_min`` and ``t_max`` say where the
    grid begins and ends. The integrals are Gauss-Legendre sums, 8 nodes in each of 16
    panels: exact to rounding for smooth f and g.

    Args:
        drift: f, a function of time alone, on a scalar. Static.
        diffusion: g, likewise. Static.
        t_min: time of the clean end, >= 0; at 0 sigma is clipped to 1e-6.
        t_max: time of the noisy end, larger than ``t_min``.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> process = de.noise.SDE(drift=lambda t: 0.0, diffusion=jnp.exp)
        >>> float(process.sigma(1.0)), float(jnp.sqrt(jnp.expm1(2.0) / 2))
        (1.787..., 1.787...)

    References:
        Karras et al., 2022, arXiv:2206.00364, appendix B.
    """

    drift: Callable[[jax.Array], Number] = pytree.static()
    diffusion: Callable[[jax.Array], Number] = pytree.static()
    t_min: Number = pytree.number(default=1e-3, low=0.0)
    t_max: Number = pytree.number(default=1.0, above=0.0)

    ordered = (("t_min", "t_max"),)

    def scale(self, t: Number) -> jax.Array:
        """``exp(int_0^t f)``."""
        nodes, weights, _ = _quadrature(t)
        return jnp.exp(jnp.sum(weights * _each(self.drift, nodes), (-2, -1)))

    def sigma(self, t: Number) -> jax.Array:
        """``sqrt(int_0^t g^2 / s^2)``."""
        nodes, weights, until = _quadrature(t)
        rate = _each(self.drift, nodes)
        panel = jnp.sum(weights * rate, -1, keepdims=True)
        before = jnp.cumsum(panel, -2) - panel
        inside = jnp.sum(until * rate[..., None, :], -1)
        growth = _each(self.diffusion, nodes) * jnp.exp(-(before + inside))
        return jnp.sqrt(jnp.sum(weights * growth**2, (-2, -1)))

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` uniform times from ``t_max`` to ``t_min``."""
        low = jnp.maximum(jnp.minimum(self.t_min, self.t_max), 0.0)
        return times_between(low, jnp.maximum(self.t_min, self.t_max), num_levels)

    def sigmas(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` decreasing noise levels."""
        return sigmas_of(self, num_levels)

    def check(self) -> None:
        """Raise TypeError without functions, ValueError if the times are out of order."""
        for name in ("drift", "diffusion"):
            if not callable(getattr(self, name)):
                raise TypeError(f"SDE.{name}: got {getattr(self, name)!r}, want a function")
        check_order("SDE.t_min", self.t_min, "SDE.t_max", self.t_max)


def _each(function: Callable[[jax.Array], Number], t: jax.Array) -> jax.Array:
    """A function of scalars, at times of any shape."""
    return jnp.reshape(jax.vmap(function)(t.ravel()), t.shape)


def _quadrature(t: Number) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Nodes and weights for integrals from 0 to t, and from a panel's start to its nodes.

    Args:
        t: end of the integrals, any shape.

    Returns:
        nodes ``t.shape + (panels, nodes)``, weights ``t.shape + (1, nodes)``, and weights
        ``t.shape + (1, nodes, nodes)`` of the integral of the interpolating polynomial
        from the start of a panel to each of its nodes.
    """
    x, weights = np.polynomial.legendre.leggauss(_NODES)
    basis = np.polynomial.legendre.legvander(x, _NODES)  # P_n(x_q), (q, n)
    # int_{-1}^x (2n + 1) P_n = P_{n+1}(x) - P_{n-1}(x), with P_{-1} = -1
    below = np.concatenate([-np.ones((_NODES, 1)), basis[:, : _NODES - 1]], axis=1)
    until = 0.5 * (basis[:, 1:] - below) @ basis[:, :_NODES].T * weights
    t = jnp.asarray(t, dtype=float)[..., None, None]
    starts = np.arange(_PANELS)[:, None]
    nodes = t * (starts + 0.5 * (x + 1)) / _PANELS
    half = 0.5 * t / _PANELS
    return nodes, half * weights, half[..., None] * until
