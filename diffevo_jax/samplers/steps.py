"""The formulas of the samplers, in canonical coordinates ``y = x_0 + sigma eps``."""

import jax
import jax.numpy as jnp

from diffevo_jax.pytree import Number


def shares(sigma: Number, sigma_next: Number, eta: Number) -> tuple[jax.Array, jax.Array]:
    """What a step keeps of the noise of a point, and the deviation of its fresh noise.

        kept = sqrt(sigma'^2 - tau^2) / sigma,
        tau = eta sigma' / sigma sqrt(sigma^2 - sigma'^2)

    Args:
        sigma: () noise level, > 0.
        sigma_next: () noise level to reach, in [0, sigma].
        eta: () share of fresh noise, in [0, 1].

    Returns:
        kept () in [0, 1], and tau (), in the units of sigma.

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eq. 16, divided by sqrt(alpha_bar).
    """
    ratio = sigma_next / jnp.asarray(sigma)
    tau = eta * ratio * jnp.sqrt(jnp.maximum(sigma**2 - sigma_next**2, 0.0))  # eq. 16
    # sqrt(sigma'^2 - tau^2) / sigma, without the cancellation
    kept = ratio * jnp.sqrt(jnp.maximum((1 - eta) * (1 + eta), 0.0) + (eta * ratio) ** 2)
    return kept, tau


def ddim_step(
    y: jax.Array,
    clean: jax.Array,
    sigma: Number,
    sigma_next: Number,
    eta: Number,
    eps: jax.Array,
) -> jax.Array:
    """Move from noise level sigma to sigma_next, given the clean point.

        y' = x0_hat + sqrt(sigma'^2 - tau^2) / sigma (y - x0_hat) + tau eps,
        tau = eta sigma' / sigma sqrt(sigma^2 - sigma'^2)

    Args:
        y: (N, D) noisy points, canonical.
        clean: (N, D) the denoiser's answers, x0_hat.
        sigma: noise level of y, > 0.
        sigma_next: noise level to reach, in [0, sigma].
        eta: share of fresh noise, in [0, 1].
        eps: (N, D) standard normal noise.

    Returns:
        (N, D) points at sigma_next.

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eq. 12, divided by sqrt(alpha_bar).
    """
    kept, tau = shares(sigma, sigma_next, eta)
    return clean + kept * (y - clean) + tau * eps


def ancestral_step(
    y: jax.Array,
    clean: jax.Array,
    sigma: Number,
    sigma_next: Number,
    sigma_data: Number,
    eps: jax.Array,
) -> jax.Array:
    """Draw the point one level down, for clean points of a known deviation.

        y' = x0_hat + (sigma' / sigma)^2 (y - x0_hat) + tau eps,
        tau^2 = (sigma^2 - sigma'^2) (s^2 + sigma'^2) / (s^2 + sigma^2)

    with s the deviation of the data. It is exact for N(m, s^2 I) at any length of step to
    sigma' > 0; at sigma' = 0 no noise is added, as in DDPM's algorithm 2.

    Args:
        y: (N, D) noisy points, canonical.
        clean: (N, D) the denoiser's answers, x0_hat.
        sigma: noise level of y, > 0.
        sigma_next: noise level to reach, in [0, sigma].
        sigma_data: s, >= 0: 0 has DDPM's smaller variance, 1 its larger, beta.
        eps: (N, D) standard normal noise.

    Returns:
        (N, D) points at sigma_next.

    References:
        Ho et al., 2020, arXiv:2006.11239, section 3.2, divided by sqrt(alpha_bar); Bao et
        al., 2022, arXiv:2201.06503, theorem 1, for that Gaussian.
    """
    ratio = sigma_next / jnp.asarray(sigma)
    wide = jnp.hypot(sigma_data, sigma_next) / jnp.hypot(sigma_data, sigma)
    falls = jnp.sqrt(jnp.maximum((sigma - sigma_next) * (sigma + sigma_next), 0.0))
    tau = jnp.where(sigma_next > 0, falls * wide, 0.0)
    return clean + ratio**2 * (y - clean) + tau * eps


def extrapolate(
    clean: jax.Array,
    previous: jax.Array,
    sigma_previous: Number,
    sigma: Number,
    sigma_next: Number,
    trust: Number,
) -> jax.Array:
    """The clean point half a step ahead, from the last two answers.

        x0_bar = x0_hat + w (x0_hat - x0_hat_previous),
        w = trust min(h / (2 h_previous), 1)

    with steps h in log sigma. A whole exponential step with ``x0_bar`` is of second order.

    Args:
        clean: (N, D) the answer at sigma.
        previous: (N, D) the answer at sigma_previous.
        sigma_previous: noise level of the answer before, >= sigma.
        sigma: noise level of the answer.
        sigma_next: noise level to reach, <= sigma.
        trust: share of the extrapolation, in [0, 1]; 0 gives ``clean``.

    References:
        Lu et al., 2022, arXiv:2211.01095, algorithm 2.

    Notes:
        The bound of 1 is ours. It is met only where a step is more than twice as long, in
        log sigma, as the one before, and so leaves the order alone.
    """
    step, before = jnp.log(sigma / sigma_next), jnp.log(sigma_previous / sigma)
    safe = jnp.where(before > 0, before, 1.0)
    weight = jnp.where(before > 0, jnp.minimum(step / (2 * safe), 1.0), 0.0)
    return clean + trust * weight * (clean - previous)


def euler_maruyama_step(
    y: jax.Array,
    clean: jax.Array,
    sigma: Number,
    sigma_next: Number,
    rate: Number,
    eps: jax.Array,
) -> jax.Array:
    """A plain Euler-Maruyama step of the reverse SDE, with sigma as its time.

        y' = y - (1 + rate) (sigma - sigma') (y - x0_hat) / sigma
             + sqrt(2 rate sigma (sigma - sigma')) eps

    Args:
        y: (N, D) noisy points, canonical.
        clean: (N, D) the denoiser's answers.
        sigma: noise level of y, > 0.
        sigma_next: noise level to reach, in [0, sigma].
        rate: how fast noise is replaced, >= 0: 0 is the probability-flow ODE, 1 the
            reverse SDE of Song et al.
        eps: (N, D) standard normal noise.

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 6, with sigma as its time and
        beta = rate / sigma.
    """
    share = 1 - sigma_next / jnp.asarray(sigma)
    noise = sigma * jnp.sqrt(jnp.maximum(2 * rate * share, 0.0))
    return y + (1 + rate) * share * (clean - y) + noise * eps


def langevin_step(
    y: jax.Array, clean: jax.Array, sigma: Number, step: Number, eps: jax.Array
) -> jax.Array:
    """A step of Langevin dynamics that stays at its noise level.

        y' = y + step (x0_hat - y) + sqrt(2 step) sigma eps,

    which is ``y + e score + sqrt(2 e) eps`` with ``e = step sigma^2``.

    Args:
        y: (N, D) noisy points, canonical.
        clean: (N, D) the denoiser's answers.
        sigma: noise level, >= 0.
        step: in units of sigma^2, > 0; up to 1 it does not overshoot.
        eps: (N, D) standard normal noise.

    References:
        Song and Ermon, 2019, arXiv:1907.05600, algorithm 1 (step = alpha_i / (2
        sigma_i^2)); Song et al., 2020, arXiv:2011.13456, algorithms 2 to 5.
    """
    return y + step * (clean - y) + jnp.sqrt(2.0 * step) * sigma * eps
