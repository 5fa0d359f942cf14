"""Which points are on different peaks: nearest-better clustering, and the valley test.

Points that were evaluated are the only knowledge. Every point but the best one hangs on
its nearest better one, which makes a tree; edges across a valley are cut, and what is left
together is a peak. Without evaluations the long edges are cut (Preuss, 2010); with some,
the edges that may cross a valley are walked along, and those that do are cut (Ursem, 1999).

Host code in NumPy. Distances are made a block of rows at a time.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

#: Rows of distances that are made at a time.
_ROWS = 512
#: An edge that is longer than the mean one by this factor is cut (rule 1).
PHI = 2.0
#: With evaluations, edges from about this factor on are doubtful, and are tested: a little
#: below 1, since of equal ones each is as long as the mean.
DOUBTFUL = 0.999
#: Better peaks to which each is compared after the edges.
NEAREST = 4
#: Fitness differences below so many units in the last place are rounding.
_ROUNDING = 16.0


class Tree(NamedTuple):
    """Every point and its nearest better one.

    Attributes:
        parent: (N,) int; of the first point, which has no better one, 0.
        length: (N,) distance to the parent; 0 of the first point.
    """

    parent: np.ndarray
    length: np.ndarray


def order(points: np.ndarray, fitness: np.ndarray) -> np.ndarray:
    """Indices of points (N, D) from the best to the worst, (N,).

    Ties are broken by the coordinates, so that the order of the rows does not matter.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import peaks
        >>> peaks.order(np.array([[2.0], [0.0], [1.0]]), np.array([1.0, 1.0, 3.0])).tolist()
        [2, 1, 0]
    """
    return np.lexsort((*points.T[::-1], -fitness))


def nearest_better(points: np.ndarray) -> Tree:
    """The tree of points (N, D) that stand from the best to the worst.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import peaks
        >>> tree = peaks.nearest_better(np.array([[0.0], [5.0], [4.0], [1.0]]))
        >>> tree.parent.tolist(), tree.length.tolist()
        ([0, 0, 1, 0], [0.0, 5.0, 1.0, 1.0])

    References:
        Preuss, 2010, Niching the CMA-ES via nearest-better clustering, section 3.
    """
    size = len(points)
    parent = np.zeros(size, int)
    if not size:
        return Tree(parent, np.zeros(0))
    centred = points - points.mean(axis=0)
    squares = np.sum(centred**2, axis=1)
    for start in range(0, size, _ROWS):
        rows = np.arange(start, min(start + _ROWS, size))
        stop = rows[-1] + 1
        squared = (
            squares[rows, None] + squares[:stop] - 2 * centred[rows] @ centred[:stop].T
        )
        squared[np.arange(stop) >= rows[:, None]] = np.inf  # itself, and the worse
        parent[rows] = np.argmin(squared, axis=1)
    return Tree(parent, np.linalg.norm(points - points[parent], axis=1))


def cut_long(tree: Tree, phi: float) -> np.ndarray:
    """Whether each edge is longer than ``phi`` times the mean one, (N,).

    References:
        Preuss, 2012, Improved topological niching for real-valued global optimization,
        rule 1; phi = 2 there.
    """
    edges = tree.length[1:]
    return tree.length > phi * (edges.mean() if edges.size else 0.0)


def roots(tree: Tree, cut: np.ndarray) -> np.ndarray:
    """For each point the best one of its peak, (N,).

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import peaks
        >>> tree = peaks.nearest_better(np.array([[0.0], [5.0], [4.0], [1.0]]))
        >>> peaks.roots(tree, tree.length > 2.0).tolist()
        [0, 1, 1, 0]
    """
    root = np.arange(len(cut))
    for index in range(1, len(cut)):
        if not cut[index]:
            root[index] = root[tree.parent[index]]
    return root


def between(start: np.ndarray, stop: np.ndarray, num_points: int) -> np.ndarray:
    """Points (K, num_points, D) evenly between those of two arrays (K, D), ends left out.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import peaks
        >>> peaks.between(np.array([[0.0]]), np.array([[4.0]]), 3)[0, :, 0].tolist()
        [1.0, 2.0, 3.0]
    """
    steps = (np.arange(1, num_points + 1) / (num_points + 1))[:, None]
    return start[:, None] + steps * (stop - start)[:, None]


def has_valley(inner: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Whether a point between two is worse than both of them, (K,).

    Args:
        inner: (K, P) fitness of the points between; one that failed, NaN or infinite, is
            a valley.
        lower: (K,) fitness of the worse of the two ends.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import peaks
        >>> peaks.has_valley(np.array([[2.0, 0.5], [2.0, 1.5]]), np.ones(2)).tolist()
        [True, False]

    References:
        Ursem, 1999, Multinational evolutionary algorithms, section 3.1.

    Notes:
        Differences of 16 units in the last place of a float32 are rounding, and no valley.
    """
    slack = _ROUNDING * np.finfo(np.float32).eps * np.abs(lower)
    return np.any(~np.isfinite(inner) | (inner < (lower - slack)[:, None]), axis=1)


