"""The promises of a space; :class:`diffevo_jax.problems.Space` says what they are."""

from collections.abc import Collection

import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.problems.space import Space
from diffevo_jax.problems.variables import Range
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.testing.agreement import D, N, Promise, expect, hold, key, same_bits

_decode = jax.jit(lambda space, x: space.decode(x))
_encode = jax.jit(lambda space, solutions: space.encode(solutions))


def _points(space: Space) -> jax.Array:
    """Points near and far, and in two corners, (4 N, D)."""
    drawn = jax.random.normal(key(), (4 * N, space.dim))
    far = drawn.at[:N].multiply(1e3)
    return far.at[0].set(-2.0).at[1].set(2.0)


def a_sample_needs_no_repair(space: Space, dim: int = D) -> None:
    """What is drawn is (N, D), finite, in the box, and a function of its key.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> space = de.problems.Space({"n": de.problems.Integer(1, 9)})
        >>> testing.spaces.a_sample_needs_no_repair(space)
    """
    points = space.sample(key(), N)
    expect(points.shape == (N, space.dim), f"points {(N, space.dim)}", points.shape)
    expect(jnp.isfinite(points).all(), "finite points", points)
    same_bits(space.repair(points), points, "nothing to repair in a sample")
    same_bits(space.sample(key(), N), points, "the same bits for the same key")


def every_point_is_a_solution(space: Space, dim: int = D) -> None:
    """Points near and far are decoded to finite values, in the box of each leaf.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> space = de.problems.Space({"n": de.problems.Integer(1, 9)})
        >>> testing.spaces.every_point_is_a_solution(space)
    """
    solutions = _decode(space, _points(space))
    chex.assert_tree_shape_prefix(solutions, (4 * N,))
    chex.assert_tree_all_finite(solutions)
    again = _decode(space, space.repair(_points(space)))
    chex.assert_trees_all_close(again, solutions, rtol=1e-4, atol=1e-4)


def variables_come_back(space: Space, dim: int = D) -> None:
    """Decoded, encoded and decoded, variables are the same; floats within two units.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> space = de.problems.Space({"n": de.problems.Integer(1, 9)})
        >>> testing.spaces.variables_come_back(space)
    """
    solutions = _decode(space, _points(space))
    encoded = _encode(space, solutions)
    again = _decode(space, encoded)
    leaves, known = (jax.tree.leaves(tree) for tree in (solutions, again))
    variables = iter(space.variables)
    for first, second, named in zip(leaves, known, space.layout.named, strict=True):
        if not named:
            continue
        first, second = np.asarray(first), np.asarray(second)
        if isinstance(next(variables), Range):
            apart = np.abs(first - second) <= 2 * np.spacing(np.abs(first))
            expect(apart.all(), "floats within 2 units in the last place", second)
        else:
            same_bits(second, first, "the same integers and choices")
    columns = np.repeat(space.layout.named, space.layout.widths)
    stable = np.asarray(_encode(space, again))[:, columns]
    same_bits(stable, np.asarray(encoded)[:, columns], "the same points of variables")


def python_values_come_back(space: Space, dim: int = D) -> None:
    """What people read is what they may give back; columns have the names of the space.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> space = de.problems.Space({"n": de.problems.Integer(1, 9)})
        >>> testing.spaces.python_values_come_back(space)
    """
    solutions = _decode(space, _points(space))
    rows, table = space.as_python(solutions), space.named(solutions)
    expect(len(rows) == 4 * N, f"{4 * N} solutions", len(rows))
    expect(tuple(table) == space.names, f"the columns {space.names}", tuple(table))
    returned = _decode(space, space.encode(space.from_python(rows)))
    chex.assert_trees_all_close(returned, solutions, rtol=1e-5, atol=1e-5)


#: What every space promises.
PROMISES: tuple[Promise, ...] = (
    a_sample_needs_no_repair,
    every_point_is_a_solution,
    variables_come_back,
    python_values_come_back,
)


@checked
def check_space(space: Space, dim: int = D, *, but: Collection[Promise] = ()) -> None:
    """Hold a space to all promises of one.

    Args:
        space: of solutions.
        dim: of no meaning here, since a space has its own; as for other parts.
        but: promises that it does not make.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_space(de.problems.Space({"n": de.problems.Integer(1, 9)}))
    """
    hold(space, PROMISES, dim, but)
