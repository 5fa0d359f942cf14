"""The forward process, at unit scale: evolution backwards, and the posterior of one step.

At unit scale the process is variance-preserving: N(0, I) stays N(0, I).
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.conversions import alpha_bar_from_sigma
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


@checked
def diffuse(key: jax.Array, clean: jax.Array, sigma: Number) -> jax.Array:
    """Forward diffusion to noise level sigma, in one go.

    Args:
        key: a typed key.
        clean: (..., D) points in unit scale.
        sigma: noise level, >= 0; 0 returns the points, infinity pure noise.

    Returns:
        (..., D) noisy points in unit scale, ``(clean + sigma eps) / sqrt(1 + sigma^2)``.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> key, clean = jax.random.key(0), jnp.full(4000, 3.0)
        >>> bool((de.noise.diffuse(key, clean, 0.0) == clean).all())
        True
        >>> noisy = de.noise.diffuse(key, clean, 0.75)  # N(3 / 1.25, (0.75 / 1.25)^2)
        >>> round(float(noisy.mean()), 1), round(float(noisy.std()), 1)
        (2.4, 0.6)

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eq. 4.
    """
    if jnp.shape(sigma) != ():
        raise ValueError(f"sigma: got shape {jnp.shape(sigma)}, want ()")
    known = pytree.concrete(sigma)
    if known is not None and not known >= 0:
        raise ValueError(f"sigma: got {sigma}, want a number >= 0")
    sigma = jnp.asarray(sigma, dtype=float)
    eps = jax.random.normal(key, clean.shape, clean.dtype)
    noise = 1.0 / jnp.sqrt(1.0 + sigma**-2)  # sqrt(1 - alpha_bar), exact at both ends
    return jnp.sqrt(alpha_bar_from_sigma(sigma)) * clean + noise * eps


@checked
def forward_step(key: jax.Array, x: jax.Array, beta: Number) -> jax.Array:
    """One step of the forward chain, ``sqrt(1 - beta) x + sqrt(beta) eps``.

    Args:
        key: a typed key.
        x: (..., D) points in unit scale.
        beta: variance that the step adds, in [0, 1]; 0 returns the points, 1 pure noise.

    Returns:
        (..., D) noisier points in unit scale.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> key, x = jax.random.key(0), jnp.full(4000, 3.0)
        >>> noisier = de.noise.forward_step(key, x, 0.36)  # N(0.8 x, 0.6^2)
        >>> round(float(noisier.mean()), 1), round(float(noisier.std()), 1)
        (2.4, 0.6)

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eq. 2.
    """
    beta = jnp.asarray(beta, dtype=x.dtype)
    eps = jax.random.normal(key, x.shape, x.dtype)
    return jnp.sqrt(1 - beta) * x + jnp.sqrt(beta) * eps  # eq. 2


@checked
def forward_chain(key: jax.Array, x: jax.Array, betas: jax.Array) -> jax.Array:
    """The forward chain with all that it passes through.

    After t steps its points are distributed as those of :func:`diffuse` at the alpha_bar of
    :func:`diffevo_jax.noise.alpha_bar_from_betas`; prefer ``diffuse`` if only the end
    matters.

    Args:
        key: a typed key.
        x: (N, D) clean points in unit scale.
        betas: (T,) variance that each step adds, in [0, 1].

    Returns:
        (T + 1, N, D) points in unit scale, from the clean to the noisiest.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> clean = jnp.zeros((5, 2))
        >>> de.noise.forward_chain(jax.random.key(0), clean, jnp.full(10, 0.2)).shape
        (11, 5, 2)

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eq. 2.
    """

    def step(x: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        moved = forward_step(now[0], x, now[1])
        return moved, moved

    betas = jnp.asarray(betas, dtype=float)
    steps = (jax.random.split(key, len(betas)), betas)
    _, later = jax.lax.scan(step, x, steps)
    return jnp.concatenate([x[None], later])


@checked
def ddpm_posterior(
    x: jax.Array, clean: jax.Array, alpha_bar: Number, alpha_bar_next: Number
) -> tuple[jax.Array, jax.Array]:
    """The step backwards, if the clean point were known: ``q(x_{t-1} | x_t, x_0)``.

    It is what DDIM draws from with eta 1. With a, a' the signal rates before and after, and
    ``beta = 1 - a / a'``,

        mean = sqrt(a') beta / (1 - a) x_0 + sqrt(a / a') (1 - a') / (1 - a) x_t,
        variance = (1 - a') / (1 - a) beta.

    Args:
        x: (..., D) noisy points x_t in unit scale.
        clean: (..., D) their clean points x_0.
        alpha_bar: signal rate a of the noisy points, in (0, 1).
        alpha_bar_next: signal rate a' one step cleaner, in [a, 1]; 1 has no variance.

    Returns:
        (..., D) mean, and the variance, of the shape of the rates.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> mean, variance = de.noise.ddpm_posterior(jnp.ones(2), jnp.zeros(2), 0.5, 1.0)
        >>> mean.tolist(), float(variance)
        ([0.0, 0.0], 0.0)

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eqs. 6 and 7.
    """
    signal, signal_next, beta = _rates(alpha_bar, alpha_bar_next)
    of_clean = jnp.sqrt(signal_next) * beta / (1 - signal)
    of_noisy = jnp.sqrt(signal / signal_next) * (1 - signal_next) / (1 - signal)
    variance = (1 - signal_next) / (1 - signal) * beta  # eq. 7
    return of_clean * clean + of_noisy * x, variance


@checked
def ddpm_mean_from_noise(
    x: jax.Array, eps: jax.Array, alpha_bar: Number, alpha_bar_next: Number
) -> jax.Array:
    """The mean of :func:`ddpm_posterior`, from the noise instead of the clean point.

    ``(x_t - beta / sqrt(1 - a) eps) / sqrt(a / a')``.

    Args:
        x: (..., D) noisy points x_t in unit scale.
        eps: (..., D) the noise in them.
        alpha_bar: signal rate a of the noisy points, in (0, 1).
        alpha_bar_next: signal rate a' one step cleaner, in [a, 1].

    Returns:
        (..., D) mean of ``q(x_{t-1} | x_t, x_0)``.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> clean, eps = jnp.array([2.0]), jnp.array([1.0])
        >>> x = 0.6 * clean + 0.8 * eps  # at alpha_bar 0.36
        >>> mean = de.noise.ddpm_mean_from_noise(x, eps, 0.36, 1.0)  # the clean point
        >>> round(float(mean[0]), 5)
        2.0

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eq. 11.
    """
    signal, signal_next, beta = _rates(alpha_bar, alpha_bar_next)
    return (x - beta / jnp.sqrt(1 - signal) * eps) / jnp.sqrt(signal / signal_next)


def _rates(alpha_bar: Number, alpha_bar_next: Number) -> tuple[jax.Array, ...]:
    """Signal rates before and after, and beta, exact where the two are close."""
    signal = jnp.asarray(alpha_bar, dtype=float)
    signal_next = jnp.asarray(alpha_bar_next, dtype=float)
    return signal, signal_next, (signal_next - signal) / signal_next
