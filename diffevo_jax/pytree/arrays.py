"""Checks of arrays and keys: types, shapes, and what is concrete of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree.components import concrete, short
from diffevo_jax.pytree.keys import drawing_alone

_REAL = (np.bool_, np.integer, np.floating)
_ARRAYS = np.ndarray | np.generic | jax.Array


def check_key(name: str, key: Any, *, several: bool = False) -> jax.Array:
    """Return a key that may be used for one run, or an array of them if it may be one.

    Raises:
        TypeError: it is no typed JAX key.
        ValueError: it is several keys, divided over explicit axes, or of an implementation
            that cannot keep what is promised; see :mod:`diffevo_jax.pytree.keys`.
    """
    return drawing_alone(name, check_typed(name, key, several=several))


def check_typed(name: str, key: jax.Array, *, several: bool = False) -> jax.Array:
    """Return a key of any implementation, or an array of them if it may be one.

    Raises:
        TypeError: it is no typed JAX key.
        ValueError: it is several keys, or divided over explicit axes.
    """
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        got = type(key).__name__ if dtype is None else f"an array of {dtype}"
        raise TypeError(f"{name}: got {got}, want a typed key, as of jax.random.key(0)")
    check_whole(name, key)
    if key.shape and not several:
        raise ValueError(f"{name}: got shape {key.shape}, want (); vmap over many keys")
    return key


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


def check_like(name: str, tree: object, like: object, hint: str = "") -> None:
    """Raise unless a tree has the structure and the shapes of another.

    Args:
        name: what it is called.
        tree: of arrays or numbers.
        like: of arrays, or of ``jax.ShapeDtypeStruct``.
        hint: what else to say of what is wanted.

    Raises:
        ValueError: it has others.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.pytree import arrays
        >>> arrays.check_like("carry", jnp.ones(3), {"sum": jnp.ones(2)})
        Traceback (most recent call last):
        ValueError: carry: got (3,), want {'sum': (2,)}
    """
    shapes = [list(map(np.shape, jax.tree.leaves(one))) for one in (tree, like)]
    structures: list[Any] = [jax.tree.structure(one) for one in (tree, like)]
    if structures[0] != structures[1] or shapes[0] != shapes[1]:
        got, want = (jax.tree.map(np.shape, one) for one in (tree, like))
        of = f" ({type(tree).__name__})" if repr(got) == repr(want) or tree is None else ""
        raise ValueError(f"{name}: got {got!r}{of}, want {want!r}{hint}")


def check_population(name: str, population: Any) -> jax.Array:
    """Return the population as a float array; raise if it is not (N, D), N and D >= 1."""
    array = real_array(name, population, "(N, D)")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: got shape {array.shape}, want (N, D) with N >= 1 and D >= 1"
        )
    known = concrete(array)
    if known is not None and not np.isfinite(known).all():
        raise ValueError(f"{name}: got NaN or infinity, want finite numbers")
    return array


def check_fitness(fitness: Any, population_size: int, name: str = "fitness") -> jax.Array:
    """Return the fitness as a float array; raise if its shape is not (N,)."""
    array = real_array(name, fitness, f"({population_size},)")
    if array.shape != (population_size,):
        raise ValueError(
            f"{name}: got shape {array.shape}, want ({population_size},), "
            "one number for each candidate"
        )
    return array


def check_index(name: str, value: Any) -> Any:
    """Return an int, or an array () of integers, >= 0 where that is known; else raise."""
    if not jnp.issubdtype(jnp.result_type(value), np.integer):
        raise TypeError(f"{name}: got {short(value)}, want an int")
    if jnp.shape(value) != ():
        raise ValueError(f"{name}: got shape {jnp.shape(value)}, want ()")
    known = concrete(value)
    if known is not None and known < 0:
        raise ValueError(f"{name}: got {value}, want an int >= 0")
    return value


def as_given(name: str, value: object) -> Any:
    """Real numbers as they were given, lists as arrays; none of them wraps or overflows.

    JAX cuts integers of the host that are too long for it, and makes floats that are too
    large infinite. Such integers become floats here, and such floats are refused.

    Args:
        name: what they are called.
        value: an array of JAX or of NumPy, a number, or a list of them.

    Raises:
        TypeError: they are not real numbers.
        ValueError: one is finite, and too large for JAX's default float.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.pytree import arrays
        >>> float(arrays.as_given("fitness", np.int64(3_000_000_000)))
        3000000000.0
    """
    if isinstance(value, list | tuple):
        value = _of_list(name, value)
    if isinstance(value, jax.Array):
        if not any(jnp.issubdtype(value.dtype, kind) for kind in _REAL):
            raise TypeError(f"{name}: got {value.dtype}, want real numbers")
        check_whole(name, value)
        return value
    if isinstance(value, float) and abs(value) < 1e38:
        return value
    known = np.asarray(value)
    if known.dtype == object and isinstance(value, int):  # beyond 64 bits
        known = _of_integers(name, value)
        value = known
    if not any(jnp.issubdtype(known.dtype, kind) for kind in _REAL):
        raise TypeError(f"{name}: got {short(value)}, want real numbers")
    default = np.dtype(jax.dtypes.canonicalize_dtype(float))
    if jnp.issubdtype(known.dtype, np.integer):
        limits = np.iinfo(jax.dtypes.canonicalize_dtype(known.dtype))
        fits = not known.size or (known.min() >= limits.min and known.max() <= limits.max)
        return value if fits else known.astype(default)
    with np.errstate(over="ignore"):
        lost = np.isfinite(known) & ~np.isfinite(known.astype(default))
    if jnp.issubdtype(known.dtype, np.floating) and lost.any():
        raise ValueError(
            f"{name}: got {known[lost][0]:g}, want numbers up to "
            f"{np.finfo(default).max:g}, the largest {default} (jax_enable_x64 has more)"
        )
    return value


def as_floats(name: str, value: object) -> jax.Array:
    """Real numbers as an array of the default float; see :func:`as_given`."""
    return jnp.asarray(as_given(name, value)).astype(float)


def _of_list(name: str, value: object) -> Any:
    """A list, of lists too, as an array."""
    try:
        if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)):
            return jnp.asarray(value)
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        got = f"{short(value)} ({type(value).__name__})"
        raise TypeError(f"{name}: got {got}, want an array of real numbers") from error
    whole = array.dtype == object and all(isinstance(x, int) for x in array.flat)
    return _of_integers(name, value) if whole else array


def _of_integers(name: str, value: object) -> np.ndarray:
    """Integers beyond 64 bits as floats."""
    try:
        return np.asarray(value, float)
    except OverflowError:
        limit = np.finfo(jax.dtypes.canonicalize_dtype(float)).max
        raise ValueError(
            f"{name}: got an integer beyond that, want numbers up to {limit:g}"
        ) from None


def real_array(name: str, value: object, shape: str) -> jax.Array:
    """Real numbers, and no truth values, as floats; see :func:`as_given`."""
    if not isinstance(value, int | float | list | tuple | _ARRAYS):
        got = type(value).__name__
        raise TypeError(f"{name}: got {got}, want an array of shape {shape}")
    array = as_given(name, value)
    if jnp.issubdtype(jnp.result_type(array), np.bool_):
        raise TypeError(f"{name}: got bool, want real numbers")
    return jnp.asarray(array).astype(float)
