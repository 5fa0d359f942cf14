"""The three functions of a strategy, with checked arguments, and the keys of a run.

The strategy is the first argument of :func:`init`, :func:`ask` and :func:`tell`: jit these,
and no number of the strategy is baked into the compiled program.
"""

import jax
import numpy as np

from diffevo_jax.base import Info, PyTree, StateT, Strategy
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.arrays import check_fitness, check_key, check_population

#: The "generation" whose keys serve the set-up; no run is that long.
_SETUP = np.uint32(2**32 - 1)


def init(strategy: Strategy[StateT], key: jax.Array, population: jax.Array) -> StateT:
    """Start a strategy from a population.

    Args:
        strategy: the strategy.
        key: a typed key.
        population: (N, D) in unit scale, for example ``problem.space.sample(key, N)``;
            a warm start is a population of your own.

    Returns:
        The strategy's state.

    Raises:
        ValueError: a number of the strategy is out of range, or the population is empty
            or not two-dimensional.
        TypeError: the key is not a typed key, or the population is not of real numbers.

    Example:
        >>> import jax, diffevo_jax as de
        >>> key = jax.random.key(0)
        >>> strategy = de.DiffusionEvolution(num_generations=3)
        >>> state = de.init(strategy, key, jax.random.normal(key, (8, 2)))
        >>> for generation in range(strategy.num_generations):
        ...     key_ask, _, key_tell = de.generation_keys(key, generation)
        ...     candidates, state = jax.jit(de.ask)(strategy, key_ask, state)
        ...     fitness = -(candidates**2).sum(axis=1)
        ...     state, info = jax.jit(de.tell)(
        ...         strategy, key_tell, state, candidates, fitness)
        >>> bool(state.done), int(state.generation)
        (True, 3)
    """
    validation.validate(strategy)
    key = check_key("key", key)
    population = check_population("population", population)
    return strategy.init(key, population)


def ask(
    strategy: Strategy[StateT], key: jax.Array, state: StateT
) -> tuple[jax.Array, StateT]:
    """Ask a strategy for candidates to evaluate.

    Args:
        strategy: the strategy that made ``state``.
        key: a typed key, for example the first of :func:`generation_keys`.
        state: the strategy's state.

    Returns:
        Candidates (N, D) in unit scale, and the state to tell the fitness to.
    """
    key = check_key("key", key)
    return strategy.ask(key, state)


def tell(
    strategy: Strategy[StateT],
    key: jax.Array,
    state: StateT,
    candidates: jax.Array,
    fitness: jax.Array,
    measures: PyTree = (),
    violation: jax.Array | None = None,
) -> tuple[StateT, Info]:
    """Tell a strategy the fitness of candidates.

    Args:
        strategy: the strategy that made ``state``.
        key: a typed key, for example the third of :func:`generation_keys`.
        state: the state that came with the candidates.
        candidates: (N, D) in unit scale; a candidate that the caller repaired counts as
            the individual and as evidence.
        fitness: (N,) to be maximised; NaN or infinite where the evaluation failed.
        measures: pytree with leading axis N, for strategies that use it.
        violation: (N,) at most 0 where a candidate is feasible; None if all are.

    Returns:
        The next state, and scalars about the generation.

    Raises:
        ValueError: candidates are not (N, D) or fitness is not (N,).
    """
    key = check_key("key", key)
    candidates = check_population("candidates", candidates)
    asked = jax.eval_shape(strategy.ask, key, state)[0].shape
    if candidates.shape != asked:
        raise ValueError(f"candidates: got shape {candidates.shape}, want {asked}")
    fitness = check_fitness(fitness, len(candidates))
    if violation is not None:
        violation = check_fitness(violation, len(candidates), "violation")
    return strategy.tell(key, state, candidates, fitness, measures, violation)


def generation_keys(
    key: jax.Array, generation: int | jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of one generation of a run: for ``ask``, for ``evaluate``, for ``tell``."""
    key = check_key("key", key)
    key_ask, key_evaluate, key_tell = jax.random.split(
        jax.random.fold_in(key, generation), 3
    )
    return key_ask, key_evaluate, key_tell


def setup_keys(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of a run's set-up: for the problem, the population, the strategy."""
    key = check_key("key", key)
    key_problem, key_population, key_strategy = jax.random.split(
        jax.random.fold_in(key, _SETUP), 3
    )
    return key_problem, key_population, key_strategy
