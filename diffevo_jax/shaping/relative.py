"""Shapings that compare individuals: without a unit, at any scale of the fitness.

Adding a constant to the fitness, or multiplying it by a positive one, changes nothing but
rounding; by a power of two, not one bit.
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import bisect
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root


@pytree.dataclass
class Standardized:
    """Weights ``g = exp(z / temperature)`` of the standard scores of the fitness.

    Boltzmann's weights in units of the population's own deviation: the first choice where
    the scale of a fitness is not known, or changes as the population improves.

    Args:
        temperature: in standard deviations of the fitness, > 0.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> shaping = de.shaping.Standardized(temperature=1.0)
        >>> shaping.log_weight(jnp.array([10.0, 30.0])).tolist()
        [-2.0, 0.0]
    """

    temperature: Number = pytree.number(default=0.25, above=0.0)

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``; the best has 0."""
        return _boltzmann(standard_scores(fitness, valid), self.temperature)


@pytree.dataclass
class TargetESS:
    """Boltzmann's weights at the temperature that gives an effective sample size.

    The temperature is found by bisection, so that the effective sample size of the weights,
    ``(sum g)^2 / sum g^2``, is a fraction of the population. Prefer it where that fraction
    is what you mean: selection then is as hard at the end as at the beginning.

    Args:
        share: the fraction, of the individuals that did not fail, in (0, 1]. Where it
            is impossible, for example among equal values, it is approached.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> weight = jnp.exp(de.shaping.TargetESS(0.5).log_weight(jnp.arange(8.0)))
        >>> round(float(weight.sum() ** 2 / (weight**2).sum()), 3)
        4.0

    References:
        Del Moral, Doucet, Jasra, 2012, Statistics and Computing 22 (the bisection on the
        effective sample size in adaptive sequential Monte Carlo).
    """

    share: Number = pytree.number(default=0.1, above=0.0, high=1.0)

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``; the best has 0."""
        mask = _mask(fitness, valid)
        scores = standard_scores(fitness, valid)
        wanted = self.share * jnp.sum(mask).astype(scores.dtype)

        def too_few(middle: jax.Array) -> jax.Array:
            weight = jnp.where(mask, jnp.exp(_boltzmann(scores, jnp.exp(middle))), 0.0)
            return wanted * jnp.sum(weight**2) - jnp.sum(weight) ** 2

        low, high = (jnp.full((), end, scores.dtype) for end in (-12.0, 12.0))
        log_temperature = bisect(too_few, low, high, _HALVINGS)
        return _boltzmann(scores, jnp.exp(log_temperature))


@pytree.dataclass
class Rank:
    """Weights ``g = exp(-(1 - rank) / temperature)`` of ranks from 0, worst, to 1, best.

    Only the order of fitness values counts: any map that keeps it, and ties, keeps every
    bit. Values that tie have the mean of their ranks. Prefer it where fitness has
    outliers, or means nothing but an order.

    Args:
        temperature: in ranks, > 0; 0.1 counts about the best tenth.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> shaping = de.shaping.Rank(temperature=1.0)
        >>> shaping.log_weight(jnp.array([5.0, 900.0, 7.0])).tolist()
        [-1.0, 0.0, -0.5]
    """

    temperature: Number = pytree.number(default=0.1, above=0.0)

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``."""
        mask = _mask(fitness, valid)
        ordered = jnp.sort(jnp.where(mask, fitness, jnp.inf))
        below, up_to = (
            jnp.searchsorted(ordered, fitness, side=side) for side in ("left", "right")
        )
        count = jnp.sum(mask)
        # Twice the number from the top: whole numbers, so that no bit depends on a value.
        from_top = 2 * count - (below + up_to) - 1
        others = jnp.maximum(count - 1, 1).astype(float)
        return (-from_top).astype(float) / (2.0 * others) / _positive(self.temperature)


#: Halvings of an interval of 24 nats: to float32 rounding.
_HALVINGS = 30


@checked
def standard_scores(fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """Fitness minus its mean, over its standard deviation; 0 where all are equal.

    Args:
        fitness: (N,) finite.
        valid: (N,) bool, which values count for mean and deviation; None for all.

    Returns:
        (N,), clipped to +-1e4.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.shaping.standard_scores(jnp.array([10.0, 30.0])).tolist()
        [-1.0, 1.0]
    """
    mask = _mask(fitness, valid)
    scaled = min_max_scaled(fitness, valid)
    count = jnp.maximum(jnp.sum(mask), 1).astype(scaled.dtype)
    centred = scaled - jnp.sum(jnp.where(mask, scaled, 0.0)) / count
    deviation = square_root(jnp.sum(jnp.where(mask, centred**2, 0.0)) / count)
    scores = centred / jnp.where(deviation > 0, deviation, 1.0)
    return jnp.clip(scores, -1e4, 1e4)


def min_max_scaled(fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """Fitness scaled to 0 for the lowest and 1 for the highest; 0 where all are equal.

    Args:
        fitness: (N,) finite, of any size.
        valid: (N,) bool, which values count for the range; None for all.

    Returns:
        (N,), in [0, 1] where ``valid``. Powers of two as factors change no bit.
    """
    mask = _mask(fitness, valid)
    limits = jnp.finfo(fitness.dtype)
    size = jnp.max(jnp.abs(fitness), where=mask, initial=0.0)
    # Large ones are made smaller, or their range, or its reciprocal, leaves the floats.
    scaled = fitness * jnp.where(size > 1, 1 / 16, 1.0).astype(fitness.dtype)
    low = jnp.min(scaled, where=mask, initial=limits.max)
    high = jnp.max(scaled, where=mask, initial=-limits.max)
    # What rounding leaves of equal values is no difference.
    spread = high - low > 4 * limits.eps * jnp.maximum(jnp.abs(low), jnp.abs(high))
    return jnp.where(spread, (scaled - low) / jnp.where(spread, high - low, 1.0), 0.0)


def _mask(fitness: jax.Array, valid: jax.Array | None) -> jax.Array:
    return jnp.ones(fitness.shape, bool) if valid is None else valid


def _positive(temperature: Number) -> jax.Array:
    return jnp.maximum(temperature, 1e-30)


def _boltzmann(scores: jax.Array, temperature: Number) -> jax.Array:
    return (scores - jnp.max(scores)) / _positive(temperature)
