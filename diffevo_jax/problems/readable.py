"""Solutions for people and for the host: named columns, and Python's own values."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.base import PyTree
from diffevo_jax.problems.layout import Layout, range_of
from diffevo_jax.problems.variables import Variable
from diffevo_jax.pytree import arrays


def names(layout: Layout) -> tuple[str, ...]:
    """Names of the columns of a table of solutions: of arrays one for each number."""
    found: list[str] = []
    for path, shape in zip(layout.paths, layout.shapes, strict=True):
        places = np.ndindex(*shape) if shape else [()]
        found += [path + "".join(f"[{i}]" for i in place) for place in places]
    return tuple(found)


def leaves(
    layout: Layout, variables: Sequence[Variable], solutions: PyTree
) -> list[np.ndarray]:
    """The leaves of solutions on the host, ``(N, ...)``, categories by their choices.

    Raises:
        ValueError: the solutions do not look like the example.
    """
    layout.ravel(solutions)
    known = iter(variables)
    return [
        next(known).to_python(np.asarray(leaf)) if named else np.asarray(leaf)
        for leaf, named in zip(jax.tree.leaves(solutions), layout.named, strict=True)
    ]


def columns(
    layout: Layout, variables: Sequence[Variable], solutions: PyTree
) -> dict[str, np.ndarray]:
    """Solutions as columns (N,) by name."""
    flat = [
        column
        for leaf in leaves(layout, variables, solutions)
        for column in leaf.reshape(len(leaf), math.prod(leaf.shape[1:])).T
    ]
    return dict(zip(names(layout), flat, strict=True))


def rows(layout: Layout, variables: Sequence[Variable], solutions: PyTree) -> list[PyTree]:
    """Solutions one by one: numbers and choices as Python's own, arrays as NumPy's."""
    held = leaves(layout, variables, solutions)
    return [
        jax.tree.unflatten(layout.treedef, [_plain(leaf[row]) for leaf in held])
        for row in range(len(held[0]))
    ]


def _plain(value: object) -> object:
    """A scalar of NumPy as a number of Python; anything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
        return value.item()
    return value


def gathered(
    layout: Layout, variables: Sequence[Variable], solutions: Sequence[PyTree]
) -> PyTree:
    """Many single solutions, as :func:`rows` gives them, as one pytree of arrays.

    Raises:
        TypeError: a value is of another kind than its leaf.
        ValueError: there are none, one does not look like the example, or a value is none
            that its leaf can have.
    """
    if not len(solutions):
        raise ValueError("solutions: got none, want at least one")
    try:
        each = [layout.treedef.flatten_up_to(solution) for solution in solutions]
    except (ValueError, TypeError) as error:
        want = f"each like {layout.treedef}"
        raise ValueError(f"solutions: got {error}, want {want}") from None
    known, made = iter(variables), []
    for place, values in enumerate(zip(*each, strict=True)):
        name = layout.paths[place]
        if layout.named[place]:
            made.append(next(known).from_python(list(values), name))
        else:
            kind = layout.shapes[place], layout.dtypes[place]
            made.append(np.stack([_as_leaf(value, name, *kind) for value in values]))
    return jax.tree.unflatten(layout.treedef, made)


def _as_leaf(value: object, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A value as an array of a leaf, which loses nothing but by rounding of floats."""
    given = np.asarray(arrays.as_given(f"solutions: {name!r}", value))
    if given.dtype == bool:
        raise TypeError(f"solutions: got truth values for {name!r}, want numbers")
    if given.shape != shape:
        raise ValueError(f"solutions: got shape {given.shape} for {name!r}, want {shape}")
    whole = jnp.issubdtype(dtype, jnp.integer)
    low, high = range_of(dtype, np.dtype(jnp.result_type(float)))
    legal = (given >= low) & (given <= high) & ((given % 1 == 0) | (not whole))
    if not legal.all():
        worst = given[~legal].ravel()[0]
        want = f"{'whole' if whole else 'finite'} numbers from {low:g} to {high:g}"
        raise ValueError(f"solutions: got {worst:g} for {name!r}, want {want}")
    return given.astype(dtype)
