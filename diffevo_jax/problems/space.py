"""Spaces: between a strategy's (N, D) arrays and the user's solutions."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number, arrays, validation

BOUNDARIES = ("reflect", "clip", "tanh")
#: Of bounds: the sum of two such numbers is finite in float32, whatever a compiler adds.
_FARTHEST = 8e37
#: Floats that a solution may have.
_FLOATS = ("float16", "bfloat16", "float32", "float64")
#: What has a shape and a dtype.
_ARRAYS = np.generic | np.ndarray | jax.Array | jax.ShapeDtypeStruct


class Layout(NamedTuple):
    """Structure, shapes and dtypes of a solution: hashable, so it can be static."""

    treedef: jax.tree_util.PyTreeDef
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
            leaves.append(as_dtype(leaf, dtype))
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
        flat = [
            jnp.reshape(arrays.as_floats("solutions", leaf), (len(leaf), -1))
            for leaf in leaves
        ]
        return jnp.concatenate(flat, axis=1)


@pytree.dataclass
class Space:
    """Where solutions live: a pytree of arrays, unbounded or in a box.

    A strategy works on ``(N, D)`` arrays x in unit scale, which start as N(0, I). An
    unbounded space decodes them to ``scale * x``. A box decodes 0 to its middle and
    ``bound_scale`` unit deviations to its bounds; beyond them, by ``boundary``:

    * ``"reflect"``: mirrored at the bounds, which keeps diversity (the default);
    * ``"clip"``: moved onto the bound;
    * ``"tanh"``: squashed smoothly, ``middle + half width * tanh(x / bound_scale)``.

    What is decoded is finite and within the bounds, in the dtype of each leaf: of integers
    and of narrow floats the bounds are the last numbers inside the box. Without bounds, the
    range of the dtype is the box of integers and of floats narrower than JAX's default.

    Args:
        example: pytree of arrays (or ``jax.ShapeDtypeStruct``) like one solution: its
            structure, shapes and dtypes count, not its values. Floating or integer;
            integers are rounded.
        scale: of an unbounded space, in solution units per unit deviation, > 0.
        lower: lower bounds of a box: a scalar, or a pytree like the example whose leaves
            broadcast to its shapes. Both bounds or none, each in the range of the leaf's
            dtype and within 8e37; of integers, in what the default float tells apart, 2^24
            in float32.
        upper: upper bounds of a box, above the lower ones. Of bounds that are traced the
            lower one of each pair counts as the lower one.
        boundary: ``"reflect"``, ``"clip"`` or ``"tanh"``; static.
        bound_scale: unit deviations from the middle of the box to its bounds, in
            [1e-30, 1e30]. With the default of 2, 95 % of N(0, 1) start inside.

    Raises:
        TypeError: a leaf of the example is not an array of floats or integers.
        ValueError: the example has no elements.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> space = de.problems.Space(
        ...     {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}, lower=-1.0, upper=1.0)
        >>> space.dim
        9
        >>> solutions = space.decode(space.sample(jax.random.key(0), 5))
        >>> solutions["w"].shape
        (5, 2, 3)
    """

    layout: Layout = pytree.static()
    scale: Number = pytree.number(above=0.0)
    lower: PyTree = pytree.numbers(low=-_FARTHEST, high=_FARTHEST)
    upper: PyTree = pytree.numbers(low=-_FARTHEST, high=_FARTHEST)
    boundary: str = pytree.static()
    bound_scale: Number = pytree.number(low=1e-30, high=1e30)

    def __init__(
        self,
        example: PyTree = None,
        scale: Number = 1.0,
        lower: PyTree = None,
        upper: PyTree = None,
        boundary: str = "reflect",
        bound_scale: Number = 2.0,
        *,
        layout: Layout | None = None,
    ) -> None:
        values = {
            "layout": _layout_of(example) if layout is None else layout,
            "scale": scale,
            "lower": lower,
            "upper": upper,
            "boundary": boundary,
            "bound_scale": bound_scale,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """D, how many numbers a solution has."""
        return self.layout.size

    @property
    def ordered(self) -> tuple[tuple[str, str], ...]:
        """Of traced bounds that are not in order each is counted, and put in order."""
        return (("lowest", "highest"),) if self.bounded else ()

    @property
    def lowest(self) -> jax.Array:
        """The lower bound of every number of a solution, ``(D,)``."""
        return self._flat("lower")

    @property
    def highest(self) -> jax.Array:
        """The upper bound of every number of a solution, ``(D,)``."""
        return self._flat("upper")

    @property
    def bounded(self) -> bool:
        """Whether the space is a box."""
        return self.lower is not None

    def check(self) -> None:
        """Raise ValueError if the bounds do not make a box."""
        if self.boundary not in BOUNDARIES:
            raise ValueError(
                f"Space.boundary: got {self.boundary!r}, want one of {BOUNDARIES}"
            )
        if (self.lower is None) != (self.upper is None):
            missing = "upper" if self.upper is None else "lower"
            raise ValueError(f"Space.{missing}: got None, want both bounds or none")
        if not self.bounded:
            return
        for name in ("lower", "upper"):
            for bound, dtype in zip(self._leaves(name), self.layout.dtypes, strict=True):
                _check_bound(f"Space.{name}", bound, dtype)
        lower, upper = (pytree.concrete(self._flat(name)) for name in ("lower", "upper"))
        if lower is None or upper is None:
            return
        wide = 0.5 * upper - 0.5 * lower >= jnp.finfo(lower.dtype).tiny
        if not wide.all():
            worst = int(np.argmin(wide))
            raise ValueError(
                f"Space.lower: got {lower[worst]:g} with upper {upper[worst]:g} "
                f"(number {worst} of {self.dim}), want lower < upper, "
                f"in {lower.dtype} and the dtype of the leaf"
            )

    def sample(self, key: jax.Array, num_solutions: int) -> jax.Array:
        """Draw ``(num_solutions, D)`` from N(0, I) in unit scale, within the bounds."""
        validation.validate(self)
        validation.check_count("num_solutions", num_solutions)
        return self.repair(jax.random.normal(key, (num_solutions, self.dim)))

    def repair(self, x: jax.Array) -> jax.Array:
        """Bring ``(N, D)`` back into the box, in unit scale; inside nothing changes."""
        if not self.bounded or self.boundary == "tanh":
            return x
        edge = self.bound_scale
        if self.boundary == "clip":
            return jnp.clip(x, -edge, edge)
        return jnp.where(jnp.abs(x) <= edge, x, _reflect(x, edge))

    def decode(self, x: jax.Array) -> PyTree:
        """Turn ``(N, D)`` in unit scale into solutions: leaves with leading axis N.

        Raises:
            ValueError: x is not (N, D); recordings (T, N, D) are decoded under ``vmap``.
        """
        if jnp.ndim(x) != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x: got shape {jnp.shape(x)}, want (N, {self.dim})")
        return self.layout.unravel(self._to_values(x))

    def encode(self, solutions: PyTree) -> jax.Array:
        """Turn solutions (leaves with leading axis N) back into ``(N, D)``.

        Inverse of :meth:`decode` up to rounding; solutions outside a box are brought in.

        Raises:
            ValueError: the solutions do not look like the example.
        """
        values = self.layout.ravel(solutions)
        if not self.bounded:
            return values / self.scale
        middle, half = self._middle_and_half()
        fraction = (values - middle) / half
        if self.boundary == "tanh":
            inside = 1.0 - jnp.finfo(fraction.dtype).eps
            return self.bound_scale * jnp.arctanh(jnp.clip(fraction, -inside, inside))
        return self.repair(self.bound_scale * fraction)

    def _to_values(self, x: jax.Array) -> jax.Array:
        if not self.bounded:
            return self.scale * x
        middle, half = self._middle_and_half()
        fraction = self.repair(x) / self.bound_scale
        if self.boundary == "tanh":
            fraction = jnp.tanh(fraction)
        return jnp.clip(middle + half * fraction, *self._box())  # rounding, in float32

    def _middle_and_half(self) -> tuple[jax.Array, jax.Array]:
        """Of a box, both (1, D)."""
        lower, upper = self._box()
        half = 0.5 * upper - 0.5 * lower
        return 0.5 * lower + 0.5 * upper, jnp.maximum(half, jnp.finfo(half.dtype).tiny)

    def _box(self) -> tuple[jax.Array, jax.Array]:
        """Both bounds as rows ``(1, D)``, in order where they are traced too."""
        lower, upper = self._flat("lower")[None], self._flat("upper")[None]
        return jnp.minimum(lower, upper), jnp.maximum(lower, upper)

    def _flat(self, name: str) -> jax.Array:
        """A bound as one vector ``(D,)``: of each leaf the last number inside the box."""
        parts = []
        shapes, dtypes = self.layout.shapes, self.layout.dtypes
        for leaf, shape, dtype in zip(self._leaves(name), shapes, dtypes, strict=True):
            part = jnp.broadcast_to(jnp.asarray(leaf, dtype=float), shape).reshape(-1)
            parts.append(_inside(part, dtype, name == "lower"))
        return jnp.concatenate(parts)

    def _leaves(self, name: str) -> list[Any]:
        """A bound for each leaf of a solution, as it was given.

        Raises:
            ValueError: it has another structure, or does not broadcast to a leaf.
        """
        bound = self.lower if name == "lower" else self.upper
        shapes = self.layout.shapes
        treedef = jax.tree.structure(bound)
        if jax.tree_util.treedef_is_leaf(treedef) and not jnp.ndim(bound):
            leaves = [bound] * len(shapes)
        elif treedef == self.layout.treedef:
            leaves = jax.tree.leaves(bound)
        else:
            raise ValueError(
                f"Space.{name}: got {treedef}, want a scalar or {self.layout.treedef}"
            )
        for leaf, shape in zip(leaves, shapes, strict=True):
            if not _broadcasts(jnp.shape(leaf), shape):
                raise ValueError(
                    f"Space.{name}: got shape {jnp.shape(leaf)}, want one that broadcasts "
                    f"to {shape}"
                )
        return leaves


def as_dtype(values: jax.Array, dtype: str) -> jax.Array:
    """Floats as a dtype: integers rounded, and nothing out of its range.

    Args:
        values: floats of any shape.
        dtype: name of a dtype of integers, floats or truth values.
    """
    if dtype == "bool":
        return values >= 0.5
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.clip(jnp.round(values), *_range(dtype, values.dtype)).astype(dtype)
    if _is_narrow(dtype, values.dtype):
        return jnp.clip(values, *_range(dtype, values.dtype)).astype(dtype)
    return values.astype(dtype)


def _range(dtype: str, working: np.dtype) -> tuple[float, float]:
    """The lowest and the highest number of a dtype that a working float has too."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max)
    low, high = int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max)
    digits = jnp.finfo(working).nmant + 1
    spare = max(high.bit_length() - digits, 0)
    return float(low), float(high >> spare << spare)


