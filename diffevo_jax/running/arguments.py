"""Checks of a whole run, before it: its strategy, problem, population and names."""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.arrays import check_key, check_population

#: What ``record=`` can keep of every generation, besides fields of the strategy's state.
RECORDABLE = ("population", "fitness", "measures", "violation")


def check_run(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population_size: int | None,
    population: jax.Array | None,
    record: tuple[str, ...],
) -> None:
    """Check the arguments of :func:`diffevo_jax.evolve`; raise ValueError or TypeError."""
    check_key("key", key)
    like = "de.DiffusionEvolution(10)"
    validation.check_part("strategy", strategy, Strategy, like)
    like = 'de.problems.Landscape("beale")'
    validation.check_part("problem", problem, Problem, like)
    if (population_size is None) == (population is None):
        got = "neither" if population is None else "both"
        raise ValueError(f"population_size, population: got {got}, want one of them")
    if population_size is not None:
        validation.check_count("population_size", population_size)
        size = population_size
    else:
        size, dim = check_population("population", population).shape
        if dim != problem.space.dim:
            raise ValueError(
                f"population: got {dim} numbers an individual, "
                f"want {problem.space.dim} for this problem"
            )
    _check_record(strategy, (size, problem.space.dim), record)


def size_of(population_size: int | None, population: jax.Array | None) -> int:
    """N of a run whose arguments are checked."""
    if population is not None:
        return len(population)
    assert population_size is not None
    return population_size


def check_start(strategy: Strategy, shape: tuple[int, int]) -> PyTree:
    """Shapes of the first state for a population (N, D); raise what only N and D show.

    An evolution raises it when it is traced. It is for a caller that must know it before
    other things have been done; tracing takes milliseconds.
    """
    population = jax.ShapeDtypeStruct(shape, jnp.zeros(()).dtype)
    return jax.eval_shape(strategy.init, jax.random.key(0), population)


def _check_record(
    strategy: Strategy, shape: tuple[int, int], record: tuple[str, ...]
) -> None:
    if isinstance(record, str) or not isinstance(record, Collection):
        raise TypeError(f"record: got {record!r}, want a tuple of names")
    if not record:
        return
    state = check_start(strategy, shape)
    names = (*RECORDABLE, *(name for name in vars(state) if name not in RECORDABLE))
    for name in record:
        if name not in names:
            raise ValueError(f"record: got {name!r}, want names among {names}")
