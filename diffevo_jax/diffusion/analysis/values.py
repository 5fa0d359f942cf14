"""How the values of samples are spread: from structured to normal, and back.

All numbers of all samples count, wherever they stand in a sample. In unit scale noise turns
any distribution of values with mean 0 and variance 1 into the normal one, which has the
largest entropy of all those; the reverse process brings it down again.
"""

import math

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


@checked
def value_histogram(
    values: jax.Array, *, low: Number, high: Number, num_bins: int
) -> jax.Array:
    """Shares of values in bins of equal width; the outermost bins have no end.

    Args:
        values: of any shape.
        low: where the bins begin, ().
        high: where they end, ().
        num_bins: >= 1.

    Returns:
        (num_bins,) with sum 1; NaN if a value is.

    Raises:
        ValueError: the bins have no width.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> values = jnp.array([0.1, 0.2, 0.7, 5.0])
        >>> diffusion.value_histogram(values, low=0.0, high=1.0, num_bins=4).tolist()
        [0.5, 0.0, 0.25, 0.25]
    """
    width = pytree.concrete(jnp.subtract(high, low))
    if width is not None and not width > 0:
        raise ValueError(f"high: got {high}, want more than low = {low}")
    values = jnp.asarray(values)
    place = jnp.floor((values.ravel() - low) / (high - low) * num_bins)
    index = jnp.clip(place, 0, num_bins - 1).astype(jnp.int32)
    # Whole numbers, which do not lose what is small beside their sum.
    counts = jnp.zeros(num_bins, jnp.int32).at[index].add(1)
    return jnp.where(jnp.isnan(place).any(), jnp.nan, counts / values.size)


@checked
def value_entropy(
    values: jax.Array, *, low: Number, high: Number, num_bins: int
) -> jax.Array:
    """Differential entropy of values, by their histogram, in nats.

    Too low by about ``(num_bins - 1) / (2 n)`` for n values. Through time: ``jax.vmap`` it
    over a path (T, N, D), for example of :func:`diffevo_jax.noise.forward_chain`.

    Args:
        values: of any shape.
        low: see :func:`value_histogram`.
        high: see :func:`value_histogram`.
        num_bins: see :func:`value_histogram`.

    Returns:
        (), at most ``log(high - low)``.

    Example:
        >>> import jax
        >>> from diffevo_jax import diffusion
        >>> values = jax.random.normal(jax.random.key(0), (100_000,))
        >>> f"{diffusion.value_entropy(values, low=-5.0, high=5.0, num_bins=100):.2f}"
        '1.42'
        >>> f"{diffusion.normal_entropy(1.0):.2f}"
        '1.42'
    """
    shares = value_histogram(values, low=low, high=high, num_bins=num_bins)
    return jnp.sum(jax.scipy.special.entr(shares)) + jnp.log((high - low) / num_bins)


@checked
def normal_entropy(variance: Number) -> jax.Array:
    """Entropy of normal values, the largest of a variance, ``log(2 pi e v) / 2`` nats.

    Example:
        >>> from diffevo_jax import diffusion
        >>> f"{diffusion.normal_entropy(1.0):.2f} {diffusion.normal_entropy(4.0):.2f}"
        '1.42 2.11'
    """
    return 0.5 * jnp.log(2 * math.pi * math.e * jnp.asarray(variance, dtype=float))
