"""The host loop: the same evolution in chunks, with progress and a chance to stop."""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Problem, PyTree, Strategy
from diffevo_jax.pytree.annotations import Index, Keys, checked
from diffevo_jax.running.arguments import (
    as_pytree,
    check_run,
    evaluates_on_host,
    known_evaluation,
    size_of,
)
from diffevo_jax.running.bars import show_generations
from diffevo_jax.running.chunks import Programs, decode, judge, programs
from diffevo_jax.running.device_mesh import alone
from diffevo_jax.running.evolution import Result, result_of
from diffevo_jax.running.final import count_of, is_noisy
from diffevo_jax.running.host_evaluation import HostPrograms, Place, judge_on_host
from diffevo_jax.running.loggers.following import Logger, logged, start_of


@checked
@alone()
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
) -> Iterator[Result]:
    """Evolve in chunks of generations; yield the result so far after each.

    Stop by leaving the loop: what was yielded is a whole result, with a shorter history.
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

    Yields:
        The result so far, on the device.

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
    runs = jnp.ndim(key)
    if runs > 1 or (runs and not len(key)):
        raise ValueError(f"key: got shape {key.shape}, want () or (R,) with R >= 1")
    first = key[0] if runs else key
    on_host = evaluates_on_host(problem)
    problem = problem if on_host else as_pytree(problem)
    check_run(first, strategy, problem, population_size, population, record)
    known = known_evaluation(population, fitness)
    if devices is not None and not len(devices):
        raise ValueError("devices: got none, want at least one")
    if devices is not None and (not runs or len(key) % len(devices)):
        raise ValueError(
            f"devices: got {len(devices)} for keys of shape {key.shape}, want a divisor of "
            "the number of runs"
        )
    length = min(chunk_size, strategy.num_generations)
    compiled: Programs | HostPrograms
    known_to_programs: PyTree = problem
    if on_host:
        if devices is not None:
            raise ValueError(
                f"devices: got {len(devices)} for a {type(problem).__name__}, which is "
                "evaluated on the host, want None"
            )
        compiled = HostPrograms(problem, population_size, tuple(record))
        known_to_programs = Place(problem.space)
    else:
        compiled = programs(population_size, length, tuple(record), devices)
    parts = pytree.strong(strategy), pytree.strong(known_to_programs)
    return _iterate(compiled, length, key, *parts, population, known)


def _iterate(
    compiled: Programs | HostPrograms,
    length: int,
    key: Keys,
    strategy: Strategy,
    problem: PyTree,
    population: jax.Array | None,
    known: Evaluation | None,
) -> Iterator[Result]:
    """The loop of :func:`iterate`, which has checked its arguments at once."""
    runs, total = key.ndim, strategy.num_generations
    with alone():
        run_state = compiled.prepare(key, strategy, problem, population)
    chunks = []
    for done in range(0, total, length):
        begin, end = done, min(done + length, total)
        with alone():
            if known is not None and not done:
                run_state, rows = compiled.tell_first(
                    key, strategy, problem, run_state, known
                )
                chunks.append(rows)
                begin = 1
            if begin < end:
                run_state, rows = compiled.advance(
                    key,
                    strategy,
                    problem,
                    run_state,
                    jnp.uint32(begin),
                    jnp.uint32(end - begin),
                )
                first = functools.partial(_first, end - begin, runs)
                chunks.append(jax.tree.map(first, rows))
            best = decode(problem, run_state.state.best_solution)
        history, recorded = jax.tree.map(functools.partial(_join, runs), *chunks)
        yield result_of(run_state, best, history, recorded)


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
    final: Index | None = None,
    progress: bool = False,
    stop: Callable[[Result], bool] | None = None,
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
        final: see :func:`diffevo_jax.evolve`; by itself as many as for the whole run, also
            if it is stopped.
        progress: show a bar with the best and the mean fitness; with the mean alone under
            noise, where the best is the luckiest, and at the end with the final evaluation.
        stop: called with the result so far after each chunk; true ends the run. The best in
            it is that of all evaluations; under noise look at the mean.
        loggers: called with each generation, in order, see :mod:`diffevo_jax.loggers`.

    Returns:
        The result; its history is as long as the run was.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("beale")
        >>> population = de.denoisers.Population(shaping=de.shaping.Identity())
        >>> strategy = de.DiffusionEvolution(25, population)
        >>> result = de.run(jax.random.key(0), strategy, problem, population_size=64,
        ...                 stop=lambda result: result.best_fitness > 0.5)
        >>> bool(result.best_fitness > 0.5)
        True
    """
    results = iterate(
        key,
        strategy,
        problem,
        population_size=population_size,
        population=population,
        fitness=fitness,
        record=record,
        chunk_size=chunk_size,
        devices=devices,
    )
    size = size_of(population_size, population)
    finish = finisher(key, strategy, problem, size, final, devices)
    given = fitness is not None
    start = start_of(strategy, problem, size, chunk_size, given=given)
    results = logged(results, loggers, start)
    results = finished(results, finish, stop)
    if progress:
        results = show_generations(results, strategy.num_generations, is_noisy(problem))
    *_, result = results
    return result


def finisher(
    key: Keys,
    strategy: Strategy,
    problem: Problem,
    population_size: int,
    final: int | None,
    devices: Sequence[jax.Device] | None,
) -> Callable[[Result], Result] | None:
    """What adds the final evaluation to a result; None if there is none.

    Args:
        key: of the run, or of many.
        strategy: of the run.
        problem: of the run.
        population_size: of the run.
        final: see :func:`diffevo_jax.evolve`.
        devices: see :func:`iterate`.
    """
    count = count_of(final, problem, strategy.num_generations, population_size)
    on_host = evaluates_on_host(problem)
    judged = problem if on_host else pytree.strong(as_pytree(problem))

    def finish(result: Result) -> Result:
        with alone():
            if on_host:
                return judge_on_host(key, judged, result, count)
            return judge(devices, key, judged, result, count)

    return finish if count else None


def finished(
    results: Iterator[Result],
    finish: Callable[[Result], Result] | None,
    stop: Callable[[Result], bool] | None = None,
) -> Iterator[Result]:
    """Pass results through until one is the last, and then yield that one with its end."""
    for result in results:
        yield result
        if stop is not None and bool(stop(result)):
            break
    if finish is not None:
        yield finish(result)


def _first(count: int, axis: int, rows: jax.Array) -> np.ndarray:
    # On the host, where a new length compiles nothing.
    return np.asarray(rows)[(slice(None),) * axis + (slice(count),)]


def _join(axis: int, *rows: np.ndarray) -> jax.Array:
    # Not jnp.asarray, which compiles a program for every shape.
    return jax.device_put(np.concatenate(rows, axis=axis))
