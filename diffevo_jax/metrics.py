"""Numbers that describe weights and populations."""

import jax
import jax.numpy as jnp

from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import checked


@checked
def effective_sample_size(weights: jax.Array) -> jax.Array:
    """Effective number of individuals behind normalised weights, ``1 / sum_j w_j^2``.

    Args:
        weights: (..., N) non-negative, with sum 1 over the last axis.

    Returns:
        (...) in [1, N]: 1 if one individual has all the weight, N if all have the same.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import metrics
        >>> float(metrics.effective_sample_size(jnp.array([0.5, 0.5, 0.0, 0.0])))
        2.0

    References:
        Kong, "A note on importance sampling using standardized weights", 1992.
    """
    return 1.0 / jnp.sum(weights**2, axis=-1)


@checked
def self_weight(weights: jax.Array) -> jax.Array:
    """Weight that each individual has in its own estimate: the diagonal.

    Args:
        weights: (N, N) with rows that sum to 1; row i weighs the evidence for i.

    Returns:
        (N,) in [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import metrics
        >>> metrics.self_weight(jnp.array([[0.75, 0.25], [1.0, 0.0]])).tolist()
        [0.75, 0.0]
    """
    return jnp.diagonal(weights)


@checked
def entropy(population: jax.Array, cell: float | jax.Array = 0.1) -> jax.Array:
    """Entropy of the cells that a population occupies, in bits.

    Each coordinate is rounded to the nearest multiple of ``cell``. With ``n_i`` the
    number of individuals in the cell of individual ``i``, the entropy
    ``-sum_cells p log2 p`` equals ``-mean_i log2(n_i / N)``. It saturates at ``log2 N``,
    so it says little beyond two dimensions.

    Args:
        population: (N, D) solutions.
        cell: edge of a cell, in the units of the solutions.

    Returns:
        () in [0, log2 N].

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import metrics
        >>> float(metrics.entropy(jnp.array([[0.0], [0.01], [1.0], [2.0]])))
        1.5

    References:
        Zhang et al., "Diffusion Models are Evolutionary Algorithms", 2024,
        arXiv:2410.02543, section 4.1.
    """
    validation.check_positive("cell", cell)
    cells = jnp.round(population / cell)

    def also_in(axis: jax.Array, shared: jax.Array) -> jax.Array:
        return shared & (cells[:, None, axis] == cells[None, :, axis])

    everyone = jnp.ones((len(cells), len(cells)), bool)
    shared = jax.lax.fori_loop(0, cells.shape[1], also_in, everyone)
    return -jnp.mean(jnp.log2(jnp.mean(shared, axis=1)))


@checked
def top(population: jax.Array, fitness: jax.Array, count: int) -> jax.Array:
    """The ``count`` individuals of highest fitness, best first.

    Args:
        population: (N, D).
        fitness: (N,); failed values (NaN, infinite) come last.
        count: how many, at most N.

    Returns:
        (count, D).

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import metrics
        >>> population = jnp.array([[1.0], [2.0], [3.0], [4.0]])
        >>> fitness = jnp.array([5.0, jnp.nan, 7.0, 6.0])
        >>> metrics.top(population, fitness, 2).tolist()
        [[3.0], [4.0]]
    """
    if jnp.shape(fitness) != (len(population),):
        size = len(population)
        raise ValueError(f"fitness: got shape {jnp.shape(fitness)}, want ({size},)")
    if count > len(population):
        raise ValueError(f"count: got {count}, want an int <= N = {len(population)}")
    finite = jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf)
    return population[jax.lax.top_k(finite, count)[1]]


@checked
def qd_score(
    solutions: jax.Array,
    fitness: jax.Array,
    *,
    low: float,
    high: float,
    cell: float = 1.0,
) -> jax.Array:
    """Sum over occupied cells of the best fitness in each: quality and diversity at once.

    Cells are centred on multiples of ``cell``; solutions outside the box are clipped.

    Args:
        solutions: (N, D) with D small: the number of cells grows as a power of D.
        fitness: (N,) non-negative; failed values do not count.
        low: lower bound of every coordinate.
        high: upper bound of every coordinate.
        cell: edge of a cell.

    Returns:
        () in [0, number of cells x highest fitness].

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import metrics
        >>> solutions = jnp.array([[0.0], [0.2], [1.0]])  # the first two share a cell
        >>> fitness = jnp.array([3.0, 5.0, 2.0])
        >>> float(metrics.qd_score(solutions, fitness, low=0.0, high=1.0))
        7.0

    References:
        Pugh, Soros, Stanley, "Quality Diversity", Frontiers in Robotics and AI, 2016.
    """
    validation.check_positive("cell", cell)
    if not low < high:
        raise ValueError(f"low: got {low}, want a number < high = {high}")
    first, last = round(low / cell), round(high / cell)
    per_axis, dim = last - first + 1, solutions.shape[1]
    cells = jnp.round(jnp.clip(solutions, low, high) / cell).astype(int) - first
    index = cells @ (per_axis ** jnp.arange(dim))
    value = jnp.where(jnp.isfinite(fitness), fitness, 0.0)
    return jnp.zeros(per_axis**dim).at[index].max(value).sum()
