"""Noise processes: noise that is added in continuous time.

    x_t = s(t) (x_0 + sigma(t) eps)

In canonical coordinates, ``y = x_t / s(t)``, only sigma is left, so every process is also a
grid. ``VP``, ``SubVP`` and ``VE`` are the stochastic equations of score-based models;
``EDM``, ``LogSNR``, ``Flow`` and ``Constant`` are chosen by their noise levels, and the
equation follows. Levels are in standard deviations of the prior, which in evolution is 1;
models of images have other ranges.

A function of a process, of ``self``, is a method that a class takes by name, as in
``sigmas = falling_sigmas``.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.conversions import SIGMA_MAX, SIGMA_MIN, alpha_bar_from_sigma
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


def uniform_times(process: object, num_levels: int) -> jax.Array:
    """``(num_levels,)`` uniform times from 1 to 0."""
    return times_between(0.0, 1.0, num_levels)


def no_scale(process: object, t: Number) -> jax.Array:
    """1: points keep their size."""
    return jnp.ones_like(jnp.asarray(t, dtype=float))


def unit_variance_scale(process: Process, t: Number) -> jax.Array:
    """``1 / sqrt(1 + sigma(t)^2)``: points of unit variance keep it."""
    return jnp.sqrt(alpha_bar_from_sigma(process.sigma(t)))


def check_sigmas(process: "VE | EDM") -> None:
    """Raise ValueError if the noise levels of the ends are in the wrong order."""
    name = type(process).__name__
    low, high = process.sigma_min, process.sigma_max
    check_order(f"{name}.sigma_min", low, f"{name}.sigma_max", high)


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
    variance-preserving, as of :class:`VP`.

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
        """``sigma / (1 + sigma)``, in (0, 1), whatever the ends are."""
        return sigma / (1.0 + jnp.asarray(sigma, dtype=float))

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
