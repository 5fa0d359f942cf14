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
KEYS = jax.random.split(KEY, 3)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
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


def together_and_alone(one: Callable[[Any], Any], many: Any) -> tuple[Any, Any]:
    """What a function gives for many arguments under vmap, and for each of them."""
    together = jax.jit(jax.vmap(one), compiler_options=QUICK)(many)
    by_itself = jax.jit(one, compiler_options=QUICK)
    count = len(jax.tree.leaves(many)[0])
    rows = [by_itself(jax.tree.map(lambda leaf, n=n: leaf[n], many)) for n in range(count)]
    return together, jax.tree.map(lambda *rows: jnp.stack(rows), *rows)


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
    close(*together_and_alone(lambda key: after_one(case.strategy, key), KEYS))


def vmap_over_any_number_equals_a_loop(case: Case) -> None:
    """Every numeric field can be swept."""
    leaves, treedef = jax.tree.flatten(pytree.strong(case.strategy))
    # One setting for every number, in which it is changed and no other is.
    changed = 1.0 - 0.1 * jnp.eye(len(leaves))
    settings = [leaf * row for leaf, row in zip(leaves, changed, strict=True)]
    one = lambda leaves: after_one(jax.tree.unflatten(treedef, leaves))[0].population
    close(*together_and_alone(one, settings))


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

    def run(key: jax.Array) -> jax.Array:
        # what the problem says, not what the strategy says of it
        options = {"population_size": 64, "record": ("fitness",)}
        return de.evolve(key, strategy, PROBLEM, **options).recorded["fitness"].mean(axis=1)

    mean = jax.jit(jax.vmap(run), compiler_options=QUICK)(keys)
    gain = np.asarray(mean[:, -1] - mean[:, 0], float)
    assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(gain))


def one_loop_and_no_callback(case: Case) -> None:
    """The program has one loop over generations and never calls the host."""
    run = lambda key: de.evolve(key, case.strategy, PROBLEM, population_size=N)
    program = jax.make_jaxpr(run)(KEY).jaxpr
    names = list(primitives(program))
    assert not [name for name in names if "callback" in name or "infeed" in name]
    # A generation may have loops of its own, for example to find a temperature.
    outer = [name for name in primitives(program, loops=False) if name in LOOPS]
    assert len(outer) == 1


LOOPS = ("scan", "while")


def primitives(jaxpr: Any, *, loops: bool = True) -> Any:
    """Names of all primitives of a program, inner programs included, or but for loops."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        if not loops and equation.primitive.name in LOOPS:
            continue
        inner = jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")
        )
        for part in inner:
            if hasattr(part, "jaxpr") or hasattr(part, "eqns"):
                yield from primitives(getattr(part, "jaxpr", part), loops=loops)


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
