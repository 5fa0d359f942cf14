"""Processes that are chosen by their noise levels; their equation follows.

Those of score-based models are :class:`VE`, and, in a file of their own,
:class:`diffevo_jax.noise.VP` and :class:`diffevo_jax.noise.SubVP`.
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.ends import (
    check_order,
    sorted_ends,
    sorted_times,
    times_between,
    weights_of_ends,
)
from diffevo_jax.noise.process import (
    falling_sigmas,
    no_scale,
    uniform_times,
    unit_variance_scale,
)
from diffevo_jax.pytree import Number


def check_sigmas(process: "VE | EDM") -> None:
    """Raise ValueError if the noise levels of the ends are in the wrong order."""
    name = type(process).__name__
    low, high = process.sigma_min, process.sigma_max
    check_order(f"{name}.sigma_min", low, f"{name}.sigma_max", high)


@pytree.dataclass
class VE:
    """Variance-exploding process: noise levels in geometric progression, nothing shrinks.

        dx = sigma(t) sqrt(2 log(sigma_max / sigma_min)) dw,
        sigma(t) = sigma_min (sigma_max / sigma_min)^t,  s = 1,  t in [0, 1].

    Every factor of sigma gets equally many levels, so it is a safe choice where the scale
    of the structure is unknown.

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

    scale = no_scale
    times = uniform_times
    sigmas = falling_sigmas
    check = check_sigmas

    def sigma(self, t: Number) -> jax.Array:
        """``sigma_min^(1 - t) sigma_max^t``."""
        low, high = sorted_ends(self.sigma_min, self.sigma_max)
        return low * jnp.exp(jnp.asarray(t, dtype=float) * jnp.log(high / low))

    def time(self, sigma: Number) -> jax.Array:
        """``log(sigma / sigma_min) / log(sigma_max / sigma_min)``, in [0, 1]."""
        low, high = sorted_ends(self.sigma_min, self.sigma_max)
        return jnp.clip(jnp.log(sigma / low) / jnp.log(high / low), 0.0, 1.0)


