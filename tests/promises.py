"""The promises of a strategy, each a function that raises AssertionError if it is broken.

``test_contract.py`` holds every strategy to every promise, and breaks every promise on
purpose to see that it is noticed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case

import diffevo_jax as de
from diffevo_jax import pytree

N, D = 8, 3
KEY = jax.random.key(7)
BAD = (jnp.nan, jnp.inf, -jnp.inf)


def population(size: int = N, dim: int = D) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (size, dim))


def sphere(x: jax.Array) -> jax.Array:
    """Positive, so that every shaping accepts it; 2 at (0.5, 0.5, ...)."""
    return 2.0 / (1.0 + jnp.sum((x - 0.5) ** 2, axis=-1))


#: The optimum is away from the prior's mean, for problems of any strategy.
PROBLEM = de.problems.Function(sphere, dim=D)


def step(
    strategy: Any,
    state: Any,
    key: jax.Array = KEY,
    fitness_of: Callable[[jax.Array], jax.Array] = sphere,
) -> tuple[Any, de.Info]:
    candidates, state = strategy.ask(jax.random.fold_in(key, 1), state)
    fitness = fitness_of(candidates)
    return strategy.tell(jax.random.fold_in(key, 2), state, candidates, fitness)


def after_one(strategy: Any, key: jax.Array = KEY, **options: Any) -> tuple[Any, de.Info]:
    return step(strategy, strategy.init(key, population()), key, **options)


def close(first: Any, second: Any) -> None:
    """Agreement to float32 rounding of one generation: 1e-5 of the population's spread."""
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def same_bits(first: Any, second: Any) -> None:
    assert de.equal(first, second)


def finite(tree: Any) -> None:
    for leaf in jax.tree.leaves(tree):
        assert not np.isnan(np.asarray(leaf, float)).any()


def avals(tree: Any) -> list[tuple[Any, ...]]:
    shapes = [jax.api_util.shaped_abstractify(leaf) for leaf in jax.tree.leaves(tree)]
    return [(s.shape, s.dtype, getattr(s, "weak_type", False)) for s in shapes]


# The promises.


def state_keeps_its_types(case: Case) -> None:
    """Shapes, dtypes, structure and weak types of the state never change."""
    strategy = pytree.strong(case.strategy)
    start = strategy.init(KEY, population())
    told, _ = jax.jit(lambda state: step(strategy, state))(start)
    assert jax.tree.structure(start) == jax.tree.structure(told)
    assert avals(start) == avals(told)
    assert not any(weak for *_, weak in avals(told))


def info_is_scalar(case: Case) -> None:
    """Info holds scalars only."""
    _, info = after_one(case.strategy)
    assert isinstance(info, de.Info)
    assert all(jnp.shape(leaf) == () for leaf in jax.tree.leaves(info))


def first_ask_returns_the_population(case: Case) -> None:
    """The first candidates are the initial population, bit for bit."""
    state = case.strategy.init(KEY, population())
    candidates, _ = case.strategy.ask(KEY, state)
    same_bits(candidates, population())


def jit_equals_eager(case: Case) -> None:
    """Compiled and eager agree to rounding."""
    close(jax.jit(after_one)(case.strategy), after_one(case.strategy))


def nothing_is_traced_twice(case: Case) -> None:
    """One program serves all generations, keys and numbers of any kind."""
    traces = []

    def counted(strategy: Any, key: jax.Array, state: Any) -> Any:
        traces.append(1)
        return step(strategy, state, key)[0]

    compiled = jax.jit(counted)
    state = case.strategy.init(KEY, population())
    halved = jax.tree.map(lambda leaf: np.float64(leaf) * 0.5, case.strategy)
    ones = jax.tree.map(lambda _: 1, case.strategy)
    for generation, strategy in enumerate((case.strategy, halved, ones, case.strategy)):
        key = jax.random.fold_in(KEY, generation)
        state = compiled(pytree.strong(strategy), key, state)
    assert len(traces) == 1


def vmap_over_keys_equals_a_loop(case: Case) -> None:
    """Many runs under vmap are the runs alone."""
    keys = jax.random.split(KEY, 3)
    one = lambda key: after_one(case.strategy, key)
    alone = [one(key) for key in keys]
    close(jax.vmap(one)(keys), jax.tree.map(lambda *rows: jnp.stack(rows), *alone))


def vmap_over_any_number_equals_a_loop(case: Case) -> None:
    """Every numeric field can be swept."""
    leaves, treedef = jax.tree.flatten(pytree.strong(case.strategy))
    for index, leaf in enumerate(leaves):

        def one(value: jax.Array, index: int = index) -> Any:
            changed = [*leaves[:index], value, *leaves[index + 1 :]]
            return after_one(jax.tree.unflatten(treedef, changed))[0].population

        values = jnp.stack([leaf, 0.9 * leaf])
        together, alone = jax.vmap(one)(values), [one(value) for value in values]
        close(together, jnp.stack(alone))


