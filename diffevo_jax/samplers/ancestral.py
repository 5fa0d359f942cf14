"""Ancestral sampling: DDPM's step, for data of a known deviation."""

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


@checked
def ancestral_step(
    y: Array,
    clean: Array,
    sigma: Number,
    sigma_next: Number,
    sigma_data: Number,
    eps: Array,
) -> Array:
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

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> y, clean, eps = jnp.array([[5.0]]), jnp.array([[1.0]]), jnp.zeros((1, 1))
        >>> float(de.samplers.ancestral_step(y, clean, 2.0, 1.0, 0.0, eps)[0, 0])
        2.0

    References:
        Ho et al., 2020, arXiv:2006.11239, section 3.2, divided by sqrt(alpha_bar); Bao et
        al., 2022, arXiv:2201.06503, theorem 1, for that Gaussian.
    """
    ratio = sigma_next / jnp.asarray(sigma)
    wide = jnp.hypot(sigma_data, sigma_next) / jnp.hypot(sigma_data, sigma)
    falls = square_root((sigma - sigma_next) * (sigma + sigma_next))
    tau = jnp.where(sigma_next > 0, falls * wide, 0.0)
    return clean + ratio**2 * (y - clean) + tau * eps


@pytree.dataclass
class Ancestral:
    """DDPM's ancestral sampling, with noise for data of a known spread.

    A step goes to the mean of the points one level down and adds their noise: what they
    have around a known clean point, and what is uncertain of that point itself.
    ``sigma_data=0`` leaves out the second: DDPM's smaller variance, ``DDIM(eta=1)``. 1, for
    data of unit variance, is its larger one, beta. On a short grid the first loses
    variance; the second loses it in directions that are wider, and gains some in narrower
    ones.

    Args:
        sigma_data: deviation of the clean points in every direction, >= 0. If they are
            nearer to each other, as where evolution converges, points have more noise
            than their level says.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.Ancestral(sigma_data=0.5)
        Ancestral(sigma_data=0.5)

    References:
        Ho et al., 2020, arXiv:2006.11239, section 3.2; Bao et al., 2022,
        arXiv:2201.06503, theorem 1.
    """

    sigma_data: Number = pytree.number(default=1.0, low=0.0)

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
        moved = ancestral_step(y, clean, sigma, sigma_next, self.sigma_data, eps)
        return moved, sigma_next, memory
