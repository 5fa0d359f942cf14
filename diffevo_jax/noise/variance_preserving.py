"""Processes with a linear noise rate: VP, as DDPM in continuous time, and sub-VP."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.ends import check_order, sorted_times, times_between
from diffevo_jax.noise.process import falling_sigmas
from diffevo_jax.pytree import Number


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


def vp_scale(process: "VP | SubVP", t: Number) -> jax.Array:
    """``exp(-B(t) / 2)``, the square root of alpha_bar."""
    return jnp.exp(-0.5 * accumulated(process.beta_min, process.beta_max, t))


def vp_times(process: "VP | SubVP", num_levels: int) -> jax.Array:
    """``(num_levels,)`` uniform times from 1 to ``t_min``."""
    return times_between(*sorted_times(process.t_min, 1.0), num_levels)


def vp_time(process: "VP | SubVP", total: jax.Array) -> jax.Array:
    """The time at which so much noise is accumulated, in [0, 1].

    The root of ``(beta_max - beta_min) t^2 / 2 + beta_min t = B``, in the form in which
    nothing cancels.
    """
    total = jnp.clip(total, 1e-30, 1e30)  # far beyond all levels, and not 0/0 at an end
    slope = process.beta_max - process.beta_min
    root = jnp.sqrt(jnp.asarray(process.beta_min, float) ** 2 + 2 * slope * total)
    return jnp.clip(2 * total / (process.beta_min + root), 0.0, 1.0)


def check_rates(process: "VP | SubVP") -> None:
    """Raise ValueError if the numbers are in the wrong order."""
    name, rates = type(process).__name__, (process.beta_min, process.beta_max)
    check_order(f"{name}.t_min", process.t_min, "the end", 1.0)
    check_order(f"{name}.beta_min", rates[0], f"{name}.beta_max", rates[1], equal=True)


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

    scale = vp_scale
    times = vp_times
    sigmas = falling_sigmas
    check = check_rates

    def sigma(self, t: Number) -> jax.Array:
        """``sqrt(exp(B(t)) - 1)``."""
        return jnp.sqrt(jnp.expm1(accumulated(self.beta_min, self.beta_max, t)))

    def time(self, sigma: Number) -> jax.Array:
        """Where ``B = log(1 + sigma^2)``."""
        return vp_time(self, jnp.log1p(jnp.asarray(sigma, dtype=float) ** 2))


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

    scale = vp_scale
    times = vp_times
    sigmas = falling_sigmas
    check = check_rates

    def sigma(self, t: Number) -> jax.Array:
        """``2 sinh(B(t) / 2)``, which is ``(1 - exp(-B)) / exp(-B / 2)``."""
        return 2.0 * jnp.sinh(0.5 * accumulated(self.beta_min, self.beta_max, t))

    def time(self, sigma: Number) -> jax.Array:
        """Where ``B = 2 arsinh(sigma / 2)``."""
        return vp_time(self, 2.0 * jnp.arcsinh(0.5 * jnp.asarray(sigma, dtype=float)))
