"""Generations of a problem that is evaluated on the host, between two compiled programs."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Info, PyTree, Strategy
from diffevo_jax.compilation import compiler_options, make_room
from diffevo_jax.problems.external.journal import Journal
from diffevo_jax.problems.external.problem import Counts, External
from diffevo_jax.problems.external.results import in_words
from diffevo_jax.pytree import signals
from diffevo_jax.pytree.arrays import check_population
from diffevo_jax.running import ask_tell
from diffevo_jax.running.evolution import (
    Result,
    RunState,
    candidates_at_end,
    run_state_of,
    seen_at_end,
    told,
    with_final,
)
from diffevo_jax.running.final import FinalEvaluation, choice, concluded


@pytree.dataclass
class Place:
    """Where solutions live: all that the programs need of a problem.

    Attributes:
        space: the problem's.
    """

    space: PyTree


class HostPrograms(NamedTuple):
    """What :class:`diffevo_jax.running.chunks.Programs` does, with a host in between.

    Attributes:
        problem: a :class:`diffevo_jax.Problem` that is evaluated on the host.
        population_size: see :func:`diffevo_jax.evolve`.
        record: see :func:`diffevo_jax.evolve`.
        journal: where finished evaluations are kept, of a problem that is journaled.
        active: numbers of the runs that are still evaluated; None for all. The others are
            told zeros, and whoever calls keeps their state.
    """

    problem: PyTree
    population_size: int | None
    record: tuple[str, ...]
    journal: Journal | None = None
    active: np.ndarray | None = None

    def prepare(
        self,
        key: jax.Array,
        strategy: Strategy,
        place: PyTree,
        population: jax.Array | None,
        final: int,
    ) -> RunState:
        """Begin: the problem's state on the host, the rest as a program.

        Nothing of the ``final`` evaluations is compiled ahead: they are the host's.
        """
        make_room()
        begin, _, _ = _compiled(jax.default_backend())
        state, population = begin(
            key, strategy, place, population, population_size=self.population_size
        )
        init = lambda key: self.problem.init(ask_tell.setup_keys(key)[0])
        problem_state = (jax.vmap(init) if key.ndim else init)(key)
        unknown: PyTree = np.full(population.shape[:-1], -np.inf, population.dtype)
        return RunState(state, problem_state, population, unknown, (), None)

    def advance(
        self,
        key: jax.Array,
        strategy: Strategy,
        place: PyTree,
        run_state: RunState,
        begin: jax.Array,
        count: jax.Array,
    ) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
        """So many generations: ask, evaluate, tell."""
        rows = []
        for index in range(int(begin), int(begin) + int(count)):
            run_state, row = self._generation(key, strategy, place, run_state, index)
            rows.append(row)
        stack = lambda *leaves: np.stack(leaves, axis=key.ndim)
        return run_state, jax.tree.map(stack, *rows)

    def tell_first(
        self,
        key: jax.Array,
        strategy: Strategy,
        place: PyTree,
        run_state: RunState,
        evaluation: Evaluation,
    ) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
        """One generation, whose evaluation is known."""
        many = lambda leaf: jnp.broadcast_to(leaf, (*key.shape, *leaf.shape))
        known = jax.tree.map(many, evaluation)
        run_state, row = self._generation(key, strategy, place, run_state, 0, known)
        one = lambda leaf: np.expand_dims(np.asarray(leaf), key.ndim)
        return run_state, jax.tree.map(one, row)

    def shapes(
        self,
        key: jax.Array,
        strategy: Strategy,
        place: PyTree,
        population: jax.Array | None,
    ) -> tuple[PyTree, PyTree]:
        """What a generation leaves: the run state, and its rows with a generation axis."""
        init = lambda key: self.problem.init(ask_tell.setup_keys(key)[0])
        problem_state = jax.eval_shape(jax.vmap(init) if key.ndim else init, key)
        run_state, row = jax.eval_shape(self._first, key, strategy, place, population)
        many = lambda leaf: jax.ShapeDtypeStruct(
            (*leaf.shape[: key.ndim], 1, *leaf.shape[key.ndim :]), leaf.dtype
        )
        rows = jax.tree.map(many, row)
        return pytree.replace(run_state, problem_state=problem_state), rows

    def traced(
        self,
        key: jax.Array,
        strategy: Strategy,
        place: PyTree,
        population: jax.Array | None,
    ) -> jax.stages.Traced:
        """The first generation of a run, but for what the host does in it."""
        one = key[0] if key.ndim else key
        return jax.jit(self._first).trace(one, strategy, place, population)

    def forget(self, generation: int) -> None:
        """Evaluations before that generation are needed no more."""
        if self.journal is not None:
            self.journal.forget(before=name_of(generation))

    def _first(
        self,
        key: jax.Array,
        strategy: Strategy,
        place: PyTree,
        population: jax.Array | None,
    ) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
        """A generation in which everything fails, for its shapes and its code."""
        number = jnp.uint32(0)
        state, _ = _begin(
            key, strategy, place, population, population_size=self.population_size
        )
        state, candidates, solutions, key_evaluate = _ask(
            key, strategy, place, state, number
        )
        evaluate = functools.partial(evaluation_shapes, self.problem)
        shapes = (jax.vmap(evaluate) if key.ndim else evaluate)(key_evaluate, solutions)
        return _tell(key, strategy, state, candidates, shapes, number, record=self.record)

    def _generation(
        self,
        key: jax.Array,
        strategy: Strategy,
        place: PyTree,
        run_state: RunState,
        index: int,
        known: Evaluation | None = None,
    ) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
        """One generation; what is known is not evaluated."""
        _, ask, tell = _compiled(jax.default_backend())
        number = jnp.uint32(index)
        state, candidates, solutions, key_evaluate = ask(
            key, strategy, place, run_state.state, number
        )
        evaluation, problem_state = known, run_state.problem_state
        if evaluation is None:
            if self.journal is not None:
                self.journal.begin(name_of(index))
            with signals.promptly():
                evaluation, problem_state = self._evaluate(
                    key_evaluate, problem_state, solutions
                )
        if index:
            _check_measures(run_state.measures, evaluation.measures)
        told, row = tell(
            key, strategy, state, candidates, evaluation, number, record=self.record
        )
        return pytree.replace(told, problem_state=problem_state), row

    def _evaluate(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """One call of the problem, for a run or for many."""
        own = jax.tree.map(np.array, solutions)  # which it may change
        if self.active is not None:
            whole = key, problem_state, own
            some = jax.tree.map(lambda leaf: leaf[self.active], whole)
            found, state = self.problem.evaluate_on_host(*some)
            blank = lambda leaf: np.zeros((len(key), *leaf.shape[1:]), leaf.dtype)
            placed = functools.partial(_placed, self.active)
            return (
                jax.tree.map(placed, jax.tree.map(blank, found), found),
                jax.tree.map(placed, problem_state, state),
            )
        if key.ndim:
            return self.problem.evaluate_on_host(key, problem_state, own)
        one = jax.tree.map(lambda leaf: leaf[None], (key, problem_state, own))
        found = self.problem.evaluate_on_host(*one)
        first: tuple[Evaluation, PyTree] = jax.tree.map(lambda leaf: leaf[0], found)
        return first


def evaluation_shapes(problem: PyTree, key: jax.Array, solutions: PyTree) -> Evaluation:
    """An evaluation of zeros like those of a problem, without evaluating anything.

    Args:
        problem: that evaluates on the host.
        key: () typed.
        solutions: decoded, with leading axis N.

    Raises:
        TypeError: its ``evaluate`` cannot be traced, as that of an ``External`` can.
    """
    is_external = lambda part: isinstance(part, External)
    inside = lambda part: pytree.replace(part, callback=True) if is_external(part) else part
    traceable = jax.tree.map(inside, problem, is_leaf=is_external)
    evaluate = lambda key, solutions: traceable.evaluate(
        key, traceable.init(key), solutions
    )[0]
    try:
        shapes = jax.eval_shape(evaluate, key, solutions)
    except Exception as error:
        raise TypeError(
            f"folder: got a {type(problem).__name__}, whose evaluations cannot be foretold "
            f"({error}), want an External"
        ) from error
    zeros: Evaluation = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros


def name_of(generation: int) -> str:
    """What the evaluation of a generation is called in a journal."""
    return f"generation-{generation:09d}"


def _placed(active: np.ndarray, whole: PyTree, some: PyTree) -> PyTree:
    """An array (R, ...) with some of its rows replaced."""
    if jnp.issubdtype(whole.dtype, jax.dtypes.prng_key):
        return whole.at[active].set(some)
    rows = np.array(whole)
    rows[active] = some
    return jax.device_put(rows) if isinstance(whole, jax.Array) else rows


def _check_measures(before: PyTree, now: PyTree) -> None:
    """Raise ValueError unless the measures of a generation are like those before."""
    had, has = in_words(before), in_words(now)
    if had != has:
        raise ValueError(f"measures: got {has}, want {had} as in the generation before")


@functools.cache
def _compiled(backend: str) -> tuple[Any, Any, Any]:
    """The functions, with what is known when they are compiled as static arguments."""
    compiled = functools.partial(
        jax.jit, compiler_options=compiler_options(backend) or None
    )
    return (
        compiled(_begin, static_argnames="population_size"),
        compiled(_ask),
        compiled(_tell, static_argnames="record"),
    )


def _begin(
    key: jax.Array,
    strategy: Strategy,
    place: Place,
    population: jax.Array | None,
    *,
    population_size: int | None,
) -> tuple[PyTree, jax.Array]:
    """The strategy's state, and the population."""

    def one(key: jax.Array) -> tuple[PyTree, jax.Array]:
        _, key_population, key_strategy = ask_tell.setup_keys(key)
        first = population
        if first is None:
            first = place.space.sample(key_population, population_size)
        first = check_population("population", first)
        return strategy.init(key_strategy, first), first

    return jax.vmap(one)(key) if key.ndim else one(key)


