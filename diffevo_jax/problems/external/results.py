"""What evaluators return, as arrays of the host: checked, and with gaps where none came."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.base import Evaluation, PyTree
from diffevo_jax.pytree import arrays


def parts_of(returned: object) -> tuple[PyTree, PyTree, PyTree]:
    """Fitness, measures and violation of what an evaluator returns.

    Args:
        returned: fitness; or a tuple ``(fitness, measures)``; or an
            :class:`diffevo_jax.Evaluation`.
    """
    if isinstance(returned, Evaluation):
        return returned.fitness, returned.measures, returned.violation
    if isinstance(returned, tuple):
        if len(returned) != 2:
            raise ValueError(
                f"fn: got a tuple of {len(returned)}, want fitness, (fitness, measures) or "
                "an Evaluation"
            )
        return returned[0], returned[1], None
    return returned, (), None


def floats(name: str, values: object, shape: tuple[int, ...]) -> PyTree:
    """Real numbers of a shape, an array of NumPy in JAX's default float.

    Raises:
        TypeError: they are not real numbers.
        ValueError: they have another shape, or one is too large.
    """
    array = np.asarray(arrays.as_given(name, values))
    if array.dtype == bool:
        raise TypeError(f"{name}: got truth values, want real numbers")
    array = array.astype(jax.dtypes.canonicalize_dtype(float))
    if array.shape != shape:
        raise ValueError(
            f"{name}: got shape {array.shape}, want {shape}, one number for each solution"
        )
    return array


def row_of(returned: object) -> Evaluation:
    """What a function of one solution returns, checked; NumPy arrays without an axis.

    Example:
        >>> from diffevo_jax.problems.external import results
        >>> float(results.row_of((3, {"length": 2.0})).fitness)
        3.0
    """
    fitness, measures, violation = parts_of(returned)
    return Evaluation(
        floats("fitness", fitness, ()),
        jax.tree.map(_measure, measures),
        None if violation is None else floats("violation", violation, ()),
    )


def evaluation_of(returned: object, count: int) -> Evaluation:
    """What a function of ``count`` solutions returns, checked; NumPy arrays."""
    fitness, measures, violation = parts_of(returned)
    measures = jax.tree.map(_measure, measures)
    for leaf in jax.tree.leaves(measures):
        if leaf.shape[:1] != (count,):
            raise ValueError(
                f"measures: got shape {leaf.shape}, want ({count}, ...), a row for each "
                "solution"
            )
    return Evaluation(
        floats("fitness", fitness, (count,)),
        measures,
        None if violation is None else floats("violation", violation, (count,)),
    )


def _measure(leaf: object) -> np.ndarray:
    known = np.asarray(arrays.as_given("measures", leaf))
    return known.astype(jax.dtypes.canonicalize_dtype(known.dtype))


def blank(count: int, like: Evaluation) -> Evaluation:
    """An evaluation of ``count`` solutions that all failed: NaN, and 0 where there is none.

    Args:
        count: N.
        like: of one solution; shapes and dtypes count.
    """

    def fill(leaf: PyTree) -> np.ndarray:
        floating = jnp.issubdtype(leaf.dtype, np.floating)
        return np.full((count, *leaf.shape), np.nan if floating else 0, leaf.dtype)

    whole: Evaluation = jax.tree.map(fill, like)
    return whole


def in_words(tree: PyTree, axes: int = 0) -> str:
    """The shapes in a tree, so that trees alike in structure and shapes have equal words.

    Args:
        tree: of arrays.
        axes: leading axes to leave out.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.problems.external import results
        >>> results.in_words({"a": np.zeros((8, 2))}, 1), results.in_words(None)
        ("shape {'a': (2,)}", 'none')
    """
    if not jax.tree.leaves(tree):
        return "none"
    return f"shape {jax.tree.map(lambda leaf: jnp.shape(leaf)[axes:], tree)}"


def gathered(rows: Sequence[Evaluation | None]) -> Evaluation:
    """The rows of N solutions as one evaluation; what is missing has failed.

    Raises:
        ValueError: rows have measures of different structure, or of different shapes.
    """
    known = [row for row in rows if row is not None]
    first = known[0] if known else Evaluation(floats("fitness", np.nan, ()))
    for row in known:
        for name in ("measures", "violation"):
            got, want = (in_words(getattr(one, name)) for one in (row, first))
            if got != want:
                raise ValueError(f"{name}: got {got}, want {want} as of the others")

    def wide(*leaves: np.ndarray) -> np.ndarray:
        dtype = jax.dtypes.canonicalize_dtype(np.result_type(*leaves))
        return np.zeros(leaves[0].shape, dtype)

    whole = blank(len(rows), jax.tree.map(wide, first, *known[1:]))
    leaves = jax.tree.leaves(whole)
    for place, given in enumerate(rows):
        for leaf, value in zip(leaves, jax.tree.leaves(given), strict=False):
            leaf[place] = value  # of what is missing there is none
    return whole
