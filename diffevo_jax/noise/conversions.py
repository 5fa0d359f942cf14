"""The same thing in other words: a noise level, and what a denoiser predicts.

A noise level is sigma, alpha_bar, log-SNR or betas. Each function says which of its ends
are safe; sums and differences of rates near 0 or 1 are taken in log space, so that nothing
cancels.

A prediction is the clean point, the noise, the score or the velocity. These functions are
in canonical coordinates, ``y = x_0 + sigma eps``, and have the clean point at one end; two
of them take any prediction to any other. In the coordinates of a variance-preserving
process, ``x_t = y / sqrt(1 + sigma^2)``, the clean point, the noise and the velocity are
the same numbers. The score is a gradient and is ``sqrt(1 + sigma^2)`` times larger:
``-(x_t - sqrt(alpha_bar) x_0) / (1 - alpha_bar)``.
"""

import jax
import jax.numpy as jnp

from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked

SIGMA_MIN = 1e-6
SIGMA_MAX = 1e6


def sigma_from_rates(signal: jax.Array, noise: jax.Array) -> jax.Array:
    """Noise level of two rates that sum to 1, ``sqrt(noise / signal)``.

    Takes both, because ``1 - signal`` would cancel where the signal is near 1.

    Args:
        signal: alpha_bar, any shape, in [0, 1].
        noise: 1 - alpha_bar, same shape.

    Returns:
        sigma, same shape, clipped to [1e-6, 1e6].
    """
    return jnp.clip(jnp.sqrt(noise / signal), SIGMA_MIN, SIGMA_MAX)


@checked
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
    return sigma_from_rates(jnp.clip(alpha_bar, SIGMA_MAX**-2, 1.0), 1.0 - alpha_bar)


@checked
def alpha_bar_from_sigma(sigma: Number) -> jax.Array:
    """Cumulative signal rate of a noise level, ``1 / (1 + sigma^2)``.

    Example:
        >>> import diffevo_jax as de
        >>> [float(de.noise.alpha_bar_from_sigma(sigma)) for sigma in (0.0, 1.0)]
        [1.0, 0.5]
    """
    return 1.0 / (1.0 + jnp.asarray(sigma, dtype=float) ** 2)


@checked
def canonical_scale(sigma: Number) -> jax.Array:
    """Factor from unit scale to canonical coordinates, ``y = sqrt(1 + sigma^2) x``.

    Example:
        >>> import diffevo_jax as de
        >>> float(de.noise.canonical_scale(0.75))
        1.25
    """
    return jnp.sqrt(1.0 + jnp.asarray(sigma, dtype=float) ** 2)


@checked
def log_snr_from_sigma(sigma: Number) -> jax.Array:
    """Log signal-to-noise ratio of a noise level, ``-2 log sigma``.

    Args:
        sigma: any shape, > 0; 0 gives infinity.

    Returns:
        Natural logarithm of ``alpha_bar / (1 - alpha_bar)``, same shape.

    Example:
        >>> import diffevo_jax as de
        >>> round(float(de.noise.log_snr_from_sigma(0.5)), 3)  # 2 log 2
        1.386

    References:
        Kingma, Salimans, Poole, Ho, 2021, arXiv:2107.00630, section 3.
    """
    return -2.0 * jnp.log(jnp.asarray(sigma, dtype=float))


@checked
def sigma_from_log_snr(log_snr: Number) -> jax.Array:
    """Noise level of a log signal-to-noise ratio, ``exp(-log_snr / 2)``.

    Args:
        log_snr: any shape; 0 is as much signal as noise, infinity is clean.

    Returns:
        sigma, same shape, clipped to [1e-6, 1e6].

    Example:
        >>> import diffevo_jax as de
        >>> float(de.noise.sigma_from_log_snr(0.0))
        1.0
    """
    sigma = jnp.exp(-0.5 * jnp.asarray(log_snr, dtype=float))
    return jnp.clip(sigma, SIGMA_MIN, SIGMA_MAX)


@checked
def alpha_bar_from_betas(betas: jax.Array) -> jax.Array:
    """Cumulative signal rates of a discrete chain, ``prod_{i <= t} (1 - beta_i)``.

    Args:
        betas: ``(T,)`` variance that each step adds, in [0, 1], in forward time.

    Returns:
        ``(T,)`` alpha_bar after each step, never rising.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> [float(a) for a in de.noise.alpha_bar_from_betas(jnp.array([0.0, 1.0]))]
        [1.0, 0.0]

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, section 2.
    """
    return jnp.exp(jnp.cumsum(jnp.log1p(-jnp.asarray(betas, dtype=float))))


@checked
def betas_from_alpha_bar(alpha_bar: jax.Array) -> jax.Array:
    """Variance that each step adds, ``beta_t = 1 - alpha_bar_t / alpha_bar_{t-1}``.

    Inverse of :func:`alpha_bar_from_betas`, from ``alpha_bar_0 = 1``.

    Args:
        alpha_bar: ``(T,)`` cumulative signal rates in (0, 1], falling, in forward time.

    Returns:
        ``(T,)`` betas in [0, 1).

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.noise.betas_from_alpha_bar(jnp.array([0.75, 0.375])).round(6).tolist()
        [0.25, 0.5]
    """
    log_signal = jnp.log(jnp.asarray(alpha_bar, dtype=float))
    return -jnp.expm1(jnp.diff(log_signal, prepend=jnp.zeros(1)))


@checked
def noise_from_clean(y: jax.Array, clean: jax.Array, sigma: Number) -> jax.Array:
    """The noise that a clean point implies, ``eps = (y - x_0) / sigma``.

    Args:
        y: (..., D) noisy points, canonical.
        clean: (..., D) their clean points.
        sigma: noise level, > 0.

    Returns:
        eps (..., D), of unit variance if ``clean`` is right.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> float(de.noise.noise_from_clean(jnp.array(3.0), jnp.array(2.0), 2.0))
        0.5

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eq. 9.
    """
    return (y - clean) / sigma


@checked
def clean_from_noise(y: jax.Array, eps: jax.Array, sigma: Number) -> jax.Array:
    """The clean point that a noise implies, ``x_0 = y - sigma eps``.

    Inverse of :func:`noise_from_clean`.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> float(de.noise.clean_from_noise(jnp.array(3.0), jnp.array(0.5), 2.0))
        2.0
    """
    return y - sigma * eps


@checked
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


@checked
def clean_from_score(y: jax.Array, score: jax.Array, sigma: Number) -> jax.Array:
    """The clean point that a score implies, ``x_0 = y + sigma^2 score``.

    Inverse of :func:`score_from_clean`.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> float(de.noise.clean_from_score(jnp.array(3.0), jnp.array(-0.5), 2.0))
        1.0
    """
    return y + sigma * (sigma * score)


@checked
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


@checked
def clean_from_velocity(y: jax.Array, velocity: jax.Array, sigma: Number) -> jax.Array:
    """The clean point that a velocity implies.

    ``x_0 = (y - sigma sqrt(1 + sigma^2) v) / (1 + sigma^2)``, which is
    ``sqrt(alpha_bar) x_t - sqrt(1 - alpha_bar) v``. Inverse of
    :func:`velocity_from_clean`.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> y = jnp.array(5.0)  # sigma 0.75, and sqrt(1 + sigma^2) = 1.25
        >>> round(float(de.noise.clean_from_velocity(y, jnp.array(0.0), 0.75)), 5)
        3.2
    """
    signal = jnp.sqrt(alpha_bar_from_sigma(sigma))
    return signal * (signal * y - sigma * velocity)
