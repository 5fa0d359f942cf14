"""Checks of arrays and keys: types, shapes, and what is concrete of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree.components import concrete
from diffevo_jax.pytree.keys import drawing_alone


def check_key(name: str, key: Any) -> jax.Array:
    """Return a key that may be used for one run; raise unless it is one typed JAX key."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        got = type(key).__name__ if dtype is None else f"an array of {dtype}"
        raise TypeError(f"{name}: got {got}, want a typed key, as of jax.random.key(0)")
    check_whole(name, key)
    if key.shape:
        raise ValueError(f"{name}: got shape {key.shape}, want (); vmap over many keys")
    return drawing_alone(name, key)


def check_whole(name: str, array: jax.Array) -> None:
    """Raise if an array is divided over devices in its type: over a mesh's explicit axes.

    What is divided over axes of type ``Auto`` is one array to a program.
    """
    spec = getattr(getattr(jax.typeof(array), "sharding", None), "spec", ())
    if any(axis is not None for axis in spec):
        raise ValueError(
            f"{name}: got an array that is divided over explicit axes of a mesh, {spec}; "
            "want one on one device, or a mesh whose axes are of type Auto"
        )


def check_population(name: str, population: Any) -> jax.Array:
    """Return the population as a float array; raise if it is not (N, D), N and D >= 1."""
    array = _real_array(name, population, "(N, D)")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: got shape {array.shape}, want (N, D) with N >= 1 and D >= 1"
        )
    known = concrete(array)
    if known is not None and not np.isfinite(known).all():
        raise ValueError(f"{name}: got NaN or infinity, want finite numbers")
    return array.astype(float)


def check_fitness(fitness: Any, population_size: int, name: str = "fitness") -> jax.Array:
    """Return the fitness as a float array; raise if its shape is not (N,)."""
    array = _real_array(name, fitness, f"({population_size},)")
    if array.shape != (population_size,):
        raise ValueError(
            f"{name}: got shape {array.shape}, want ({population_size},), "
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
    check_whole(name, array)
    return array
