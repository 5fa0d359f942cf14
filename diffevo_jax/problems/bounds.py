"""Bounds of arrays: one for each leaf, as its dtype can keep it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.problems.layout import Layout, is_narrow, range_of


def leaves_of(name: str, bound: PyTree, layout: Layout) -> list[Any]:
    """A bound for each leaf of a solution, as it was given.

    Args:
        name: of the bound.
        bound: a scalar, for all arrays; or like a solution, None where there is none.
        layout: of a solution.

    Returns:
        None where there is none, and where the leaf is a variable, which has its own.

    Raises:
        ValueError: it has another structure, or does not broadcast to a leaf, or is one of
            a variable.
    """
    if bound is None:
        return [None] * len(layout.shapes)
    leaves, treedef = jax.tree.flatten(bound)
    if jax.tree_util.treedef_is_leaf(treedef) and not jnp.ndim(bound):
        if all(layout.named):
            raise ValueError(f"Space.{name}: got {bound}, want None: variables have ends")
        leaves = [None if named else bound for named in layout.named]
    elif treedef != layout.treedef:
        leaves, treedef = jax.tree.flatten(bound, is_leaf=lambda leaf: leaf is None)
        if treedef != layout.treedef:
            raise ValueError(
                f"Space.{name}: got {treedef}, want a scalar or {layout.treedef}"
            )
    for leaf, shape, named in zip(leaves, layout.shapes, layout.named, strict=True):
        if named and leaf is not None:
            raise ValueError(
                f"Space.{name}: got {leaf} for a variable, want None: it has ends"
            )
        if leaf is not None and not _broadcasts(jnp.shape(leaf), shape):
            raise ValueError(
                f"Space.{name}: got shape {jnp.shape(leaf)}, want one that broadcasts "
                f"to {shape}"
            )
    return leaves


def inside(bound: jax.Array, dtype: str, lower: bool) -> jax.Array:
    """The next number of a dtype that is not outside a bound."""
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.ceil(bound) if lower else jnp.floor(bound)
    if not is_narrow(dtype, bound.dtype):
        return bound
    near = bound.astype(dtype)
    inwards = jnp.nextafter(near, jnp.asarray(jnp.inf if lower else -jnp.inf, dtype))
    back = near.astype(bound.dtype)
    outside = back < bound if lower else back > bound
    return jnp.where(outside, inwards, near).astype(bound.dtype)


def check_bound(name: str, bound: Any, dtype: str) -> None:
    """Raise ValueError unless a bound, where it is known, is a number that a leaf can have.

    Args:
        name: which bound.
        bound: of one leaf, as it was given.
        dtype: of the leaf.
    """
    known = pytree.concrete(bound)
    if known is None:
        return
    exact, working = np.asarray(known, np.float64), jnp.zeros(()).dtype
    low, high = range_of(dtype, working)
    smallest = float(jnp.finfo(working).tiny)  # XLA takes what is smaller for 0
    if jnp.issubdtype(dtype, jnp.integer):
        whole = np.ceil if name.endswith("lower") else np.floor
        held = np.where(abs(exact) < smallest, 0.0, exact.astype(working))
        apart = 2.0 ** (jnp.finfo(working).nmant + 1)
        low, high = max(low, -apart), min(high, apart)
        legal = (
            (whole(exact) >= low) & (whole(exact) <= high) & (whole(held) == whole(exact))
        )
        of = f"that {working} tells apart"
    else:
        legal = (abs(exact) <= high) & ((exact == 0) | (abs(exact) >= smallest))
        of = f"0 or of a size of at least {smallest:g}"
    if not legal.all():
        raise ValueError(
            f"{name}: got {known[~legal].ravel()[0]:.8g} for a leaf of {dtype}, want "
            f"numbers in [{low:.8g}, {high:.8g}], {of}"
        )


def check_within(
    name: str, values: np.ndarray, ends: tuple[jax.typing.ArrayLike, jax.typing.ArrayLike]
) -> None:
    """Raise ValueError unless all values of a leaf are within its box, but for rounding.

    Args:
        name: of the leaf.
        values: (N, ...) of the leaf.
        ends: (size,) each.
    """
    flat = values.reshape(len(values), -1)
    working = flat.astype(np.float64)
    floating = jnp.issubdtype(values.dtype, jnp.floating)
    eps = float(jnp.finfo(values.dtype).eps) if floating else 0.0
    low, high = (np.asarray(end, np.float64) for end in ends)
    wrong = working < low - eps * abs(low)
    wrong |= working > high + eps * abs(high)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        low, high = (np.broadcast_to(end, flat.shape[1:])[column] for end in (low, high))
        raise ValueError(
            f"solutions: got {working[row, column]:g} for {name!r}, want numbers from "
            f"{low:g} to {high:g}"
        )


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