def _ask(
    key: jax.Array, strategy: Strategy, place: Place, state: PyTree, index: jax.Array
) -> tuple[PyTree, jax.Array, PyTree, jax.Array]:
    """The state, the candidates, their solutions, and the key of their evaluation."""

    def one(key: jax.Array, state: PyTree) -> tuple[PyTree, jax.Array, PyTree, jax.Array]:
        key_ask, key_evaluate, _ = ask_tell.generation_keys(key, index)
        candidates, state = strategy.ask(key_ask, state)
        candidates = place.space.repair(candidates)
        return state, candidates, place.space.decode(candidates), key_evaluate

    return jax.vmap(one)(key, state) if key.ndim else one(key, state)


def _tell(
    key: jax.Array,
    strategy: Strategy,
    state: PyTree,
    candidates: jax.Array,
    evaluation: Evaluation,
    index: jax.Array,
    *,
    record: tuple[str, ...],
) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
    """The state after it, and what the generation leaves."""

    def one(
        key: jax.Array, state: PyTree, candidates: jax.Array, evaluation: Evaluation
    ) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
        key = ask_tell.generation_keys(key, index)[2]
        return told(key, strategy, state, candidates, evaluation, (), record)

    return (jax.vmap(one) if key.ndim else one)(key, state, candidates, evaluation)


