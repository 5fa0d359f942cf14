"""Spaces: between a strategy's (N, D) arrays and the user's solutions."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.problems import bounds, columns, readable, starts
from diffevo_jax.problems.columns import BOUNDARIES, UNBOUNDED, Columns
from diffevo_jax.problems.layout import Layout, layout_of
from diffevo_jax.problems.variables import (
    FARTHEST,
    Box,
    Categorical,
    Fixed,
    Integer,
    Variable,
)
from diffevo_jax.pytree import Number, threefry, validation


@pytree.dataclass
class Space:
    """Where solutions live: a pytree of arrays and of variables, unbounded or in a box.

    A strategy works on ``(N, D)`` arrays x in unit scale, which start as N(0, I). An
    unbounded array is decoded to ``scale * x``. A box decodes 0 to its middle and
    ``bound_scale`` unit deviations to its bounds; beyond them, by ``boundary``:

    * ``"reflect"``: mirrored at the bounds, which keeps diversity (the default);
    * ``"clip"``: moved onto the bound;
    * ``"tanh"``: squashed smoothly, ``middle + half width * tanh(x / bound_scale)``.

    What is decoded is finite and within the bounds, in the dtype of each leaf: of integers
    and of narrow floats the bounds are the last numbers inside the box. Without bounds, the
    range of the dtype is the box of integers and of floats narrower than JAX's default.

    Variables have their own boxes: :class:`~diffevo_jax.problems.Range`, a float, on a log
    scale if wanted; :class:`~diffevo_jax.problems.Integer`, whose ends are as frequent as
    its middle, which those of an array of integers are not;
    :class:`~diffevo_jax.problems.Categorical`, decoded to an index; and
    :class:`~diffevo_jax.problems.Fixed`. What was decoded of them is decoded again from
    what it is encoded to.

    Args:
        example: pytree like one solution, of variables, and of arrays (or
            ``jax.ShapeDtypeStruct``): of these, shapes and dtypes count, not values.
            Floating or integer; integers are rounded.
        scale: of an unbounded array, in solution units per unit deviation, > 0.
        lower: lower bounds of arrays: a scalar, for all of them, or a pytree like the
            example whose leaves broadcast to its shapes; None at variables, and at arrays
            without bounds. Both bounds or none, each in the range of the leaf's
            dtype and within 8e37; of integers, in what the default float tells apart, 2^24
            in float32.
        upper: upper bounds, above the lower ones. Of bounds that are traced the
            lower one of each pair counts as the lower one.
        boundary: ``"reflect"``, ``"clip"`` or ``"tanh"``, or a pytree like the example of
            such names; static. Integers and categories are mirrored in any case.
        bound_scale: unit deviations from the middle of the box to its bounds, in
            [1e-30, 1e30]. With the default of 2, 95 % of N(0, 1) start inside.
        start: static. ``"normal"``: N(0, I), brought into the box. ``"uniform"``: uniform
            on the box; of a log scale, in the logarithm; of integers and categories, each
            is as likely as another. ``"sobol"``: the same, more evenly, by shifted Sobol
            points. The last two need a box around every number.
        layout: of solutions, as a space has it; in place of an example.
        variables: those of the layout, in their order.

    Raises:
        TypeError: a leaf of the example is neither a variable nor an array of floats or
            integers.
        ValueError: the example has no elements, or the boundaries are not like it.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> space = de.problems.Space(
        ...     {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}, lower=-1.0, upper=1.0)
        >>> space.dim
        9
        >>> solutions = space.decode(space.sample(jax.random.key(0), 5))
        >>> solutions["w"].shape
        (5, 2, 3)
        >>> mixed = de.problems.Space({
        ...     "rate": de.problems.Range(1e-4, 1e-1, "log"),
        ...     "layers": de.problems.Integer(1, 8),
        ...     "kind": de.problems.Categorical(("relu", "tanh", "gelu"))}, start="uniform")
        >>> mixed.dim, mixed.names
        (5, ('kind', 'layers', 'rate'))
        >>> mixed.as_python(mixed.decode(jnp.zeros((1, 5))))
        [{'kind': 'relu', 'layers': 5, 'rate': 0.0031622...}]
    """

    layout: Layout = pytree.static()
    scale: Number = pytree.number(above=0.0)
    lower: PyTree = pytree.numbers(low=-FARTHEST, high=FARTHEST)
    upper: PyTree = pytree.numbers(low=-FARTHEST, high=FARTHEST)
    boundary: str | tuple[str, ...] = pytree.static()
    bound_scale: Number = pytree.number(low=1e-30, high=1e30)
    start: str = pytree.static()
    variables: tuple[Variable, ...]

    def __init__(
        self,
        example: PyTree = None,
        scale: Number = 1.0,
        lower: PyTree = None,
        upper: PyTree = None,
        boundary: PyTree = "reflect",
        bound_scale: Number = 2.0,
        start: str = "normal",
        *,
        layout: Layout | None = None,
        variables: tuple[Variable, ...] = (),
    ) -> None:
        if layout is None:
            layout, variables = layout_of(example)
        values = {
            "layout": layout,
            "scale": scale,
            "lower": lower,
            "upper": upper,
            "boundary": _of_leaves(boundary, layout),
            "bound_scale": bound_scale,
            "start": start,
            "variables": variables,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """D, how many numbers of unit scale a solution has."""
        return self.layout.size

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of a table of solutions; of arrays one for each number."""
        return readable.names(self.layout)

    @property
    def ordered(self) -> tuple[tuple[str, str], ...]:
        """Of traced bounds that are not in order each is counted, and put in order."""
        return (("lowest", "highest"),) if self.lower is not None else ()

    @property
    def lowest(self) -> jax.Array:
        """The lower end of the box of every number, ``(D,)``; -inf where there is none."""
        return self._row(self._boxes(), lambda box: box.low, -jnp.inf)

    @property
    def highest(self) -> jax.Array:
        """The upper end of the box of every number, ``(D,)``; inf where there is none."""
        return self._row(self._boxes(), lambda box: box.high, jnp.inf)

    @property
    def bounded(self) -> bool:
        """Whether every number of a solution is in a box."""
        return not (self._boundaries() == UNBOUNDED).any()

    def check(self) -> None:
        """Raise ValueError if the bounds do not make a box, or a variable is none."""
        self._check_names()
        if (self.lower is None) != (self.upper is None):
            missing = "upper" if self.upper is None else "lower"
            raise ValueError(f"Space.{missing}: got None, want both bounds or none")
        known = iter(self.variables)
        for path, named in zip(self.layout.paths, self.layout.named, strict=True):
            if named:
                next(known).check_as(f"Space: {path!r}")
        if self.lower is None:
            return
        ends = [self._leaves(name) for name in ("lower", "upper")]
        for path, low, high in zip(self.layout.paths, *ends, strict=True):
            if (low is None) != (high is None):
                missing = "upper" if high is None else "lower"
                want = "both bounds or none"
                raise ValueError(f"Space.{missing}: got None for {path!r}, want {want}")
        for name in ("lower", "upper"):
            pairs = zip(self._leaves(name), self.layout.dtypes, strict=True)
            for bound, dtype in pairs:
                if bound is not None:
                    bounds.check_bound(f"Space.{name}", bound, dtype)
        lower, upper = (pytree.concrete(e) for e in (self.lowest, self.highest))
        if lower is None or upper is None:
            return
        narrow = 0.5 * upper - 0.5 * lower < jnp.finfo(lower.dtype).tiny
        narrow &= ~self.layout.columns(self.layout.named)
        if narrow.any():
            worst = int(np.argmax(narrow))
            raise ValueError(
                f"Space.lower: got {lower[worst]:g} with upper {upper[worst]:g} "
                f"(number {worst} of {self.dim}), want lower < upper, "
                f"in {lower.dtype} and the dtype of the leaf"
            )

    def sample(self, key: jax.Array, num_solutions: int) -> jax.Array:
        """Draw ``(num_solutions, D)`` in unit scale, in the box, as ``start`` says."""
        validation.validate(self)
        validation.check_count("num_solutions", num_solutions)
        if self.start == "normal":
            key = threefry.written_out(key)
            return self.repair(jax.random.normal(key, (num_solutions, self.dim)))
        draw = starts.sobol if self.start == "sobol" else starts.uniform
        fraction = 2.0 * draw(key, num_solutions, self.dim) - 1.0
        squashed = self._boundaries() == "tanh"
        if squashed.any():
            fraction = jnp.where(squashed, jnp.arctanh(fraction), fraction)
        return self.repair(self.bound_scale * fraction)

    def repair(self, x: jax.Array) -> jax.Array:
        """Bring ``(N, D)`` back into the box, in unit scale; inside nothing changes."""
        return columns.repair(x, self._boundaries(), self.bound_scale)

    def decode(self, x: jax.Array) -> PyTree:
        """Turn ``(N, D)`` in unit scale into solutions: leaves with leading axis N.

        What is not finite counts as 0, so that every solution is legal; whoever proposed
        it is told that it failed.

        Raises:
            ValueError: x is not (N, D); recordings (T, N, D) are decoded under ``vmap``.
        """
        if jnp.ndim(x) != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x: got shape {jnp.shape(x)}, want (N, {self.dim})")
        fixed = [one.constant() for one in self.variables if isinstance(one, Fixed)]
        x = jnp.where(jnp.isfinite(x), x, 0.0)
        return self.layout.unravel(self._columns().values(x), fixed)

    def encode(self, solutions: PyTree) -> jax.Array:
        """Turn solutions (leaves with leading axis N) back into ``(N, D)``.

        Inverse of :meth:`decode` up to rounding; solutions outside a box are brought in.
        Of variables, what has been decoded is decoded again from it; any other float as
        near as unit scale can tell points apart.

        Raises:
            TypeError: they are not numbers; categories are indices, integers.
            ValueError: the solutions do not look like the example; or, where they are not
                traced, one is not finite, or is an index of no choice.
        """
        values = self.layout.ravel(solutions)
        known = pytree.concrete(values)
        if known is not None and not np.isfinite(known).all():
            raise ValueError("solutions: got NaN or infinity, want finite numbers")
        return self._columns().points(values)

    def named(self, solutions: PyTree) -> dict[str, np.ndarray]:
        """Solutions as columns ``(N,)`` by :attr:`names`, for a table; on the host.

        Categories are their choices, and what is fixed is a column too.

        Raises:
            ValueError: the solutions do not look like the example.

        Example:
            >>> import jax.numpy as jnp, diffevo_jax as de
            >>> space = de.problems.Space({
            ...     "kind": de.problems.Categorical(("adam", "sgd")), "w": jnp.zeros(2)})
            >>> table = space.named(space.decode(jnp.ones((3, 4))))
            >>> list(table), table["kind"].tolist()
            (['kind', 'w[0]', 'w[1]'], ['adam', 'adam', 'adam'])
        """
        return readable.columns(self.layout, self.variables, solutions)

    def as_python(self, solutions: PyTree) -> Any:
        """Solutions one by one, with Python's own numbers; on the host.

        A list for N solutions; of a single one, such as ``result.best_solution``, itself.

        Each looks like the example: categories are their choices, integers ``int``, floats
        ``float``, within the ends as they were given; arrays are NumPy's.

        Raises:
            ValueError: the solutions do not look like the example.
        """
        leaves, treedef = jax.tree.flatten(solutions)
        shapes = tuple(map(jnp.shape, leaves))
        if treedef == self.layout.treedef and shapes == self.layout.shapes:
            one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], solutions)
            return readable.rows(self.layout, self.variables, one)[0]
        return readable.rows(self.layout, self.variables, solutions)

    def from_python(self, solutions: Sequence[PyTree]) -> PyTree:
        """Many single solutions, as :meth:`as_python` gives them, as :meth:`encode` wants.

        What is known of another solution is not taken for one of these: values are not
        brought in, as :meth:`encode` does, but refused.

        Raises:
            TypeError: a value is of another kind, for example a string for a number.
            ValueError: there are none, one does not look like the example, or a value is
                none that there is: beyond its ends, between whole numbers or steps, no
                choice, not what is fixed.

        Example:
            >>> import diffevo_jax as de
            >>> space = de.problems.Space({"kind": de.problems.Categorical(("a", "b"))})
            >>> known = space.from_python([{"kind": "b"}, {"kind": "a"}])
            >>> space.encode(known).tolist()
            [[-1.0, 1.0], [1.0, -1.0]]
        """
        found = readable.gathered(self.layout, self.variables, solutions)
        leaves = jax.tree.leaves(found)
        for place, (leaf, box) in enumerate(zip(leaves, self._boxes(), strict=True)):
            if box is not None and not self.layout.named[place]:
                bounds.check_within(self.layout.paths[place], leaf, (box.low, box.high))
        return found

    def _boundaries(self) -> np.ndarray:
        """The name of the boundary of every number, (D,); (1,) if all have one."""
        given, count = self.boundary, len(self.layout.shapes)
        each = list((given,) * count if isinstance(given, str) else given)
        bound, known = self._leaves("lower"), iter(self.variables)
        for place, named in enumerate(self.layout.named):
            variable = next(known) if named else None
            if isinstance(variable, Integer | Categorical):
                each[place] = "reflect"
            elif not named and bound[place] is None:
                each[place] = UNBOUNDED
        return self.layout.columns(each)

    def _columns(self) -> Columns:
        """What is known of every number, to stretch it."""
        boxes, layout = self._boxes(), self.layout
        has_steps = [box is not None and box.first is not None for box in boxes]

        def row(pick: Callable[[Box], Number], absent: float, wanted: bool) -> jax.Array:
            return self._row(boxes, pick, absent) if wanted else jnp.full((1,), absent)

        some = any(box is not None for box in boxes)
        lower = row(lambda box: box.low, -1.0, some)
        upper = row(lambda box: box.high, 1.0, some)
        grid = (
            row(lambda box: 0.0 if box.first is None else box.first, 0.0, any(has_steps)),
            row(lambda box: box.step, 1.0, any(has_steps)),
            row(lambda box: box.steps, 0.0, any(has_steps)),
            row(lambda box: box.last, 0.0, any(has_steps)),
        )
        return Columns(
            boundaries=self._boundaries(),
            log=layout.columns([box is not None and box.log for box in boxes]),
            variable=layout.columns(layout.named),
            stepped=layout.columns(has_steps),
            lower=jnp.minimum(lower, upper)[None],
            upper=jnp.maximum(lower, upper)[None],
            grid=grid,
            scale=self.scale,
            edge=self.bound_scale,
        )

    def _row(
        self, boxes: Sequence[Box | None], pick: Callable[[Box], Number], absent: float
    ) -> jax.Array:
        """A number of the box of every number, ``(D,)``."""
        parts = []
        for box, width in zip(boxes, self.layout.widths, strict=True):
            value = absent if box is None else pick(box)
            parts.append(jnp.broadcast_to(jnp.asarray(value, float), (width,)))
        return jnp.concatenate(parts)

    def _boxes(self) -> list[Box | None]:
        """The box of every leaf, its ends (size,) of an array; None where there is none."""
        known, boxes = iter(self.variables), list[Box | None]()
        ends = zip(self._leaves("lower"), self._leaves("upper"), strict=True)
        for place, (low, high) in enumerate(ends):
            shape, dtype = self.layout.shapes[place], self.layout.dtypes[place]
            if self.layout.named[place]:
                boxes.append(next(known).box())
            elif low is None or high is None:
                boxes.append(None)
            else:
                flat = [
                    jnp.broadcast_to(jnp.asarray(end, dtype=float), shape).reshape(-1)
                    for end in (low, high)
                ]
                lower, upper = (bounds.inside(flat[i], dtype, i == 0) for i in (0, 1))
                boxes.append(Box(lower, upper))
        return boxes

    def _leaves(self, name: str) -> list[Any]:
        """A bound for each leaf of a solution, as it was given; None where is none."""
        bound = self.lower if name == "lower" else self.upper
        return bounds.leaves_of(name, bound, self.layout)

    def _check_names(self) -> None:
        """Raise ValueError unless boundaries and start are known, and go together."""
        count = len(self.layout.shapes)
        given = self.boundary
        each = (given,) * count if isinstance(given, str) else given
        if len(each) != count:
            raise ValueError(f"Space.boundary: got {given!r}, want one of {count} leaves")
        for name in each:
            if name not in BOUNDARIES:
                raise ValueError(f"Space.boundary: got {name!r}, want one of {BOUNDARIES}")
        if self.start not in starts.STARTS:
            raise ValueError(
                f"Space.start: got {self.start!r}, want one of {starts.STARTS}"
            )
        if self.start != "normal" and not self.bounded:
            free = self._boundaries().tolist().index(UNBOUNDED)
            raise ValueError(
                f"Space.start: got {self.start!r}, want 'normal', or a box: "
                f"number {free} has no bounds"
            )
        if self.start == "sobol" and self.dim > starts.MOST_DIMENSIONS:
            most = f"at most {starts.MOST_DIMENSIONS} numbers, or 'uniform'"
            raise ValueError(f"Space.start: got 'sobol' for {self.dim}, want {most}")
        known = iter(self.variables)
        for path, name, named in zip(
            self.layout.paths, each, self.layout.named, strict=True
        ):
            mirrored = named and isinstance(next(known), Integer | Categorical)
            if mirrored and not isinstance(given, str) and name != "reflect":
                raise ValueError(
                    f"Space.boundary: got {name!r} for {path!r}, want 'reflect', as of all "
                    "integers and categories"
                )


def _of_leaves(boundary: PyTree, layout: Layout) -> Any:
    """A boundary as it is kept: one name, or a name for each leaf.

    Raises:
        ValueError: it is neither a name, nor like the example.
    """
    if isinstance(boundary, str) or (
        isinstance(boundary, tuple) and len(boundary) == len(layout.shapes)
    ):
        return boundary
    leaves, treedef = jax.tree.flatten(boundary)
    if treedef != layout.treedef:
        raise ValueError(
            f"boundary: got {boundary!r}, want a name, or names like {layout.treedef}"
        )
    return tuple(leaves)
