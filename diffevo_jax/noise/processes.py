"""Noise processes that are stochastic differential equations of their own.

The three of score-based models, each with its scale s(t) and noise level sigma(t) such that
``x_t = s(t) (x_0 + sigma(t) eps)``. Noise levels are in standard deviations of the prior,
which in evolution is 1; models of images have other ranges.
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.process import (
    check_order,
    sigmas_of,
    sorted_ends,
    sorted_times,
    times_between,
)
from diffevo_jax.pytree import Number


@pytree.dataclass
class VP:
    """Variance-preserving process with a linear noise rate; DDPM in continuous time.

        dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw,
        beta(t) = beta_min + (beta_max - beta_min) t,

    so that, with B the integral of beta, ``s = exp(-B / 2)`` and
    ``sigma = sqrt(exp(B) - 1)``: with the defaults from 0.0105 to 152.

    Args:
        beta_min: noise rate at time 0, >= 0 and at most ``beta_max``.
        beta_max: noise rate at time 1, > 0.
        t_min: time of the clean end, in (0, 1).

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.VP().sigmas(3)]
        ['152', '3.42', '0.0105']

    References:
        Song et al., 2021, arXiv:2011.13456, eq. 11 and appendices B and C.
    """

    beta_min: Number = pytree.number(default=0.1, low=0.0)
    beta_max: Number = pytree.number(default=20.0, above=0.0)
    t_min: Number = pytree.number(default=1e-3, above=0.0)

    ordered = (("beta_min", "beta_max"),)

    def scale(self, t: Number) -> jax.Array:
        """``exp(-B(t) / 2)``, the square root of alpha_bar."""
        return jnp.exp(-0.5 * accumulated(self.beta_min, self.beta_max, t))

    def sigma(self, t: Number) -> jax.Array:
        """``sqrt(exp(B(t)) - 1)``."""
        return jnp.sqrt(jnp.expm1(accumulated(self.beta_min, self.beta_max, t)))

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` uniform times from 1 to ``t_min``."""
        return times_between(*sorted_times(self.t_min, 1.0), num_levels)

    def sigmas(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` decreasing noise levels."""
        return sigmas_of(self, num_levels)

    def check(self) -> None:
        """Raise ValueError if the numbers are in the wrong order."""
        check_order("VP.t_min", self.t_min, "the end", 1.0)
        rates = self.beta_min, self.beta_max
        check_order("VP.beta_min", rates[0], "VP.beta_max", rates[1], equal=True)


@pytree.dataclass
class SubVP:
    """Sub-variance-preserving process: the drift of :class:`VP` with less noise.

        dx = -beta(t) x / 2 dt + sqrt(beta(t) (1 - exp(-2 B(t)))) dw,

    so that ``s = exp(-B / 2)`` and ``sigma = 2 sinh(B / 2)``. Near the clean end sigma is
    the square of that of VP, so it comes down faster: from 152 to 0.00011 by default.

    Args:
        beta_min: noise rate at time 0, >= 0 and at most ``beta_max``.
        beta_max: noise rate at time 1, > 0.
        t_min: time of the clean end, in (0, 1).

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.SubVP().sigmas(3)]
        ['152', '3.28', '0.00011']

    References:
        Song et al., 2021, arXiv:2011.13456, eq. 12 and appendices B and C.
    """

    beta_min: Number = pytree.number(default=0.1, low=0.0)
    beta_max: Number = pytree.number(default=20.0, above=0.0)
    t_min: Number = pytree.number(default=1e-3, above=0.0)

    ordered = (("beta_min", "beta_max"),)

    def scale(self, t: Number) -> jax.Array:
        """``exp(-B(t) / 2)``, as of VP."""
        return jnp.exp(-0.5 * accumulated(self.beta_min, self.beta_max, t))

    def sigma(self, t: Number) -> jax.Array:
        """``2 sinh(B(t) / 2)``, which is ``(1 - exp(-B)) / exp(-B / 2)``."""
        return 2.0 * jnp.sinh(0.5 * accumulated(self.beta_min, self.beta_max, t))

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` uniform times from 1 to ``t_min``."""
        return times_between(*sorted_times(self.t_min, 1.0), num_levels)

    def sigmas(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` decreasing noise levels."""
        return sigmas_of(self, num_levels)

    def check(self) -> None:
        """Raise ValueError if the numbers are in the wrong order."""
        check_order("SubVP.t_min", self.t_min, "the end", 1.0)
        rates = self.beta_min, self.beta_max
        check_order("SubVP.beta_min", rates[0], "SubVP.beta_max", rates[1], equal=True)


@pytree.dataclass
class VE:
    """Variance-exploding process: noise levels in geometric progression, nothing shrinks.

        dx = sigma(t) sqrt(2 log(sigma_max / sigma_min)) dw,
        sigma(t) = sigma_min (sigma_max / sigma_min)^t,  s = 1,  t in [0, 1].

    Every factor of sigma gets its share of the levels, so it is a safe choice where the
    scale of the structure is unknown.

    Args:
        sigma_min: noise level at the clean end, in prior deviations, > 0; for images 0.01.
        sigma_max: noise level at the noisy end, larger than ``sigma_min``; for images 50.

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.VE().sigmas(3)]
        ['30', '0.949', '0.03']

    References:
        Song et al., 2021, arXiv:2011.13456, eq. 9 and appendices B and C.
    """

    sigma_min: Number = pytree.number(default=0.03, above=0.0)
    sigma_max: Number = pytree.number(default=30.0, above=0.0)

    ordered = (("sigma_min", "sigma_max"),)

    def scale(self, t: Number) -> jax.Array:
        """1."""
        return jnp.ones_like(jnp.asarray(t, dtype=float))

    def sigma(self, t: Number) -> jax.Array:
        """``sigma_min^(1 - t) sigma_max^t``."""
        low, high = sorted_ends(self.sigma_min, self.sigma_max)
        return low * jnp.exp(jnp.asarray(t, dtype=float) * jnp.log(high / low))

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` uniform times from 1 to 0."""
        return times_between(0.0, 1.0, num_levels)

    def sigmas(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` decreasing noise levels."""
        return sigmas_of(self, num_levels)

    def check(self) -> None:
        """Raise ValueError if the noise levels are in the wrong order."""
        check_order("VE.sigma_min", self.sigma_min, "VE.sigma_max", self.sigma_max)


def accumulated(beta_min: Number, beta_max: Number, t: Number) -> jax.Array:
    """Integral of the linear noise rate from 0 to t, ``B(t)``, not below 0.

    Args:
        beta_min: noise rate at time 0, () >= 0.
        beta_max: noise rate at time 1, () >= 0.
        t: times of any shape, in [0, 1].

    Returns:
        B(t), of the shape of t; ``alpha_bar = exp(-B)``.

    References:
        Song et al., 2021, arXiv:2011.13456, eq. 33.
    """
    t = jnp.asarray(t, dtype=float)
    return jnp.maximum(t * (beta_min * (1 - 0.5 * t) + beta_max * 0.5 * t), 0.0)
