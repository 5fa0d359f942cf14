"""The three functions of a strategy, with checked arguments, and the keys of a run.

The strategy is the first argument of :func:`init`, :func:`ask` and :func:`tell`: jit these,
and no number of the strategy is baked into the compiled program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Info, PyTree, StateT, Strategy
from diffevo_jax.pytree import arrays, threefry, validation
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.pytree.arrays import as_given, check_fitness, check_population

#: The "generation" whose keys serve the set-up; no run is that long.
_SETUP = np.uint32(2**32 - 1)
#: That of the final evaluation.
_FINAL = np.uint32(2**32 - 2)


@checked
def init(strategy: Strategy[StateT], key: jax.Array, population: jax.Array) -> StateT:
    """Start a strategy from a population.

    Args:
        strategy: the strategy.
        key: a typed key.
        population: (N, D) in unit scale, for example ``problem.space.sample(key, N)``;
            a warm start is a population of your own.

    Returns:
        The strategy's state.

    Raises:
        ValueError: a number of the strategy is out of range, or the population is empty
            or not two-dimensional.
        TypeError: the key is not a typed key, or the population is not of real numbers.

    Example:
        >>> import jax, diffevo_jax as de
        >>> key = jax.random.key(0)
        >>> strategy = de.DiffusionEvolution(num_generations=3)
        >>> state = de.init(strategy, key, jax.random.normal(key, (8, 2)))
        >>> for generation in range(strategy.num_generations):
        ...     key_ask, _, key_tell = de.generation_keys(key, generation)
        ...     candidates, state = jax.jit(de.ask)(strategy, key_ask, state)
        ...     fitness = -(candidates**2).sum(axis=1)
        ...     state, info = jax.jit(de.tell)(
        ...         strategy, key_tell, state, candidates, fitness)
        >>> bool(state.done), int(state.generation)
        (True, 3)
    """
    like = "de.DiffusionEvolution(10)"
    validation.check_part("strategy", strategy, Strategy, like)
    population = check_population("population", population)
    return strategy.init(key, population)


@checked
def ask(
    strategy: Strategy[StateT], key: jax.Array, state: StateT
) -> tuple[jax.Array, StateT]:
    """Ask a strategy for candidates to evaluate.

    Args:
        strategy: the strategy that made ``state``.
        key: a typed key, for example the first of :func:`generation_keys`.
        state: the strategy's state.

    Returns:
        Candidates (N, D) in unit scale, and the state to tell the fitness to.

    Raises:
        TypeError, ValueError: the state is not one of this strategy.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> key, strategy = jax.random.key(0), de.DiffusionEvolution(num_generations=3)
        >>> population = jax.random.normal(key, (8, 2))
        >>> state = de.init(strategy, key, population)
        >>> candidates, state = jax.jit(de.ask)(strategy, key, state)
        >>> bool((candidates == population).all())  # the first are those that one has given
        True
    """
    _check_state(strategy, key, state)
    return strategy.ask(key, state)


@checked
def tell(
    strategy: Strategy[StateT],
    key: jax.Array,
    state: StateT,
    candidates: jax.Array,
    fitness: jax.Array,
    measures: PyTree = (),
    violation: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> tuple[StateT, Info]:
    """Tell a strategy the fitness of candidates.

    Args:
        strategy: the strategy that made ``state``.
        key: a typed key, for example the third of :func:`generation_keys`.
        state: the state that came with the candidates.
        candidates: (N, D) in unit scale; a candidate that the caller repaired counts as
            the individual and as evidence.
        fitness: (N,) to be maximised; NaN or infinite where the evaluation failed.
        measures: pytree with leading axis N, for strategies that use it.
        violation: (N,) at most 0 where a candidate is feasible; None if all are.
        penalty: (N,) what soft constraints cost, in standard deviations of the fitness;
            None for nothing. See :class:`diffevo_jax.Evaluation` for both.

    Returns:
        The next state, and scalars about the generation.

    Raises:
        ValueError: candidates are not (N, D) or fitness is not (N,).

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> key, strategy = jax.random.key(0), de.DiffusionEvolution(num_generations=3)
        >>> state = de.init(strategy, key, jax.random.normal(key, (8, 2)))
        >>> candidates, state = jax.jit(de.ask)(strategy, key, state)
        >>> fitness = jnp.arange(8.0)  # measured, for example, in a laboratory
        >>> state, info = jax.jit(de.tell)(strategy, key, state, candidates, fitness)
        >>> float(info.best_fitness), float(info.mean_fitness)
        (7.0, 3.5)
        >>> bool((state.best_solution == candidates[7]).all())
        True
    """
    candidates = check_population("candidates", candidates)
    asked = _check_state(strategy, key, state)
    if candidates.shape != asked:
        raise ValueError(f"candidates: got shape {candidates.shape}, want {asked}")
    fitness = check_fitness(fitness, len(candidates))
    if violation is not None:
        violation = check_fitness(violation, len(candidates), "violation")
    measures = jax.tree.map(lambda leaf: as_given("measures", leaf), measures)
    told = key, state, candidates, fitness, measures, violation
    if penalty is None:
        return strategy.tell(*told)
    penalty = check_fitness(penalty, len(candidates), "penalty")
    return strategy.tell(*told, penalty)


def _check_state(
    strategy: Strategy[StateT], key: jax.Array, state: StateT
) -> tuple[int, ...]:
    """Raise unless a state is one that the strategy makes; what it asks for, its shape.

    A strategy that is no component is not asked what its states are.
    """
    if not pytree.is_component(strategy):
        return jax.eval_shape(strategy.ask, key, state)[0].shape
    told = f"want one of this {type(strategy).__name__}, as of init"
    try:
        candidates, first = pytree.shapes(_asked_and_first, (strategy, state))
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(f"state: got {pytree.short(state)}, {told}") from error
    if _types(state) != _types(first):
        raise ValueError(f"state: got {pytree.short(state)}, {told}")
    asked: tuple[int, ...] = candidates.shape
    return asked


def _types(tree: PyTree) -> tuple[object, list[tuple[object, object]]]:
    """Structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _asked_and_first(given: tuple[Strategy[StateT], StateT]) -> tuple[jax.Array, StateT]:
    """What a strategy asks for, and the state that it starts with there."""
    strategy, state = given
    candidates, _ = strategy.ask(jax.random.key(0), state)
    return candidates, strategy.init(jax.random.key(0), candidates)


