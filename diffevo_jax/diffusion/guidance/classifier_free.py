"""Classifier-free guidance: beyond a denoiser, away from another one."""

import jax

from diffevo_jax.base import Denoise
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


@checked
def classifier_free_guidance(
    denoise: Denoise, without: Denoise, guidance: Number
) -> Denoise:
    """Go beyond the answer with a label, away from that without it.

    ``with + guidance (with - without)``. The scores are combined in the same way, as if the
    density were ``p(y | c)^(1 + guidance) / p(y)^guidance`` at each noise level; what is
    drawn is not that density of clean points, except for Gaussians of one covariance.
    :meth:`diffevo_jax.diffusion.NetworkDenoiser.denoise` has the same for one network that
    knows both.

    Args:
        denoise: the denoiser of what is wanted, such as a network with a label.
        without: the one without; or a worse one, to go away from.
        guidance: how far beyond ``denoise``, (): 0 is ``denoise`` itself, -1 is
            ``without``, above 0 exaggerates what sets them apart.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> right = de.oracles.gaussian_mixture([[1.0]], 1.0)
        >>> both = de.oracles.gaussian_mixture([[0.0]], 1.0)
        >>> denoise = diffusion.classifier_free_guidance(right.denoise, both.denoise, 2.0)
        >>> denoise(jnp.zeros((1, 1)), 1.0).tolist()  # as of a Gaussian at 3
        [[1.5]]

    References:
        Ho and Salimans, 2022, arXiv:2207.12598, eq. 6 (``guidance`` is its w).
    """

    def guided(y: jax.Array, sigma: jax.Array) -> jax.Array:
        clean = clean_points(denoise(y, sigma), y)
        return clean + guidance * (clean - clean_points(without(y, sigma), y))

    return guided
