"""Running moments of observations: Welford's update for one, Chan's for many."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree

#: Deviations below this count as this, so that what never changes becomes 0.
_SMALLEST = 1e-4
#: Normalised observations are clipped to so many deviations.
CLIP = 10.0


@pytree.dataclass
class Moments:
    """Count, mean and spread of what has been seen.

    Attributes:
        count: () float, how many.
        mean: like an observation.
        squares: like an observation: sum of the squared deviations from the mean.
    """

    count: jax.Array
    mean: PyTree
    squares: PyTree


def nothing(like: PyTree) -> Moments:
    """The moments of no observation."""
    zeros = jax.tree.map(jnp.zeros_like, like)
    return Moments(count=jnp.zeros((), float), mean=zeros, squares=zeros)


def add(moments: Moments, observation: PyTree) -> Moments:
    """Add one observation.

    References:
        Welford, 1962, Technometrics 4 (3), 419.
    """
    count = moments.count + 1
    mean = jax.tree.map(lambda m, o: m + (o - m) / count, moments.mean, observation)
    squares = jax.tree.map(
        lambda s, old, new, o: s + (o - old) * (o - new),
        moments.squares,
        moments.mean,
        mean,
        observation,
    )
    return Moments(count, mean, squares)


def merge(moments: Moments) -> Moments:
    """Merge moments with a leading axis into one; those that are not finite do not count.

    Args:
        moments: leaves (K, ...), for example of K episodes.

    References:
        Chan, Golub, LeVeque, 1983, The American Statistician 37 (3), 242, eq. 2.1b.
    """
    flat = lambda leaf: jnp.reshape(leaf, (len(leaf), -1))
    leaves = jax.tree.leaves((moments.mean, moments.squares))
    finite = [jnp.all(jnp.isfinite(flat(leaf)), axis=1) for leaf in leaves]
    counts = jnp.where(jnp.all(jnp.stack(finite), axis=0), moments.count, 0.0)
    total = jnp.sum(counts)
    fractions = counts / jnp.maximum(total, 1.0)
    longest = jnp.argmax(counts)

    def average(leaf: jax.Array, weights: jax.Array) -> jax.Array:
        weights = weights.reshape(-1, *(1,) * (leaf.ndim - 1))
        return jnp.sum(jnp.where(weights > 0, weights * leaf, 0.0), axis=0)

    # Around one of the means, so that what is constant stays so, far from the origin too.
    def centre(m: jax.Array) -> jax.Array:
        reference = jnp.where(total > 0, m[longest], 0.0)
        return reference + average(m - reference[None], fractions)

    mean = jax.tree.map(centre, moments.mean)
    squares = jax.tree.map(
        lambda s, m, centre: (
            average(s, (counts > 0).astype(counts.dtype))
            + average((m - centre[None]) ** 2, counts)
        ),
        moments.squares,
        moments.mean,
        mean,
    )
    return Moments(total, mean, squares)


def standardise(moments: Moments, observation: PyTree) -> PyTree:
    """Observations with the mean taken out, in deviations, clipped to +-10.

    Before two observations have been seen they stay as they are.
    """
    known = moments.count > 1

    def one(o: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
        scaled = jnp.clip((o - mean) / deviation, -CLIP, CLIP)
        return jnp.where(known, scaled, o)

    return jax.tree.map(one, observation, moments.mean, deviations(moments))


def deviations(moments: Moments) -> PyTree:
    """What observations are divided by: their deviations, at least 1e-4."""

    def one(squares: jax.Array) -> jax.Array:
        deviation = jnp.sqrt(squares / jnp.maximum(moments.count, 1.0))
        return jnp.maximum(deviation, _SMALLEST)

    return jax.tree.map(one, moments.squares)