@checked
def generation_keys(
    key: jax.Array, generation: Index | jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of one generation of a run: for ``ask``, for ``evaluate``, for ``tell``.

    Args:
        key: of the run.
        generation: () its number, an int >= 0.

    Raises:
        TypeError, ValueError: ``generation`` is no such int.

    Example:
        >>> import jax, diffevo_jax as de
        >>> key = jax.random.key(0)
        >>> last = de.generation_keys(key, 99)  # those before it need not be drawn
        >>> bool(last[0] == de.generation_keys(key, 99)[0]), bool(last[0] == last[1])
        (True, False)
    """
    generation = arrays.check_index("generation", generation)
    first, second, third = _threes_of(key, jnp.asarray(generation)[None])[0]
    return first, second, third


@checked
def setup_keys(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of a run's set-up: for the problem, the population, the strategy.

    Example:
        >>> import jax, diffevo_jax as de
        >>> for_problem, for_population, for_strategy = de.setup_keys(jax.random.key(0))
        >>> space = de.problems.Landscape("beale").space
        >>> space.sample(for_population, 8).shape  # where evolve with this key starts
        (8, 2)
    """
    first, second, third = _threes_of(key, jnp.asarray(_SETUP)[None])[0]
    return first, second, third


def words_of_run(key: jax.Array, num_generations: int) -> tuple[jax.Array, jax.Array]:
    """The words of all keys of a run, which :func:`as_keys` makes keys of.

    They are derived in two hashes, where a loop that derives them generation by generation
    has four. They are no keys yet, since JAX's check of keys that are used twice does not
    see that parts of one array of keys are different ones.

    Returns:
        (T, 3, W) uint32 of the generations, and (3, W) of the set-up.
    """
    numbers = jnp.append(jnp.arange(num_generations, dtype=jnp.uint32), _SETUP)
    words = jax.random.key_data(_threes_of(key, numbers))
    return words[:-1], words[-1]


def as_keys(words: jax.Array, like: jax.Array) -> jax.Array:
    """Keys of their words, of the kind of another key."""
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(like))


@functools.partial(jax.jit, inline=True)  # or each operation of a hash is a call
def _threes_of(key: jax.Array, numbers: jax.Array) -> jax.Array:
    """Three keys for each number (K,), with the number folded in: (K, 3)."""
    fold_in = functools.partial(jax.random.fold_in, threefry.written_out(key))
    split = functools.partial(jax.random.split, num=3)
    return threefry.of_kind(jax.vmap(split)(jax.vmap(fold_in)(numbers)), key)


def final_key(key: jax.Array) -> jax.Array:
    """Key of a run's final evaluation, see :func:`diffevo_jax.final_evaluation`."""
    return jax.random.fold_in(key, _FINAL)
