"""Results in files: how a run went and what it found, to be looked at by anybody later.

The file is a sealed npz file (:mod:`diffevo_jax.pytree.archives`). ``numpy.load`` reads its
arrays by name, ``history.mean_fitness`` or ``recorded.population``, also where this library
is not; its ``meta`` is JSON with the configuration and the versions. Nothing in it is a
pickle, and no name in it is imported.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Info, Problem, PyTree, Strategy
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import archives, saved, skeletons
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.files import check_writable, written_whole
from diffevo_jax.pytree.records import plain, versions
from diffevo_jax.running.arguments import evaluates_on_host
from diffevo_jax.running.distinct import Naming, solution_columns
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.final import FinalEvaluation, is_noisy
from diffevo_jax.running.surfaces import heights

KIND = "result"
#: Points of a plane along each of its two axes.
GRID = 96
#: Solutions, with leading axis K, as columns (K,) by name.
Columns = Callable[[PyTree], Mapping[str, np.ndarray]]


@pytree.dataclass
class EndState:
    """What a result needs of the strategy's state, which is not in the file.

    Attributes:
        generation: () int32, rounds evaluated.
        best_solution: (D,) the record of all evaluations, unit scale.
        best_fitness: () its fitness.
        best_violation: () its violation.
        done: () bool, whether it was at its end.
    """

    generation: PyTree
    best_solution: PyTree
    best_fitness: PyTree
    best_violation: PyTree
    done: PyTree


@pytree.dataclass
class Plane:
    """A problem of two numbers, where its population went, in the units of its solutions.

    Attributes:
        points: (T, N, 2) recorded populations, decoded; of R runs (R, T, N, 2).
        lower: (2,) of what is shown.
        upper: (2,) of what is shown.
        height: (96, 96) fitness from ``lower`` to ``upper``, rows along the second number;
            None where it would be noisy, or evaluated on the host.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(3)
        >>> result = de.evolve(
        ...     jax.random.key(0), strategy, problem, population_size=8,
        ...     record=("population",))
        >>> path = tempfile.mkdtemp() + "/result.npz"
        >>> de.save(path, result, problem=problem)
        >>> plane = de.load(path).plane
        >>> plane.points.shape, plane.height.shape
        ((3, 8, 2), (96, 96))
    """

    points: PyTree
    lower: PyTree
    upper: PyTree
    height: PyTree


@dataclasses.dataclass(frozen=True, eq=False)
class Saved:
    """A result from a file, and what is said of it.

    Attributes:
        result: as it was saved, with NumPy arrays. Its state is an :class:`EndState`, and
            there is no problem state. Classes of a user's own are dicts.
        config: the strategy, the problem and the notes, as strict JSON has them.
        words: choices of the best solution of each run, by the name of their category.
        solutions: the last population, decoded; None if it was saved without its problem.
        plane: of a problem of two numbers whose populations were recorded; else None.
        noisy: whether fitness depends on luck; None if that was not said.
        command: that made it; empty if none did.
        versions: of the packages that made it.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(3)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=8)
        >>> path = tempfile.mkdtemp() + "/result.npz"
        >>> de.save(path, result, strategy=strategy, command="python first.py")
        >>> saved = de.load(path)
        >>> saved.command, saved.config["strategy"]["num_generations"], saved.noisy
        ('python first.py', 3, None)
    """

    result: Result
    config: dict[str, Any]
    words: dict[str, list[str]]
    solutions: PyTree
    plane: Plane | None
    noisy: bool | None
    command: str
    versions: dict[str, str]

    @property
    def named(self) -> dict[str, np.ndarray]:
        """The numbers of the best solution by name, of each of R runs, or of one."""
        words = {name: np.array(values) for name, values in self.words.items()}
        return _columns(self.result, solution_columns) | words

    def __repr__(self) -> str:
        """The result; the rest is in its fields."""
        return f"Saved(result={self.result!r})"


@checked
def save(
    path: str | Path,
    result: Result,
    *,
    strategy: Strategy | None = None,
    problem: Problem | None = None,
    notes: Mapping[str, object] = {},  # nobody writes to it
    command: str = "",
) -> None:
    """Save a result into one npz file, in whole or not at all.

    Everything is in it but the states of the strategy and of the problem: it is for
    looking at a run, not for going on with it, which a folder is for
    (``run(..., folder=)``). ``diffevo report`` makes a page of such files.

    Args:
        path: of the file, such as ``"result.npz"``; one that is there is replaced.
        result: of :func:`diffevo_jax.evolve` or :func:`diffevo_jax.run`, of one run or of
            R runs with a leading axis. What it has recorded is saved too;
            ``record=("population", "fitness")`` is what a film needs.
        strategy: of the run, for the configuration.
        problem: of the run: for the configuration, and to decode the last population. One
            of two numbers is evaluated on a grid of 96 x 96 points, if populations were
            recorded and it is neither noisy nor evaluated on the host, so that a film has
            a landscape.
        notes: more of the configuration, such as ``{"population_size": 256}``: components,
            numbers, strings, and lists and dicts of them.
        command: that made it, for people to repeat.

    Raises:
        TypeError: the result, or what it has recorded, holds something else than numbers.
        ValueError: the path cannot be written, or the problem is another one.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(3)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=8)
        >>> path = tempfile.mkdtemp() + "/result.npz"
        >>> de.save(path, result, strategy=strategy, problem=problem)
        >>> saved = de.load(path)
        >>> bool((saved.result.population == result.population).all())
        True
        >>> saved.config["problem"]["class"]
        'Landscape'
        >>> saved.result.reason
        'finished'
    """
    check_writable("path", Path(path))
    parts: dict[str, Any] = vars(result) | {
        "state": _end(result.state),
        "problem_state": (),
    }
    words: dict[str, Any] = {}
    if problem is not None:
        _check_dim(result, problem)
        words = _words(result, problem)
        parts["solutions"] = _decoded(problem, result.population)
        parts["plane"] = _plane(result, problem)
    outlines, arrays = {}, dict[str, np.ndarray]()
    for name, part in parts.items():
        outlines[name], found = skeletons.taken_apart(part, name)
        arrays |= found
    config = {"strategy": strategy, "problem": problem}
    text = {
        "schema": saved.SCHEMA,
        "kind": KIND,
        "versions": versions(),
        "config": plain(dict(notes) | {k: v for k, v in config.items() if v is not None}),
        "words": plain(words),
        "noisy": None if problem is None else is_noisy(problem),
        "command": command,
        "parts": outlines,
    }
    with written_whole(path, durable=True) as unfinished:
        archives.write_sealed(unfinished, arrays, text)


@checked
def load(path: str | Path) -> Saved:
    """Read a result that :func:`save` has written.

    Args:
        path: of the file.

    Returns:
        The result and what is said of it; ``load(path).result`` goes wherever a result
        goes, such as ``de.plots.learning_curve``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or a damaged one, or of a newer version.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(3)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=8)
        >>> path = tempfile.mkdtemp() + "/result.npz"
        >>> de.save(path, result, problem=problem, notes={"why": "a first look"})
        >>> saved = de.load(path)
        >>> saved.result.history.mean_fitness.shape, saved.config["why"], list(saved.named)
        ((3,), 'a first look', ['x[0]', 'x[1]'])
    """
    sealed = saved.read(path, KIND)
    text, archive = sealed
    try:
        parts = {
            name: skeletons.put_together(skeleton, archive)
            for name, skeleton in text["parts"].items()
        }
        solutions, plane = (parts.pop(name, None) for name in ("solutions", "plane"))
        final = parts.pop("final")
        result = Result(
            **{
                **parts,
                "history": Info(**parts["history"]),
                "state": EndState(**parts["state"]),
                "final": None if final is None else FinalEvaluation(**final),
            }
        )
        return Saved(
            result,
            text["config"],
            text["words"],
            solutions,
            None if plane is None else Plane(**plane),
            text["noisy"],
            text["command"],
            text["versions"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"path: got {path}, want a file of a result: {type(error).__name__} {error}"
        ) from error


def _end(state: PyTree) -> EndState:
    names = [field.name for field in dataclasses.fields(EndState)]
    return EndState(**{name: getattr(state, name) for name in names})


def _check_dim(result: Result, problem: Problem) -> None:
    dim, want = np.shape(result.population)[-1], problem.space.dim
    if dim != want:
        raise ValueError(
            f"problem: got one of {want} numbers for a result of {dim}, want the run's"
        )


def _decoded(problem: Problem, points: jax.Array) -> PyTree:
    """Points (..., D) in unit scale as solutions, with the same leading axes."""
    points = jnp.asarray(points)
    flat = problem.space.decode(points.reshape(-1, points.shape[-1]))
    whole = lambda leaf: np.asarray(leaf).reshape(*points.shape[:-1], *leaf.shape[1:])
    return jax.tree.map(whole, flat)


def _columns(result: Result, columns: Columns) -> dict[str, np.ndarray]:
    """The numbers of the best solution by name, of each of R runs, or of one."""
    best = jax.tree.map(np.asarray, result.best_solution)
    if not np.ndim(result.best_fitness):
        best = jax.tree.map(lambda leaf: leaf[None], best)
    return dict(columns(best))


def _words(result: Result, problem: Problem) -> dict[str, list[str]]:
    """Choices of the best solution, by the name of their category."""
    leaves = map(np.asarray, jax.tree.leaves(result.best_solution))
    whole = any(np.issubdtype(leaf.dtype, np.integer) for leaf in leaves)
    if not whole or not pytree.offers(problem.space, Naming):
        return {}
    named = _columns(result, problem.space.named)
    is_word = lambda values: values.dtype.kind not in "biuf"
    return {
        name: list(map(str, values)) for name, values in named.items() if is_word(values)
    }


def _plane(result: Result, problem: Problem) -> Plane | None:
    """Where the populations were, if the problem has two numbers and they are known."""
    paths = result.recorded.get("population")
    example = jax.eval_shape(problem.space.decode, jnp.zeros((1, problem.space.dim)))
    leaves = jax.tree.leaves(example)
    is_flat = all(jnp.issubdtype(leaf.dtype, np.floating) for leaf in leaves)
    if paths is None or not is_flat or sum(leaf.size for leaf in leaves) != 2:
        return None
    decoded = jax.tree.leaves(_decoded(problem, paths))
    lead = np.shape(paths)[:-1]
    points = np.concatenate([leaf.reshape(*lead, -1) for leaf in decoded], axis=-1)
    lower, upper = _extent(problem, points)
    height = None
    if not is_noisy(problem) and not evaluates_on_host(problem):
        ends = zip(lower, upper, strict=True)
        height = heights(problem, *(np.linspace(low, high, GRID) for low, high in ends))
    return Plane(points, lower, upper, height)


def _extent(problem: Problem, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box of a problem; else where most of the points (..., T, N, 2) have been.

    That is where nine of ten were along each number, and nearly all of the last generation,
    and a margin.
    """
    space, flat = problem.space, points.reshape(-1, 2)
    if isinstance(space, Space) and space.bounded:
        box = np.asarray(space.lowest, float), np.asarray(space.highest, float)
        if (flat >= box[0]).all() and (flat <= box[1]).all():  # as of a log scale not
            return box
    last = points[..., -1, :, :].reshape(-1, 2)
    ends = [
        np.quantile(flat, (0.05, 0.95), axis=0),
        np.quantile(last, (0.01, 0.99), axis=0),
    ]
    low, high = np.min(ends, axis=(0, 1)), np.max(ends, axis=(0, 1))
    margin = 0.08 * np.where(high > low, high - low, 1.0)
    return low - margin, high + margin
