"""DDIM: one exponential step a level, which is exact if the answer is constant."""

import jax.numpy as jnp
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.samplers.counting import (
    Step,
    at_the_level,
    no_memory,
    normal_like,
    one_round_a_level,
    step_ends,
)


def kept_and_fresh(sigma: Number, sigma_next: Number, eta: Number) -> tuple[Array, Array]:
    """What a step keeps of the noise of a point, and the deviation of its fresh noise.

        kept = sqrt(sigma'^2 - tau^2) / sigma,
        tau = eta sigma' / sigma sqrt(sigma^2 - sigma'^2)

    Args:
        sigma: () noise level, > 0.
        sigma_next: () noise level to reach, in [0, sigma].
        eta: () fraction of fresh noise, in [0, 1].

    Returns:
        kept () in [0, 1], and tau (), in the units of sigma.

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eq. 16, divided by sqrt(alpha_bar).
    """
    ratio = sigma_next / jnp.asarray(sigma)
    tau = eta * ratio * square_root(sigma**2 - sigma_next**2)  # eq. 16
    # sqrt(sigma'^2 - tau^2) / sigma, without the cancellation
    kept = ratio * square_root(jnp.maximum((1 - eta) * (1 + eta), 0.0) + (eta * ratio) ** 2)
    return kept, tau


@checked
def ddim_step(
    y: Array,
    clean: Array,
    sigma: Number,
    sigma_next: Number,
    eta: Number,
    eps: Array,
) -> Array:
    """Move from noise level sigma to sigma_next, given the clean point.

        y' = x0_hat + sqrt(sigma'^2 - tau^2) / sigma (y - x0_hat) + tau eps,
        tau = eta sigma' / sigma sqrt(sigma^2 - sigma'^2)

    Args:
        y: (N, D) noisy points, canonical.
        clean: (N, D) the denoiser's answers, x0_hat.
        sigma: noise level of y, > 0.
        sigma_next: noise level to reach, in [0, sigma].
        eta: fraction of fresh noise, in [0, 1].
        eps: (N, D) standard normal noise.

    Returns:
        (N, D) points at sigma_next.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> y, clean, eps = jnp.array([[5.0]]), jnp.array([[1.0]]), jnp.zeros((1, 1))
        >>> float(de.samplers.ddim_step(y, clean, 2.0, 1.0, 0.0, eps)[0, 0])  # half as far
        3.0
        >>> float(de.samplers.ddim_step(y, clean, 2.0, 1.0, 1.0, eps)[0, 0])  # a quarter
        2.0

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eq. 12, divided by sqrt(alpha_bar).
    """
    kept, tau = kept_and_fresh(sigma, sigma_next, eta)
    return clean + kept * (y - clean) + tau * eps


@pytree.dataclass
class DDIM:
    """One exponential step to the next level, with a fraction of fresh noise.

    With eta 0 it is deterministic (Euler's method on the probability-flow ODE in sigma, and
    that of flow matching in t); with eta 1 it is DDPM's ancestral sampling with the smaller
    variance, ``Ancestral(0)``. It is exact if the denoiser is constant, which is what lets
    evolution take huge first steps.

    Args:
        eta: fraction of fresh noise, in [0, 1]. Evolution of policies likes 1; on
            two-dimensional landscapes the paper uses 0.1.

    Example:
        >>> import diffevo_jax as de
        >>> de.DiffusionEvolution(25, sampler=de.samplers.DDIM(eta=0.1)).sampler
        DDIM(eta=0.1)

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eqs. 12 and 16;
        Zhang et al., 2024, arXiv:2410.02543, eq. 10.
    """

    eta: Number = pytree.number(default=1.0, low=0.0, high=1.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    init = no_memory
    query = at_the_level

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Step to the next level of the grid."""
        sigma, sigma_next = step_ends(sigmas, k)
        eps = normal_like(key, y)
        return ddim_step(y, clean, sigma, sigma_next, self.eta, eps), sigma_next, memory
