"""The different good solutions of a run, as a table."""

import csv
import importlib
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.pytree.files import written_whole
from diffevo_jax.pytree.records import extra
from diffevo_jax.running import final, judged, peaks
from diffevo_jax.running.arguments import evaluates_on_host
from diffevo_jax.running.evolution import Result

if TYPE_CHECKING:
    import pandas

#: Most rows, and most columns of a solution, that are printed.
_ROWS, _COLUMNS = 20, 8
#: Points that a problem gets at a time; fewer are filled up to a power of two.
_BATCH = 1024


@runtime_checkable
class Naming(Protocol):
    """A space that names its numbers, as :class:`diffevo_jax.problems.Space` does."""

    def named(self, solutions: PyTree) -> Mapping[str, np.ndarray]:
        """Solutions as columns ``(N,)``."""
        ...


@pytree.dataclass
class Solutions:
    """K different solutions, from the best to the worst; see :func:`solutions`.

    Attributes:
        points: (K, D) unit scale; a population to go on from.
        solutions: decoded: a pytree whose leaves have leading axis K.
        named: the numbers of the solutions by name, (K,) each; categories are choices.
        fitness: (K,); of a noisy problem the mean of new evaluations, if any were allowed.
        violation: (K,) at most 0 where feasible; None if the problem says nothing.
        measures: a pytree with leading axis K; NaN of the record holder, if it is not in
            the last generation.
        count: (K,) int, how many individuals of the last generation stand for each; 0 for
            a record holder that has left it.
        num_evaluations: () int, how many were made to tell them apart, and to judge them.
        standard_error: (K,) of the fitness of a noisy problem: infinite if that is of one
            evaluation; None without noise.

    Example:
        >>> import numpy as np, diffevo_jax as de
        >>> x, fitness = np.array([[-1.5], [1.0]]), np.array([0.25, -0.5])
        >>> de.Solutions(  # as of de.solutions
        ...     points=x, solutions=x, named={"x": x[:, 0]}, fitness=fitness,
        ...     violation=None, measures=(), count=np.array([3, 2]), num_evaluations=0)
        different solutions: 2
        fitness  feasible  count     x
           0.25      True      3  -1.5
           -0.5      True      2     1
    """

    points: np.ndarray
    solutions: PyTree
    named: dict[str, np.ndarray]
    fitness: np.ndarray
    violation: np.ndarray | None
    measures: PyTree
    count: np.ndarray
    num_evaluations: Index
    standard_error: np.ndarray | None = None

    def check(self) -> None:
        """Raise TypeError or ValueError if the columns are not of numbers."""
        for name in ("points", "fitness", "count"):
            dtype = vars(self)[name].dtype
            if dtype.kind not in "fiu":
                raise TypeError(f"Solutions.{name}: got {dtype}, want real numbers")
        if self.num_evaluations < 0:
            got = self.num_evaluations
            raise ValueError(f"Solutions.num_evaluations: got {got}, want at least 0")

    def __len__(self) -> int:
        """K."""
        return len(self.fitness)

    def __repr__(self) -> str:
        """The table, its first rows and columns."""
        columns = self.columns()
        names = [*list(columns)[:_COLUMNS], *["..."] * (len(columns) > _COLUMNS)]
        rows = [
            [_told(columns[name][row]) if name in columns else "" for name in names]
            for row in range(min(len(self), _ROWS))
        ]
        widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in (names, *rows)
        ]
        rest = [f"and {len(self) - _ROWS} more"] * (len(self) > _ROWS)
        error = self.standard_error
        lucky = 0 if error is None else int(np.isinf(error).sum())
        warned = [f"{lucky} judged by one noisy evaluation: lucky"] * (lucky > 0)
        title = ", ".join([f"different solutions: {len(self)}", *warned])
        return "\n".join([title, *lines, *rest])

    def columns(self) -> dict[str, np.ndarray]:
        """All columns by name, each (K,).

        First ``fitness``, ``standard_error`` (of a noisy problem), ``violation`` (if there
        is one), ``feasible`` and ``count``; then
        the numbers of a solution by their paths (``x[0]`` of a vector, ``w[0,1]`` or
        ``layer.bias[2]`` of a pytree); then ``measures``.
        """
        error = self.standard_error
        errors = {} if error is None else {"standard_error": error}
        violation = {} if self.violation is None else {"violation": self.violation}
        limit = np.zeros(len(self)) if self.violation is None else self.violation
        return {
            "fitness": self.fitness,
            **errors,
            **violation,
            "feasible": limit <= 0.0,
            "count": self.count,
            **self.named,
            **solution_columns(self.measures, "measures"),
        }

    def to_pandas(self) -> "pandas.DataFrame":
        """A row a solution, the columns of :meth:`columns`; needs pandas."""
        try:
            frames = importlib.import_module("pandas")
        except ImportError as error:
            raise ImportError(f"a DataFrame needs pandas: {extra('sweep')}") from error
        return frames.DataFrame(self.columns())

    def to_csv(self, path: str | Path) -> None:
        """Write the table, whole or not at all; numbers are read back as they were."""
        columns = self.columns()
        with (
            written_whole(path) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))


