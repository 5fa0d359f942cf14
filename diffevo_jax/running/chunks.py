"""The compiled programs of the host loop: set runs up, advance them, judge their ends."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from diffevo_jax.base import Evaluation, Info, Problem, PyTree, Strategy
from diffevo_jax.compilation import Ahead, compiler_options, make_room
from diffevo_jax.running import ask_tell, device_mesh, memory
from diffevo_jax.running.evolution import (
    Result,
    RunState,
    begin_run,
    best_solution,
    first_told,
    generation,
    judged,
    run_state_of,
    with_final,
)
from diffevo_jax.running.final import FinalEvaluation


class Program(NamedTuple):
    """A function under ``jit``, with the arguments that are known when it is compiled.

    Attributes:
        function: what ``jax.jit`` returns.
        known: its static arguments.
    """

    function: Any
    known: dict[str, PyTree]

    def __call__(self, *arguments: PyTree) -> PyTree:
        """Call it; it is compiled first if it has not been."""
        return self.function(*arguments, **self.known)

    def lower(self, *arguments: PyTree) -> jax.stages.Lowered:
        """The program for arguments of these shapes, which can be compiled."""
        lowered: jax.stages.Lowered = self.function.lower(*arguments, **self.known)
        return lowered

    def eval_shape(self, *arguments: PyTree) -> PyTree:
        """The shapes of what it returns."""
        return self.function.eval_shape(*arguments, **self.known)


class Programs(NamedTuple):
    """The programs for a run, or for many at once.

    Attributes:
        begin: ``begin(key, strategy, problem, population) -> run_state``.
        advance: ``advance(key, strategy, problem, run_state, begin, count)``, ``count``
            generations from the one with the number ``begin`` on, to the run state and to
            what they leave: ``(info, recorded)``.
        tell_first: ``tell_first(key, strategy, problem, run_state, evaluation)``, one
            generation whose evaluation is known, to the same.
        judge: ``judge(key, problem, run_state, start)``, the final evaluation.
        ahead: compiles ``begin``, ``advance`` and ``judge`` before they are called.
    """

    begin: Program
    advance: Program
    tell_first: Program
    judge: Program
    ahead: Ahead

    @property
    def mesh(self) -> Mesh | None:
        """Of the devices that runs are spread over; None for the default one."""
        mesh: Mesh | None = self.begin.known["mesh"]
        return mesh

    def prepare(
        self,
        key: jax.Array,
        strategy: Strategy,
        problem: Problem,
        population: jax.Array | None,
        final: int,
    ) -> RunState:
        """Begin; another thread compiles all programs of the run in their order.

        Returns once a chunk is compiled; the final evaluation need not be.

        Args:
            key: of the run, or of many.
            strategy: of the run.
            problem: of the run.
            population: to start from, or None.
            final: evaluations after the last generation; 0 for none.
        """
        arguments, number = (key, strategy, problem, population), jnp.uint32(0)
        begun = self.ahead.compile(self.begin.lower(*arguments))
        place = device_mesh.place_of(self.mesh, arguments)
        shapes = device_mesh.as_placed(self.begin.eval_shape(*arguments), place)
        # Before the chunk, whose end is waited for: a second thread would compile it again.
        self.ahead.compile(decode.lower(problem, shapes.state.best_solution))
        chunk = self.ahead.compile(
            self.advance.lower(key, strategy, problem, shapes, number, number)
        )
        if final:
            start = jax.ShapeDtypeStruct(key.shape, shapes.fitness.dtype)
            judge = self._judge_of(final)
            self.ahead.compile(judge.lower(key, problem, shapes, start))
        self.ahead.close()
        begun.result()
        run_state: RunState = self.begin(*arguments)
        if place is not None:  # also if it used nothing of what is kept there
            run_state = jax.device_put(run_state, place)
        memory.warn_if_short(chunk.result(), 1 if self.mesh is None else self.mesh.size)
        return run_state

    def _judge_of(self, count: int) -> Program:
        return self.judge._replace(known=self.judge.known | {"count": count})

    def judged(
        self, key: jax.Array, problem: Problem, result: Result, count: int
    ) -> Result:
        """The result, with a final evaluation of ``count`` evaluations."""
        self.ahead.wait()
        make_room()
        start = np.asarray(result.history.mean_fitness)[..., 0]
        told = self._judge_of(count)(key, problem, run_state_of(result), start)
        return with_final(result, *told)

    def shapes(
        self,
        key: jax.Array,
        strategy: Strategy,
        problem: Problem,
        population: jax.Array | None,
    ) -> tuple[PyTree, PyTree]:
        """What a generation leaves: the run state, placed, and the rows of a chunk."""
        run_state = self.begin.eval_shape(key, strategy, problem, population)
        place = device_mesh.place_of(self.mesh, (key, strategy, problem, population))
        placed, number = device_mesh.as_placed(run_state, place), jnp.uint32(0)
        parts = (key, strategy, problem, run_state, number, number)
        rows = self.advance.eval_shape(*parts)[1]
        return placed, rows

    def forget(self, generation: int) -> None:
        """Nothing is kept of a generation, which a program evaluates."""

    def traced(
        self,
        key: jax.Array,
        strategy: Strategy,
        problem: Problem,
        population: jax.Array | None,
    ) -> jax.stages.Traced:
        """The first generation of a run: all that decides its bits."""
        size, record = self.begin.known["population_size"], self.advance.known["record"]

        def first(
            key: jax.Array,
            strategy: Strategy,
            problem: Problem,
            population: jax.Array | None,
        ) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
            set_up = ask_tell.setup_keys(key)
            run_state = begin_run(set_up, strategy, problem, size, population)
            keys = ask_tell.generation_keys(key, jnp.uint32(0))
            return generation(keys, strategy, problem, run_state, record)

        one = key[0] if key.ndim else key
        return jax.jit(first).trace(one, strategy, problem, population)


def programs(
    population_size: int | None,
    length: int,
    record: tuple[str, ...],
    devices: Sequence[jax.Device] | None,
) -> Programs:
    """The programs for chunks of at most ``length`` generations.

    Args:
        population_size: see :func:`diffevo_jax.evolve`.
        length: generations of a chunk.
        record: see :func:`diffevo_jax.evolve`.
        devices: to spread many runs over; None for the default one.
    """
    make_room()
    mesh = None if devices is None else device_mesh.line(devices)
    begin, advance, tell_first, judge = _compiled(jax.default_backend())
    return Programs(
        Program(begin, {"mesh": mesh, "population_size": population_size}),
        Program(advance, {"mesh": mesh, "length": length, "record": record}),
        Program(tell_first, {"mesh": mesh, "record": record}),
        Program(judge, {"mesh": mesh}),
        Ahead(),
    )


@functools.cache
def _compiled(backend: str) -> tuple[Any, ...]:
    """The functions, with what is known when they are compiled as static arguments."""
    options = compiler_options(backend)
    compiled = functools.partial(jax.jit, compiler_options=options or None)
    return (
        compiled(_begin, static_argnames=("mesh", "population_size")),
        compiled(_advance, static_argnames=("mesh", "length", "record")),
        compiled(_tell_first, static_argnames=("mesh", "record")),
        jax.jit(
            _judge,
            static_argnames=("mesh", "count"),
            compiler_options=compiler_options(backend, quick=True) or None,
        ),
    )


def _begin(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population: jax.Array | None,
    *,
    mesh: Mesh | None,
    population_size: int | None,
) -> RunState:
    def one(key: jax.Array) -> RunState:
        keys = ask_tell.setup_keys(key)
        return begin_run(keys, strategy, problem, population_size, population)

    return device_mesh.over_runs(one, mesh, key) if key.ndim else one(key)


def _advance(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    run_state: RunState,
    begin: jax.Array,
    count: jax.Array,
    *,
    mesh: Mesh | None,
    length: int,
    record: tuple[str, ...],
) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
    """Up to ``length`` generations, of which ``count`` happen.

    The number that happens is a traced number, so that the compiler cannot make a special
    case of short chunks, and all chunk sizes give the same bits.
    """

    def one(key: jax.Array, run_state: RunState) -> tuple[RunState, Any]:
        def row(run_state: RunState, index: jax.Array) -> tuple[RunState, Any]:
            keys = ask_tell.generation_keys(key, begin + index)
            return generation(keys, strategy, problem, run_state, record)

        def body(index: jax.Array, loop: tuple[RunState, Any]) -> tuple[RunState, Any]:
            run_state, values = row(loop[0], index)
            write = lambda rows, value: rows.at[index].set(value)
            return run_state, jax.tree.map(write, loop[1], values)

        shapes = jax.eval_shape(row, run_state, begin)[1]
        blank = jax.tree.map(lambda s: jnp.zeros((length, *s.shape), s.dtype), shapes)
        return jax.lax.fori_loop(jnp.uint32(0), count, body, (run_state, blank))

    if not key.ndim:
        return one(key, run_state)
    return device_mesh.over_runs(one, mesh, key, run_state)


def _judge(
    key: jax.Array,
    problem: Problem,
    run_state: RunState,
    start: jax.Array,
    *,
    mesh: Mesh | None,
    count: int,
) -> tuple[FinalEvaluation, PyTree]:
    def one(key: jax.Array, run_state: RunState, start: jax.Array) -> Any:
        return judged(key, problem, run_state, start, count=count)

    if not key.ndim:
        return one(key, run_state, start)
    return device_mesh.over_runs(one, mesh, key, run_state, start)


def _tell_first(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    run_state: RunState,
    evaluation: Evaluation,
    *,
    mesh: Mesh | None,
    record: tuple[str, ...],
) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
    """The first generation; its evaluation is shared by the runs."""

    def one(key: jax.Array, run_state: RunState) -> tuple[RunState, Any]:
        keys = ask_tell.generation_keys(key, jnp.uint32(0))
        run_state, row = first_told(keys, strategy, problem, run_state, evaluation, record)
        return run_state, jax.tree.map(lambda leaf: leaf[None], row)

    if not key.ndim:
        return one(key, run_state)
    return device_mesh.over_runs(one, mesh, key, run_state)


@jax.jit
def decode(problem: Problem, best: jax.Array) -> PyTree:
    """Decode the best solution ``(D,)`` of a run, or those ``(R, D)`` of many."""
    if best.ndim == 1:
        return best_solution(problem, best)
    return problem.space.decode(best)
