"""What every strategy keeps track of: the best so far, and the scalars of a generation."""

from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax.base import Info
from diffevo_jax.denoisers import Estimate


def update_best(
    state: Any, candidates: jax.Array, fitness: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Best solution and fitness so far; failed values never win.

    Args:
        state: with ``best_solution`` (D,) and ``best_fitness`` ().
        candidates: (N, D).
        fitness: (N,).
    """
    finite = jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf)
    index = jnp.argmax(finite)
    # Among equals the latest: noisy fitness that saturates is more reliable late in a run.
    better = (finite[index] >= state.best_fitness) & jnp.isfinite(fitness[index])
    return (
        jnp.where(better, candidates[index], state.best_solution),
        jnp.where(better, finite[index], state.best_fitness),
    )


def describe_fitness(fitness: jax.Array) -> dict[str, jax.Array]:
    """What :class:`diffevo_jax.Info` says of the fitness ``(N,)`` of a generation."""
    valid = jnp.isfinite(fitness)
    num_valid = jnp.sum(valid)
    mean = jnp.sum(jnp.where(valid, fitness / jnp.maximum(num_valid, 1), 0.0))
    return {
        "best_fitness": jnp.max(jnp.where(valid, fitness, -jnp.inf)),
        "mean_fitness": jnp.where(num_valid > 0, mean, -jnp.inf),
        "num_failed": jnp.sum(~valid, dtype=jnp.int32),
    }


def describe(
    fitness: jax.Array,
    log_weight: jax.Array,
    estimate: Estimate,
    sigma: jax.Array,
    done: jax.Array,
    num_clipped: jax.Array,
    diverged: jax.typing.ArrayLike = False,
) -> Info:
    """Scalars about one generation; see :class:`diffevo_jax.Info`."""
    return Info(
        **describe_fitness(fitness),
        sigma=sigma,
        effective_sample_size=jnp.mean(estimate.effective_sample_size),
        self_weight=jnp.mean(estimate.self_weight),
        num_weightless=jnp.sum(log_weight == -jnp.inf, dtype=jnp.int32),
        num_diverged=jnp.asarray(diverged, jnp.int32),
        num_clipped=num_clipped,
        done=done,
    )