@checked
def solutions(
    problem: Problem,
    result: Result,
    *,
    key: jax.Array | None = None,
    num_evaluations: Index = 0,
    within: float = 0.1,
    num_between: int = 5,
    num_repeats: int = 16,
    phi: float = peaks.PHI,
) -> Solutions:
    """List the different good solutions of a run: the best one of every peak.

    Of the last generation and the record holder, those that are good are put together by
    peaks, and the best of each peak is listed. Every point hangs on its nearest better one.
    Without evaluations an edge that is longer than ``phi`` times the mean one leads to
    another peak, a guess that needs tens of individuals a peak. With evaluations, points
    between the two ends are evaluated where the edge is longer than the mean one: it leads
    to another peak if one of them is worse than both ends. Prefer this wherever an
    evaluation is cheap; some 50 for every peak are plenty.

    If the problem says that it is noisy (:class:`diffevo_jax.base.Noisy`), the fitness that
    the run has seen only proposes, and with evaluations all else is judged anew: who is
    good, whether there is a valley beyond chance, and the fitness that is listed, with its
    standard error, by evaluations that had no part in the choice. Some 1000 for every peak
    are plenty. Without evaluations the listed fitness is a lucky one; its standard error is
    infinite then.

    Distances are those of the unit scale, in which a box has the same width along every
    number. Runs on the host. For several runs under ``vmap`` call it once for each.

    Args:
        problem: of the run.
        result: of :func:`diffevo_jax.evolve` or :func:`diffevo_jax.run`, of one run.
        key: for the evaluations; needed if there are any.
        num_evaluations: at most so many; 0 compares what was evaluated.
        within: who is good: what has lost at most this share of the way from the mean
            fitness of the first generation up to the best, in [0, 1]. 0 lists what is as
            good as the best alone, 1 whatever is better than that mean.
        num_between: points between two, >= 1.
        num_repeats: evaluations of each point if the problem is noisy, >= 2; valleys about
            as deep as the noise of one evaluation are found by 16.
        phi: see above, > 0; infinity cuts nothing that is not tested.

    Returns:
        The table; empty if every evaluation failed.

    Raises:
        ValueError: a number is out of range, the result is of several runs or of another
            problem, evaluations are allowed without a key, or fewer than judging one
            solution takes, ``2 num_repeats``.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> two = lambda x: -jnp.minimum(((x - 1) ** 2).sum(), ((x + 1) ** 2).sum())
        >>> problem, key = de.problems.Function(two, dim=2), jax.random.key(0)
        >>> strategy = de.DiffusionEvolution.for_several(50)
        >>> result = de.evolve(key, strategy, problem, population_size=128)
        >>> found = de.solutions(problem, result, key=key, num_evaluations=200)
        >>> len(found), sorted(found.solutions[:, 0].round(1).tolist())
        (2, [-1.0, 1.0])

    References:
        Preuss, 2010 and 2012 (nearest-better clustering, rule 1); Ursem, 1999, and Maree
        et al., 2018, HillVallEA (valley tests).

    Notes:
        Under noise two solutions are one unless a valley is found at a level of 5 %: noise
        that hides a peak is a reason for more repeats. Measures stay those of the run.

        HillVallEA tests every individual; here the edges of more than the mean length are
        tested, and the best of each peak against the four nearest better ones.
    """
    _check(problem, result, key, num_evaluations, within, num_between, phi)
    noisy = final.is_noisy(problem)
    anew = noisy and num_evaluations > 0
    if noisy:
        _check_repeats(num_evaluations, num_repeats)
    points, fitness, violation, origin = _evaluated(result)
    valid = _feasible(fitness, violation)
    good = valid if anew else _good(valid, fitness, result, within)
    size = len(result.population)
    kept, weight = _without_duplicates(problem, points, fitness, origin, good, size)
    points, fitness, violation, origin = (
        part[kept] for part in (points, fitness, violation, origin)
    )
    known = np.inf if result.final is None else np.asarray(result.final.standard_error)
    error = np.where(origin < 0, known, np.inf)
    calls = itertools.count()

    def evaluate(some: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        assert key is not None
        new = jax.random.fold_in(key, next(calls)) if noisy else key
        return _in_batches(new, problem, result.problem_state, some)

    if anew and len(points):
        found = judged.by_sure_valleys(
            points,
            evaluate,
            lambda mean, excess: _good(_feasible(mean, excess), mean, result, within),
            num_evaluations,
            num_between,
            num_repeats,
            phi,
        )
    else:
        found = _at_their_word(
            points, fitness, error, evaluate, num_evaluations, num_between, phi
        )
    heads, counted = found.heads, found.root >= 0
    if found.violation is not None:
        violation[heads] = found.violation
    number = np.bincount(found.root[counted], weight[counted], len(points))
    decoded = jax.tree.map(np.asarray, problem.space.decode(jnp.asarray(points[heads])))
    named = pytree.offers(problem.space, Naming)
    return Solutions(
        points=points[heads],
        solutions=decoded,
        named=dict(problem.space.named(decoded) if named else solution_columns(decoded)),
        fitness=found.moments.mean,
        violation=None if result.violation is None else violation[heads],
        measures=_rows(result.measures, origin[heads]),
        count=number[heads].astype(int),
        num_evaluations=found.num_evaluations,
        standard_error=found.moments.error if noisy else None,
    )


def _at_their_word(
    points: np.ndarray,
    fitness: np.ndarray,
    error: np.ndarray,
    evaluate: judged.Evaluate,
    num_evaluations: int,
    num_between: int,
    phi: float,
) -> judged.Judged:
    """The different peaks of points (N, D), their fitness taken as it is."""
    if num_evaluations:
        root, used = peaks.by_valleys(
            points,
            fitness,
            lambda some: _or_valley(*evaluate(some)),
            num_evaluations,
            num_between,
            phi,
        )
    else:
        tree = peaks.nearest_better(points)
        root, used = peaks.roots(tree, peaks.cut_long(tree, phi)), 0
    heads = np.unique(root)
    one = np.ones(len(heads))
    moments = judged.Moments(fitness[heads], error[heads], one)
    return judged.Judged(heads, root, moments, None, used)


def solution_columns(solutions: PyTree, whole: str = "x") -> Mapping[str, np.ndarray]:
    """The numbers of K solutions, by their paths, each (K,).

    Args:
        solutions: a pytree whose leaves have leading axis K.
        whole: name of a leaf that is the whole pytree, and what others begin with if it is
            not ``"x"``.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import distinct
        >>> list(distinct.solution_columns({"rate": np.ones(3), "w": np.ones((3, 2))}))
        ['rate', 'w[0]', 'w[1]']
        >>> list(distinct.solution_columns(np.ones((3, 2))))
        ['x[0]', 'x[1]']
    """
    columns = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(solutions):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if whole != "x" and name:
            name = f"{whole}.{name}"
        values = np.asarray(leaf)
        for place in np.ndindex(values.shape[1:]):
            inside = f"[{','.join(map(str, place))}]" if place else ""
            columns[f"{name or whole}{inside}"] = values[:, *place]
    return columns


def _told(value: np.generic) -> str:
    return f"{value:.6g}" if isinstance(value, np.floating) else str(value)


def _check(
    problem: Problem,
    result: Result,
    key: jax.Array | None,
    num_evaluations: int,
    within: float,
    num_between: int,
    phi: float,
) -> None:
    shape = jnp.shape(result.population)
    if len(shape) != 2 or shape[1] != problem.space.dim:
        raise ValueError(
            f"result: got a population of shape {shape}, want (N, {problem.space.dim}), "
            "that of one run on this problem"
        )
    if not 0.0 <= within <= 1.0:
        raise ValueError(f"within: got {within}, want a share in [0, 1]")
    if not phi > 0.0:
        raise ValueError(f"phi: got {phi}, want a number above 0")
    if num_evaluations and key is None:
        raise ValueError(
            f"key: got None with num_evaluations={num_evaluations}, "
            "want a typed key such as jax.random.key(0)"
        )


def _check_repeats(num_evaluations: int, num_repeats: int) -> None:
    """Raise if a noisy problem's evaluations are not enough for one solution."""
    if num_repeats < 2:
        raise ValueError(f"num_repeats: got {num_repeats}, want an int >= 2")
    if 0 < num_evaluations < 2 * num_repeats:
        raise ValueError(
            f"num_evaluations: got {num_evaluations}, want 0 or at least "
            f"{2 * num_repeats}, num_repeats to judge and to report one noisy solution"
        )


def _evaluated(
    result: Result,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, fitness, violation, and the row in the population; -1 of the best.

    The best is the record holder, or what a final evaluation has chosen.
    """
    chosen = result.state.best_solution if result.final is None else result.final.solution
    points = np.concatenate([np.asarray(result.population), np.asarray(chosen)[None]])
    fitness = np.append(np.asarray(result.fitness), np.asarray(result.best_fitness))
    size = len(result.population)
    violation = np.zeros(size) if result.violation is None else result.violation
    violation = np.append(np.asarray(violation), np.asarray(result.best_violation))
    return points, fitness, violation, np.append(np.arange(size), -1)


def _feasible(fitness: np.ndarray, violation: np.ndarray) -> np.ndarray:
    """Which evaluations did not fail, and are feasible, (N,).

    If none is feasible, those of the least violation count.
    """
    valid = np.isfinite(fitness)
    if valid.any():
        excess = np.maximum(np.where(np.isnan(violation), np.inf, violation), 0.0)
        valid &= excess <= excess[valid].min()
    return valid


def _good(
    valid: np.ndarray, fitness: np.ndarray, result: Result, within: float
) -> np.ndarray:
    """Which of the valid are good enough, (N,)."""
    if not valid.any():
        return valid
    means = np.asarray(result.history.mean_fitness, np.float64)
    best, finite = np.float64(fitness[valid].max()), means[np.isfinite(means)]
    start = min(finite[0], best) if finite.size else best
    return valid & (fitness >= best - within * (best - start))


def _without_duplicates(
    problem: Problem,
    points: np.ndarray,
    fitness: np.ndarray,
    origin: np.ndarray,
    good: np.ndarray,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the good differ, from the best to the worst, and how many each stands for.

    Of equal solutions the best stands for all, and of equal fitness one of the population.
    Points that differ may be equal solutions, of integers and categories.
    """
    which = np.flatnonzero(good)
    by_origin = np.argsort(np.where(origin[which] < 0, size, origin[which]), kind="stable")
    which = which[by_origin]
    which = which[peaks.order(points[which], fitness[which])]
    decoded = jax.tree.leaves(problem.space.decode(jnp.asarray(points[which])))
    flat = [
        np.asarray(leaf).reshape(len(which), math.prod(leaf.shape[1:])) for leaf in decoded
    ]
    _, first, inverse = np.unique(
        np.concatenate(flat, axis=1), axis=0, return_index=True, return_inverse=True
    )
    weight = np.bincount(inverse.ravel(), origin[which] >= 0, len(first))
    by_fitness = np.argsort(first)
    return which[first[by_fitness]], weight[by_fitness]


def _rows(measures: PyTree, origin: np.ndarray) -> PyTree:
    """Measures of individuals; NaN of who is not in the population."""

    def rows(leaf: jax.Array) -> np.ndarray:
        values = np.asarray(leaf)[origin]
        if (origin >= 0).all():
            return values
        values = values.astype(np.result_type(values, np.float32))
        values[origin < 0] = np.nan
        return values

    return jax.tree.map(rows, measures)


def _or_valley(fitness: np.ndarray, violation: np.ndarray | None) -> np.ndarray:
    """Fitness (K,); what is not feasible is a valley."""
    return fitness if violation is None else np.where(violation <= 0, fitness, -np.inf)


def _in_batches(
    key: jax.Array, problem: Problem, problem_state: PyTree, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Fitness and violation of points (K, D), evaluated in few sizes, for few programs.

    On the host there is no program, and every evaluation costs.
    """
    fitness, violation, on_host = [], [], evaluates_on_host(problem)
    for number, start in enumerate(range(0, len(points), _BATCH)):
        some = points[start : start + _BATCH]
        size = min(_BATCH, max(64, 1 << (len(some) - 1).bit_length()))
        size = len(some) if on_host else size
        padded = np.concatenate([some, np.repeat(some[-1:], size - len(some), axis=0)])
        solutions = problem.space.decode(problem.space.repair(jnp.asarray(padded)))
        key_batch = jax.random.fold_in(key, number)
        evaluation, _ = problem.evaluate(key_batch, problem_state, solutions)
        fitness.append(np.asarray(evaluation.fitness)[: len(some)])
        if evaluation.violation is not None:
            violation.append(np.asarray(evaluation.violation)[: len(some)])
    return np.concatenate(fitness), np.concatenate(violation) if violation else None
