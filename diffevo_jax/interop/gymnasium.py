"""Gymnasium's spaces as spaces to search: designs, actions, parameters of a simulator."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from diffevo_jax.base import PyTree
from diffevo_jax.problems.space import Space
from diffevo_jax.problems.variables import FARTHEST, Categorical, Fixed, Integer, Variable
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import checked

if TYPE_CHECKING:
    from gymnasium.spaces import Box


@checked
def from_gymnasium_space(space: object, start: str = "normal", scale: float = 1.0) -> Space:
    """The space of solutions that are elements of a gymnasium space.

    ``Box`` becomes an array in its bounds, or without bounds where it has none: 8e37 and
    more is none. ``Discrete`` becomes a category of its values, ``MultiDiscrete`` a tuple
    of such, ``MultiBinary`` a tuple of the integers 0 and 1, each nested as their shape
    says; ``Dict`` a dict and ``Tuple`` a tuple. The ends of a ``Box`` of integers are half
    as frequent as what is between them, as of every array of integers.

    Args:
        space: of ``gymnasium.spaces``.
        start: of the space, see :class:`diffevo_jax.problems.Space`.
        scale: of arrays without bounds.

    Returns:
        A space, whose ``as_python`` gives elements, but for ``MultiDiscrete`` and
        ``MultiBinary``, which are tuples; ``np.asarray`` makes elements of them.

    Raises:
        ImportError: gymnasium is not installed.
        TypeError: it is a space of another kind: of text, of sequences, of graphs.
        ValueError: a box has bounds for some of its numbers, or at one side.

    Example:
        >>> import gymnasium, jax.numpy as jnp
        >>> from diffevo_jax.interop.gymnasium import from_gymnasium_space
        >>> space = from_gymnasium_space(gymnasium.spaces.Dict({
        ...     "gear": gymnasium.spaces.Discrete(3, start=1),
        ...     "wheel": gymnasium.spaces.Box(-1.0, 1.0, (2,))}))
        >>> space.names
        ('gear', 'wheel[0]', 'wheel[1]')
        >>> space.as_python(space.decode(jnp.zeros((1, 5))))
        [{'gear': 1, 'wheel': array([0., 0.], dtype=float32)}]
    """
    try:
        import gymnasium  # noqa: F401
    except ImportError as error:
        raise ImportError("interop.gymnasium needs gymnasium: install gymnasium") from error
    example, lower, upper = _parts("space", space)
    ends = {"lower": lower, "upper": upper} if jax.tree.leaves(lower) else {}
    found = Space(example, scale, **ends, start=start)
    validation.validate(found)
    return found


def _parts(name: str, space: object) -> tuple[PyTree, PyTree, PyTree]:
    """Example, lower and upper bounds, None where there are none."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        each = {k: _parts(f"{name}[{k!r}]", v) for k, v in space.spaces.items()}
        dicts = [{k: v[i] for k, v in each.items()} for i in range(3)]
        return dicts[0], dicts[1], dicts[2]
    if isinstance(space, spaces.Tuple):
        rows = [_parts(f"{name}[{i}]", v) for i, v in enumerate(space.spaces)]
        tuples = [tuple(row[i] for row in rows) for i in range(3)]
        return tuples[0], tuples[1], tuples[2]
    if isinstance(space, spaces.Box):
        return _box(name, space)
    if isinstance(space, spaces.Discrete):
        return _category(int(space.start), int(space.n)), None, None
    if isinstance(space, spaces.MultiDiscrete):
        pairs = zip(np.ravel(space.start), np.ravel(space.nvec), strict=True)
        leaves: list[Variable] = [_category(int(n), int(count)) for n, count in pairs]
    elif isinstance(space, spaces.MultiBinary):
        leaves = [Integer(0, 1) for _ in range(math.prod(space.shape))]
    else:
        want = "a Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"
        raise TypeError(f"{name}: got {space!r}, want {want}")
    none = _nested([None] * len(leaves), space.shape)
    return _nested(leaves, space.shape), none, none


def _category(first: int, count: int) -> Categorical | Fixed:
    return Categorical(range(first, first + count)) if count > 1 else Fixed(first)


def _box(name: str, space: "Box") -> tuple[PyTree, PyTree, PyTree]:
    example = jax.ShapeDtypeStruct(space.shape, space.dtype)
    ends = np.stack([np.asarray(space.low), np.asarray(space.high)])
    bounded = np.abs(ends.astype(np.float64)) < FARTHEST
    if bounded.all():
        return example, ends[0], ends[1]
    if bounded.any():
        want = "bounds at both sides of all its numbers, or none"
        raise ValueError(f"{name}: got {space!r}, want {want}")
    return example, None, None


def _nested(leaves: Sequence[PyTree], shape: tuple[int, ...]) -> PyTree:
    """A flat list as nested tuples of a shape."""
    for size in reversed(shape[1:]):
        leaves = [tuple(leaves[i : i + size]) for i in range(0, len(leaves), size)]
    return tuple(leaves)
