"""Who follows a run: functions of a generation, and what they may know of the run."""

import contextlib
import dataclasses
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Info, Problem, PyTree, Strategy
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.records import extra
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.final import is_noisy

#: ``(generation, info, result) -> None``.
Logger = Callable[[int, Info, Result], None]


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a run starts, or goes on, for loggers that ask (:class:`Follows`).

    Attributes:
        generation: the first that is logged, from 1; more if the run goes on.
        seconds: wall time that the run took before.
        skipped: generations that this run has not, since it goes on from another one; its
            history begins after them.
        given: generations whose fitness was given and took no evaluation, 0 or 1.
        noisy: whether the best is the luckiest.
        num_generations: of the whole run; None if nobody knows.
        chunk_size: generations between looks of the host.
        settings: what runs, by name.
        began: when it started or went on, by ``time.perf_counter``.

    Example:
        >>> import diffevo_jax as de
        >>> class Bar:
        ...     def begin(self, start):
        ...         print(f"{start.generation} to {start.num_generations}")
        ...     def __call__(self, generation, info, result):
        ...         print(generation)
        ...     def end(self):
        ...         print("done")
        >>> start = de.loggers.Start(generation=11, num_generations=50)
        >>> list(de.loggers.logged([], [Bar()], start))
        11 to 50
        done
        []
    """

    generation: int = 1
    seconds: float = 0.0
    skipped: int = 0
    given: int = 0
    noisy: bool = False
    num_generations: int | None = None
    chunk_size: int = 1
    settings: dict[str, PyTree] = dataclasses.field(default_factory=dict)
    began: float = dataclasses.field(default_factory=time.perf_counter)


@runtime_checkable
class Follows(Protocol):
    """A logger that is told when a run begins and ends, also if it ends by an error."""

    def begin(self, start: Start) -> None:
        """Before anything runs; what it raises ends the run at once."""
        ...

    def end(self) -> None:
        """After the last generation, or whatever ended the run."""
        ...


@checked
def logged(
    results: Iterable[Result], loggers: Sequence[Logger], start: Start | None = None
) -> Iterator[Result]:
    """Pass results through, telling loggers of each generation once, in order.

    :func:`diffevo_jax.run` does this; it is for a loop of one's own around
    :func:`diffevo_jax.iterate`. Loggers begin when it is called, before anything runs: what
    they raise then is raised. What one raises later is warned of, once, and costs neither
    the run nor the other logs.

    Args:
        results: so far, of a run or of many, with all generations since the first.
        loggers: any number.
        start: where the run starts; None at its first generation, in chunks of one.

    Example:
        >>> import jax, diffevo_jax as de
        >>> results = de.iterate(
        ...     jax.random.key(0), de.DiffusionEvolution(4), de.problems.Landscape("beale"),
        ...     population_size=8, chunk_size=2)
        >>> seen = []
        >>> log = lambda generation, info, result: seen.append(generation)
        >>> for result in de.loggers.logged(results, [log]):
        ...     print(seen)
        [1, 2]
        [1, 2, 3, 4]
    """
    with contextlib.ExitStack() as begun:
        tell = begun.enter_context(followed(loggers, Start() if start is None else start))
        ends = begun.pop_all()

    def told() -> Iterator[Result]:
        with ends:
            for result in results:
                tell(result)
                yield result

    return told()


@contextlib.contextmanager
def followed(loggers: Sequence[Logger], start: Start) -> Iterator[Callable[[Result], None]]:
    """Loggers that have begun, and end whatever happens.

    Args:
        loggers: any number.
        start: where the run starts.

    Yields:
        A function of the result so far, which tells them of the generations in it that they
        have not been told of.
    """
    failed: set[int] = set()
    last = start.generation - 1

    def call(
        logger: Logger | Follows, when: str, function: Callable[..., None], *of: PyTree
    ) -> None:
        try:
            function(*of)
        except Exception as error:
            if id(logger) not in failed:
                said = f"{type(error).__name__}: {error}"
                text = f"the log {_name(logger)} failed {when}, and the run goes on: {said}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            failed.add(id(logger))

    def tell(result: Result) -> None:
        nonlocal last
        first, end = last + 1, start.skipped + result.history.done.shape[-1]
        if not loggers or end < first:
            return
        history = jax.tree.map(np.asarray, result.history)
        for generation in range(first, end + 1):
            row = generation - 1 - start.skipped
            info = jax.tree.map(lambda rows, row=row: rows[..., row], history)
            for logger in loggers:
                call(
                    logger, f"at generation {generation}", logger, generation, info, result
                )
        last = end

    with contextlib.ExitStack() as ends:
        for logger in loggers:
            if pytree.offers(logger, Follows):
                logger.begin(start)
                ends.callback(call, logger, "at its end", logger.end)
        yield tell


def numbers_of(
    start: Start, generation: int, info: Info, result: Result
) -> dict[str, PyTree]:
    """What a log says of a generation, by name.

    Args:
        start: of the run.
        generation: from 1.
        info: of it, of a run or of many.
        result: so far.

    Returns:
        ``generation``, ``evaluations`` and ``seconds``, and the numbers of ``info`` as
        arrays; of many runs (R,), masked where a run has ended before.
    """
    size = result.population.shape[-2]
    seconds = start.seconds + time.perf_counter() - start.began
    told = {name: np.asarray(value) for name, value in vars(info).items()}
    if np.ndim(info.done):
        ended = np.asarray(result.state.generation) < generation
        told = {name: np.ma.array(value, mask=ended) for name, value in told.items()}
    if start.noisy:
        del told["best_fitness"]  # the luckiest
    return {
        "generation": generation,
        "evaluations": (generation - start.skipped - start.given) * size,
        "seconds": round(seconds, 3),
        **told,
    }


def start_of(
    strategy: Strategy,
    problem: Problem,
    population_size: int,
    chunk_size: int,
    *,
    given: bool = False,
) -> Start:
    """Where a run starts that has been checked.

    Args:
        strategy: of the run.
        problem: of the run.
        population_size: N.
        chunk_size: generations between looks of the host.
        given: whether the fitness of the first generation is.
    """
    settings = {"strategy": strategy, "problem": problem}
    return Start(
        given=int(given),
        noisy=is_noisy(problem),
        num_generations=strategy.num_generations,
        chunk_size=chunk_size,
        settings={**settings, "population_size": population_size},
    )


def make_folder(folder: Path) -> None:
    """Make a folder for a log, or find out that nothing can be written there.

    Raises:
        ValueError: it cannot be made, or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"folder: got {folder}, which cannot be written: {error.strerror}"
        raise ValueError(text) from error


def wants(function: str, package: str) -> str:
    """What is said where a package is not installed."""
    return f"loggers.{function} needs {package}: {extra('log')}"


def _name(logger: Logger | Follows) -> str:
    """What a logger is called."""
    return str(getattr(logger, "__qualname__", None) or repr(logger))
