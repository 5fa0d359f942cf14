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
from diffevo_jax.running.evolution import Result, RunState, result_of
from diffevo_jax.running.final import count_of, is_noisy
from diffevo_jax.running.host_evaluation import HostPrograms, Place, judge_on_host
from diffevo_jax.running.stops import Stops, frozen, repeated, watcher


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
    stop: Stops = None,
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
    size = size_of(population_size, population)
    watch = watcher(stop, strategy, problem, size, length, known is not None)
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
    return _iterate(compiled, length, key, *parts, population, known, watch)


def _iterate(
    compiled: Programs | HostPrograms,
    length: int,
    key: Keys,
    strategy: Strategy,
    problem: PyTree,
    population: jax.Array | None,
    known: Evaluation | None,
    watch: Callable[[Result], np.ndarray] | None,
) -> Iterator[Result]:
    """The loop of :func:`iterate`, which has checked its arguments at once."""
    runs, total = key.ndim, strategy.num_generations
    stopped = np.zeros(key.shape, np.int32)
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
                before = run_state
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
                if stopped.any():
                    run_state = _frozen(compiled, stopped > 0, before, run_state)
                    chunks[-1] = repeated(stopped > 0, *chunks[-2:])
            best = decode(problem, run_state.state.best_solution)
        history, recorded = jax.tree.map(functools.partial(_join, runs), *chunks)
        result = result_of(run_state, best, history, recorded, jax.device_put(stopped))
        if watch is not None:
            codes = watch(result)
            if end < total:
                stopped = np.where(stopped > 0, stopped, codes)
                result = pytree.replace(result, stopped=jax.device_put(stopped))
            if stopped.any() and isinstance(compiled, HostPrograms):
                compiled = compiled._replace(active=np.flatnonzero(stopped == 0))
        yield result
        if stopped.all():
            return


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
    stop: Stops = None,
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
        stop: what ends the run after a chunk: one of :mod:`diffevo_jax.running.stops`; or a
            function of the result so far that returns one truth value or, for R runs, R;
            or a tuple of these, of which the first that holds is the reason in the result.
            Of many runs each ends by itself, and stays as it is while the others go on. The
            best that a function sees is that of all evaluations; under noise look at the
            mean.

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
        stop=stop,
    )
    size = size_of(population_size, population)
    finish = finisher(key, strategy, problem, size, final, devices)
    results = finished(results, finish)
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
    results: Iterator[Result], finish: Callable[[Result], Result] | None
) -> Iterator[Result]:
    """Pass results through, and then yield the last one with its end."""
    for result in results:
        yield result
    if finish is not None:
        yield finish(result)


def _frozen(
    compiled: Programs | HostPrograms,
    stopped: np.ndarray,
    before: RunState,
    after: RunState,
) -> RunState:
    """The state after a chunk, of runs that have stopped as it was before."""
    if not isinstance(compiled, HostPrograms):
        kept: RunState = frozen(stopped, before, after)
        return kept
    # The problem's state is the host's, and of these runs nothing was evaluated.
    bare = [pytree.replace(state, problem_state=()) for state in (before, after)]
    kept = frozen(stopped, *bare)
    return pytree.replace(kept, problem_state=after.problem_state)


def _first(count: int, axis: int, rows: jax.Array) -> np.ndarray:
    # On the host, where a new length compiles nothing.
    return np.asarray(rows)[(slice(None),) * axis + (slice(count),)]


def _join(axis: int, *rows: np.ndarray) -> jax.Array:
    # Not jnp.asarray, which compiles a program for every shape.
    return jax.device_put(np.concatenate(rows, axis=axis))