def by_valleys(
    points: np.ndarray,
    fitness: np.ndarray,
    evaluate: Callable[[np.ndarray], np.ndarray],
    num_evaluations: int,
    num_between: int,
    phi: float,
) -> tuple[np.ndarray, int]:
    """For each point the best one of its peak, with valley tests, and what they cost.

    Edges of more than the mean length are tested, the longest first; then the best of
    each peak is compared with the nearest better ones, since the peak of the nearest better
    point need not be its own. What the evaluations are not enough for, the length decides.

    Args:
        points: (N, D) from the best to the worst.
        fitness: (N,).
        evaluate: from points (K, D) to fitness (K,).
        num_evaluations: at most.
        num_between: points between two.
        phi: see :func:`cut_long`.

    Returns:
        (N,) int, and how many evaluations were made.

    References:
        Maree, Alderliesten, Thierens, Bosman, 2018, Real-valued evolutionary multi-modal
        optimization driven by hill-valley clustering, algorithm 1.
    """

    def valleys(some: np.ndarray, better: np.ndarray) -> np.ndarray:
        inner = between(points[some], points[better], num_between)
        values = evaluate(inner.reshape(-1, points.shape[1]))
        return has_valley(values.reshape(len(some), num_between), fitness[some])

    tree = nearest_better(points)
    cut = cut_long(tree, phi)
    doubtful = np.flatnonzero(cut_long(tree, min(DOUBTFUL, phi)))
    longest = doubtful[np.argsort(-tree.length[doubtful], kind="stable")]
    # half for the edges: a peak that was cut off wrongly is found again, one that was
    # swallowed is not, so that what is left goes to the second look
    tested = longest[: num_evaluations // (2 * num_between)]
    used = len(tested) * num_between
    if len(tested):
        cut[tested] = valleys(tested, tree.parent[tested])
    root = roots(tree, cut)
    heads = np.unique(root)
    pairs = nearest_better_heads(points, heads, (num_evaluations - used) // num_between)
    if not len(pairs):
        return root, used
    joins = joined(heads, pairs[~valleys(pairs[:, 0], pairs[:, 1])])
    root = np.array([joins[one] for one in root])
    return root, used + len(pairs) * num_between


def joined(heads: np.ndarray, pairs: np.ndarray) -> dict[int, int]:
    """Whose peak each head is on, if pairs (P, 2) of a head and a better one are on one.

    Args:
        heads: (K,) from the best to the worst.
        pairs: of several of a head the first counts.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import peaks
        >>> pairs = np.array([[5, 3], [3, 0], [5, 2]])
        >>> {int(k): int(v) for k, v in peaks.joined(np.array([0, 2, 3, 5]), pairs).items()}
        {5: 0, 3: 0, 0: 0, 2: 2}
    """
    joins = dict(pairs[::-1].tolist())  # of several the nearest, which is first
    for head in heads.tolist():  # from the best: the one that it joins has joined already
        joins[head] = joins.get(joins.get(head, head), joins.get(head, head))
    return joins


def nearest_better_heads(
    points: np.ndarray, heads: np.ndarray, num_pairs: int
) -> np.ndarray:
    """Pairs (P, 2) of a head and a better one, for each its nearest ones, nearest first."""
    ranked = []
    for number, head in enumerate(heads):
        distance = np.linalg.norm(points[heads[:number]] - points[head], axis=1)
        near = np.argsort(distance, kind="stable")[:NEAREST]
        ranked += [(rank, head, heads[one]) for rank, one in enumerate(near)]
    chosen = sorted(ranked, key=lambda pair: pair[0])[: max(num_pairs, 0)]
    return np.array([pair[1:] for pair in chosen], int).reshape(-1, 2)