def judge_on_host(
    key: jax.Array,
    problem: PyTree,
    result: Result,
    count: int,
    journal: Journal | None = None,
) -> Result:
    """A run's result, or that of many, with a final evaluation on the host.

    As :func:`diffevo_jax.running.evolution.judged`, whose two evaluations are two calls.
    What they count is in the result; what else a problem's state learns is forgotten.
    """
    make_room()
    place = pytree.strong(Place(problem.space))
    run_state, start = run_state_of(result), result.history.mean_fitness[..., 0]
    if not key.ndim:
        lifted = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (key, run_state, start))
        key, run_state, start = lifted
    number, half = len(key), count // 2
    keys, candidates = _candidates(key, place, run_state, count=count)
    each = jnp.arange(half, dtype=jnp.int32) % candidates.shape[1]
    who, halves = jnp.broadcast_to(each, (number, half)), []
    problem_state = run_state.problem_state
    for part in range(2):
        solutions = jax.tree.map(np.array, _decoded(place, candidates, who))
        if journal is not None:
            generations = result.history.done.shape[-1]
            journal.begin(f"final-after-{generations}-{part}")
        with signals.promptly():
            evaluation, after = problem.evaluate_on_host(
                keys[:, part], problem_state, solutions
            )
        problem_state = _counted(problem_state, after)
        halves.append((jnp.asarray(evaluation.fitness, float), evaluation.violation))
        if not part:
            chosen, feasible = _chosen(who, *halves[0], count=candidates.shape[1])
            who = jnp.broadcast_to(chosen[:, None], who.shape)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *halves)
    final, solution = _concluded(
        place, candidates, (*both, chosen, feasible), run_state, start
    )
    found = final, solution, problem_state
    if not result.history.done.ndim > 1:
        found = jax.tree.map(lambda leaf: leaf[0], found)
    final, solution, problem_state = found
    judged = with_final(result, final, solution)
    return dataclasses.replace(judged, problem_state=problem_state)


