"""Clipping: answers that stay where clean points are."""

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Denoise
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.pytree.annotations import checked


@checked
def clip_denoised(
    denoise: Denoise, low: jax.typing.ArrayLike, high: jax.typing.ArrayLike
) -> Denoise:
    """Answers moved into the range of the data, number by number.

    The exact answer is a mean of clean points. If all of these are in the range, clipping
    moves no answer away from it, and those outside of the range towards it.

    A network that predicts noise (``Noise``) often needs it, where a chain begins at much
    noise: its error is multiplied by sigma in the answer, and where a point is farther out
    than those of its training, the answer is too, so that a chain takes it farther still.
    DDPM's published code clips its answers. Clip last: a clipped number has slope 0, and
    guidance looks at slopes.

    Args:
        denoise: the denoiser, learned, guided or exact.
        low: smallest value of clean points, () or (D,); -inf for none.
        high: largest, likewise, nowhere below ``low``.

    Raises:
        ValueError: ``low`` is somewhere above ``high``, or one of them is not a number, if
            both are concrete.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> far_out = lambda y, sigma: 1.5 * y  # a chain of such answers explodes
        >>> denoise = diffusion.clip_denoised(far_out, -1.0, 1.0)
        >>> denoise(jnp.array([[0.5, -30.0]]), 1.0).tolist()
        [[0.75, -1.0]]

    References:
        Saharia et al., 2022, arXiv:2205.11487, section 2.3 (static thresholding).
    """
    ends = [pytree.concrete(end) for end in (low, high)]
    if ends[0] is not None and ends[1] is not None and not np.all(ends[0] <= ends[1]):
        raise ValueError(f"clip_denoised: got low {low} and high {high}, want low <= high")

    def clipped(y: jax.Array, sigma: jax.Array) -> jax.Array:
        answer = clean_points(denoise(y, sigma), y)
        like = lambda end: jnp.broadcast_to(jnp.asarray(end, answer.dtype), answer.shape)
        return jnp.clip(answer, like(low), like(high))

    return clipped
