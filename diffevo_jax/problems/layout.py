"""What a solution looks like: structure, shapes and dtypes, and a row of floats for it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.problems.variables import Fixed, Variable
from diffevo_jax.pytree import arrays

#: Floats that a solution may have.
_FLOATS = ("float16", "bfloat16", "float32", "float64")
#: What has a shape and a dtype.
_ARRAYS = np.generic | np.ndarray | jax.Array | jax.ShapeDtypeStruct


class Layout(NamedTuple):
    """Structure, shapes and dtypes of a solution: hashable, so it can be static.

    Attributes:
        treedef: its structure.
        shapes: of its leaves.
        dtypes: of its leaves.
        widths: how many numbers of unit scale each leaf takes: of an array its size, of a
            category one for each choice, of what is fixed none.
        named: whether each leaf is a variable, and not an array.
    """

    treedef: jax.tree_util.PyTreeDef
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    widths: tuple[int, ...]
    named: tuple[bool, ...]

    @property
    def size(self) -> int:
        """How many numbers of unit scale a solution takes."""
        return sum(self.widths)

    @property
    def paths(self) -> tuple[str, ...]:
        """What the leaves are called, in words that are joined by dots."""
        numbered = jax.tree.unflatten(self.treedef, range(len(self.shapes)))
        found = jax.tree_util.tree_flatten_with_path(numbered)[0]
        named = (jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in found)
        return tuple(name or "x" for name in named)

    def columns(self, values: Sequence[Any]) -> np.ndarray:
        """What is known of each leaf, structure and no numbers, for each of its numbers.

        Returns:
            (D,); (1,) where all are alike, since a policy may have a million numbers.
        """
        pairs = zip(values, self.widths, strict=True)
        found = {value for value, width in pairs if width}
        alike = len(found) == 1
        return np.asarray([*found] if alike else np.repeat([*values], self.widths))

    def unravel(self, values: jax.Array, constants: Sequence[jax.Array] = ()) -> PyTree:
        """Turn ``(N, size)`` into leaves with leading axis N; integers are rounded.

        Args:
            values: of categories one for each choice: the first largest is chosen.
            constants: of the leaves that take no numbers, in their order.
        """
        leaves, start, fixed = [], 0, iter(constants)
        for shape, dtype, width in zip(self.shapes, self.dtypes, self.widths, strict=True):
            own = values[:, start : start + width]
            start += width
            if width == math.prod(shape):
                leaves.append(as_dtype(own.reshape(len(values), *shape), dtype))
            elif width:
                leaves.append(jnp.argmax(own, axis=1).astype(dtype))
            else:
                leaves.append(jnp.broadcast_to(next(fixed), (len(values), *shape)))
        return jax.tree.unflatten(self.treedef, leaves)

    def ravel(self, solutions: PyTree) -> jax.Array:
        """Turn leaves with leading axis N into ``(N, size)`` floats.

        A category becomes a half at what is chosen, and minus a half at the other choices.

        Raises:
            TypeError: they are not numbers; of categories, no integers.
            ValueError: the solutions do not have this layout, or an index that is known is
                of no choice.
        """
        leaves, treedef = jax.tree.flatten(solutions)
        shapes = tuple(jnp.shape(leaf)[1:] for leaf in leaves)
        if treedef != self.treedef or shapes != self.shapes:
            raise ValueError(
                f"solutions: got {treedef} with shapes {shapes} after the leading axis, "
                f"want {self.treedef} with {self.shapes}"
            )
        flat = []
        for leaf, shape, width in zip(leaves, shapes, self.widths, strict=True):
            if width == math.prod(shape):
                floats = arrays.as_floats("solutions", leaf)
                flat.append(jnp.reshape(floats, (len(leaf), width)))
            elif width:
                chosen = jnp.clip(_indices(leaf, width), 0, width - 1)[:, None]
                flat.append(
                    jnp.where(chosen == jnp.arange(width, dtype=chosen.dtype), 0.5, -0.5)
                )
        return jnp.concatenate(flat, axis=1)


def _indices(leaf: PyTree, count: int) -> jax.Array:
    """Indices of choices (N,); those that are traced may be beyond them.

    Raises:
        TypeError: they are no integers.
        ValueError: one is known, and not of a choice.
    """
    dtype = np.asarray(leaf).dtype if pytree.concrete(leaf) is not None else leaf.dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        want = "indices of choices, integers; from_python makes them of choices"
        raise TypeError(f"solutions: got {dtype} for a category, want {want}")
    known = pytree.concrete(leaf)
    if known is not None and ((known < 0) | (known >= count)).any():
        wrong = known[(known < 0) | (known >= count)][0]
        want = f"indices of choices, 0 to {count - 1}"
        raise ValueError(f"solutions: got {wrong} for a category, want {want}")
    return jnp.asarray(leaf)


def layout_of(example: PyTree) -> tuple[Layout, tuple[Variable, ...]]:
    """The layout of solutions like an example, and its variables in their order.

    Raises:
        TypeError: a leaf is neither a variable nor an array of floats or integers.
        ValueError: there is nothing to optimise.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(
        example, is_leaf=pytree.is_component
    )
    shapes, dtypes, widths = [], [], []
    for path, leaf in leaves:
        if isinstance(leaf, Fixed):
            leaf.check()
        if isinstance(leaf, Variable):
            shape, dtype, width = leaf.shape, leaf.dtype, leaf.width
        else:
            shape, dtype = _array_kind(f"example{jax.tree_util.keystr(path)}", leaf)
            width = math.prod(shape)
        shapes.append(shape)
        dtypes.append(dtype)
        widths.append(width)
    if sum(widths) == 0:
        raise ValueError("example: got no numbers, want at least one")
    named = tuple(isinstance(leaf, Variable) for _, leaf in leaves)
    variables = tuple(leaf for _, leaf in leaves if isinstance(leaf, Variable))
    layout = Layout(treedef, tuple(shapes), tuple(dtypes), tuple(widths), named)
    return layout, variables