@pytree.dataclass
class EDM:
    """The process whose time is its noise level, with steps that shorten towards the end.

        sigma(t) = t,  s = 1,
        t_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho

    With rho 1 the levels are uniform, with rho 7 most are low, and with rho to infinity
    they are geometric, as of :class:`VE`. Solutions of its ODE are nearly straight lines.
    Any sampler may walk down these levels; the one of the same paper is
    :class:`diffevo_jax.samplers.EDM`.

    Args:
        sigma_min: noise level at the clean end, in prior deviations, > 0; for images 0.002.
        sigma_max: noise level at the noisy end, larger than ``sigma_min``; for images 80.
        rho: how much the steps shorten, at least 1; 5 to 10 for images.

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.EDM().sigmas(3)]
        ['30', '2.15', '0.03']

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 5 and table 1.
    """

    sigma_min: Number = pytree.number(default=0.03, above=0.0)
    sigma_max: Number = pytree.number(default=30.0, above=0.0)
    rho: Number = pytree.number(default=7.0, low=1.0)

    ordered = (("sigma_min", "sigma_max"),)

    scale = no_scale
    sigmas = falling_sigmas
    check = check_sigmas

    def sigma(self, t: Number) -> jax.Array:
        """The time itself."""
        return jnp.asarray(t, dtype=float)

    def time(self, sigma: Number) -> jax.Array:
        """The noise level itself, beyond the ends too."""
        return jnp.asarray(sigma, dtype=float)

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` times from ``sigma_max`` to ``sigma_min``."""
        low, high = sorted_ends(self.sigma_min, self.sigma_max)
        rho = jnp.maximum(self.rho, 1.0)
        noisy, clean = weights_of_ends(num_levels)
        ratio = jnp.log(low / high) / rho
        # t = high base^rho, base = noisy + clean (low / high)^(1/rho). Where the base may
        # be near 0 this sum keeps its digits; where it is near 1, the other form does.
        base = jnp.where(
            ratio < -1.0,
            jnp.log(noisy + clean * jnp.exp(ratio)),
            jnp.log1p(clean * jnp.expm1(ratio)),
        )
        return jnp.clip(high * jnp.exp(rho * base), low, high)


@pytree.dataclass
class LogSNR:
    """Levels uniform in the log signal-to-noise ratio, at unit scale.

    ``sigma(t) = exp(-log_snr / 2)`` with ``log_snr = high + (low - high) t``, and
    ``s = 1 / sqrt(1 + sigma^2)``. The levels are geometric, as of :class:`VE`; the path is
    variance-preserving, as of :class:`diffevo_jax.noise.VP`.

    Args:
        low: log-SNR at the noisy end; -7 is sigma 33, 0 as much signal as noise.
        high: log-SNR at the clean end, larger than ``low``; 7 is sigma 0.03.

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.LogSNR(low=-4.0, high=4.0).sigmas(3)]
        ['7.39', '1', '0.135']

    References:
        Kingma, Salimans, Poole, Ho, 2021, arXiv:2107.00630, section 3.
    """

    low: Number = pytree.number(default=-7.0)
    high: Number = pytree.number(default=7.0)

    ordered = (("low", "high"),)

    scale = unit_variance_scale
    times = uniform_times
    sigmas = falling_sigmas

    def sigma(self, t: Number) -> jax.Array:
        """``exp(-log_snr(t) / 2)``."""
        t = jnp.asarray(t, dtype=float)
        low, high = jnp.minimum(self.low, self.high), jnp.maximum(self.low, self.high)
        return jnp.exp(-0.5 * (high * (1 - t) + low * t))

    def time(self, sigma: Number) -> jax.Array:
        """``(high + 2 log sigma) / (high - low)``, in [0, 1]."""
        low, high = jnp.minimum(self.low, self.high), jnp.maximum(self.low, self.high)
        log_snr = -2.0 * jnp.log(jnp.asarray(sigma, dtype=float))
        return jnp.clip((high - log_snr) / (high - low), 0.0, 1.0)

    def check(self) -> None:
        """Raise ValueError if the ends are in the wrong order."""
        check_order("LogSNR.low", self.low, "LogSNR.high", self.high)


@pytree.dataclass
class Flow:
    """Rectified flow: a straight line from the clean point to its noise.

    ``x_t = (1 - t) x_0 + t eps``, so ``s = 1 - t`` and ``sigma = t / (1 - t)``.

    Args:
        t_min: time of the clean end, in [0, 1); 0.03 is sigma 0.031.
        t_max: time of the noisy end, larger than ``t_min``, at most 1. At 0.97 sigma is
            32; at 1 there is no signal, and sigma is clipped to 1e6.

    Example:
        >>> import diffevo_jax as de
        >>> [f"{sigma:.3g}" for sigma in de.noise.Flow().sigmas(3)]
        ['32.3', '1', '0.0309']

    References:
        Liu, Gong, Liu, 2022, arXiv:2209.03003, eq. 1; Lipman et al., 2022,
        arXiv:2210.02747, section 4.1.

    Notes:
        The papers run from noise at time 0 to data at time 1; here time is noise, as in
        every other process.
    """

    t_min: Number = pytree.number(default=0.03, low=0.0)
    t_max: Number = pytree.number(default=0.97, above=0.0, high=1.0)

    ordered = (("t_min", "t_max"),)

    sigmas = falling_sigmas

    def scale(self, t: Number) -> jax.Array:
        """``1 - t``."""
        return 1.0 - jnp.asarray(t, dtype=float)

    def sigma(self, t: Number) -> jax.Array:
        """``t / (1 - t)``."""
        return t / (1.0 - jnp.asarray(t, dtype=float))

    def time(self, sigma: Number) -> jax.Array:
        """``sigma / (1 + sigma)``, in [0, 1], whatever the ends are."""
        sigma = jnp.minimum(jnp.asarray(sigma, dtype=float), 1e30)  # infinite at time 1
        return sigma / (1.0 + sigma)

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` uniform times from ``t_max`` to ``t_min``."""
        return times_between(*sorted_times(self.t_min, self.t_max), num_levels)

    def check(self) -> None:
        """Raise ValueError if the times are in the wrong order."""
        check_order("Flow.t_min", self.t_min, "Flow.t_max", self.t_max)


@pytree.dataclass
class Constant:
    """One noise level for ever, for evolution that has no end.

    At unit scale. A sampler that only moves between levels, such as DDIM, stands still
    here; one that adds noise and takes it away again at the same level does not.

    Args:
        level: the noise level, in prior deviations, > 0; how far from one another
            individuals still count as neighbours.

    Example:
        >>> import diffevo_jax as de
        >>> de.noise.Constant(0.5).sigmas(3).tolist()
        [0.5, 0.5, 0.5]
    """

    level: Number = pytree.number(default=0.1, above=0.0)

    scale = unit_variance_scale
    times = uniform_times
    sigmas = falling_sigmas

    def sigma(self, t: Number) -> jax.Array:
        """The level, at any time."""
        return self.level * jnp.ones_like(jnp.asarray(t, dtype=float))
