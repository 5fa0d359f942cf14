"""The host loop: the same evolution in chunks, with progress and a chance to stop."""

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Problem, PyTree, Strategy
from diffevo_jax.pytree.annotations import Index, Keys, checked
from diffevo_jax.pytree.validation import check_count
from diffevo_jax.running import signals
from diffevo_jax.running.arguments import (
    as_pytree,
    check_run,
    evaluates_on_host,
    known_evaluation,
    size_of,
)
from diffevo_jax.running.bars import show_generations
from diffevo_jax.running.checkpoints import RunFolder, Stand, manifest
from diffevo_jax.running.chunks import Programs, decode, judge, programs
from diffevo_jax.running.device_mesh import alone
from diffevo_jax.running.evolution import Result, result_of
from diffevo_jax.running.final import count_of, is_noisy
from diffevo_jax.running.host_evaluation import HostPrograms, Place, judge_on_host

#: Seconds of a piece of a chunk: so much is lost at most, and a signal waits for it.
_PIECE = 2.0


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
    folder: str | Path | None = None,
    every: int | None = None,
) -> Generator[Result]:
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
        folder: where the run is kept, so that it outlives its process: the same call goes
            on from the last checkpoint, and comes to the bits of a run that was never
            interrupted. What was reached before is the first that is yielded. Chunks and
            devices may be others than before. None keeps nothing.
        every: generations between checkpoints, >= 1, also within a chunk; None is as often
            as takes a twentieth of the time, after two seconds or so, or a generation.
            However the loop ends, if it can do anything more, the last ones are saved.

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
    if every is not None:
        check_count("every", every)
        if folder is None:
            raise ValueError("every: got it without folder, want a folder too")
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
    kept = None
    if folder is not None:
        start = (size_of(population_size, population), population, known, sorted(record))
        traced = compiled.traced(key, *parts, population)
        said = manifest(key, strategy, problem, start, traced, on_host=on_host)
        kept = RunFolder(folder, said, every)
    return _iterate(compiled, length, key, *parts, population, known, kept)


