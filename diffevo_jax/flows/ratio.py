"""What an estimate of a density ratio is, and what makes one of a population."""

from typing import Protocol, runtime_checkable

import jax

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number


@pytree.dataclass
class Ratio:
    """What is known of a density ratio ``r = p / q`` at N points.

    Attributes:
        log_ratio: (N,) log r, with both densities normalised.
        gradient: (N, D) grad log r.
        width: () distance within which the gradient can be trusted.
        effective_sample_size: (N,) points of p behind each answer.
        self_weight: (N,) weight of each point in its own answer.
        sound: () bool; False if the estimate failed, and nothing of it may be used.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import flows
        >>> points = jnp.array([[-1.0], [1.0]])
        >>> more, less = jnp.log(jnp.array([[0.25, 0.75], [0.5, 0.5]]))
        >>> ratio = jax.jit(flows.kernel_ratio)(points, points, more, less, 100.0)
        >>> [f"{r:.2f}" for r in jnp.exp(ratio.log_ratio)], bool(ratio.sound)
        (['0.50', '1.50'], True)
    """

    log_ratio: jax.Array
    gradient: jax.Array
    width: jax.Array
    effective_sample_size: jax.Array
    self_weight: jax.Array
    sound: jax.Array


@runtime_checkable
class RatioEstimator(Protocol):
    """What estimates the ratio of a weighted population to the population itself."""

    def init(self, key: jax.Array, population: jax.Array) -> PyTree:
        """What it keeps, before anything is known of a population (N, D)."""
        ...

    def estimate(
        self,
        key: jax.Array,
        state: PyTree,
        points: jax.Array,
        log_weight: jax.Array,
        present: jax.Array,
        sigma: jax.Array,
        density_power: Number,
    ) -> tuple[Ratio, PyTree]:
        """The ratio at the points, and what to keep.

        Args:
            key: a typed key.
            state: what it kept.
            points: (N, D) the population, finite.
            log_weight: (N,) log g, ``-inf`` for weight zero; the weights of p are
                ``g / q^density_power``.
            present: (N,) bool, which points are a sample of q at all.
            sigma: () width of what p and q are seen through, in the units of the points.
            density_power: (), in [0, 1].
        """
        ...
