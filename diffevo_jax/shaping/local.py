"""Shaping that compares each individual with its own neighbourhood."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import matmul
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.shaping.relative import min_max_scaled, standard_scores

#: Deviations below this fraction of the range of fitness are rounding.
_NO_SPREAD = 1e-6


@pytree.dataclass
class Local:
    """Weights of standard scores within each individual's own neighbourhood.

        g_ij = exp(z_ij / temperature),  z_ij = (f_j - mean_i) / deviation_i

    with mean and deviation under the kernel of individual i. Selection is then as hard on
    a low peak as on a high one, at every scale: invariant to any increasing affine change
    of the fitness, everywhere in the landscape. Prefer it to find all peaks. Costs a
    dense row of weights for every individual, a block of rows at a time.

    Args:
        temperature: in deviations of the neighbourhood, > 0.
        limit: scores are clipped to so many deviations, > 0. Where a kernel isolates an
            individual its deviation is nearly 0, and without a limit the scores of all
            others would give its whole weight to the global best.

    Example:
        >>> import diffevo_jax as de
        >>> de.denoisers.Population(shaping=de.shaping.Local()).shaping
        Local(temperature=0.5, limit=3.0)
    """

    temperature: Number = pytree.number(default=0.5, above=0.0)
    limit: Number = pytree.number(default=3.0, above=0.0)

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Log-weights ``(N,)`` of the whole population, where no rows are made."""
        scores = standard_scores(fitness, valid)
        return jnp.clip(scores, -self.limit, self.limit) / self._positive()

    def row_log_weight(self, fitness: jax.Array, log_kernel: jax.Array) -> jax.Array:
        """Log-weights for B individuals, each of its own neighbourhood.

        Args:
            fitness: (M,) finite.
            log_kernel: (B, M) log of the kernel up to a constant a row; -inf for weight
                zero.

        Returns:
            (B, M).
        """
        scaled = min_max_scaled(fitness)
        weight = jax.nn.softmax(log_kernel, axis=1)
        mean = matmul(weight, scaled)[:, None]
        difference = scaled[None] - mean
        deviation = square_root(jnp.sum(weight * difference**2, axis=1, keepdims=True))
        spread = deviation > _NO_SPREAD
        scores = jnp.where(spread, difference / jnp.where(spread, deviation, 1.0), 0.0)
        return jnp.clip(scores, -self.limit, self.limit) / self._positive()

    def _positive(self) -> jax.Array:
        return jnp.maximum(self.temperature, 1e-30)
