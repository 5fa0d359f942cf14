"""The promises of a strategy; :class:`diffevo_jax.Strategy` is their contract."""

import functools
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from diffevo_jax import pytree
from diffevo_jax.base import Info, PyTree, Strategy
from diffevo_jax.problems import Function
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running import evolve, generation_keys, setup_keys
from diffevo_jax.testing.agreement import (
    FAILURES,
    D,
    N,
    Promise,
    close,
    each_number_changed,
    expect,
    hold,
    key,
    population,
    same_bits,
    same_types,
    sphere,
    together_and_alone,
    without_nan,
)

#: Runs whose fitness must have risen, together.
NUM_RUNS = 64
LOOPS = ("scan", "while")


def _generation(
    strategy: Strategy, key: jax.Array, state: PyTree, scale: jax.Array, shift: jax.Array
) -> tuple[Any, Info, jax.Array]:
    """State, info and candidates of a generation told ``scale sphere + shift``."""
    key_ask, _, key_tell = generation_keys(key, state.generation)
    candidates, state = strategy.ask(key_ask, state)
    fitness = scale * sphere(candidates) + shift
    return *strategy.tell(key_tell, state, candidates, fitness), candidates


# The promises share these programs: one is compiled for all strategies of one structure.
_init = jax.jit(lambda strategy, key, population: strategy.init(key, population))
_compiled = jax.jit(_generation)


