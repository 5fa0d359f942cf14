"""Different peaks under noise: judged anew, and apart only where that is beyond chance.

The best of a group of noisy evaluations is the luckiest, and whatever lies between two
lucky ones looks like a valley. So the fitness that a run has seen only proposes: the best
of each group of nearest-better clustering is evaluated again, several times, as are the
points between two of them; two are different if a point between them is lower than the
lower one by Welch's test; and what is listed is evaluated once more, for what is reported,
by evaluations that had no part in its choice.

Host code in NumPy, like :mod:`diffevo_jax.running.peaks`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from diffevo_jax.running import peaks

#: Chance that two on one peak are told apart, for each pair.
LEVEL = 0.05
#: At most this part of the evaluations goes to judging the proposed.
_JUDGING = 4

#: From points (M, D) to fitness (M,) and violation (M,) or None, by new keys at every call.
Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


class Moments(NamedTuple):
    """Means of repeated evaluations, what failed left out.

    Attributes:
        mean: -inf if all failed.
        error: standard error of the mean; infinite if fewer than two succeeded.
        number: how many succeeded.
    """

    mean: np.ndarray
    error: np.ndarray
    number: np.ndarray


class Judged(NamedTuple):
    """What is listed: K of the points, from the best to the worst.

    Attributes:
        heads: (K,) int, which points.
        root: (N,) int, for each point who is listed for its peak, -1 if nobody is.
        moments: of the reported fitness, (K,) each.
        violation: (K,) mean of the reporting evaluations; None if all are feasible.
        num_evaluations: how many were made.
    """

    heads: np.ndarray
    root: np.ndarray
    moments: Moments
    violation: np.ndarray | None
    num_evaluations: int


def moments(values: np.ndarray) -> Moments:
    """Of ``(..., R)`` values along the last axis.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import judged
        >>> judged.moments(np.array([[1.0, 3.0, np.nan]])).mean.tolist()
        [2.0]
    """
    known = np.isfinite(values)
    number, values = known.sum(axis=-1), np.asarray(values, np.float64)
    mean = np.where(known, values, 0.0).sum(axis=-1) / np.maximum(number, 1)
    squares = np.where(known, values - mean[..., None], 0.0) ** 2
    variance = squares.sum(axis=-1) / np.maximum(number - 1, 1)
    error = np.sqrt(variance / np.maximum(number, 1))
    return Moments(
        mean=np.where(number > 0, mean, -np.inf),
        error=np.where(number > 1, error, np.inf),
        number=number,
    )


def has_sure_valley(inner: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Whether a point between two is worse than the worse of them, beyond chance, (K,).

    One-sided tests of Welch, one for each point, at :data:`LEVEL` divided by their number.
    A point where all evaluations failed is a valley.

    Args:
        inner: (K, P, R) fitness of the points between, R evaluations each.
        lower: (K, R) fitness of the worse of the two ends, evaluations of its own.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import judged
        >>> lower = np.array([[0.0, 1.0, 0.0, 1.0]])
        >>> judged.has_sure_valley(np.array([[[-9.0, -8.0, -9.0, -8.0]]]), lower).tolist()
        [True]
        >>> judged.has_sure_valley(np.array([[[0.0, 1.0, -1.0, 0.0]]]), lower).tolist()
        [False]

    References:
        Welch, 1947, The generalization of "Student's" problem when several different
        population variances are involved; the valley test is Ursem's, 1999.
    """
    from scipy.special import stdtr

    at, end = moments(inner), Moments(*(part[:, None] for part in moments(lower)))
    with np.errstate(divide="ignore", invalid="ignore"):
        share, other = at.error**2, end.error**2
        statistic = (at.mean - end.mean) / np.sqrt(share + other)
        degrees = (share + other) ** 2 / (
            share**2 / (at.number - 1) + other**2 / (end.number - 1)
        )
        chance = stdtr(degrees, statistic)
    equal = share + other == 0.0  # all evaluations alike: there is no noise here
    chance = np.where(equal, np.where(at.mean < end.mean, 0.0, 1.0), chance)
    sure = np.nan_to_num(chance, nan=1.0) < LEVEL / inner.shape[1]
    return np.any(sure | (at.number == 0), axis=1)