def _iterate(
    compiled: Programs | HostPrograms,
    length: int,
    key: Keys,
    strategy: Strategy,
    problem: PyTree,
    population: jax.Array | None,
    known: Evaluation | None,
    folder: RunFolder | None,
) -> Generator[Result]:
    """The loop of :func:`iterate`, which has checked its arguments at once."""
    runs, total = key.ndim, strategy.num_generations
    on_host = isinstance(compiled, HostPrograms)
    result = functools.partial(_result, runs, problem)
    with contextlib.ExitStack() as stack:
        keeper = None if folder is None else stack.enter_context(folder.at_work())
        with alone():
            stand = None
            if keeper is not None:
                shapes = compiled.shapes(key, strategy, problem, population)
                stand = keeper.load(*shapes, axis=runs)
            if stand is None:
                run_state = compiled.prepare(key, strategy, problem, population)
                stand = Stand(0, run_state, None)
        so_far = None
        if stand.done:
            yield (so_far := result(stand))
        most = length if keeper is None and not on_host else 1
        meanwhile: Callable[[], None] = (lambda: None) if keeper is None else keeper.save
        if keeper is not None:
            signals.only_ask()
        ends = range((stand.done // length + 1) * length, total + length, length)
        for end in (min(end, total) for end in ends):
            while stand.done < end:
                begin, before = time.monotonic(), stand.done
                last = min(end, before + most)
                if keeper is not None:
                    last = keeper.next_end(before, last)
                try:
                    with alone():
                        parts = (key, strategy, problem)
                        stand = _advanced(compiled, parts, stand, last, known, meanwhile)
                except KeyboardInterrupt:
                    if so_far is not None and signals.is_asked():
                        yield so_far
                    raise
                if keeper is not None:
                    keeper.keep(stand)
                    if not on_host:
                        most = paced(stand.done - before, time.monotonic() - begin)
                so_far = result(stand)
                if stand.done == end or signals.is_asked():
                    yield so_far


def paced(count: int, seconds: float) -> int:
    """Generations of the next piece of a chunk, if those before took so many seconds."""
    return max(1, min(4 * count, int(count * _PIECE / max(seconds, 1e-9))))


def _advanced(
    compiled: Programs | HostPrograms,
    parts: tuple[Keys, Strategy, PyTree],
    stand: Stand,
    end: int,
    known: Evaluation | None,
    meanwhile: Callable[[], None],
) -> Stand:
    """Where a run stands after the generations up to ``end``, exclusive."""
    key, strategy, problem = parts
    runs, run_state = key.ndim, stand.run_state
    begin, chunks = stand.done, [] if stand.rows is None else [stand.rows]
    if known is not None and not begin:
        run_state, rows = compiled.tell_first(key, strategy, problem, run_state, known)
        chunks.append(rows)
        begin = 1
    if begin < end:
        run_state, rows = compiled.advance(
            key, strategy, problem, run_state, jnp.uint32(begin), jnp.uint32(end - begin)
        )
        signals.wait(rows, meanwhile)
        first = functools.partial(_first, end - begin, runs)
        chunks.append(jax.tree.map(first, rows))
    return Stand(end, run_state, jax.tree.map(functools.partial(_join, runs), *chunks))


def _result(runs: int, problem: PyTree, stand: Stand) -> Result:
    """The result so far, on the device."""
    with alone():
        best = decode(problem, stand.run_state.state.best_solution)
    # Not jnp.asarray, which compiles a program for every shape.
    history, recorded = jax.tree.map(jax.device_put, stand.rows)
    return result_of(stand.run_state, best, history, recorded)


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
    final: Index | None = None,
    progress: bool = False,
    stop: Callable[[Result], bool] | None = None,
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
        final: see :func:`diffevo_jax.evolve`; by itself as many as for the whole run, also
            if it is stopped.
        progress: show a bar with the best and the mean fitness; with the mean alone under
            noise, where the best is the luckiest, and at the end with the final evaluation.
        stop: called with the result so far after each chunk; true ends the run. The best in
            it is that of all evaluations; under noise look at the mean.

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

    Notes:
        With a folder, signals that are ignored, or that somebody else answers, stay so. The
        others end the process as ever: SIGINT by KeyboardInterrupt, as of a cell of a
        notebook, SIGTERM and SIGHUP by themselves. A generation that takes more than eight
        seconds after those two is left, and so is at once an evaluation on the host: what
        was there before is saved. A second signal ends the process at once, and then what
        came after the last checkpoint is lost.
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
        folder=folder,
        every=every,
    )
    size = size_of(population_size, population)
    finish = finisher(key, strategy, problem, size, final, devices)
    shown = finished(results, finish, stop and _at_ends(stop, chunk_size, strategy))
    if progress:
        shown = show_generations(shown, strategy.num_generations, is_noisy(problem))
    may_ask = contextlib.nullcontext() if folder is None else signals.answered()
    with may_ask, contextlib.closing(results):  # saves what is to be saved, before the end
        for result in shown:
            last = result
            if folder is not None and signals.is_asked():
                break  # and raise KeyboardInterrupt
    return last


def _at_ends(
    stop: Callable[[Result], bool], chunk_size: int, strategy: Strategy
) -> Callable[[Result], bool]:
    """The same, asked at the ends of chunks only, also of a run that goes on within one."""

    def at_end(result: Result) -> bool:
        done = result.history.done.shape[-1]
        is_end = not done % chunk_size or done == strategy.num_generations
        return is_end and bool(stop(result))

    return at_end


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
    results: Generator[Result],
    finish: Callable[[Result], Result] | None,
    stop: Callable[[Result], bool] | None = None,
) -> Iterator[Result]:
    """Pass results through until one is the last, and then yield that one with its end."""
    with contextlib.closing(results):  # saves what is to be saved, before the end
        for result in results:
            yield result
            if stop is not None and bool(stop(result)):
                break
    if finish is not None:
        yield finish(result)


def _first(count: int, axis: int, rows: jax.Array) -> np.ndarray:
    # On the host, where a new length compiles nothing.
    return np.asarray(rows)[(slice(None),) * axis + (slice(count),)]


def _join(axis: int, *rows: np.ndarray) -> np.ndarray:
    return np.concatenate(rows, axis=axis)
