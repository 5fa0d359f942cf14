"""Bits per dimension: how many bits a model needs for a pixel of an image it has not seen.

    bits = -log2 P(v) / D,

for the whole numbers v of an image of D numbers. Two bounds of it, both from above, so that
no model looks better than it is. By the density p(x) of its flow, x = (v - mean) /
deviation, at numbers with uniform noise u (:mod:`diffevo_jax.diffusion.images.pixels`),

    bits <= E_u[ -log p(x(v + u)) + D log deviation ] / (D log 2);

with data in [0, 1), deviation 256, the second term is the "+ 8" of the literature. And by
the chain of a denoiser, whose last step gives each level the probability that a Gaussian
has within half a level of it.

References:
    Theis, van den Oord, Bethge, 2016, arXiv:1511.01844, section 3.1; Song et al., 2021,
    arXiv:2011.13456, eq. 39 and section 4.3; Ho, Jain, Abbeel, 2020, arXiv:2006.11239,
    eqs. 5 and 13.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Denoise, Grid
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.diffusion.analysis.likelihood import Method, log_likelihood
from diffevo_jax.diffusion.analysis.variational import variational_bound
from diffevo_jax.diffusion.images.pixels import PixelScale, check_levels, dequantise
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import real_array


@checked
def bits_per_dimension(
    key: jax.Array,
    denoise: Denoise,
    pixels: jax.typing.ArrayLike,
    scale: PixelScale,
    grid: Grid,
    *,
    num_levels: int,
    num_draws: int = 1,
    num_probes: int | None = None,
    prior_mean: jax.typing.ArrayLike = 0.0,
    prior_deviation: Number = 1.0,
    method: Method = "rk4",
) -> jax.Array:
    """Bits per dimension of images by the flow of a denoiser, uniformly dequantised.

    In the mean over the noise that makes pixels continuous an upper bound of
    ``-log2 P / D``, and so of the entropy of the images. It is near it if the density
    hardly changes within a level, or is flat there: train on
    :func:`diffevo_jax.diffusion.dequantise`, since a network that has seen whole numbers
    alone puts its density on them. L levels, all alike, cost ``log2 L``.

    Args:
        key: a typed key; of the noise, and of the probes.
        denoise: ``denoise(y, sigma)`` of data as of ``scale``, flat: (N, D).
        pixels: (N, H, W, C) whole numbers, 0 to ``scale.levels - 1``; or (N, ...).
        scale: how they become the denoiser's data.
        grid: as of :func:`diffevo_jax.diffusion.log_likelihood`. The density has its noise
            ``sigma_min`` in it: at most a fifth of a level, ``1 / scale.deviation``.
        num_levels: of the grid, >= 2.
        num_draws: of the noise for each image, >= 1.
        num_probes: for an estimate of the divergence without bias by so many random
            directions a point; None is the exact one, D derivatives an answer.
        prior_mean: see :func:`diffevo_jax.diffusion.log_likelihood`.
        prior_deviation: see :func:`diffevo_jax.diffusion.log_likelihood`.
        method: see :func:`diffevo_jax.diffusion.log_likelihood`.

    Returns:
        (N,) bits per dimension of each image; their mean is the number of the literature,
        and their deviation over ``sqrt(N)`` its standard error.

    Raises:
        ValueError: the scale has no levels, or the pixels are not those.

    Example:
        >>> import jax, numpy as np, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> pixels = np.random.default_rng(0).normal(128, 20, (200, 2, 2, 1)).round()
        >>> scale = diffusion.PixelScale(128.0, 20.0)
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> bits = diffusion.bits_per_dimension(jax.random.key(0), of_normal, pixels, scale,
        ...     de.noise.VE(0.01, 80.0), num_levels=64)
        >>> entropy = 0.5 * np.log2(2 * np.pi * np.e * 20**2)  # of so wide a Gaussian
        >>> bool(abs(bits.mean() - entropy) < 0.1)
        True

    References:
        Theis, van den Oord, Bethge, 2016, arXiv:1511.01844, section 3.1; Song et al., 2021,
        arXiv:2011.13456, eq. 39 and section 4.3.
    """
    array = _whole(pixels, scale)
    size = array[0].size

    def draw(key: jax.Array) -> jax.Array:
        key_noise, key_probes = jax.random.split(key)
        data = scale.to_data(dequantise(key_noise, array))
        found = log_likelihood(
            denoise,
            data.reshape(len(array), size),
            grid,
            num_levels=num_levels,
            key=None if num_probes is None else key_probes,
            num_probes=num_probes or 1,
            prior_mean=prior_mean,
            prior_deviation=prior_deviation,
            method=method,
        )
        return bits_of_density(found.log_density, size, scale.deviation)

    return jnp.mean(jax.lax.map(draw, jax.random.split(key, num_draws)), axis=0)


def bits_of_density(log_density: jax.Array, size: int, deviation: Number) -> jax.Array:
    """Bits per dimension of pixels, from the log-density of ``(pixel - mean) / deviation``.

    Args:
        log_density: (N,) in nats.
        size: D, numbers of an image.
        deviation: () of the scale.

    Example:
        >>> from diffevo_jax.diffusion.analysis.bits import bits_of_density
        >>> float(bits_of_density(0.0, 64, 256.0))  # uniform on [0, 1) in every number
        8.0
    """
    return (size * jnp.log(deviation) - log_density) / (size * math.log(2))


@checked
def variational_bits(
    key: jax.Array,
    denoise: Denoise,
    pixels: jax.typing.ArrayLike,
    scale: PixelScale,
    grid: Grid,
    *,
    num_levels: int,
    prior_deviation: Number = 1.0,
) -> jax.Array:
    """Bits per dimension of images by the variational bound of a chain, as DDPM has them.

    An upper bound without dequantisation: the last step of the chain is a distribution of
    levels, :func:`diffevo_jax.diffusion.discretised_gaussian`. Cheaper than the flow, one
    answer a level, and for networks that have seen whole numbers alone, too.

    Args:
        key: a typed key.
        denoise: see :func:`bits_per_dimension`.
        pixels: see :func:`bits_per_dimension`.
        scale: see :func:`bits_per_dimension`.
        grid: see :func:`diffevo_jax.diffusion.variational_bound`. Its clean end is the
            deviation of the last step; a third of a level, ``1 / scale.deviation``, tells
            the levels from each other.
        num_levels: of the grid, >= 1.
        prior_deviation: see :func:`diffevo_jax.diffusion.variational_bound`.

    Returns:
        () bits per dimension, mean over the images.

    Raises:
        ValueError: the scale has no levels, or the pixels are not those.

    Example:
        >>> import jax, numpy as np, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> pixels = np.random.default_rng(0).normal(128, 20, (200, 2, 2, 1)).round()
        >>> scale = diffusion.PixelScale(128.0, 20.0)
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> bits = diffusion.variational_bits(jax.random.key(0), of_normal, pixels, scale,
        ...     de.noise.VE(0.015, 80.0), num_levels=500)
        >>> entropy = 0.5 * np.log2(2 * np.pi * np.e * 20**2)  # of so wide a Gaussian
        >>> bool(entropy < bits < entropy + 0.3)
        True

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eqs. 5 and 13.
    """
    whole = _whole(pixels, scale)
    array = whole.reshape(len(whole), -1)
    data = scale.to_data(array)
    key_chain, key_last = jax.random.split(key)
    bound = variational_bound(
        key_chain,
        denoise,
        data,
        grid,
        num_levels=num_levels,
        prior_deviation=prior_deviation,
    )
    last = levels_of(grid, num_levels)[-1]
    y = data + last * jax.random.normal(key_last, data.shape, data.dtype)
    answer = clean_points(denoise(y, last), y) * scale.deviation + scale.mean
    width = last * scale.deviation
    decoder = -jnp.mean(discretised_gaussian(array, answer, width, scale.levels))
    return (bound.prior + jnp.sum(bound.steps) + decoder) / math.log(2)


@checked
def discretised_gaussian(
    pixels: jax.typing.ArrayLike,
    mean: jax.typing.ArrayLike,
    deviation: jax.typing.ArrayLike,
    levels: int,
) -> jax.Array:
    """Log-probability of levels, of a Gaussian that is rounded to them, in nats.

    What is beyond the lowest and the highest level counts as theirs.

    Args:
        pixels: whole numbers, 0 to ``levels - 1``, of any shape.
        mean: of the Gaussian, in levels; of a shape that goes with ``pixels``.
        deviation: the same, > 0.
        levels: L.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> log_probability = diffusion.discretised_gaussian(jnp.arange(4), 0.5, 0.1, 4)
        >>> jnp.exp(log_probability).round(3).tolist()
        [0.5, 0.5, 0.0, 0.0]

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eq. 13.
    """
    values = jnp.asarray(pixels, dtype=float)
    scaled = (values - mean) / deviation
    half = 0.5 / jnp.asarray(deviation, dtype=float)
    upper = jnp.where(values >= levels - 1, jnp.inf, scaled + half)
    lower = jnp.where(values <= 0, -jnp.inf, scaled - half)
    # The same probability on the side where both are below the mean keeps its digits.
    mirrored = lower > 0
    high = jnp.where(mirrored, -lower, upper)
    low = jnp.where(mirrored, -upper, lower)
    log_high, log_low = map(jax.scipy.special.log_ndtr, (high, low))
    return log_high + jnp.log(-jnp.expm1(log_low - log_high))


def _whole(pixels: jax.typing.ArrayLike, scale: PixelScale) -> jax.Array:
    """Pixels as floats, after a look at them."""
    validation.validate(scale)
    if not scale.levels:
        raise ValueError(
            f"scale: got {scale}, without levels, want PixelScale(levels=...): images of "
            "any numbers have a density, and no bits"
        )
    array = real_array("pixels", pixels, "(N, H, W, C)")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"pixels: got shape {array.shape}, want (N, H, W, C)")
    known = pytree.concrete(array)
    if known is not None:
        check_levels(np.asarray(known), scale.levels)
    return array
