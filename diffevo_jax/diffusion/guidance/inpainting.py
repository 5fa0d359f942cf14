"""Inpainting by replacement: known numbers are put in place of the denoiser's own."""

import jax
import jax.numpy as jnp

from diffevo_jax.base import Denoise
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.pytree.annotations import checked


@checked
def inpaint(
    denoise: Denoise, known: jax.typing.ArrayLike, values: jax.typing.ArrayLike
) -> Denoise:
    """Put known numbers in place of the denoiser's own: the simplest inpainting.

    At every level the known part is then the given one with the noise of that level. How
    much of the noise is fresh is the sampler's choice: all with ``Consistency``, as in the
    published replacement, which leaves the sampler of the rest as it is; a part with
    ``DDIM(eta=1)``; none with an ODE. The rest hears of the values only through their noisy
    points, and so too late: it is exact only if known and unknown are independent. Langevin
    corrections (``PredictorCorrector``) let it catch up. See
    :func:`diffevo_jax.diffusion.linear_posterior`.

    Args:
        denoise: the denoiser of all.
        known: (D,) or (N, D) booleans, or those of an image (H, W, C).
        values: like ``known``, anything where it is False.

    Raises:
        TypeError: ``known`` is not of booleans.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> prior = de.oracles.gaussian_mixture([[0.0, 0.0]], 1.0)
        >>> denoise = diffusion.inpaint(prior.denoise, [True, False], [7.0, 0.0])
        >>> denoise(jnp.ones((1, 2)), 1.0).tolist()
        [[7.0, 0.5]]

    References:
        Song et al., 2021, arXiv:2011.13456, appendix I.2; Lugmayr et al., 2022,
        arXiv:2201.09865, eq. 8.
    """
    mask = jnp.asarray(known)
    if mask.dtype != bool:
        raise TypeError(f"known: got {mask.dtype}, want booleans")

    def inpainted(y: jax.Array, sigma: jax.Array) -> jax.Array:
        clean = clean_points(denoise(y, sigma), y)
        given = jnp.asarray(values, clean.dtype)
        if mask.ndim == 3 and clean.ndim == 2:  # an image, of samples that are flat
            return jnp.where(mask.ravel(), given.ravel(), clean)
        return jnp.where(mask, given, clean)

    return inpainted
