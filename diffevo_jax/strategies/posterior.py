"""How a population answers: which evaluated points, with which weights, for whom.

The parts of Bayes' rule in the order in which they are put together: evidence (evaluated
points and their fitness, also of earlier generations), log-weights (shaping, conditions),
neighbourhoods (kernel), and the mean.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import denoisers, pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.attention import density
from diffevo_jax.attention.row_wise import attend_by_rows
from diffevo_jax.base import PyTree
from diffevo_jax.shaping import conditions


@pytree.dataclass
class Evidence:
    """Evaluated points: the N of this generation first, then the archive.

    Attributes:
        points: (M, D) unit scale.
        fitness: (M,) -inf where there is none: a failed evaluation, an empty place.
        condition: (M,) log-weights of the conditions; 0 without any.
        places: (M, D) where neighbourhoods are measured if they are not measured between
            noisy and evaluated points; () else.
    """

    points: jax.Array
    fitness: jax.Array
    condition: jax.Array
    places: PyTree


def no_evidence(strategy: Any, population: jax.Array) -> PyTree:
    """An empty archive of as many generations as ``strategy.archive``, () for none."""
    if strategy.archive == 0:
        return ()
    size = strategy.archive * len(population)
    points = jnp.zeros((size, population.shape[1]), population.dtype)
    fitness = jnp.full(size, -jnp.inf, population.dtype)
    places = points if strategy.self_conditioned else ()
    return Evidence(points, fitness, jnp.zeros(size, population.dtype), places)


def gather(
    strategy: Any,
    state: Any,
    candidates: jax.Array,
    fitness: jax.Array,
    measures: PyTree,
) -> Evidence:
    """Evidence of this generation, in front of the archive's."""
    now = Evidence(
        points=candidates,
        fitness=jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf),
        condition=conditions.total(strategy.conditions, candidates, fitness, measures),
        places=state.clean_estimate if strategy.self_conditioned else (),
    )
    if strategy.archive == 0:
        return now
    return jax.tree.map(lambda new, old: jnp.concatenate([new, old]), now, state.archive)


def latest(strategy: Any, evidence: Evidence, population_size: int) -> PyTree:
    """The archive after a generation: as much evidence as it holds, the latest first."""
    if strategy.archive == 0:
        return ()
    return jax.tree.map(lambda leaf: leaf[: strategy.archive * population_size], evidence)


def log_weights(strategy: Any, evidence: Evidence) -> jax.Array:
    """(M,) log g, with the conditions; ``-inf`` for weight zero."""
    log_weight = shapings.log_weight(
        strategy.shaping, evidence.fitness, floor=strategy.floor
    )
    return log_weight + _corrections(strategy, evidence)


def _corrections(strategy: Any, evidence: Evidence) -> jax.Array | float:
    """(M,) what comes to the shaped fitness."""
    total: jax.Array | float = evidence.condition if strategy.conditions else 0.0
    if strategy.archive:
        # All generations together are a sample of the mixture of their densities, and are
        # weighted by g / mixture: the balance heuristic.
        valid = jnp.isfinite(evidence.fitness)
        crowding = density.log_density(evidence.points, valid=valid)
        total -= strategy.archive_correction * crowding
    return total


def denoise(
    strategy: Any,
    kernel_state: PyTree,
    y: jax.Array,
    sigma: jax.Array,
    place: jax.Array,
    evidence: Evidence,
    log_weight: jax.Array,
    support: denoisers.Support | None,
) -> denoisers.Estimate:
    """Ask the population where the clean points of noisy ones are.

    Args:
        strategy: kernel, shaping and the rest.
        kernel_state: of this generation.
        y: (N, D) noisy points, canonical.
        sigma: () their noise level.
        place: (N, D) where the neighbourhoods of self-conditioned individuals are.
        evidence: what has been evaluated, M points.
        log_weight: (M,).
        support: whom to attend to; None for all.
    """
    if strategy.denoiser != "kernel":
        diagonal = strategy.denoiser == "diagonal"
        values = evidence.points
        return denoisers.gaussian_mean(y, values, log_weight, sigma, diagonal=diagonal)
    kernel = strategy.kernel
    queries, keys = (y, evidence.points)
    if strategy.self_conditioned:
        queries, keys = place, evidence.places
    by_rows = is_row_wise(strategy)
    one = jnp.ones((), y.dtype)
    factor = one if by_rows else kernel.factor(kernel_state, y.shape[1]) / sigma**2
    if hasattr(strategy.shaping, "row_log_weight"):
        valid = jnp.isfinite(evidence.fitness)
        flat = jnp.where(valid, 0.0, -jnp.inf) + _corrections(strategy, evidence)
        support = support and _reweighted(support, log_weight, flat)
        log_weight = flat
    return denoisers.posterior_mean(
        queries=kernel.features(kernel_state, queries),
        keys=kernel.features(kernel_state, keys),
        values=evidence.points,
        log_weight=log_weight,
        precision=factor,
        floor=strategy.floor,
        support=support,
        attention=_attention(strategy, kernel_state, y.shape[1], sigma, evidence, support),
    )


def _attention(
    strategy: Any,
    kernel_state: PyTree,
    dim: int,
    sigma: jax.Array,
    evidence: Evidence,
    support: denoisers.Support | None,
) -> denoisers.Attention:
    """The strategy's, or that of a row-wise part, divided as the strategy's is."""
    attention: denoisers.Attention = strategy.attention
    if not is_row_wise(strategy):
        return attention
    rows = _rows(strategy, kernel_state, dim, sigma, evidence, support)
    return attention.of(rows) if hasattr(attention, "of") else rows


def _reweighted(
    support: denoisers.Support, before: jax.Array, after: jax.Array
) -> denoisers.Support:
    """A support that was chosen by some log-weights (M,), to be weighed by others."""
    before, after = before[support.index], after[support.index]
    sound = before > -jnp.inf  # nobody is where everyone has failed
    change = jnp.where(sound, after, 0.0) - jnp.where(sound, before, 0.0)
    return pytree.replace(support, log_weight=support.log_weight + change)


def is_row_wise(strategy: Any) -> bool:
    """Whether a part needs whole rows of the kernel."""
    calibrated = hasattr(strategy.kernel, "row_precision")
    return calibrated or hasattr(strategy.shaping, "row_log_weight")


def _rows(
    strategy: Any,
    kernel_state: PyTree,
    dim: int,
    sigma: jax.Array,
    evidence: Evidence,
    support: denoisers.Support | None,
) -> denoisers.Attention:
    """The attention of a row-wise kernel or shaping."""
    kernel, shaping = strategy.kernel, strategy.shaping

    def same_for_all(half_squares: jax.Array, mask: jax.Array) -> jax.Array:
        precision = kernel.factor(kernel_state, dim) / sigma**2
        return jnp.full(len(half_squares), precision, half_squares.dtype)

    row_log_weight = None
    if hasattr(shaping, "row_log_weight"):
        fitness = shapings.without_failures(evidence.fitness)[0]
        fitness = fitness if support is None else fitness[support.index]
        row_log_weight = functools.partial(shaping.row_log_weight, fitness)
    attention: Any = functools.partial(
        attend_by_rows,
        row_precision=getattr(kernel, "row_precision", same_for_all),
        row_log_weight=row_log_weight,
    )
    return attention