def _is_narrow(dtype: str, working: np.dtype) -> bool:
    """Whether a float has fewer digits than the one that is computed with."""
    return bool(jnp.finfo(dtype).nmant < jnp.finfo(working).nmant)


def _inside(bound: jax.Array, dtype: str, lower: bool) -> jax.Array:
    """The next number of a dtype that is not outside a bound."""
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.ceil(bound) if lower else jnp.floor(bound)
    if not _is_narrow(dtype, bound.dtype):
        return bound
    near = bound.astype(dtype)
    inwards = jnp.nextafter(near, jnp.asarray(jnp.inf if lower else -jnp.inf, dtype))
    back = near.astype(bound.dtype)
    outside = back < bound if lower else back > bound
    return jnp.where(outside, inwards, near).astype(bound.dtype)


def _check_bound(name: str, bound: Any, dtype: str) -> None:
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
    low, high = _range(dtype, working)
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


def _layout_of(example: PyTree) -> Layout:
    """Structure, shapes and dtypes of an example solution.

    Raises:
        TypeError: a leaf is not an array of floats or integers.
        ValueError: there is nothing to optimise.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(example)
    shapes, dtypes = [], []
    for path, leaf in leaves:
        name = f"example{jax.tree_util.keystr(path)}"
        if isinstance(leaf, _ARRAYS):
            shape, dtype = leaf.shape, leaf.dtype
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            shape, dtype = (), jnp.result_type(leaf)
        else:
            raise TypeError(f"{name}: got {leaf!r}, want an array")
        if str(dtype) not in _FLOATS and not jnp.issubdtype(dtype, jnp.integer):
            want = f"floats or integers; of floats, {', '.join(_FLOATS)}"
            raise TypeError(f"{name}: got dtype {dtype}, want {want}")
        shapes.append(shape)
        dtypes.append(str(jax.dtypes.canonicalize_dtype(dtype)))
    if sum(math.prod(shape) for shape in shapes) == 0:
        raise ValueError("example: got no numbers, want at least one")
    return Layout(treedef, tuple(shapes), tuple(dtypes))


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _reflect(x: jax.Array, edge: Number) -> jax.Array:
    """Mirror at -edge and edge, as often as needed: a triangle wave."""
    phase = jnp.mod(x + edge, 4 * edge)
    return jnp.clip(
        jnp.where(phase <= 2 * edge, phase, 4 * edge - phase) - edge, -edge, edge
    )