def _counted(before: PyTree, after: PyTree) -> PyTree:
    """The state of a problem before an evaluation, with the counts of it."""
    is_count = lambda part: isinstance(part, Counts)
    pick = lambda old, new: new if is_count(old) else old
    whole: PyTree = jax.tree.map(pick, before, after, is_leaf=is_count)
    return whole


@functools.partial(jax.jit, static_argnames="count")
def _candidates(
    key: jax.Array, place: Place, run_state: RunState, *, count: int
) -> tuple[jax.Array, jax.Array]:
    """Keys of both halves (R, 2), and candidates (R, K, D)."""

    def one(key: jax.Array, run_state: RunState) -> tuple[jax.Array, jax.Array]:
        candidates = place.space.repair(candidates_at_end(run_state, count))
        return jax.random.split(ask_tell.final_key(key)), candidates

    return jax.vmap(one)(key, pytree.replace(run_state, problem_state=None, measures=None))


@jax.jit
def _decoded(place: Place, candidates: jax.Array, who: jax.Array) -> PyTree:
    """Solutions (R, M) of candidates ``who`` (R, M)."""
    return jax.vmap(lambda some, which: place.space.decode(some[which]))(candidates, who)


@functools.partial(jax.jit, static_argnames="count")
def _chosen(
    who: jax.Array, fitness: jax.Array, violation: jax.Array | None, *, count: int
) -> tuple[jax.Array, jax.Array]:
    """Whom each of R runs chooses, and whether it is feasible."""
    return jax.vmap(lambda *each: choice(each[0], count, *each[1:]))(
        who, fitness, violation
    )


@jax.jit
def _concluded(
    place: Place, candidates: jax.Array, halves: PyTree, run_state: RunState, start: PyTree
) -> tuple[FinalEvaluation, PyTree]:
    """What the halves say of R runs, and the chosen solutions, decoded."""

    def one(
        candidates: jax.Array, halves: PyTree, run_state: RunState, start: jax.Array
    ) -> FinalEvaluation:
        return concluded(candidates, halves, seen_at_end(run_state, start))

    bare = pytree.replace(run_state, problem_state=None, measures=None)
    final = jax.vmap(one)(candidates, halves, bare, start)
    return final, place.space.decode(final.solution)
