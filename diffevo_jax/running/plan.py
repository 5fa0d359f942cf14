"""A run on the host: what is to be done, checked at once, and the loop that does it."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Problem, PyTree, Strategy
from diffevo_jax.problems.external.journal import Journal, journaled
from diffevo_jax.pytree import kept, signals
from diffevo_jax.pytree.annotations import Keys
from diffevo_jax.pytree.folders import check_path
from diffevo_jax.pytree.validation import check_count
from diffevo_jax.running import ask_tell, memory
from diffevo_jax.running.arguments import (
    as_pytree,
    check_run,
    evaluates_on_host,
    known_evaluation,
    size_of,
)
from diffevo_jax.running.checkpoints import (
    Keeper,
    Stand,
    last_state,
    manifest,
)
from diffevo_jax.running.chunks import Programs, decode, programs
from diffevo_jax.running.device_mesh import alone
from diffevo_jax.running.evolution import Result, RunState, result_of
from diffevo_jax.running.host_evaluation import HostPrograms, Place, judge_on_host
from diffevo_jax.running.loggers.following import Logger, Start, followed, start_of
from diffevo_jax.running.loggers.json_lines import jsonl
from diffevo_jax.running.stops import Stops, frozen, repeated, watcher
from diffevo_jax.strategies import restart
from diffevo_jax.strategies.diffusion_evolution import DiffusionEvolution

#: Seconds of a piece of a chunk: so much is lost at most, and a signal waits for it.
_PIECE = 2.0


class Plan(NamedTuple):
    """A run whose arguments are checked, and which has not begun.

    Attributes:
        compiled: its programs.
        length: generations of a chunk.
        key: of the run, or of many.
        strategy: as the programs take it.
        problem: as the programs take it: of one that is evaluated on the host its place.
        population: to start from, or None.
        population_size: N.
        known: what is known of the first generation.
        record: what is kept of every generation.
        watch: codes of what ends it, of a result so far; None if nothing can.
        begin: where it begins that goes on from another run.
        folder: where it is kept.
        devices: that the runs are spread over.
        original: the problem as it was given.
    """

    compiled: Programs | HostPrograms
    length: int
    key: jax.Array
    strategy: Strategy
    problem: PyTree
    population: jax.Array | None
    population_size: int
    known: Evaluation | None
    record: tuple[str, ...]
    watch: Callable[[Result], np.ndarray] | None
    begin: Stand | None
    folder: kept.Folder | None
    devices: Sequence[jax.Device] | None
    original: Problem

    @property
    def arguments(self) -> tuple[jax.Array, Strategy, PyTree]:
        """What every program is called with."""
        return self.key, self.strategy, self.problem


@alone()
def planned(
    key: Keys,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None,
    population: jax.Array | None = None,
    fitness: jax.Array | Evaluation | None = None,
    record: tuple[str, ...] = (),
    chunk_size: int = 1,
    devices: Sequence[jax.Device] | None = None,
    stop: Stops = None,
    folder: str | Path | None = None,
    every: int | None = None,
    parent: str | Path | None = None,
    renoise: int | None = None,
) -> Plan:
    """Check the arguments of :func:`diffevo_jax.run`, before anything runs."""
    runs = jnp.ndim(key)
    if runs > 1 or (runs and not len(key)):
        raise ValueError(f"key: got shape {key.shape}, want () or (R,) with R >= 1")
    on_host = evaluates_on_host(problem)
    problem = problem if on_host else as_pytree(problem)
    first = key[0] if runs else key
    check_run(first, strategy, problem, population_size, population, record)
    known = known_evaluation(population, fitness)
    _check_devices(key, problem, devices)
    kept.check_arguments(folder, every, state=None)
    if every is not None:
        check_count("every", every)
    _check_parent(parent, renoise, folder, strategy.num_generations)
    if parent is not None and population is not None:
        raise ValueError("parent: got it with population, want population_size")
    length = min(chunk_size, strategy.num_generations)
    size = size_of(population_size, population)
    given, skipped = known is not None, renoise or 0
    watch = watcher(stop, strategy, problem, size, length, given, skipped)
    compiled: Programs | HostPrograms
    if on_host:
        compiled = HostPrograms(problem, population_size, tuple(record))
    else:
        compiled = programs(population_size, length, tuple(record), devices)
    place = Place(problem.space) if on_host else problem
    parts = pytree.strong(strategy), pytree.strong(place)
    plan = Plan(
        compiled,
        length,
        key,
        *parts,
        population,
        size,
        known,
        tuple(record),
        watch,
        begin=None,
        folder=None,
        devices=devices,
        original=problem,
    )
    if folder is None and parent is None:
        return plan
    return _in_folder(plan, strategy, sorted(record), folder, every, parent, renoise)


def _in_folder(
    plan: Plan,
    strategy: Strategy,
    record: list[str],
    folder: str | Path | None,
    every: int | None,
    parent: str | Path | None,
    renoise: int | None,
) -> Plan:
    """A plan with the folder where it is kept, and where it begins, if it goes on."""
    start: dict[str, Any] = {
        "population_size": plan.population_size,
        "population": plan.population,
        "fitness": plan.known,
        "record": record,
    }
    compiled, on_host = plan.compiled, isinstance(plan.compiled, HostPrograms)
    traced = compiled.traced(*plan.arguments, plan.population)
    parts = (plan.key, strategy, plan.original, start, traced)
    said = functools.partial(manifest, *parts, parent=parent, on_host=on_host)
    if parent is not None and renoise is not None:
        begin, start["parent"] = _renoised(plan, parent, renoise, said())
        plan = plan._replace(begin=begin)
    if folder is None:
        return plan
    there = kept.Folder(folder, said(), every, "run", "generation")
    if isinstance(compiled, HostPrograms):
        journal = Journal(there.path / "evaluations")
        problem = journaled(compiled.problem, journal)
        compiled = compiled._replace(problem=problem, journal=journal)
    return plan._replace(compiled=compiled, folder=there)


def _check_parent(
    parent: str | Path | None,
    renoise: int | None,
    folder: str | Path | None,
    num_generations: int,
) -> None:
    if parent is None and renoise is None:
        return
    if parent is None:
        raise ValueError("renoise: got it without parent, want the folder of a run, too")
    if renoise is None:
        raise ValueError(
            "parent: got it without renoise, want the generation whose noise is added, too"
        )
    if renoise >= num_generations:
        raise ValueError(f"renoise: got {renoise}, want one in [0, {num_generations - 1}]")
    if folder is not None and check_path(folder).resolve() == check_path(parent).resolve():
        raise ValueError(
            f"folder: got {folder}, that of the parent, want another: this is another run"
        )


def _check_devices(
    key: Keys, problem: Problem, devices: Sequence[jax.Device] | None
) -> None:
    if devices is None:
        return
    if not len(devices):
        raise ValueError("devices: got none, want at least one")
    if not key.ndim or len(key) % len(devices):
        raise ValueError(
            f"devices: got {len(devices)} for keys of shape {key.shape}, want a divisor of "
            "the number of runs"
        )
    if evaluates_on_host(problem):
        raise ValueError(
            f"devices: got {len(devices)} for a {type(problem).__name__}, which is "
            "evaluated on the host, want None"
        )


def _renoised(
    plan: Plan, parent: str | Path, generation: int, said: dict[str, Any]
) -> tuple[Stand, dict[str, Any]]:
    """Where a run begins that goes on from another one, and what identifies that one."""
    strategy = plan.strategy
    if not isinstance(strategy, DiffusionEvolution):
        raise TypeError(
            f"parent: got a {type(strategy).__name__}, which has no level to go on from, "
            "want DiffusionEvolution"
        )
    like = plan.compiled.shapes(*plan.arguments, plan.population)[0]
    run_state, names = last_state(check_path(parent), said, like)
    one = lambda key, state: restart.renoise(
        strategy, ask_tell.setup_keys(key)[2], state, generation
    )
    state = (jax.vmap(one) if plan.key.ndim else one)(plan.key, run_state.state)
    begin = pytree.replace(run_state, state=state)
    stopped = np.zeros(plan.key.shape, np.int32)
    return Stand(generation, begin, None, stopped, generation), names | {
        "renoise": generation
    }


@contextlib.contextmanager
def working(
    plan: Plan, final: int = 0, loggers: Sequence[Logger] = ()
) -> Iterator[Iterator[Result]]:
    """Do what is planned: yields the results so far, which end with the final evaluation.

    Nobody else works in the folder meanwhile, and at the end, whatever it is, what has been
    reached is saved.

    Args:
        plan: of the run.
        final: evaluations after the last generation; see :func:`diffevo_jax.evolve`.
        loggers: told of each generation; in a folder one more, of ``log.jsonl``.
    """
    with contextlib.ExitStack() as stack:
        keeper, stand = None, plan.begin
        if isinstance(plan.compiled, Programs):
            stack.enter_context(plan.compiled.ahead)
        if plan.folder is not None:
            first = 0 if stand is None else stand.done
            keeper = Keeper(stack.enter_context(plan.folder.at_work(first)), first)
            with alone():
                shapes = plan.compiled.shapes(*plan.arguments, plan.population)
                stand = keeper.load(*shapes, axis=plan.key.ndim) or stand
            loggers = (*loggers, jsonl(plan.folder.path / "log.jsonl"))
        tell = stack.enter_context(followed(loggers, _start(plan, keeper, stand)))
        steps = _steps(plan, final, keeper, stand, tell)
        results = stack.enter_context(contextlib.closing(steps))
        yield finished(results, finisher(plan, final))


def _start(plan: Plan, keeper: Keeper | None, stand: Stand | None) -> Start:
    """What loggers may know of the run."""
    start = start_of(
        plan.strategy,
        plan.original,
        plan.population_size,
        plan.length,
        given=plan.known is not None,
    )
    return dataclasses.replace(
        start,
        generation=1 + (0 if stand is None else stand.told),
        skipped=0 if plan.begin is None else plan.begin.done,
        seconds=0.0 if keeper is None else keeper.seconds,
    )


def _steps(
    plan: Plan,
    final: int,
    keeper: Keeper | None,
    stand: Stand | None,
    tell: Callable[[Result], None],
) -> Generator[Result]:
    """The result so far after each chunk, and once a signal has asked for an end.

    Args:
        plan: of the run.
        final: evaluations after the last generation, whose program is compiled meanwhile.
        keeper: of the folder; None keeps nothing.
        stand: where the run goes on; None begins it.
        tell: told of each result.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(memory.explained("run", _changes(plan)))
        if keeper is not None:
            stack.callback(keeper.save)
        stand, so_far = _begun(plan, final) if stand is None else stand, None
        if stand.rows is not None:
            stand, so_far = _looked_at(plan, stand)
            yield so_far
        if keeper is not None:
            signals.only_ask()
        on_host, total = isinstance(plan.compiled, HostPrograms), _total(plan)
        most = plan.length if keeper is None and not on_host else 1
        while stand.done < total and not stand.stopped.all():
            begin, before = time.monotonic(), stand.done
            end = min((before // plan.length + 1) * plan.length, total)
            last = min(end, before + most)
            if keeper is not None:
                last = keeper.next_end(before, last)
            try:
                stand = _advanced(plan, keeper, stand, last)
            except KeyboardInterrupt:
                if so_far is not None and signals.is_asked():
                    yield so_far
                raise
            stand, so_far = _looked_at(plan, stand)
            if stand.done == end:
                tell(so_far)  # first: what is saved is not told again
                stand = stand._replace(told=end)
            if keeper is not None and keeper.keep(stand):
                plan.compiled.forget(keeper.oldest())
            if keeper is not None and not on_host:
                most = paced(stand.done - before, time.monotonic() - begin)
            if stand.done == end or signals.is_asked():
                yield so_far


def _begun(plan: Plan, final: int) -> Stand:
    """Where a run stands that begins."""
    with alone():
        run_state = plan.compiled.prepare(*plan.arguments, plan.population, final)
        signals.wait(run_state, lambda: None)
        jax.block_until_ready(run_state)  # of what failed JAX would compute for ever
    return Stand(0, run_state, None, np.zeros(plan.key.shape, np.int32), 0)


def _changes(plan: Plan) -> list[str]:
    """What a run takes memory for."""
    runs = plan.key.size
    shape = plan.population_size, plan.problem.space.dim, _total(plan)
    return memory.changes_of(*shape, plan.record, runs)


def paced(count: int, seconds: float) -> int:
    """Generations of the next piece of a chunk, if those before took so many seconds."""
    return max(1, min(4 * count, int(count * _PIECE / max(seconds, 1e-9))))


def _total(plan: Plan) -> int:
    return plan.strategy.num_generations


def _advanced(plan: Plan, keeper: Keeper | None, stand: Stand, end: int) -> Stand:
    """Where a run stands after the generations up to ``end``, exclusive."""
    compiled, key, stopped = plan.compiled, plan.key, stand.stopped > 0
    if stopped.any() and isinstance(compiled, HostPrograms):
        compiled = compiled._replace(active=np.flatnonzero(~stopped))
    begin, run_state = stand.done, stand.run_state
    chunks = [] if stand.rows is None else [stand.rows]
    with alone():
        if plan.known is not None and not begin:
            run_state, rows = compiled.tell_first(*plan.arguments, run_state, plan.known)
            chunks.append(rows)
            begin = 1
        if begin < end:
            run_state, rows = compiled.advance(
                *plan.arguments, run_state, jnp.uint32(begin), jnp.uint32(end - begin)
            )
            signals.wait(rows, (lambda: None) if keeper is None else keeper.save)
            first = functools.partial(_first, end - begin, key.ndim)
            chunks.append(jax.tree.map(first, rows))
            if stopped.any():
                run_state = _frozen(compiled, stopped, stand.run_state, run_state)
                chunks[-1] = repeated(stopped, *chunks[-2:])
    rows = jax.tree.map(functools.partial(_join, key.ndim), *chunks)
    return stand._replace(done=end, run_state=run_state, rows=rows)


def _looked_at(plan: Plan, stand: Stand) -> tuple[Stand, Result]:
    """The result so far, on the device, and what ends the run."""
    with alone():
        best = decode(plan.problem, stand.run_state.state.best_solution)
    # Not jnp.asarray, which compiles a program for every shape.
    history, recorded = jax.tree.map(jax.device_put, stand.rows)
    stopped = jax.device_put(stand.stopped)
    result = result_of(stand.run_state, best, history, recorded, stopped)
    at_end = stand.done % plan.length == 0 and stand.done < _total(plan)
    if plan.watch is None or not at_end:
        return stand, result
    codes = plan.watch(result)
    stand = stand._replace(stopped=np.where(stand.stopped > 0, stand.stopped, codes))
    return stand, pytree.replace(result, stopped=jax.device_put(stand.stopped))


def finisher(plan: Plan, final: int) -> Callable[[Result], Result] | None:
    """What adds the final evaluation to a result; None if there is none."""

    def finish(result: Result) -> Result:
        with alone(), memory.explained("run", ["final", *_changes(plan)]):
            if isinstance(plan.compiled, HostPrograms):
                host = plan.compiled
                return judge_on_host(plan.key, host.problem, result, final, host.journal)
            return plan.compiled.judged(plan.key, plan.problem, result, final)

    return finish if final else None


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
        whole: RunState = frozen(stopped, before, after)
        return whole
    # The problem's state is the host's, and of these runs nothing was evaluated.
    bare = [pytree.replace(state, problem_state=()) for state in (before, after)]
    whole = frozen(stopped, *bare)
    return pytree.replace(whole, problem_state=after.problem_state)


def _first(count: int, axis: int, rows: jax.Array) -> np.ndarray:
    # On the host, where a new length compiles nothing.
    return np.asarray(rows)[(slice(None),) * axis + (slice(count),)]


def _join(axis: int, *rows: np.ndarray) -> np.ndarray:
    return np.concatenate(rows, axis=axis)
