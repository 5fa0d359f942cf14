"""Shapings of one fitness value at a time, in units of fitness."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.pytree import Number, validation


def floored(log_weight: jax.Array, floor: float | None) -> jax.Array:
    """Log of the weights with a floor added to them; None adds nothing."""
    return log_weight if floor is None else jnp.logaddexp(log_weight, math.log(floor))


def check_its_floor(shaping: Any) -> None:
    """Raise ValueError if ``floor`` is neither None nor above 0."""
    validation.check_floor(f"{type(shaping).__name__}.floor", shaping.floor)


@pytree.dataclass
class Boltzmann:
    """Weights ``g = exp(f / temperature)``: fitness is a negative energy.

    Adding a constant to the fitness changes nothing; scaling the fitness is scaling the
    temperature. Prefer it when fitness differences have a meaning.

    Args:
        temperature: in units of fitness, > 0. Towards 0 only the best counts, towards
            infinity all count the same.
        floor: added to the weights, > 0, static: 1e-9 for parity with the published code;
            None adds nothing.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.shaping.Boltzmann(temperature=2.0).log_weight(jnp.array([1.0, 3.0])).tolist()
        [-1.0, 0.0]

    References:
        Zhang et al., 2024, arXiv:2410.02543, section 3 (the energy mapping).
    """

    temperature: Number = pytree.number(default=1.0, above=0.0)
    floor: float | None = pytree.static(default=None)

    check = check_its_floor

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``; the best has 0."""
        limits = jnp.finfo(fitness.dtype)
        temperature = jnp.maximum(self.temperature, limits.tiny)
        difference = jnp.maximum(fitness - jnp.max(fitness), -limits.max)
        return floored(jnp.maximum(difference / temperature, -limits.max / 4), self.floor)


@pytree.dataclass
class Power:
    """Weights ``g = f^exponent``, for fitness that is itself a density or a score.

    Scaling the fitness by a positive factor changes nothing. Fitness of zero or less gets
    weight zero, and is counted in ``info.num_weightless``.

    Args:
        exponent: >= 0; 0 counts all positive the same, 1 is :class:`Identity`.
        floor: added to the weights, > 0, static: 1e-9 for parity with the published code;
            None adds nothing.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.shaping.Power(exponent=2.0).log_weight(jnp.array([1.0, 0.0])).tolist()
        [0.0, -inf]

    References:
        Zhang et al., 2024, arXiv:2410.02543, section 3 (the power mapping).
    """

    exponent: Number = pytree.number(default=1.0, low=0.0)
    floor: float | None = pytree.static(default=None)

    check = check_its_floor

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``."""
        positive = fitness > 0
        log_fitness = jnp.log(jnp.where(positive, fitness, 1.0))
        largest = jnp.finfo(fitness.dtype).max / 4
        log_weight = jnp.clip(self.exponent * log_fitness, -largest, largest)
        return floored(jnp.where(positive, log_weight, -jnp.inf), self.floor)


@pytree.dataclass
class Identity:
    """Weights ``g = f``: the fitness is a density already.

    Args:
        floor: added to the weights, > 0, static: 1e-9 for parity with the published code;
            None adds nothing.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.shaping.Identity().log_weight(jnp.array([1.0, 0.0])).tolist()
        [0.0, -inf]
    """

    floor: float | None = pytree.static(default=None)

    check = check_its_floor

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``."""
        return Power(exponent=1.0, floor=self.floor).log_weight(fitness)
