"""Evidence: the evaluated points, their log-weights, and which of them are remembered.

A generation is evidence for itself, and may be for later ones. What is remembered is a
choice (:class:`Latest`, :class:`Archive`); conditions are computed when evidence arrives,
with its measures, and are remembered with it; the shaping is applied to all of it together.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.attention import density
from diffevo_jax.base import Competition, Estimate, Evaluated, PyTree, Shaping
from diffevo_jax.pytree import Number, validation
from diffevo_jax.shaping.conditions import Condition, total


@pytree.dataclass
class Evidence:
    """Evaluated points: the N of this generation first, then those of earlier ones.

    Attributes:
        points: (M, D) unit scale.
        fitness: (M,) -inf where there is none: a failed evaluation, an empty place.
        condition_log_weight: (M,) of all conditions; 0 without any.
        places: (M, D) where neighbourhoods are measured if they are not measured between
            noisy and evaluated points; () else.
        descriptors: (M, d) of a shaping that is a competition; () else.
        competing: (M,) competition fitness, ``-inf`` where there is none; () else.
        labels: (M, m) what a model is told of each, see
            :class:`diffevo_jax.shaping.conditions.Labelled`; () where none is.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> evidence = lambda *points: de.denoisers.Evidence(
        ...     jnp.array(points)[:, None], jnp.zeros(len(points)), jnp.zeros(len(points)))
        >>> now, before = evidence(5.0, 6.0), evidence(1.0, 2.0, 3.0, 4.0)
        >>> memory = de.denoisers.Archive(generations=1)
        >>> memory.remember(now, before).points.ravel().tolist()
        [5.0, 6.0, 1.0, 2.0]
    """

    points: jax.Array
    fitness: jax.Array
    condition_log_weight: jax.Array
    places: PyTree = ()
    descriptors: PyTree = ()
    competing: PyTree = ()
    labels: PyTree = ()


@runtime_checkable
class Memory(Protocol):
    """Which evaluated points are kept: those of earlier generations may answer too."""

    def capacity(self, population_size: int) -> int:
        """M, how many evaluated points answer, static."""
        ...

    def remember(self, now: Evidence, before: Evidence) -> Evidence:
        """N new points in front of what is kept of the M before; M in all."""
        ...

    def log_correction(self, evidence: Evidence) -> jax.Array | float:
        """Log-weights (M,) that make up for how the points were drawn; 0 for none."""
        ...


@pytree.dataclass
class Latest:
    """Only the latest generation answers: nothing is remembered.

    Example:
        >>> import diffevo_jax as de
        >>> de.denoisers.Population(memory=de.denoisers.Latest()).memory
        Latest()
    """

    def capacity(self, population_size: int) -> int:
        """As many as are evaluated."""
        return population_size

    def remember(self, now: Evidence, before: Evidence) -> Evidence:
        """The new points."""
        return now

    def log_correction(self, evidence: Evidence) -> float:
        """None."""
        return 0.0


@pytree.dataclass
class Archive:
    """The evaluated points of some generations before answer too.

    All generations together are a sample of the mixture of their densities, and are
    weighted by ``g / mixture^correction``: the balance heuristic.

    Args:
        generations: how many of those before, static, >= 1.
        correction: power of the mixture, in [0, 1]: 1 gives importance weights, 0 counts
            points by fitness alone.

    Example:
        >>> import diffevo_jax as de
        >>> memory = de.denoisers.Archive(generations=2, correction=0.5)
        >>> memory.capacity(population_size=100)
        300

    References:
        Veach and Guibas, 1995, section 3.1 (the balance heuristic).
    """

    generations: int = pytree.static(default=1)
    correction: Number = pytree.number(default=1.0, low=0.0, high=1.0)

    def check(self) -> None:
        """Raise if ``generations`` is not a positive int."""
        validation.check_count("Archive.generations", self.generations)

    def capacity(self, population_size: int) -> int:
        """Those of this generation and of the ones before."""
        return population_size * (self.generations + 1)

    def remember(self, now: Evidence, before: Evidence) -> Evidence:
        """The new points, then the latest of the earlier ones."""
        kept = len(before.points) - len(now.points)
        join = lambda new, old: jnp.concatenate([new, old[:kept]])
        evidence: Evidence = jax.tree.map(join, now, before)
        return evidence

    def log_correction(self, evidence: Evidence) -> jax.Array:
        """Minus ``correction`` times the log-density of all points together."""
        valid = jnp.isfinite(evidence.fitness)
        return -self.correction * density.log_density(evidence.points, valid=valid)


@pytree.dataclass
class Elites:
    """The best of all that were evaluated answer too, as long as nothing is better.

    Best by the competition fitness, if the shaping has one
    (:class:`diffevo_jax.shaping.DominatedNovelty`), which is that of all who are there: so
    they are diverse, and an elite of long ago leaves when a better one is near. Else by
    fitness. With ``support=Best(count)`` those who lose at once do not answer either.

    Args:
        count: how many of those before, static, >= 1.

    Example:
        >>> import diffevo_jax as de
        >>> de.denoisers.Elites(count=50).capacity(population_size=100)
        150

    References:
        Bahlous-Boldi et al., 2025, arXiv:2502.00593, algorithm 1 (the survivors).

    Notes:
        Under noise those that were lucky stay. As for any memory, who counts most is not
        drawn from anywhere, and nothing corrects for it.
    """

    count: int = pytree.static()

    def check(self) -> None:
        """Raise if ``count`` is not a positive int."""
        validation.check_count("Elites.count", self.count)

    def capacity(self, population_size: int) -> int:
        """Those of this generation, and the elites."""
        return population_size + self.count

    def remember(self, now: Evidence, before: Evidence) -> Evidence:
        """The new points, then the best of the earlier ones."""
        alone = isinstance(before.competing, tuple)
        value = before.fitness if alone else before.competing
        best = jax.lax.top_k(value, self.count)[1]
        join = lambda new, old: jnp.concatenate([new, old[best]])
        evidence: Evidence = jax.tree.map(join, now, before)
        return evidence

    def log_correction(self, evidence: Evidence) -> float:
        """None."""
        return 0.0


def empty_evidence(
    capacity: int, population: jax.Array, places: bool, shaping: Shaping | None = None
) -> Evidence:
    """Evidence before any evaluation: ``capacity`` points of weight zero.

    Args:
        capacity: M.
        population: (N, D), for D and the precision.
        places: whether neighbourhoods are measured elsewhere than between points.
        shaping: whose competition is remembered; None for none.
    """
    points = jnp.zeros((capacity, population.shape[1]), population.dtype)
    fitness = jnp.full(capacity, -jnp.inf, population.dtype)
    condition_log_weight = jnp.zeros(capacity, population.dtype)
    evidence = Evidence(points, fitness, condition_log_weight, points if places else ())
    if not pytree.offers(shaping, Competition):
        return evidence
    descriptors = jnp.zeros((capacity, shaping.dim), population.dtype)
    return pytree.replace(evidence, descriptors=descriptors, competing=fitness)


def with_generation(
    memory: Memory,
    conditions: tuple[Condition, ...],
    before: Evidence,
    evaluated: Evaluated,
    places: PyTree = (),
    shaping: Shaping | None = None,
    labels: PyTree = (),
) -> tuple[Evidence, jax.Array]:
    """The evidence with a generation in it, and its plain log-weights.

    Args:
        memory: which evaluated points are kept.
        conditions: computed here, of what has just been evaluated.
        before: M points.
        evaluated: a generation of N individuals.
        places: (N, D) where these are measured; () between noisy and evaluated points.
        shaping: whose competition is held among all that are remembered; None for none.
        labels: (N, m) what a model is told of each; () where none is.

    Returns:
        The evidence, and its :func:`plain_log_weight`.
    """
    points, fitness, measures = evaluated.points, evaluated.fitness, evaluated.measures
    now = Evidence(
        points=points,
        fitness=jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf),
        condition_log_weight=total(conditions, points, fitness, measures),
        places=places,
        labels=labels,
    )
    if not pytree.offers(shaping, Competition):
        evidence = memory.remember(now, before)
        return evidence, plain_log_weight(memory, evidence)
    descriptors = shaping.describe(points, measures)
    now = pytree.replace(now, descriptors=descriptors, competing=now.fitness)
    evidence = memory.remember(now, before)
    competing = shaping.compete(evidence.fitness, evidence.descriptors)
    evidence = pytree.replace(evidence, competing=competing)
    return evidence, plain_log_weight(memory, evidence)


def plain_log_weight(memory: Memory, evidence: Evidence) -> jax.Array:
    """(M,) log-weights without fitness and conditions; ``-inf`` where it failed.

    What makes up for how the points were drawn stays: it is of the points, and not wanted.
    """
    valid = jnp.isfinite(evidence.fitness)
    plain = jnp.where(valid, memory.log_correction(evidence), -jnp.inf)
    return plain.astype(evidence.points.dtype)


def log_weights(shaping: Shaping, evidence: Evidence, plain: jax.Array) -> jax.Array:
    """(M,) log g of what is remembered: by fitness, conditions, and the plain ones.

    Raises:
        ValueError: the shaping is a competition, and the evidence has none.
    """
    added, fitness = evidence.condition_log_weight + plain, evidence.fitness
    if pytree.offers(shaping, Competition):
        fitness = evidence.competing
        if isinstance(fitness, tuple):
            raise ValueError(
                f"shaping: got {type(shaping).__name__}, and a denoiser that remembers no "
                "descriptors, want another shaping, or one like Population()"
            )
    return shapings.log_weight(shaping, fitness) + added


def with_counts(
    estimate: Estimate, log_weight: jax.Array, plain: jax.Array, size: int
) -> Estimate:
    """An answer of evaluated points, with what the shell must know of their weights.

    What is remembered may answer, but not if all of this generation have failed: then
    nothing new is known.

    Args:
        estimate: the answer.
        log_weight: (M,) log g; the first ``size`` are those of this generation.
        plain: (M,) without fitness and conditions; ``-inf`` where an evaluation failed.
        size: N.
    """
    weightless = log_weight == -jnp.inf
    # As or_uniform asks: one reduction for both.
    some = jnp.any(log_weight > -jnp.inf)
    return pytree.replace(
        estimate,
        num_weightless=jnp.sum(weightless[:size], dtype=jnp.int32),
        sound=some & jnp.any(plain[:size] > -jnp.inf),
    )


def check_dimension(y: jax.Array, evidence: Evidence) -> None:
    """Raise unless points (N, D) have the dimension of the evaluated ones."""
    dim = evidence.points.shape[1]
    if jnp.ndim(y) != 2 or y.shape[1] != dim:
        raise ValueError(f"y: got shape {jnp.shape(y)}, want (N, {dim})")
