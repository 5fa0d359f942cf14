"""The host loop: the same evolution in chunks, with progress and a chance to stop."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from diffevo_jax.base import Evaluation, Problem, Strategy
from diffevo_jax.pytree import signals
from diffevo_jax.pytree.annotations import Index, Keys, checked
from diffevo_jax.running.bars import show_generations
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.final import count_of, is_noisy
from diffevo_jax.running.loggers.following import Logger
from diffevo_jax.running.plan import planned, working
from diffevo_jax.running.stops import Stops


@checked
def iterate(
    key: Keys,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None = None,
    population: jax.Array | None = None,
    fitness: jax.Array | Evaluation | None = None,
    record: tuple[str, ...] = (),
    chunk_size: int = 1,
    devices: Sequence[jax.Device] | None = None,
    stop: Stops = None,
    folder: str | Path | None = None,
    every: int | None = None,
    parent: str | Path | None = None,
    renoise: Index | None = None,
) -> Iterator[Result]:
    """Evolve in chunks of generations; yield the result so far after each.

    Stop by leaving the loop, or by ``stop=``, for which each of many runs ends by itself:
    what was yielded is a whole result, with a shorter history.
    The bits do not depend on the chunk size. There is no final evaluation: under noise the
    best so far is the luckiest, see :func:`run` and :func:`diffevo_jax.final_evaluation`.

    Args:
        key: a typed key, or an array of R keys for R independent runs in one program: then
            everything in the results has a leading run axis.
        strategy: see :func:`diffevo_jax.evolve`.
        problem: see :func:`diffevo_jax.evolve`; or one that
            :class:`diffevo_jax.base.EvaluatesOnHost`, which is then called once a
            generation, for all runs.
        population_size: see :func:`diffevo_jax.evolve`.
        population: see :func:`diffevo_jax.evolve`; shared by the runs.
        fitness: see :func:`diffevo_jax.evolve`; shared by the runs.
        record: see :func:`diffevo_jax.evolve`.
        chunk_size: generations between looks, >= 1. Every chunk is the same compiled
            program, of which the last may use only a part.
        devices: spread the runs over these, a divisor of R in number; see
            :func:`diffevo_jax.spread`. None stays on the default device.
        stop: see :func:`run`.
        folder: where the run is kept, so that it outlives its process: the same call goes
            on from the last checkpoint, and comes to the bits of a run that was never
            interrupted. What was reached before is the first that is yielded. Chunks and
            devices may be others than before. None keeps nothing.
        every: generations between checkpoints, >= 1, also within a chunk; None is as often
            as takes a twentieth of the time, after two seconds or so, or a generation.
            However the loop ends, if it can do anything more, the last ones are saved.
        parent: the folder of a run of the same kinds of parts and the same size, whose
            numbers may differ: begin where its last checkpoint is, with its clean estimates
            noised up to the level of the generation ``renoise``, and go on from there. The
            history has that generation and the later ones.
        renoise: see :func:`diffevo_jax.strategies.renoise`.

    Yields:
        The result so far, on the device.

    Raises:
        ValueError, TypeError: as :func:`diffevo_jax.evolve`.
        diffevo_jax.pytree.folders.FolderError: the folder is that of another run, whose
            differences are named; or another process is at work in it; or its checkpoints
            are damaged, of which one alone is a warning.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("himmelblau")
        >>> population = de.denoisers.Population(shaping=de.shaping.Identity())
        >>> strategy = de.DiffusionEvolution(100, population)
        >>> for result in de.iterate(
        ...     jax.random.key(0), strategy, problem, population_size=64, chunk_size=10):
        ...     if result.best_fitness > 0.9:
        ...         break
        >>> len(result.history.done) < 100
        True
    """
    plan = planned(
        key,
        strategy,
        problem,
        population_size=population_size,
        population=population,
        fitness=fitness,
        record=record,
        chunk_size=chunk_size,
        devices=devices,
        stop=stop,
        folder=folder,
        every=every,
        parent=parent,
        renoise=renoise,
    )

    def results() -> Iterator[Result]:
        with working(plan) as so_far:
            yield from so_far

    return results()


@checked
def run(
    key: Keys,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None = None,
    population: jax.Array | None = None,
    fitness: jax.Array | Evaluation | None = None,
    record: tuple[str, ...] = (),
    chunk_size: int = 1,
    devices: Sequence[jax.Device] | None = None,
    folder: str | Path | None = None,
    every: int | None = None,
    parent: str | Path | None = None,
    renoise: Index | None = None,
    final: Index | None = None,
    progress: bool = False,
    stop: Stops = None,
    loggers: tuple[Logger, ...] = (),
) -> Result:
    """Evolve in chunks on the host, with a progress bar and an early stop.

    The bits do not depend on the chunk size, and agree with :func:`diffevo_jax.evolve` to
    rounding. Not traceable: inside ``jit`` or ``vmap`` use :func:`diffevo_jax.evolve`.

    Args:
        key: a typed key, or an array of R keys for R runs in one program.
        strategy: see :func:`diffevo_jax.evolve`.
        problem: see :func:`diffevo_jax.evolve`.
        population_size: see :func:`diffevo_jax.evolve`.
        population: see :func:`diffevo_jax.evolve`.
        fitness: see :func:`diffevo_jax.evolve`.
        record: see :func:`diffevo_jax.evolve`.
        chunk_size: generations between looks of the host, >= 1.
        devices: see :func:`iterate`.
        folder: see :func:`iterate`: the same call goes on where it was interrupted, and a
            run that has ended gives its result again. In the main thread Ctrl-C, SIGTERM
            and SIGHUP then end the run only after what is under way, two seconds or so or
            one generation, is saved. See the notes.
        every: see :func:`iterate`.
        parent: see :func:`iterate`.
        renoise: see :func:`iterate`.
        final: see :func:`diffevo_jax.evolve`; by itself as many as for the whole run, also
            if it is stopped.
        progress: show a bar with the best and the mean fitness; with the mean alone under
            noise, where the best is the luckiest, and at the end with the final evaluation.
        stop: what ends the run after a chunk: one of :mod:`diffevo_jax.running.stops`; or a
            function of the result so far that returns one truth value or, for R runs, R;
            or a tuple of these, of which the first that holds is the reason in the result.
            Of many runs each ends by itself, and stays as it is while the others go on. The
            best that a function sees is that of all evaluations; under noise look at the
            mean.
        loggers: called with each generation, in order, see :mod:`diffevo_jax.loggers`. A
            folder has the log ``log.jsonl`` by itself.

    Returns:
        The result; its history is as long as the run was, or the longest of many.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("beale")
        >>> population = de.denoisers.Population(shaping=de.shaping.Identity())
        >>> strategy = de.DiffusionEvolution(25, population)
        >>> result = de.run(jax.random.key(0), strategy, problem, population_size=64,
        ...                 stop=lambda result: result.best_fitness > 0.5)
        >>> bool(result.best_fitness > 0.5)
        True

    Notes:
        With a folder, signals that are ignored, or that somebody else answers, stay so. The
        others end the process as ever: SIGINT by KeyboardInterrupt, as of a cell of a
        notebook, SIGTERM and SIGHUP by themselves. A generation that takes more than eight
        seconds after those two is left, and so is at once an evaluation on the host: what
        was there before is saved. A second signal ends the process at once, and then what
        came after the last checkpoint is lost.
    """
    plan = planned(
        key,
        strategy,
        problem,
        population_size=population_size,
        population=population,
        fitness=fitness,
        record=record,
        chunk_size=chunk_size,
        devices=devices,
        stop=stop,
        folder=folder,
        every=every,
        parent=parent,
        renoise=renoise,
    )
    count = count_of(final, problem, strategy.num_generations, plan.population_size)
    may_ask = contextlib.nullcontext() if folder is None else signals.answered()
    try:
        with may_ask, working(plan, count, loggers) as results:
            shown: Iterator[Result] = results
            if progress:
                total, noisy = strategy.num_generations, is_noisy(problem)
                shown = show_generations(shown, total, noisy)
            for result in shown:
                last = result
                if folder is not None and signals.is_asked():
                    break  # and raise KeyboardInterrupt
    except KeyboardInterrupt as interrupt:
        if folder is not None:
            interrupt.add_note(f"The run is kept in {folder}; the same call goes on.")
        raise
    return last