def _array_kind(name: str, leaf: object) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of an array, or of a number."""
    if isinstance(leaf, _ARRAYS):
        shape, dtype = leaf.shape, leaf.dtype
    elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
        shape, dtype = (), jnp.result_type(leaf)
    else:
        want = "an array, or a Range, Integer, Categorical or Fixed"
        raise TypeError(f"{name}: got {pytree.short(leaf)}, want {want}")
    if str(dtype) not in _FLOATS and not jnp.issubdtype(dtype, jnp.integer):
        want = f"floats or integers; of floats, {', '.join(_FLOATS)}"
        raise TypeError(f"{name}: got dtype {dtype}, want {want}")
    return shape, str(jax.dtypes.canonicalize_dtype(dtype))


def as_dtype(values: jax.Array, dtype: str) -> jax.Array:
    """Floats as a dtype: integers rounded, and nothing out of its range.

    Args:
        values: floats of any shape.
        dtype: name of a dtype of integers, floats or truth values.
    """
    if dtype == "bool":
        return values >= 0.5
    if jnp.issubdtype(dtype, jnp.integer):
        legal = jnp.clip(jnp.round(values), *range_of(dtype, values.dtype))
        return legal.astype(dtype)
    if is_narrow(dtype, values.dtype):
        return jnp.clip(values, *range_of(dtype, values.dtype)).astype(dtype)
    return values.astype(dtype)


def range_of(dtype: str, working: np.dtype) -> tuple[float, float]:
    """The lowest and the highest number of a dtype that a working float has too."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max)
    low, high = int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max)
    digits = jnp.finfo(working).nmant + 1
    spare = max(high.bit_length() - digits, 0)
    return float(low), float(high >> spare << spare)


def is_narrow(dtype: str, working: np.dtype) -> bool:
    """Whether a float has fewer digits than the one that is computed with."""
    return bool(jnp.finfo(dtype).nmant < jnp.finfo(working).nmant)
