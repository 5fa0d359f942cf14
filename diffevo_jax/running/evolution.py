"""A whole evolution as one compiled program: key, strategy, problem -> Result."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Info, Problem, PyTree, Strategy
from diffevo_jax.compilation import make_room
from diffevo_jax.pytree import arrays, validation
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.running import arguments, ask_tell, memory
from diffevo_jax.running.final import (
    FinalEvaluation,
    candidates_of,
    count_of,
    final_evaluation,
    num_candidates,
)

#: Why a run has ended, by the code ``Result.stopped``.
REASONS = (
    "finished",
    "target",
    "evaluations",
    "time",
    "stagnation",
    "failures",
    "own function",
    "interrupted",
)


@pytree.dataclass
class Result:
    """What an evolution came to. Under ``vmap`` everything has a leading run axis.

    Attributes:
        population: (N, D) the last evaluated generation, unit scale; decode it with
            ``problem.space.decode``.
        fitness: (N,) its fitness.
        measures: its measures, as the problem gave them.
        violation: (N,) at most 0 where it is feasible; None if the problem says nothing.
        best_solution: the best feasible of all evaluated solutions, decoded; if none was
            feasible the one that violates least. With a final evaluation the solution
            chosen there, which is the honest best.
        best_fitness: () its fitness, that of the final evaluation if there is one; -inf if
            no feasible evaluation succeeded.
        best_violation: () its violation, 0 if it is feasible; +inf if every evaluation
            failed.
        history: :class:`Info` with a leading generation axis (T,).
        recorded: dict of what ``record=`` asked for, with a leading generation axis.
        state: the strategy's state.
        problem_state: the problem's state.
        final: the final evaluation, with the error and the interval of the best; None if
            there is none. The record of all evaluations, which under noise is the luckiest,
            is in ``state.best_solution`` and ``state.best_fitness``.
        stopped: () int32, why it has ended: a place in ``REASONS``, 0 if nothing stopped
            it; in words ``reason``; see :mod:`diffevo_jax.running.stops`. Of many runs,
            each is left as it was when it was stopped, and later rows of its history and of
            what was recorded repeat its last one.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(10)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=32)
        >>> result.reason, int(result.num_generations), result.population.shape
        ('finished', 10, (32, 2))
        >>> float(result.best_fitness - result.history.best_fitness.max())
        0.0
    """

    population: jax.Array
    fitness: jax.Array
    measures: PyTree
    violation: jax.Array | None
    best_solution: PyTree
    best_fitness: jax.Array
    best_violation: jax.Array
    history: Info
    recorded: dict[str, PyTree]
    state: PyTree
    problem_state: PyTree
    final: FinalEvaluation | None = None
    stopped: ArrayLike = np.int32(0)

    @property
    def reason(self) -> str | tuple[str, ...]:
        """Why it has ended, in words, or "going on"; of R runs R words."""
        codes, ended = np.broadcast_arrays(self.stopped, self.state.done)
        each = zip(codes.ravel(), ended.ravel(), strict=True)
        words = tuple(REASONS[code] if code or end else "going on" for code, end in each)
        return words if codes.ndim else words[0]

    @property
    def num_generations(self) -> jax.Array:
        """() int32, generations that it really had."""
        count: jax.Array = self.state.generation
        return count

    def __repr__(self) -> str:
        """The best, and how large the rest is; history and states are in their fields."""
        told = ["best_fitness", "best_solution", "population", "fitness"]
        if self.violation is not None:
            told.insert(1, "best_violation")
        parts = [f"{name}={pytree.short(getattr(self, name))}" for name in told]
        generations = jnp.shape(self.history.done)[-1:]
        length = f", generations={generations[0]}" if generations else ""
        return f"Result({', '.join(parts)}{length}{_told(self.stopped)})"


def _told(stopped: ArrayLike) -> str:
    """Why a run was stopped, or how many were for what; nothing where none was."""
    if not isinstance(stopped, np.generic | np.ndarray | jax.Array):
        return ""
    known = pytree.concrete(stopped)
    if known is None or not known.any():
        return ""
    codes, counts = np.unique(known, return_counts=True)
    if not known.ndim:
        return f", reason={REASONS[codes[0]]!r}"
    each = zip(codes, counts, strict=True)
    return f", reasons=({', '.join(f'{n} {REASONS[code]}' for code, n in each)})"


@pytree.dataclass
class RunState:
    """What is carried from generation to generation.

    Attributes:
        state: the strategy's state.
        problem_state: the problem's state.
        population: (N, D) the last evaluated candidates, unit scale.
        fitness: (N,) their fitness.
        measures: their measures.
        violation: (N,) their violation, or None.
    """

    state: PyTree
    problem_state: PyTree
    population: jax.Array
    fitness: jax.Array
    measures: PyTree
    violation: jax.Array | None


@checked
def evolve(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None = None,
    population: jax.Array | None = None,
    fitness: jax.Array | Evaluation | None = None,
    record: tuple[str, ...] = (),
    final: Index | None = None,
) -> Result:
    """Evolve a population, all generations in one ``lax.scan``.

    A pure function: ``jax.vmap(lambda key: de.evolve(key, ...))(keys)`` is many independent
    runs in one program. Changing a number of the strategy or the problem does not compile
    anything anew. For progress on the host, chunks and early stop see
    :func:`diffevo_jax.run`.

    Args:
        key: a typed key; the run is a function of it.
        strategy: for example ``DiffusionEvolution(num_generations=10)``.
        problem: what to maximise.
        population_size: N, drawn from the problem's space; or give ``population``.
        population: (N, D) in unit scale, to start from.
        fitness: (N,) of that population, if it is known: the first generation is then not
            evaluated, and the problem's state stays. Of a problem with measures or a
            violation it is the whole :class:`diffevo_jax.Evaluation`.
        record: names of what to keep of every generation: ``"population"``, ``"fitness"``,
            ``"measures"``, ``"violation"``, or a field of the strategy's state after the
            generation, for example ``"clean_estimate"``.
        final: evaluations after the last generation, 0 or an even number of at least 16,
            static. On one half of them the best is chosen: among the record holder, the
            means of the last population and of its clean estimates, and the best of the
            last population. On the other half its fitness is reported, with an interval. 0
            is none: then the best is that of all evaluations, which under noise is the
            luckiest. None is by itself: for a problem that is
            :class:`diffevo_jax.base.Noisy` a fifth of the run's evaluations, at most 8
            populations and at most 512, or none where that is less than 32; nothing for
            any other.

    Returns:
        The result, on the device.

    Raises:
        ValueError: a number is out of range, a shape or a name is wrong.
        TypeError: the key is not a typed key, a number is not a number, or the problem is
            evaluated on the host, see :class:`diffevo_jax.problems.External`.
        MemoryError: it does not fit, see :func:`diffevo_jax.footprint`. Under ``jit`` and
            ``vmap`` of your own it is JAX's own JaxRuntimeError.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("himmelblau")
        >>> population = de.denoisers.Population(shaping=de.shaping.Identity())
        >>> strategy = de.DiffusionEvolution(25, population)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=256)
        >>> bool(result.best_fitness > 0.99)
        True
        >>> result.history.mean_fitness.shape
        (25,)
    """
    problem = arguments.as_pytree(problem)
    arguments.check_run(key, strategy, problem, population_size, population, record)
    size = arguments.size_of(population_size, population)
    count = count_of(final, problem, strategy.num_generations, size)
    known = arguments.known_evaluation(population, fitness)
    make_room()
    strategy, problem = pytree.strong(strategy), pytree.strong(problem)
    shape = size, problem.space.dim, strategy.num_generations
    with memory.explained("evolve", memory.changes_of(*shape, record)):
        result = _evolve(
            key,
            strategy,
            problem,
            population,
            known,
            population_size=population_size,
            record=tuple(record),
        )
        if count:
            start = result.history.mean_fitness[0]
            judged = _judged(key, problem, run_state_of(result), start, count=count)
            result = with_final(result, *judged)
        memory.wait_if_large(result)
    return result


@functools.partial(jax.jit, static_argnames=("population_size", "record"))
def _evolve(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population: jax.Array | None,
    known: Evaluation | None,
    *,
    population_size: int | None,
    record: tuple[str, ...],
) -> Result:
    def body(run_state: RunState, words: jax.Array) -> tuple[RunState, Any]:
        keys = ask_tell.as_keys(words, key)
        return generation(keys, strategy, problem, run_state, record)

    words, set_up = ask_tell.words_of_run(key, strategy.num_generations)
    set_up = ask_tell.as_keys(set_up, key)
    run_state = begin_run(set_up, strategy, problem, population_size, population)
    if known is not None:
        keys = ask_tell.as_keys(words[0], key)
        begun = (keys, strategy, problem, run_state, known, record)
        run_state, first = first_told(*begun)
        run_state, rest = jax.lax.scan(body, run_state, words[1:])
        join = lambda one, rows: jnp.concatenate([one[None], rows])
        history, recorded = jax.tree.map(join, first, rest)
    else:
        run_state, (history, recorded) = jax.lax.scan(body, run_state, words)
    best = best_solution(problem, run_state.state.best_solution)
    return result_of(run_state, best, history, recorded)


def judged(
    key: jax.Array, problem: Problem, run_state: RunState, start: jax.Array, *, count: int
) -> tuple[FinalEvaluation, PyTree]:
    """The final evaluation of a run, and its choice, decoded.

    Args:
        key: key of the run.
        problem: the problem.
        run_state: what the last generation left.
        start: () mean fitness of the first generation, for the interval: how low fitness
            can be, where the last generation is all the same.
        count: evaluations.
    """
    problem, _ = _clipped(problem)
    final = final_evaluation(
        ask_tell.final_key(key),
        problem,
        run_state.problem_state,
        candidates_at_end(run_state, count),
        count,
        seen_at_end(run_state, start),
    )
    return final, best_solution(problem, final.solution)


_judged = functools.partial(jax.jit, static_argnames="count")(judged)


def candidates_at_end(run_state: RunState, count: int) -> jax.Array:
    """Candidates ``(K, D)`` for a final evaluation of ``count`` evaluations."""
    return candidates_of(
        run_state.state,
        run_state.population,
        run_state.fitness,
        num_candidates(count),
        run_state.violation,
    )


def seen_at_end(run_state: RunState, start: jax.Array) -> jax.Array:
    """How low and high fitness can be ``(N + 1,)``; ``start`` as for :func:`judged`."""
    fitness = run_state.fitness
    valid = jnp.isfinite(fitness)
    lowest = jnp.min(jnp.where(valid, fitness, jnp.inf))
    equal = lowest >= jnp.max(jnp.where(valid, fitness, -jnp.inf))
    return jnp.append(fitness, jnp.where(equal, start, lowest))


def run_state_of(result: Result) -> RunState:
    """What the last generation of a run left."""
    return RunState(
        state=result.state,
        problem_state=result.problem_state,
        population=result.population,
        fitness=result.fitness,
        measures=result.measures,
        violation=result.violation,
    )


def with_final(result: Result, final: FinalEvaluation, solution: PyTree) -> Result:
    """A result whose best is that of its final evaluation."""
    said = final.violation
    excess = jnp.where(final.feasible, 0.0, jnp.inf) if said is None else said
    # What the reporting half says counts: the choosing half may have been lucky here too.
    excess = jnp.where(jnp.isnan(excess), jnp.inf, jnp.maximum(excess, 0.0))
    return dataclasses.replace(
        result,
        best_solution=solution,
        best_fitness=jnp.where(excess > 0, -jnp.inf, final.fitness),
        best_violation=excess,
        final=final,
    )


def begin_run(
    keys: jax.Array | tuple[jax.Array, ...],
    strategy: Strategy,
    problem: Problem,
    population_size: int | None,
    population: jax.Array | None,
) -> RunState:
    """Set up a run: the problem's state, the population, the strategy's state.

    Args:
        keys: three, of :func:`diffevo_jax.setup_keys`.
        strategy: the strategy.
        problem: the problem.
        population_size: N, to be drawn; or ``population`` is given.
        population: (N, D) in unit scale.
    """
    problem, _ = _clipped(problem)
    key_problem, key_population, key_strategy = keys
    if population is None:
        assert population_size is not None
        population = problem.space.sample(key_population, population_size)
    population = arrays.check_population("population", population)
    problem_state = problem.init(key_problem)

    evaluation = _shapes(key_problem, problem, problem_state, population)
    unknown = jnp.full(len(population), jnp.inf, population.dtype)
    return RunState(
        state=strategy.init(key_strategy, population),
        problem_state=problem_state,
        population=population,
        fitness=jnp.full(len(population), -jnp.inf, population.dtype),
        measures=jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), evaluation.measures),
        violation=None if evaluation.violation is None else unknown,
    )


def _shapes(
    key: jax.Array, problem: Problem, problem_state: PyTree, population: jax.Array
) -> Evaluation:
    """Shapes of the evaluation of a population (N, D)."""

    def evaluate(key: jax.Array) -> Evaluation:
        solutions = problem.space.decode(population)
        return problem.evaluate(key, problem_state, solutions)[0]

    shapes: Evaluation = jax.eval_shape(evaluate, key)
    return shapes


def generation(
    keys: jax.Array | tuple[jax.Array, ...],
    strategy: Strategy,
    problem: Problem,
    run_state: RunState,
    record: tuple[str, ...] = (),
) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
    """One generation: ask, repair, evaluate, tell.

    Args:
        keys: three, of :func:`diffevo_jax.generation_keys`.
        strategy: the strategy.
        problem: the problem.
        run_state: what the previous generation left.
        record: names of what to return besides the scalars.

    Returns:
        The next one, and ``(info, recorded)`` of this generation.
    """
    problem, num_clipped = _clipped(problem)
    key_ask, key_evaluate, key_tell = keys
    candidates, state = strategy.ask(key_ask, run_state.state)
    candidates = problem.space.repair(candidates)
    evaluation, problem_state = problem.evaluate(
        key_evaluate, run_state.problem_state, problem.space.decode(candidates)
    )
    run_state, (info, recorded) = told(
        key_tell, strategy, state, candidates, evaluation, problem_state, record
    )
    info = pytree.replace(info, num_clipped=info.num_clipped + num_clipped)
    return run_state, (info, recorded)


def told(
    key: jax.Array,
    strategy: Strategy,
    state: PyTree,
    candidates: jax.Array,
    evaluation: Evaluation,
    problem_state: PyTree,
    record: tuple[str, ...],
) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
    """Tell what the candidates of a generation came to.

    Args:
        key: that of the generation for ``tell``.
        strategy: the strategy.
        state: that came with the candidates.
        candidates: (N, D), repaired.
        evaluation: what they came to.
        problem_state: the problem's state after it.
        record: see :func:`generation`.

    Returns:
        As :func:`generation`.
    """
    fitness = arrays.check_fitness(evaluation.fitness, len(candidates))
    violation, soft = evaluation.violation, {}
    if violation is not None:
        violation = arrays.check_fitness(violation, len(candidates), "violation")
    if evaluation.penalty is not None:
        penalty = arrays.check_fitness(evaluation.penalty, len(candidates), "penalty")
        soft = {"penalty": penalty}
    state, info = strategy.tell(
        key, state, candidates, fitness, evaluation.measures, violation, **soft
    )
    run_state = RunState(
        state, problem_state, candidates, fitness, evaluation.measures, violation
    )
    recorded = {
        name: vars(run_state if name in arguments.RECORDABLE else state)[name]
        for name in record
    }
    return run_state, (info, recorded)


def first_told(
    keys: jax.Array | tuple[jax.Array, ...],
    strategy: Strategy,
    problem: Problem,
    run_state: RunState,
    evaluation: Evaluation,
    record: tuple[str, ...] = (),
) -> tuple[RunState, tuple[Info, dict[str, PyTree]]]:
    """The first generation of a run whose evaluation is known; as :func:`generation`.

    Raises:
        ValueError: the problem's own evaluations have other measures, or another violation.
    """
    problem, num_clipped = _clipped(problem)
    key_ask, key_evaluate, key_tell = keys
    known = problem, run_state.problem_state, run_state.population
    arguments.check_known(evaluation, _shapes(key_evaluate, *known))
    candidates, state = strategy.ask(key_ask, run_state.state)
    run_state, (info, recorded) = told(
        key_tell,
        strategy,
        state,
        problem.space.repair(candidates),
        evaluation,
        run_state.problem_state,
        record,
    )
    info = pytree.replace(info, num_clipped=info.num_clipped + num_clipped)
    return run_state, (info, recorded)


def result_of(
    run_state: RunState,
    best: PyTree,
    history: Info,
    recorded: dict[str, PyTree],
    stopped: ArrayLike | None = None,
) -> Result:
    """A run's result, from its last state, its decoded best solution, and what it left."""
    return Result(
        population=run_state.population,
        fitness=run_state.fitness,
        measures=run_state.measures,
        violation=run_state.violation,
        best_solution=best,
        best_fitness=run_state.state.best_fitness,
        best_violation=run_state.state.best_violation,
        history=history,
        recorded=recorded,
        state=run_state.state,
        problem_state=run_state.problem_state,
        stopped=np.int32(0) if stopped is None else stopped,
    )


def best_run(result: Result) -> int:
    """The run whose best is the best: the feasible first, then the fittest.

    Args:
        result: of one run, or of R with a leading axis.
    """
    violation = np.atleast_1d(np.asarray(result.best_violation))
    fitness = np.nan_to_num(np.atleast_1d(np.asarray(result.best_fitness)), nan=-np.inf)
    return int(np.lexsort((-fitness, violation))[0])


def best_solution(problem: Problem, best: jax.Array) -> PyTree:
    """Decode one solution (D,)."""
    problem, _ = _clipped(problem)
    return jax.tree.map(lambda leaf: leaf[0], problem.space.decode(best[None]))


def _clipped(problem: Problem) -> tuple[Problem, jax.typing.ArrayLike]:
    """A problem with legal numbers, where they are traced, and how many were not."""
    return validation.clipped(problem) if pytree.is_component(problem) else (problem, 0)