def by_sure_valleys(
    points: np.ndarray,
    evaluate: Evaluate,
    is_good: Callable[[np.ndarray, np.ndarray], np.ndarray],
    num_evaluations: int,
    num_between: int,
    num_repeats: int,
    phi: float,
) -> Judged:
    """The different peaks of points whose fitness is noisy, and what they are worth.

    Proposed is the best point of each group that long edges leave, at most so many that
    judging them takes a quarter of the evaluations. Of those that are good when judged,
    each is tested against its nearest better ones; what the evaluations are not enough for
    stays apart. The best of each peak is evaluated once more and reported.

    Args:
        points: (N, D) from the best to the worst, by their noisy fitness.
        evaluate: see :data:`Evaluate`.
        is_good: from fitness (K,) and violation (K,), both means, to whether each counts.
        num_evaluations: at most, at least twice ``num_repeats``.
        num_between: points between two.
        num_repeats: evaluations of each point, >= 2.
        phi: see :func:`diffevo_jax.running.peaks.cut_long`.
    """

    def repeated(some: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        fitness, violation = evaluate(np.repeat(some, num_repeats, axis=0))
        shape = (len(some), num_repeats)
        excess = None if violation is None else np.reshape(violation, shape)
        return np.reshape(fitness, shape), excess

    tree = peaks.nearest_better(points)
    group = peaks.roots(tree, peaks.cut_long(tree, phi))
    most = max(num_evaluations // (_JUDGING * num_repeats), 1)
    heads = np.unique(group)[:most]
    values, violation = repeated(points[heads])
    used, fitness = values.size, moments(values).mean
    excess = np.zeros(len(heads)) if violation is None else _mean(violation, values)
    ranked = peaks.order(points[heads], fitness)
    ranked = ranked[is_good(fitness, excess)[ranked]]
    heads = heads[ranked]

    # whoever stands high was lucky in being judged: the ends of the tests, and what is
    # reported, are evaluated anew
    left = num_evaluations - used - 2 * len(heads) * num_repeats
    numbers = np.arange(len(heads))
    pairs = peaks.nearest_better_heads(
        points[heads], numbers, left // (num_between * num_repeats)
    )
    top = dict(zip(numbers.tolist(), numbers.tolist(), strict=True))
    if len(pairs):
        inner = peaks.between(
            points[heads[pairs[:, 0]]], points[heads[pairs[:, 1]]], num_between
        )
        at, outside = repeated(inner.reshape(-1, points.shape[1]))
        if outside is not None:
            at = np.where(outside <= 0, at, -np.inf)
        ends, _ = repeated(points[heads])
        used += at.size + ends.size
        at = at.reshape(len(pairs), num_between, num_repeats)
        apart = has_sure_valley(at, ends[pairs[:, 0]])
        top |= peaks.joined(numbers, pairs[~apart])

    tops = np.unique([top[number] for number in numbers.tolist()]).astype(int)
    values, violation = repeated(points[heads[tops]])
    reported = moments(values)
    first = np.argsort(-reported.mean, kind="stable")
    listed = np.full(len(points), -1)
    listed[heads] = heads[[top[number] for number in numbers.tolist()]]
    return Judged(
        heads=heads[tops][first],
        root=listed[group],
        moments=Moments(*(part[first] for part in reported)),
        violation=None if violation is None else _mean(violation, values)[first],
        num_evaluations=used + values.size,
    )


def _mean(violation: np.ndarray, fitness: np.ndarray) -> np.ndarray:
    """Mean violation (K,) of (K, R) evaluations, those that failed left out."""
    return moments(np.where(np.isfinite(fitness), violation, np.nan)).mean
