"""Shaping by local competition: quality and diversity, without a grid.

A shaping compares everyone with everyone, so that the fittest take all. Here individuals
compete in a space of descriptors, what a solution does and not how well: the competition
fitness, which is high where those that are fitter are far, takes the place of the fitness.
"""

import dataclasses

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import density
from diffevo_jax.base import Competition, PyTree, RowShaping, Shaping
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.shaping.conditions import Measure
from diffevo_jax.shaping.relative import Standardized


@checked
def dominated_novelty(points: jax.Array, fitness: jax.Array, count: int) -> jax.Array:
    """Competition fitness: the mean distance to the ``count`` nearest that are fitter.

    Args:
        points: (N, d) descriptors.
        fitness: (N,) to be maximised; equal ones do not dominate each other.
        count: k, >= 1. Where fewer are fitter, the mean is over those.

    Returns:
        (N,) >= 0, in deviations of the descriptors; of whom nobody dominates the highest of
        the others, 0 if there is none. ``-inf`` where the fitness failed or a descriptor is
        not finite: such individuals do not compete.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> points, fitness = jnp.array([[-1.0], [1.0]]), jnp.array([5.0, 3.0])
        >>> de.shaping.dominated_novelty(points, fitness, 3).tolist()
        [2.0, 2.0]

    References:
        Bahlous-Boldi et al., 2025, arXiv:2502.00593, section 4.
    """
    valid = jnp.isfinite(fitness) & jnp.all(jnp.isfinite(points), axis=1)
    fitness = jnp.where(valid, fitness, -jnp.inf)
    distance = density.neighbour_distance(points, count, valid, fitness)
    dominated = valid & jnp.isfinite(distance)
    highest = jnp.max(distance, where=dominated, initial=0.0)
    distance = jnp.where(dominated, distance, highest)
    # Distances come from a matrix product: below this, they differ by its rounding.
    lowest = jnp.min(distance, where=valid, initial=jnp.inf)
    same = highest - lowest <= jnp.sqrt(jnp.finfo(points.dtype).eps) * highest
    return jnp.where(valid, jnp.where(same, highest, distance), -jnp.inf)


@pytree.dataclass
class DominatedNovelty:
    """Everyone competes with similar ones only: quality and diversity without a grid.

    The competition fitness of an individual is the mean distance of its descriptor to those
    of the k nearest that are fitter, and another shaping makes it a log-weight: a poor one
    counts much where there is no better one nearby. All that is remembered competes, so
    take a memory that keeps who wins, :class:`diffevo_jax.denoisers.Elites`; see
    ``docs/quality_diversity.md``. Cost O(M^2 d) for M remembered, memory O(M).

    Args:
        dim: d, numbers of a descriptor, static, >= 1.
        measure: static function of (candidates, measures), -> (N,) or (N, d), the
            descriptors; None takes all numbers of the problem's measures, which should then
            be of one unit. Where it is not finite an individual has weight zero, and
            dominates nobody.
        num_neighbours: k, static, >= 1. Where fewer are fitter, the mean is over those.
        weighting: from competition fitness to log-weight, one that compares with all.
            Competition fitness is in deviations of the descriptors.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> shaping = de.shaping.DominatedNovelty(dim=1)
        >>> place, fitness = jnp.array([[0.0], [1.0], [9.0]]), jnp.array([3.0, 2.0, 1.0])
        >>> shaping.compete(fitness, shaping.describe(place, place)).argsort().tolist()
        [1, 0, 2]

    References:
        Bahlous-Boldi et al., 2025, arXiv:2502.00593, section 4 (dominated novelty).

    Notes:
        Whom nobody dominates has an infinite competition fitness there, and survives. A
        weight cannot be infinite for one and count for others: here such an individual
        counts like the most novel of the dominated ones.
    """

    dim: int = pytree.static()
    measure: Measure | None = pytree.static(default=None)
    num_neighbours: int = pytree.static(default=3)
    weighting: Shaping = dataclasses.field(default_factory=lambda: Standardized(3.0))

    def check(self) -> None:
        """Raise if a count is not legal, or the shaping needs more than a fitness."""
        validation.check_count("DominatedNovelty.dim", self.dim)
        validation.check_count("DominatedNovelty.num_neighbours", self.num_neighbours)
        rows = pytree.offers(self.weighting, RowShaping)
        if rows or pytree.offers(self.weighting, Competition):
            raise ValueError(
                f"DominatedNovelty.weighting: got {type(self.weighting).__name__}, want "
                "one that compares with all, such as Standardized"
            )

    def log_weight(self, fitness: jax.Array, valid: jax.Array) -> jax.Array:
        """Log-weights (N,) of a competition fitness, or of any, without descriptors."""
        return self.weighting.log_weight(fitness, valid)

    def describe(self, candidates: jax.Array, measures: PyTree) -> jax.Array:
        """The descriptors ``(N, d)`` of candidates (N, D) and their measures."""
        size = len(candidates)
        if self.measure is None:
            leaves = jax.tree.leaves(measures)
            columns = [jnp.asarray(leaf).reshape(size, -1) for leaf in leaves]
            found = jnp.concatenate([candidates[:, :0], *columns], axis=1)
        else:
            found = jnp.asarray(self.measure(candidates, measures))
        if found.shape == (size, 0):
            raise ValueError(
                "DominatedNovelty.measure: got None, and a problem without measures, want "
                "measures of the problem, or a function of (candidates, measures)"
            )
        if found.shape != (size, self.dim) and (self.dim > 1 or found.shape != (size,)):
            raise ValueError(
                f"DominatedNovelty.measure: got shape {found.shape}, want "
                f"({size}, {self.dim})"
            )
        return found.reshape(size, self.dim).astype(candidates.dtype)

    def compete(self, fitness: jax.Array, descriptors: jax.Array) -> jax.Array:
        """The competition fitness ``(M,)``: :func:`dominated_novelty`."""
        return dominated_novelty(descriptors, fitness, self.num_neighbours)
