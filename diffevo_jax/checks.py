"""Checks of what can be known before running: keys, shapes, dtypes, names."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree, validation
from diffevo_jax.base import Problem, Strategy

#: What ``record=`` can keep of every generation, besides fields of the strategy's state.
RECORDABLE = ("population", "fitness", "measures")


def check_key(name: str, key: Any) -> None:
    """Raise unless ``key`` is one typed JAX key."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        got = type(key).__name__ if dtype is None else f"an array of {dtype}"
        raise TypeError(f"{name}: got {got}, want a typed key, as of jax.random.key(0)")
    if key.shape:
        raise ValueError(f"{name}: got shape {key.shape}, want (); vmap over many keys")


def check_population(name: str, population: Any) -> jax.Array:
    """Return the population as a float array; raise if it is not (N, D), N and D >= 1."""
    array = _real_array(name, population, "(N, D)")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: got shape {array.shape}, want (N, D) with N >= 1 and D >= 1"
        )
    known = pytree.concrete(array)
    if known is not None and not np.isfinite(known).all():
        raise ValueError(f"{name}: got NaN or infinity, want finite numbers")
    return array.astype(float)


def check_fitness(fitness: Any, population_size: int) -> jax.Array:
    """Return the fitness as a float array; raise if its shape is not (N,)."""
    array = _real_array("fitness", fitness, f"({population_size},)")
    if array.shape != (population_size,):
        raise ValueError(
            f"fitness: got shape {array.shape}, want ({population_size},), "
            "one number for each candidate"
        )
    return array.astype(float)


def _real_array(name: str, value: Any, shape: str) -> jax.Array:
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        got = type(value).__name__
        raise TypeError(f"{name}: got {got}, want an array of shape {shape}") from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"{name}: got {array.dtype}, want real numbers")
    return array


def check_run(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population_size: int | None,
    population: jax.Array | None,
    record: tuple[str, ...],
) -> None:
    """Check the arguments of :func:`evolve`; raise ValueError or TypeError."""
    check_key("key", key)
    for name, part, member in (
        ("strategy", strategy, "ask"),
        ("problem", problem, "space"),
    ):
        if isinstance(part, type) or not hasattr(part, member):
            raise TypeError(f"{name}: got {part!r}, want an object with {member!r}")
    for part in (strategy, problem):
        if pytree.is_component(part):
            validation.validate(part)
    if (population_size is None) == (population is None):
        got = "neither" if population is None else "both"
        raise ValueError(f"population_size, population: got {got}, want one of them")
    if population_size is not None:
        validation.check_count("population_size", population_size)
    else:
        dim = check_population("population", population).shape[1]
        if dim != problem.space.dim:
            raise ValueError(
                f"population: got {dim} numbers an individual, "
                f"want {problem.space.dim} for this problem"
            )
    size = population_size if population is None else len(population)
    _check_record(strategy, (size, problem.space.dim), record)


def _check_record(
    strategy: Strategy, shape: tuple[int | None, int], record: tuple[str, ...]
) -> None:
    if isinstance(record, str):
        raise TypeError(f"record: got {record!r}, want a tuple of names")
    if not record:
        return
    population = jax.ShapeDtypeStruct(shape, jnp.zeros(()).dtype)
    state = jax.eval_shape(strategy.init, jax.random.key(0), population)
    names = (*RECORDABLE, *(name for name in vars(state) if name not in RECORDABLE))
    for name in record:
        if name not in names:
            raise ValueError(f"record: got {name!r}, want names among {names}")
