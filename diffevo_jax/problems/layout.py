"""Layouts: between a pytree of arrays and one vector."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from diffevo_jax.base import PyTree


class Layout(NamedTuple):
    """Structure, shapes and dtypes of a solution: hashable, so it can be static."""

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many numbers a solution has."""
        return sum(math.prod(shape) for shape in self.shapes)

    def unravel(self, values: jax.Array) -> PyTree:
        """Turn ``(N, size)`` into leaves with leading axis N; integers are rounded."""
        leaves, start = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            stop = start + math.prod(shape)
            leaf = values[:, start:stop].reshape(len(values), *shape)
            whole = jnp.issubdtype(dtype, jnp.integer)
            leaves.append((jnp.round(leaf) if whole else leaf).astype(dtype))
            start = stop
        return jax.tree.unflatten(self.treedef, leaves)

    def ravel(self, solutions: PyTree) -> jax.Array:
        """Turn leaves with leading axis N into ``(N, size)`` floats.

        Raises:
            ValueError: the solutions do not have this layout.
        """
        leaves, treedef = jax.tree.flatten(solutions)
        shapes = tuple(jnp.shape(leaf)[1:] for leaf in leaves)
        if treedef != self.treedef or shapes != self.shapes:
            raise ValueError(
                f"solutions: got {treedef} with shapes {shapes} after the leading axis, "
                f"want {self.treedef} with {self.shapes}"
            )
        flat = [jnp.reshape(leaf, (len(leaf), -1)).astype(float) for leaf in leaves]
        return jnp.concatenate(flat, axis=1)


def layout_of(example: PyTree) -> Layout:
    """Structure, shapes and dtypes of an example solution.

    Raises:
        TypeError: a leaf is not an array of floats or integers.
        ValueError: there is nothing to optimise.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(example)
    shapes, dtypes = [], []
    for path, leaf in leaves:
        name = f"example{jax.tree_util.keystr(path)}"
        shape, dtype = getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)
        if dtype is None and isinstance(leaf, int | float):
            dtype = jnp.result_type(leaf)
        if dtype is None or isinstance(leaf, bool):
            raise TypeError(f"{name}: got {leaf!r}, want an array")
        if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer)):
            raise TypeError(f"{name}: got dtype {dtype}, want floats or integers")
        shapes.append(tuple(shape))
        dtypes.append(str(jax.dtypes.canonicalize_dtype(dtype)))
    if sum(math.prod(shape) for shape in shapes) == 0:
        raise ValueError("example: got no numbers, want at least one")
    return Layout(treedef, tuple(shapes), tuple(dtypes))
