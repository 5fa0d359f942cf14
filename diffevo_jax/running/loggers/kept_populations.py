"""Whole populations of some generations, kept in a folder."""

import re
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Info, PyTree
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.files import written_whole
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.loggers.following import Logger, Start, make_folder

#: Their files; the number is that of the generation.
_KEPT = re.compile(r"generation-(\d{8,})\.npz")


@checked
def populations(folder: str | Path, every: int) -> Logger:
    """Keep the population of every so many generations; read by :func:`read_populations`.

    One file ``generation-00000010.npz`` each, written whole: the population in unit scale,
    its fitness, its violation if there is one, and its measures. The first two are what
    :func:`diffevo_jax.run` takes to start from there, as ``population`` and ``fitness``. A
    run from the start, or one that goes on, removes those from where it starts on.

    Args:
        folder: where the files are; it is made if it is not there.
        every: generations, >= 1: those that it divides are kept. Each must be the end of a
            chunk, so ``chunk_size`` divides it, or is as long as the run.

    Returns:
        The logger. It raises ValueError when a run begins if a generation to be kept is
        within a chunk, where nobody sees it, or the folder cannot be written.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> folder, problem = tempfile.mkdtemp(), de.problems.Landscape("beale")
        >>> result = de.run(
        ...     jax.random.key(0), de.DiffusionEvolution(6), problem, population_size=8,
        ...     chunk_size=3, loggers=(de.loggers.populations(folder, every=3),))
        >>> kept = de.loggers.read_populations(folder)
        >>> kept.generation, kept.population.shape
        (array([3, 6]), (2, 8, 2))
    """
    return _Populations(Path(folder).expanduser().absolute(), every)


@pytree.dataclass
class Populations:
    """Populations of some generations of a run; of many runs with a leading run axis (R,).

    Attributes:
        generation: (G,) their numbers, from 1; without a run axis.
        population: (G, N, D) in unit scale; ``problem.space.decode`` makes solutions of it.
        fitness: (G, N).
        violation: (G, N), or None if the problem has none.
        measures: by name, (G, N, ...) each: ``""`` of a single array, a path such as
            ``"terminated"`` of one within others.

    Example:
        >>> import numpy as np, diffevo_jax as de
        >>> population, fitness = np.zeros((2, 2, 4)), np.array([[1.0, 5.0], [7.0, 3.0]])
        >>> kept = de.loggers.Populations(  # as of read_populations
        ...     np.array([10, 20]), population, fitness, violation=None, measures={})
        >>> dict(zip(kept.generation.tolist(), kept.fitness.mean(axis=1).tolist()))
        {10: 3.0, 20: 5.0}
    """

    generation: PyTree
    population: PyTree
    fitness: PyTree
    violation: PyTree
    measures: dict[str, PyTree]


@checked
def read_populations(
    folder: str | Path, generations: Sequence[int] | None = None
) -> Populations:
    """Read what :func:`populations` has kept.

    Args:
        folder: of it.
        generations: those to read; None reads all.

    Raises:
        ValueError: there are none, or not those.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> folder, problem = tempfile.mkdtemp(), de.problems.Landscape("beale")
        >>> result = de.run(
        ...     jax.random.key(0), de.DiffusionEvolution(6), problem, population_size=8,
        ...     chunk_size=3, loggers=(de.loggers.populations(folder, every=3),))
        >>> (last,) = de.loggers.read_populations(folder, generations=[6]).population
        >>> bool((last == result.population).all())
        True
    """
    found = _files(Path(folder).expanduser())
    if not found:
        text = f"folder: got {folder}, which has no populations, want one of them"
        raise ValueError(text)
    numbers = list(found) if generations is None else list(generations)
    if not numbers:
        raise ValueError("generations: got none, want at least one")
    rows = []
    for number in numbers:
        if number not in found:
            known = ", ".join(map(str, found))
            raise ValueError(f"generations: got {number!r}, want some of {known}")
        with np.load(found[number]) as file:
            rows.append(dict(file))
    axis = rows[0]["population"].ndim - 2  # after that of the runs
    stacked = {name: np.stack([row[name] for row in rows], axis) for name in rows[0]}
    return Populations(
        np.array(numbers),
        stacked["population"],
        stacked["fitness"],
        stacked.get("violation"),
        {
            name.removeprefix("measures").removeprefix("."): values
            for name, values in stacked.items()
            if name.startswith("measures")
        },
    )


class _Populations:
    """See :func:`populations`."""

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every
        self._last = self._skipped = 0

    def begin(self, start: Start) -> None:
        done, total = start.generation - 1, start.num_generations
        first = (done // self._every + 1) * self._every
        kept = [first] if total is None else range(first, total + 1, self._every)
        for number in kept:
            if (number - done) % start.chunk_size and number != total:
                raise ValueError(
                    f"every: got {self._every}, and generation {number} is within a chunk "
                    f"of {start.chunk_size}, want a multiple of chunk_size"
                )
        make_folder(self._folder)
        self._remove(start.generation)
        self._last, self._skipped = done, start.skipped

    def __call__(self, generation: int, info: Info, result: Result) -> None:
        if generation <= self._last:
            self._remove(generation)
        self._last = generation
        if generation % self._every:
            return
        end = self._skipped + result.history.done.shape[-1]
        if generation != end:
            raise ValueError(
                f"every: got {self._every}, and generation {generation} is within the "
                f"chunk that ends with {end}, want a multiple of chunk_size"
            )
        arrays: dict[str, PyTree] = {
            "population": result.population,
            "fitness": result.fitness,
        }
        if result.violation is not None:
            arrays["violation"] = result.violation
        arrays |= _by_path("measures", result.measures)
        self._folder.mkdir(parents=True, exist_ok=True)
        with written_whole(self._folder / f"generation-{generation:08d}.npz") as unfinished:
            np.savez(unfinished, **jax.tree.map(np.asarray, arrays))

    def end(self) -> None:
        """Nothing is left to do."""

    def _remove(self, generation: int) -> None:
        """Remove the files of a generation and of those after it."""
        for number, path in _files(self._folder).items():
            if number >= generation:
                path.unlink()

    def __repr__(self) -> str:
        return f"populations({str(self._folder)!r}, every={self._every})"


def _files(folder: Path) -> dict[int, Path]:
    """Files of kept populations by their generation, in order."""
    paths = folder.iterdir() if folder.is_dir() else ()
    named = ((_KEPT.fullmatch(path.name), path) for path in paths)
    return dict(sorted((int(is_one[1]), path) for is_one, path in named if is_one))


def _by_path(name: str, tree: PyTree) -> dict[str, PyTree]:
    """The arrays in a tree by their path, such as ``measures.terminated``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    text = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return {f"{name}.{text(path)}".rstrip("."): leaf for path, leaf in leaves}
