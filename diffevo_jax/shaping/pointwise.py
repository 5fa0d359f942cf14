"""Shapings of one fitness value at a time, in units of fitness."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.pytree import Number


@pytree.dataclass
class Boltzmann:
    """Weights ``g = exp(f / temperature)``: fitness is a negative energy.

    Adding a constant to the fitness changes nothing; scaling the fitness is scaling the
    temperature. Prefer it when fitness differences have a meaning.

    Args:
        temperature: in units of fitness, > 0. Towards 0 only the best counts, towards
            infinity all count the same.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.shaping.Boltzmann(temperature=2.0).log_weight(jnp.array([1.0, 3.0])).tolist()
        [-1.0, 0.0]

    References:
        Zhang et al., 2024, arXiv:2410.02543, section 3 (the energy mapping).
    """

    temperature: Number = pytree.number(default=1.0, above=0.0)

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``; the best has 0."""
        limits = jnp.finfo(fitness.dtype)
        temperature = jnp.maximum(self.temperature, limits.tiny)
        difference = jnp.maximum(fitness - jnp.max(fitness), -limits.max)
        return jnp.maximum(difference / temperature, -limits.max / 4)


@pytree.dataclass
class Power:
    """Weights ``g = f^exponent``, for fitness that is itself a density or a score.

    Scaling the fitness by a positive factor changes nothing. Fitness of zero or less gets
    weight zero, and is counted in ``info.num_weightless``.

    Args:
        exponent: >= 0; 0 counts all positive the same, 1 is :class:`Identity`.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.shaping.Power(exponent=2.0).log_weight(jnp.array([1.0, 0.0])).tolist()
        [0.0, -inf]

    References:
        Zhang et al., 2024, arXiv:2410.02543, section 3 (the power mapping).
    """

    exponent: Number = pytree.number(default=1.0, low=0.0)

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``."""
        positive = fitness > 0
        log_fitness = jnp.log(jnp.where(positive, fitness, 1.0))
        largest = jnp.finfo(fitness.dtype).max / 4
        log_weight = jnp.clip(self.exponent * log_fitness, -largest, largest)
        return jnp.where(positive, log_weight, -jnp.inf)


@pytree.dataclass
class Identity:
    """Weights ``g = f``: the fitness is a density already.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.shaping.Identity().log_weight(jnp.array([1.0, 0.0])).tolist()
        [0.0, -inf]
    """

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``."""
        return Power(exponent=1.0).log_weight(fitness)
