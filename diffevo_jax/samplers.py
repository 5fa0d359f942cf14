"""Diffusion samplers, one denoiser answer at a time, in canonical coordinates.

A sampler asks where the clean point is (``query``) and moves on with the answer
(``update``). It cannot tell whether a neural network or a population answered. Noise is
added in ``update`` alone, for the whole population at once.
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.pytree import Number


@pytree.dataclass
class DDIM:
    """One exponential step to the next level, with a share of fresh noise.

    With eta 0 it is deterministic (Euler's method on the probability-flow ODE in sigma);
    with eta 1 it is DDPM's ancestral sampling. It is exact if the denoiser is constant,
    which is what lets evolution take huge first steps.

    Args:
        eta: share of fresh noise, in [0, 1]. Evolution of policies likes 1; on
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

    def num_rounds(self, num_levels: int) -> int:
        """One round a level; at the last nothing moves."""
        return num_levels

    def init(self, y: jax.Array) -> tuple[()]:
        """No memory."""
        return ()

    def query(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[()],
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """The denoiser is wanted where the point is."""
        return y, sigmas[k], memory

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[()],
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Step to the next level of the grid."""
        sigma, sigma_next = sigmas[k], sigmas[jnp.minimum(k + 1, len(sigmas) - 1)]
        eps = jax.random.normal(key, y.shape, y.dtype)
        return ddim_step(y, clean, sigma, sigma_next, self.eta, eps), sigma_next, memory


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
    ratio = sigma_next / sigma
    tau = eta * ratio * jnp.sqrt(jnp.maximum(sigma**2 - sigma_next**2, 0.0))  # eq. 16
    # sqrt(sigma'^2 - tau^2) / sigma, without the cancellation
    kept = ratio * jnp.sqrt(jnp.maximum((1 - eta) * (1 + eta), 0.0) + (eta * ratio) ** 2)
    return clean + kept * (y - clean) + tau * eps
