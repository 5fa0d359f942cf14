"""Pixels as the numbers of a model, and back.

Files hold whole numbers, the levels 0 to L - 1 (256 of them in 8 bits); a model learns from
numbers of mean 0 and deviation 1. The map between is affine, so a density changes by one
number: with x = (pixel - mean) / deviation in D numbers,

    log p(pixel) = log p(x) - D log deviation.

A density of continuous numbers says nothing of whole ones: it may grow without bound on
them. With u uniform on [-1/2, 1/2)^D a model's probability of a whole v is the integral of
its density over the cube of side 1 around v, and by Jensen's inequality

    log P(v) = log E_u[p(v + u)] >= E_u[log p(v + u)],

so that the mean of the right side is a lower bound, which no model can cheat.

References:
    Uria, Murray, Larochelle, 2013, arXiv:1306.0186; Theis, van den Oord, Bethge, 2016,
    arXiv:1511.01844, section 3.1 (with u on [0, 1): the cube's corner, here its middle, so
    that rounding takes a pixel back).
"""

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.pytree.arrays import real_array


@pytree.dataclass
class PixelScale:
    """How pixels are numbers of a model: ``data = (pixel - mean) / deviation``.

    As it is, it takes 0 to 255 to [-1, 1], whose deviation is about 1/2: train with
    ``EDM(sigma_data=0.5)``. Of :func:`fit_scale` the data have deviation 1, as training
    expects without a word.

    Args:
        mean: of the pixels, (); it becomes 0.
        deviation: of the pixels, (), > 0; it becomes 1.
        levels: L, pixels are the whole numbers 0 to L - 1; 0 for images of any numbers,
            which have no bits per dimension; static.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax import diffusion
        >>> scale = diffusion.PixelScale()
        >>> data = scale.to_data(np.uint8([[0, 255]]))
        >>> data.tolist(), scale.to_pixels(1.01 * data).tolist()
        ([[-1.0, 1.0]], [[0, 255]])
    """

    mean: Number = pytree.number(default=127.5)
    deviation: Number = pytree.number(default=127.5, above=0.0)
    levels: int = pytree.static(default=256)

    def check(self) -> None:
        """Raise if there are no such levels."""
        validation.check_count("PixelScale.levels", self.levels, low=0)
        if self.levels == 1:
            raise ValueError("PixelScale.levels: got 1, want 2 or more, or 0 for none")

    def to_data(self, pixels: jax.typing.ArrayLike) -> jax.Array:
        """What a model learns from: floats, of any shape, like ``pixels``.

        Raises:
            ValueError: a pixel is farther than 1/2 from all levels; pixels that are traced
                are not looked at.
        """
        array = real_array("pixels", pixels, "(N, H, W, C)")
        known = pytree.concrete(array)
        if self.levels and known is not None and known.size:
            low, high = known.min(), known.max()
            if not -0.5 <= low <= high <= self.levels - 0.5:
                raise ValueError(
                    f"pixels: got {low:g} to {high:g}, want 0 to {self.levels - 1}"
                )
        return (array - self.mean) / self.deviation

    def to_pixels(self, data: jax.typing.ArrayLike) -> jax.Array:
        """Pixels again: the nearest levels, uint8 if there are at most 256 of them.

        Args:
            data: of any shape, for example samples; beyond the levels they are clipped.

        Returns:
            Like ``data``: uint8 or int32, or floats if there are no levels.
        """
        pixels = real_array("data", data, "(N, H, W, C)") * self.deviation + self.mean
        if not self.levels:
            return pixels
        kind = jnp.uint8 if self.levels <= 256 else jnp.int32
        return jnp.clip(jnp.round(pixels), 0, self.levels - 1).astype(kind)


@checked
def fit_scale(pixels: jax.typing.ArrayLike, levels: Index | None = None) -> PixelScale:
    """The scale that gives some pixels mean 0 and deviation 1, over all of them.

    Args:
        pixels: concrete, of any shape.
        levels: see :class:`PixelScale`; None is 256 for uint8, and 0 for floats.

    Raises:
        ValueError: all pixels are the same, one is not finite, or no level.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax import diffusion
        >>> pixels = np.uint8([[[[0], [16]], [[8], [8]]]])
        >>> scale = diffusion.fit_scale(pixels, levels=17)
        >>> scale.mean, round(scale.deviation, 3), scale.levels
        (8.0, 5.657, 17)
    """
    known = pytree.concrete(pixels)
    if known is None:
        raise ValueError("pixels: got an array that JAX traces, want a concrete one")
    real_array("pixels", known, "(N, H, W, C)")
    if levels is None:
        levels = 256 if known.dtype == np.uint8 else 0
    values = np.asarray(known, np.float64)
    if not values.size or not np.isfinite(values).all():
        raise ValueError("pixels: got none, or NaN or infinity, want finite numbers")
    if levels:
        check_levels(values, levels)
    if not values.std() > 0:
        raise ValueError(f"pixels: got {values.flat[0]:g} everywhere, want several numbers")
    scale = PixelScale(float(values.mean()), float(values.std()), levels)
    validation.validate(scale)
    return scale


def check_levels(pixels: np.ndarray, levels: int) -> None:
    """Raise unless pixels are whole numbers from 0 to ``levels - 1``."""
    low, high = pixels.min(), pixels.max()
    if not 0 <= low <= high <= levels - 1:
        raise ValueError(f"pixels: got {low:g} to {high:g}, want 0 to {levels - 1}")
    if (pixels != np.round(pixels)).any():
        raise ValueError(
            f"pixels: got numbers between {low:g} and {high:g} that are not whole, want "
            f"the levels 0 to {levels - 1}: of floats in [0, 1], numpy.round(255 * pixels)"
        )


@checked
def dequantise(key: jax.Array, pixels: jax.typing.ArrayLike) -> jax.Array:
    """Add uniform noise to whole numbers: from within 1/2 of each, all alike.

    What a density is learned from, and what it is measured on, so that it is one of whole
    numbers; see :func:`diffevo_jax.diffusion.bits_per_dimension`.

    Args:
        key: a typed key.
        pixels: of any shape.

    Returns:
        Floats like ``pixels``, which :meth:`PixelScale.to_data` takes.

    Example:
        >>> import jax, numpy as np
        >>> from diffevo_jax import diffusion
        >>> pixels = np.uint8([[3, 0, 7]])
        >>> noisy = diffusion.dequantise(jax.random.key(0), pixels)
        >>> noisy.round().tolist()
        [[3.0, 0.0, 7.0]]

    References:
        Theis, van den Oord, Bethge, 2016, arXiv:1511.01844, section 3.1.
    """
    array = real_array("pixels", pixels, "(N, H, W, C)")
    noise = jax.random.uniform(key, array.shape, array.dtype, minval=-0.5, maxval=0.5)
    return array + noise
