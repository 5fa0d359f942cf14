"""The host loop: the same evolution in chunks, with progress and a chance to stop."""

import concurrent.futures
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree, validation
from diffevo_jax.base import Info, Problem, PyTree, Strategy
from diffevo_jax.checks import check_run
from diffevo_jax.evolve import (
    Progress,
    Result,
    best_solution,
    generation,
    result_of,
    start,
)
from diffevo_jax.progress import show_progress


def iterate(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None = None,
    population: jax.Array | None = None,
    record: tuple[str, ...] = (),
    chunk_size: int = 1,
) -> Iterator[Result]:
    """Evolve in chunks of generations; yield the result so far after each.

    Stop by leaving the loop: what was yielded is a whole result, with a shorter history.
    The bits do not depend on the chunk size.

    Args:
        key: a typed key, or an array of R keys for R independent runs in one program: then
            everything in the results has a leading run axis.
        strategy: see :func:`evolve`.
        problem: see :func:`evolve`.
        population_size: see :func:`evolve`.
        population: see :func:`evolve`; shared by the runs.
        record: see :func:`evolve`.
        chunk_size: generations between looks, >= 1. Every chunk is the same compiled
            program, of which the last may use only a part.

    Yields:
        The result so far, on the device.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("himmelblau")
        >>> strategy = de.DiffusionEvolution(100, shaping=de.shaping.Identity())
        >>> for result in de.iterate(
        ...     jax.random.key(0), strategy, problem, population_size=64, chunk_size=10):
        ...     if result.best_fitness > 0.9:
        ...         break
        >>> len(result.history.done) < 100
        True
    """
    runs = getattr(key, "ndim", 0)
    if runs > 1 or (runs and not len(key)):
        raise ValueError(f"key: got shape {key.shape}, want () or (R,) with R >= 1")
    first = key[0] if runs else key
    check_run(first, strategy, problem, population_size, population, record)
    validation.check_count("chunk_size", chunk_size)
    strategy, problem = pytree.strong(strategy), pytree.strong(problem)
    length = min(chunk_size, strategy.num_generations)
    begin_runs, advance_runs = _programs(jax.default_backend())
    begin = functools.partial(begin_runs, population_size=population_size)
    advance = functools.partial(advance_runs, length=length, record=tuple(record))
    return _iterate(begin, advance, key, strategy, problem, population)


def _iterate(
    begin: Any,
    advance: Any,
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population: jax.Array | None,
) -> Iterator[Result]:
    """The loop of :func:`iterate`, which has checked its arguments at once."""
    runs, length = key.ndim, advance.keywords["length"]
    total = strategy.num_generations
    progress = _prepare(begin, advance, key, strategy, problem, population)
    chunks = []
    for done in range(0, total, length):
        count = min(length, total - done)
        progress, rows = advance(
            key, strategy, problem, progress, jnp.uint32(done), jnp.uint32(count)
        )
        chunks.append(jax.tree.map(functools.partial(_first, count, runs), rows))
        history, recorded = jax.tree.map(functools.partial(_join, runs), *chunks)
        best = _decode(problem, progress.state.best_solution)
        yield result_of(progress, best, history, recorded)


def run(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None = None,
    population: jax.Array | None = None,
    record: tuple[str, ...] = (),
    chunk_size: int = 1,
    progress: bool = False,
    stop: Callable[[Result], bool] | None = None,
) -> Result:
    """Evolve in chunks on the host, with a progress bar and an early stop.

    The bits do not depend on the chunk size, and agree with :func:`evolve` to rounding. Not
    traceable: inside ``jit`` or ``vmap`` use :func:`evolve`.

    Args:
        key: a typed key, or an array of R keys for R runs in one program.
        strategy: see :func:`evolve`.
        problem: see :func:`evolve`.
        population_size: see :func:`evolve`.
        population: see :func:`evolve`.
        record: see :func:`evolve`.
        chunk_size: generations between looks of the host, >= 1.
        progress: show a bar with the best and the mean fitness.
        stop: called with the result so far after each chunk; true ends the run.

    Returns:
        The result; its history is as long as the run was.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("beale")
        >>> strategy = de.DiffusionEvolution(25, shaping=de.shaping.Identity())
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
        record=record,
        chunk_size=chunk_size,
    )
    if progress:
        results = show_progress(results, strategy.num_generations)
    for result in results:
        if stop is not None and bool(stop(result)):
            break
    return result


def _prepare(
    begin: Any,
    advance: Any,
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population: jax.Array | None,
) -> Progress:
    """Start the runs while another thread compiles the program of their chunks."""
    shapes = begin.func.eval_shape(key, strategy, problem, population, **begin.keywords)
    number = jnp.uint32(0)
    chunk = advance.func.lower(
        key, strategy, problem, shapes, number, number, **advance.keywords
    )
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        compiling = pool.submit(chunk.compile)  # into the cache that advance looks in
        progress: Progress = begin(key, strategy, problem, population)
        compiling.result()
    return progress


@functools.cache
def _programs(backend: str) -> tuple[Any, Any]:
    """The compiled set-up and chunk.

    On a CPU the last level of optimisation takes a third of the time to compile, and gains
    nothing that can be measured.
    """
    options = {"xla_backend_optimization_level": 2} if backend == "cpu" else None
    compiled = functools.partial(jax.jit, compiler_options=options)
    return (
        compiled(_start, static_argnames=("population_size",)),
        compiled(_chunk, static_argnames=("length", "record")),
    )


def _start(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population: jax.Array | None,
    *,
    population_size: int | None,
) -> Progress:
    def one(key: jax.Array) -> Progress:
        return start(key, strategy, problem, population_size, population)

    return jax.vmap(one)(key) if key.ndim else one(key)


def _chunk(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    progress: Progress,
    begin: jax.Array,
    count: jax.Array,
    *,
    length: int,
    record: tuple[str, ...],
) -> tuple[Progress, tuple[Info, dict[str, PyTree]]]:
    """Up to ``length`` generations, of which ``count`` happen.

    The number that happens is a traced number, so that the compiler cannot make a special
    case of short chunks, and all chunk sizes give the same bits.
    """

    def one(key: jax.Array, progress: Progress) -> tuple[Progress, Any]:
        def row(progress: Progress, index: jax.Array) -> tuple[Progress, Any]:
            return generation(key, strategy, problem, progress, begin + index, record)

        def body(index: jax.Array, loop: tuple[Progress, Any]) -> tuple[Progress, Any]:
            progress, values = row(loop[0], index)
            write = lambda rows, value: rows.at[index].set(value)
            return progress, jax.tree.map(write, loop[1], values)

        shapes = jax.eval_shape(row, progress, begin)[1]
        blank = jax.tree.map(lambda s: jnp.zeros((length, *s.shape), s.dtype), shapes)
        return jax.lax.fori_loop(jnp.uint32(0), count, body, (progress, blank))

    return jax.vmap(one)(key, progress) if key.ndim else one(key, progress)


@jax.jit
def _decode(problem: Problem, best: jax.Array) -> PyTree:
    if best.ndim == 1:
        return best_solution(problem, best)
    return problem.space.decode(best)


def _first(count: int, axis: int, rows: jax.Array) -> np.ndarray:
    # On the host, where a new length compiles nothing.
    return np.asarray(rows)[(slice(None),) * axis + (slice(count),)]


def _join(axis: int, *rows: np.ndarray) -> jax.Array:
    return jnp.asarray(np.concatenate(rows, axis=axis))