@jax.jit
def _best(
    strategy: Strategy, key: jax.Array, state: PyTree, violation: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The best solution, its fitness and its violation after a generation."""
    key_ask, _, key_tell = generation_keys(key, state.generation)
    candidates, state = strategy.ask(key_ask, state)
    fitness = sphere(candidates)
    state, _ = strategy.tell(key_tell, state, candidates, fitness, (), violation)
    return state.best_solution, state.best_fitness, state.best_violation


@functools.partial(jax.jit, static_argnames="dim")
def _runs(strategy: Strategy, keys: jax.Array, dim: int) -> dict[str, jax.Array]:
    """Populations (R, T, N, D) and fitness (R, T, N) of whole runs."""
    problem, record = Function(sphere, dim), ("population", "fitness")
    run = lambda key: evolve(key, strategy, problem, population_size=N, record=record)
    recorded: dict[str, jax.Array] = jax.vmap(run)(keys).recorded
    return recorded


def _start(strategy: Strategy, dim: int, size: int = N) -> Any:
    return _init(pytree.strong(strategy), key(), population(size, dim))


def _step(
    strategy: Strategy,
    state: PyTree,
    key: jax.Array | None = None,
    *,
    scale: float = 1.0,
    shift: jax.typing.ArrayLike = 0.0,
) -> tuple[Any, Info, jax.Array]:
    """A generation, compiled."""
    given = _told(strategy, state, key, scale, shift)
    told: tuple[Any, Info, jax.Array] = _compiled(*given)
    return told


def _told(
    strategy: Strategy,
    state: PyTree,
    key_: jax.Array | None = None,
    scale: float = 1.0,
    shift: jax.typing.ArrayLike = 0.0,
) -> tuple[Any, ...]:
    """Arguments of a generation."""
    key_ = key() if key_ is None else key_
    shifts = jnp.broadcast_to(jnp.asarray(shift, float), len(state.population))
    return pytree.strong(strategy), key_, state, jnp.asarray(scale, float), shifts


def state_keeps_its_types(strategy: Strategy, dim: int = D) -> None:
    """Shapes, dtypes, structure and weak types of the state never change.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.state_keeps_its_types(de.DiffusionEvolution(4))
    """
    start = _start(strategy, dim)
    told, *_ = _step(strategy, start)
    same_types(start, told, "a state with the structure, shapes and dtypes of before")


def info_is_scalar(strategy: Strategy, dim: int = D) -> None:
    """Info holds scalars only.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.info_is_scalar(de.DiffusionEvolution(4))
    """
    _, info, _ = _step(strategy, _start(strategy, dim))
    expect(isinstance(info, Info), "an Info", info)
    for leaf in jax.tree.leaves(info):
        expect(jnp.shape(leaf) == (), "an Info of scalars", jnp.shape(leaf))


def first_ask_returns_the_population(strategy: Strategy, dim: int = D) -> None:
    """The first candidates are the initial population, bit for bit.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.first_ask_returns_the_population(de.DiffusionEvolution(4))
    """
    *_, candidates = _step(strategy, _start(strategy, dim))
    same_bits(candidates, population(dim=dim), "the initial population from the first ask")


def jit_equals_eager(strategy: Strategy, dim: int = D) -> None:
    """Compiled and eager agree to rounding."""
    strong = pytree.strong(strategy)
    eager = _generation(*_told(strong, strong.init(key(), population(dim=dim))))
    close(_step(strategy, _start(strategy, dim)), eager, "compiled as eager")


def nothing_is_traced_twice(strategy: Strategy, dim: int = D) -> None:
    """One program serves all generations, keys and numbers of any kind."""
    traces = []

    def counted(*given: Any) -> Any:
        traces.append(1)
        return _generation(*given)

    program, state = jax.jit(counted), _start(strategy, dim)
    halved = jax.tree.map(lambda leaf: _like(leaf, np.float64(0.5) * leaf), strategy)
    ones = jax.tree.map(lambda leaf: _like(leaf, 1), strategy)
    for generation, numbers in enumerate((strategy, halved, ones, strategy)):
        given = _told(numbers, state, jax.random.fold_in(key(), generation))
        program.trace(*given)
        state, *_ = _compiled(*given)
    expect(len(traces) == 1, "one program for all numbers", f"{len(traces)} of them")


def _like(leaf: Any, value: Any) -> Any:
    """The value, or an array full of it where the leaf is one."""
    return value if np.ndim(leaf) == 0 else np.full(np.shape(leaf), value)


def vmap_over_keys_equals_a_loop(strategy: Strategy, dim: int = D) -> None:
    """Many runs under ``vmap`` are the runs alone, and ``evolve`` is ask and tell."""
    keys = jax.random.split(jax.random.key(0), NUM_RUNS)
    together = _runs(pytree.strong(strategy), keys, dim)["population"]
    if strategy.num_generations == 1:
        return
    for run in range(3):
        first, second = together[run, 0], together[run, 1]
        state = _step(strategy, _begun(strategy, keys[run], first), keys[run])[0]
        alone = _step(strategy, state, keys[run])[2]
        close(second, alone, "under vmap the second generation of the run alone")


def _begun(strategy: Strategy, key: jax.Array, first: jax.Array) -> Any:
    return _init(pytree.strong(strategy), setup_keys(key)[-1], first)


def vmap_over_any_number_equals_a_loop(strategy: Strategy, dim: int = D) -> None:
    """Every numeric field can be swept."""
    together_and_alone(
        lambda numbers: _step(numbers, _start(numbers, dim))[0].population,
        each_number_changed(strategy),
        "with a number swept the generation of each setting alone",
    )


def same_key_same_bits(strategy: Strategy, dim: int = D) -> None:
    """A generation is a function of its key: equal for equal keys, different for others."""
    start = _start(strategy, dim)
    other = _step(strategy, start, jax.random.key(3))[0].population
    given = _told(strategy, start)
    first, again = _generation(*given), _generation(*given)
    same_bits(first, again, "the same bits for the same key")
    different = not np.array_equal(first[0].population, other)
    expect(different, "other individuals for another key", "the same ones")


def a_constant_does_not_matter(strategy: Strategy, dim: int = D) -> None:
    """A constant added to fitness changes nothing: where that is documented.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.a_constant_does_not_matter(de.DiffusionEvolution(4))
    """
    start = _start(strategy, dim)
    plain, raised = (_step(strategy, start, shift=c)[0].population for c in (0.0, 1.0))
    distance = jnp.abs(plain - raised).max()
    expect(distance < 1e-4, "the same individuals if all fitness is higher by 1", distance)


def every_failure_acts_the_same(strategy: Strategy, dim: int = D) -> None:
    """NaN, +inf and -inf give the same bits, weight zero, and are counted.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.every_failure_acts_the_same(de.DiffusionEvolution(4))
    """
    start, points = _start(strategy, dim), population(dim=dim)
    best = jnp.delete(sphere(points), 2).max()
    alone = jnp.zeros(N).at[2]
    each = [_step(strategy, start, shift=alone.set(bad))[:2] for bad in FAILURES]
    for bad, (state, info) in zip(FAILURES, each, strict=True):
        same_bits((state, info), each[0], f"the same bits for {bad} as for {FAILURES[0]}")
        without_nan((state, info), "no NaN by a failure")
        expect(info.num_failed == 1, "1 failed", info.num_failed)
        close(state.best_fitness, best, "the best of those that did not fail")


def failure_of_all_changes_no_individual(strategy: Strategy, dim: int = D) -> None:
    """If all fail, the next candidates are the same ones, and time goes on.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> strategy = de.DiffusionEvolution(4)
        >>> testing.strategies.failure_of_all_changes_no_individual(strategy)
    """
    start = _start(strategy, dim)
    for bad in FAILURES:
        state, info, _ = _step(strategy, start, shift=bad)
        *_, candidates = _step(strategy, state)
        same_bits(candidates, population(dim=dim), "the same individuals if all failed")
        without_nan((state, info), "no NaN by failures")
        expect(state.generation == 1, "generation 1", state.generation)
        expect(info.num_failed == N, f"{N} failed", info.num_failed)


def best_is_never_forgotten(strategy: Strategy, dim: int = D) -> None:
    """The best so far survives a worse generation.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.best_is_never_forgotten(de.DiffusionEvolution(4))
    """
    points = population(dim=dim)
    state, *_ = _step(strategy, _start(strategy, dim))
    best = state.best_solution, state.best_fitness
    state, *_ = _step(strategy, state, scale=1e-3)
    same_bits((state.best_solution, state.best_fitness), best, "the best of all time")
    same_bits(best[0], points[jnp.argmax(sphere(points))], "the best of the population")


def the_infeasible_are_never_the_best(strategy: Strategy, dim: int = D) -> None:
    """The best is feasible; while none is it is who violates least, of fitness -inf.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.the_infeasible_are_never_the_best(de.DiffusionEvolution(4))
    """
    start, points = _start(strategy, dim), population(dim=dim)
    # The fittest violate most.
    order = jnp.argsort(jnp.argsort(-sphere(points))).astype(float)
    for least, fitness in ((-3.5, sphere(points)), (0.5, jnp.full(N, -jnp.inf))):
        violation = least + (N - 1.0 - order)
        best = _best(pytree.strong(strategy), key(), start, violation)
        want = jnp.argmin(jnp.where(violation <= 0, order, N + violation))
        told = points[want], fitness[want], jnp.maximum(violation[want], 0.0)
        # To rounding: fitness is computed in two programs, here and in the run.
        expect(
            all(np.allclose(a, b, rtol=1e-6) for a, b in zip(best, told, strict=True)),
            "the best feasible, or else the least infeasible",
            best,
        )


def one_individual_is_enough(strategy: Strategy, dim: int = D) -> None:
    """A population of one is legal."""
    told = _step(strategy, _start(strategy, dim, size=1))
    without_nan(told, "numbers for one individual")


def one_dimension_is_enough(strategy: Strategy, dim: int = D) -> None:
    """Solutions of one number are legal."""
    told = _step(strategy, _start(strategy, dim=1))
    without_nan(told, "numbers for one dimension")


def one_generation_is_enough(strategy: Strategy, dim: int = D) -> None:
    """A run of one generation is legal, and then done."""
    strategy = pytree.replace(strategy, num_generations=1)
    told = state, *_ = _step(strategy, _start(strategy, dim))
    without_nan(told, "numbers for one generation")
    expect(state.done, "done after one generation of one", state.done)


def nothing_happens_after_the_end(strategy: Strategy, dim: int = D) -> None:
    """After the last round the state is frozen, and says so.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.strategies.nothing_happens_after_the_end(de.DiffusionEvolution(4))
    """
    state = _start(strategy, dim)
    for generation in range(strategy.num_generations):
        expect(not state.done, f"more to do in generation {generation}", "done")
        state, info, _ = _step(strategy, state)
    expect(state.done & info.done, "done after the last generation", (state, info))
    later, info, _ = _step(strategy, state, scale=10.0)
    same_bits(later, state, "a frozen state after the end")
    expect(info.done, "done after the end", info)


def fitness_rises(strategy: Strategy, dim: int = D) -> None:
    """On a sphere the mean fitness rises by five standard errors over 64 runs."""
    keys = jax.random.split(jax.random.key(0), NUM_RUNS)
    mean = _runs(pytree.strong(strategy), keys, dim)["fitness"].mean(axis=-1)
    gain = np.asarray(mean[:, -1] - mean[:, 0], float)
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    expect(gain.mean() > 5 * error, "five standard errors", gain.mean() / error)


def one_loop_and_no_callback(strategy: Strategy, dim: int = D) -> None:
    """The program has one loop over generations and never calls the host."""
    problem = Function(sphere, dim)
    run = lambda key: evolve(key, strategy, problem, population_size=N)
    program = jax.make_jaxpr(run)(key()).jaxpr
    host = [name for name in _primitives(program) if "callback" in name or "feed" in name]
    expect(not host, "no call of the host", host)
    # A generation may have loops of its own, for example to find a temperature.
    outer = [name for name in _primitives(program, loops=False) if name in LOOPS]
    expect(len(outer) == 1, "one loop", outer)


def _primitives(jaxpr: Any, *, loops: bool = True) -> Iterator[str]:
    """Names of all primitives of a program, inner programs included, or but for loops."""
    program = lambda value: isinstance(value, Jaxpr | ClosedJaxpr)
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        if not loops and equation.primitive.name in LOOPS:
            continue
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=program):
            if program(inner):
                inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                yield from _primitives(inner, loops=loops)


#: What every strategy promises. Where it is documented, ``a_constant_does_not_matter``
#: comes to it.
PROMISES: tuple[Promise, ...] = (
    state_keeps_its_types,
    info_is_scalar,
    first_ask_returns_the_population,
    jit_equals_eager,
    nothing_is_traced_twice,
    vmap_over_keys_equals_a_loop,
    vmap_over_any_number_equals_a_loop,
    same_key_same_bits,
    every_failure_acts_the_same,
    failure_of_all_changes_no_individual,
    best_is_never_forgotten,
    the_infeasible_are_never_the_best,
    one_individual_is_enough,
    one_dimension_is_enough,
    one_generation_is_enough,
    nothing_happens_after_the_end,
    fitness_rises,
    one_loop_and_no_callback,
)


@checked
def check_strategy(
    strategy: Strategy, dim: int = D, *, but: Collection[Promise] = ()
) -> None:
    """Hold a strategy to all promises of one.

    Args:
        strategy: of few generations, since all are run.
        dim: D of the solutions that it is tried on.
        but: promises that it does not make.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_strategy(de.DiffusionEvolution(4))
    """
    hold(strategy, PROMISES, dim, but)