def same_key_same_bits(case: Case) -> None:
    """A run is a function of its key: equal for equal keys, different for others."""
    first, again = after_one(case.strategy), after_one(case.strategy)
    other, _ = after_one(case.strategy, jax.random.fold_in(KEY, 3))
    same_bits(first, again)
    assert not np.array_equal(first[0].population, other.population)


def a_constant_does_not_matter(case: Case) -> None:
    """Where documented, a constant added to fitness changes nothing."""
    plain, _ = after_one(case.strategy)
    raised, _ = after_one(case.strategy, fitness_of=lambda x: sphere(x) + 1.0)
    same = np.allclose(plain.population, raised.population, atol=1e-4)
    assert same == case.shift_invariant


def every_failure_acts_the_same(case: Case) -> None:
    """NaN, +inf and -inf give the same bits, weight zero, and are counted."""
    failing = [
        after_one(case.strategy, fitness_of=lambda x, bad=bad: sphere(x).at[2].set(bad))
        for bad in BAD
    ]
    for state, info in failing:
        same_bits((state, info), failing[0])
        finite((state, info))
        assert int(info.num_failed) == 1
        assert float(state.best_fitness) == float(jnp.delete(sphere(population()), 2).max())


def failure_of_all_changes_no_individual(case: Case) -> None:
    """If all fail, the next candidates are the same ones, and time goes on."""
    for bad in BAD:
        state, info = after_one(case.strategy, fitness_of=lambda x, b=bad: x[:, 0] * 0 + b)
        candidates, _ = case.strategy.ask(KEY, state)
        same_bits(candidates, population())
        finite((state, info))
        assert int(state.generation) == 1
        assert int(info.num_failed) == N


def best_is_never_forgotten(case: Case) -> None:
    """The best so far survives a worse generation."""
    state, _ = after_one(case.strategy)
    best, fitness = state.best_solution, state.best_fitness
    state, _ = step(case.strategy, state, fitness_of=lambda x: 1e-3 * sphere(x))
    same_bits((state.best_solution, state.best_fitness), (best, fitness))
    same_bits(best, population()[jnp.argmax(sphere(population()))])


def small_sizes_work(case: Case) -> None:
    """One individual, one dimension, one generation."""
    one_generation = de.replace(case.strategy, num_generations=1)
    for strategy, size, dim in (
        (case.strategy, 1, D),
        (case.strategy, N, 1),
        (one_generation, N, D),
        (one_generation, 1, 1),
    ):
        state, info = step(strategy, strategy.init(KEY, population(size, dim)))
        finite((state, info))
        assert bool(state.done) == (strategy.num_generations == 1)


def nothing_happens_after_the_end(case: Case) -> None:
    """After the last round the state is frozen, and says so."""
    state = case.strategy.init(KEY, population())
    for generation in range(case.strategy.num_generations):
        assert not bool(state.done)
        state, info = step(case.strategy, state, jax.random.fold_in(KEY, generation))
    assert bool(state.done)
    assert bool(info.done)
    later, info = step(case.strategy, state, fitness_of=lambda x: 10 * sphere(x))
    same_bits(later, state)
    assert bool(info.done)


def fitness_rises(case: Case) -> None:
    """On a sphere the mean fitness rises by five standard errors over 32 runs."""
    strategy = de.replace(case.strategy, num_generations=12)
    keys = jax.random.split(jax.random.key(0), 32)
    run = lambda key: de.evolve(key, strategy, PROBLEM, population_size=64).history
    mean = jax.jit(jax.vmap(run))(keys).mean_fitness
    gain = np.asarray(mean[:, -1] - mean[:, 0], float)
    assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(gain))


def one_loop_and_no_callback(case: Case) -> None:
    """The program has one loop over generations and never calls the host."""
    run = lambda key: de.evolve(key, case.strategy, PROBLEM, population_size=N)
    names = list(primitives(jax.make_jaxpr(run)(KEY).jaxpr))
    assert not [name for name in names if "callback" in name or "infeed" in name]
    assert names.count("scan") + names.count("while") == 1


def primitives(jaxpr: Any) -> Any:
    """Names of all primitives of a program, inner programs included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        inner = jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")
        )
        for part in inner:
            if hasattr(part, "jaxpr") or hasattr(part, "eqns"):
                yield from primitives(getattr(part, "jaxpr", part))


PROMISES: list[Callable[[Case], None]] = [
    state_keeps_its_types,
    info_is_scalar,
    first_ask_returns_the_population,
    jit_equals_eager,
    nothing_is_traced_twice,
    vmap_over_keys_equals_a_loop,
    vmap_over_any_number_equals_a_loop,
    same_key_same_bits,
    a_constant_does_not_matter,
    every_failure_acts_the_same,
    failure_of_all_changes_no_individual,
    best_is_never_forgotten,
    small_sizes_work,
    nothing_happens_after_the_end,
    fitness_rises,
    one_loop_and_no_callback,
]
