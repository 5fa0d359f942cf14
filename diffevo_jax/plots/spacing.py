"""How the values of an axis are spaced: evenly, geometrically, or as names are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Cells(NamedTuple):
    """An axis of a map.

    Attributes:
        values: what was swept, each once.
        places: (K,) where they stand.
        edges: (K + 1,) between them.
        spacing: ``"even"``, ``"geometric"``, or ``"names"``: cells of equal size.
    """

    values: tuple[float | str, ...]
    places: np.ndarray
    edges: np.ndarray
    spacing: str


def cells(values: Sequence[float | str]) -> Cells:
    """The axis of some values: even, geometric, or a cell a name.

    Example:
        >>> from diffevo_jax.plots import spacing
        >>> spacing.cells([1.0, 0.1, 10.0]).spacing
        'geometric'
        >>> spacing.cells([1.0, 2.0, 3.0]).edges.tolist()
        [0.5, 1.5, 2.5, 3.5]
        >>> spacing.cells(["tempered", "gaussian"]).edges.tolist()
        [-0.5, 0.5, 1.5]
    """
    once = tuple(dict.fromkeys(values))
    if not any(isinstance(value, str) for value in once):
        once = tuple(sorted(once))
        numbers = np.array(once, float)
        if len(once) > 1 and _even(numbers):
            return Cells(once, numbers, _between(numbers), "even")
        if len(once) > 2 and numbers[0] > 0 and _even(np.log(numbers)):
            return Cells(once, numbers, np.exp(_between(np.log(numbers))), "geometric")
    places = np.arange(len(once), dtype=float)
    return Cells(once, places, np.append(places, len(once)) - 0.5, "names")


def _even(numbers: np.ndarray) -> bool:
    """Whether the gaps are equal, to a hundredth: values are often rounded.

    Of numbers so large that an edge beside them may be infinite they are not.
    """
    if not (np.abs(numbers) < np.finfo(float).max / 4).all():
        return False
    gaps = np.diff(numbers)
    return bool(np.ptp(gaps) <= 0.01 * np.abs(gaps).max())


def _between(numbers: np.ndarray) -> np.ndarray:
    middle = (numbers[1:] + numbers[:-1]) / 2
    first, last = 2 * numbers[0] - middle[0], 2 * numbers[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])
