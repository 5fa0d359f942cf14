"""An evosax algorithm as a strategy of this library."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from evosax.algorithms.base import EvolutionaryAlgorithm
from evosax.algorithms.distribution_based.sv.base import SV_ES
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm

from diffevo_jax import pytree
from diffevo_jax.base import Info, PyTree
from diffevo_jax.pytree import offers, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.shaping import feasibility
from diffevo_jax.strategies.shell import before_all, best_so_far, describe_fitness


@checked
def from_algorithm(
    algorithm: Any, num_generations: int, params: PyTree = None
) -> "EvosaxStrategy":
    """Make a strategy of an evosax algorithm.

    Args:
        algorithm: an object of a class in ``evosax.algorithms``, made for solutions of D
            numbers, for example ``CMA_ES(population_size=64, solution=jnp.zeros(D))``. It
            works in unit scale: its ``std`` of 1 is one deviation of the problem's space.
        num_generations: rounds of evaluation, >= 1, the first of the initial population.
        params: of the algorithm; None takes ``algorithm.default_params``.

    Returns:
        The strategy; the parameters are its numbers.

    Raises:
        TypeError: it is a class, or no algorithm of evosax.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from evosax.algorithms import CMA_ES
        >>> from diffevo_jax.interop.evosax import from_algorithm
        >>> problem = de.problems.Function(lambda x: -(x**2).sum(), dim=3)
        >>> algorithm = CMA_ES(population_size=16, solution=jnp.zeros(problem.space.dim))
        >>> strategy = from_algorithm(algorithm, num_generations=30)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=16)
        >>> bool(result.best_fitness > -0.01)
        True
    """
    if not isinstance(algorithm, EvolutionaryAlgorithm):
        of = "the class " if isinstance(algorithm, type) else ""
        named = getattr(algorithm, "__name__", repr(algorithm))
        raise TypeError(
            f"algorithm: got {of}{named}, want an algorithm of evosax that is made, such "
            "as CMA_ES(population_size=64, solution=jnp.zeros(dim))"
        )
    params = algorithm.default_params if params is None else params
    return EvosaxStrategy(num_generations, algorithm, pytree.strong(params))


@runtime_checkable
class HasStd(Protocol):
    """The state of an algorithm that has a step size."""

    @property
    def std(self) -> jax.Array:
        """Deviation of its samples."""
        ...


@pytree.dataclass
class EvosaxState:
    """State of an evosax algorithm for N individuals of D numbers.

    Attributes:
        population: (N, D) what was evaluated last, unit scale.
        inner: the algorithm's own state.
        started: () bool, whether the algorithm has got fitness.
        repeat: () bool, whether to ask for the same individuals again: all have failed.
        diverged: () bool, whether those asked for are the ones before, as the algorithm's
            own were not finite.
        generation: () int32, rounds evaluated so far.
        best_solution: (D,) best feasible of all evaluated, or the least infeasible, unit
            scale.
        best_fitness: () its fitness; -inf before any feasible evaluation succeeded.
        best_violation: () its violation: 0 if feasible; +inf before any evaluation.
        done: () bool; after it the state is frozen.
    """

    population: jax.Array
    inner: PyTree
    started: jax.Array
    repeat: jax.Array
    diverged: jax.Array
    generation: jax.Array
    best_solution: jax.Array
    best_fitness: jax.Array
    best_violation: jax.Array
    done: jax.Array


@pytree.dataclass
class EvosaxStrategy:
    """An evosax algorithm, with the promises of a strategy; see :func:`from_algorithm`.

    The first round evaluates the initial population. It starts a population-based
    algorithm; a distribution-based one starts from the mean of that population (each of the
    K distributions of a Stein variational one from the mean of a K-th of it).

    An evaluation that failed counts as the worst of its generation. If the algorithm asks
    for individuals that are not finite, its step is undone and ``info.num_diverged`` is 1:
    those before are evaluated again, and it is told nothing. evosax's ``LM_MA_ES`` does so
    for good if its population is larger than 2 D. ``info`` has NaN where evosax has no such
    notion: ``effective_sample_size``, ``self_weight``, and ``sigma`` of algorithms without
    a ``std``.

    Args:
        num_generations: rounds of evaluation, static, >= 1.
        algorithm: the evosax algorithm, static; one object is one compiled program.
        params: its parameters.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from evosax.algorithms import CMA_ES
        >>> from diffevo_jax.interop.evosax import from_algorithm
        >>> algorithm = CMA_ES(population_size=16, solution=jnp.zeros(3))
        >>> strategy = from_algorithm(algorithm, num_generations=30)
        >>> strategy.num_generations, isinstance(strategy, de.Strategy)
        (30, True)
    """

    num_generations: int = pytree.static()
    algorithm: Any = pytree.static()
    params: PyTree = ()

    def check(self) -> None:
        """Raise if the number of generations is no count."""
        validation.check_count("EvosaxStrategy.num_generations", self.num_generations)

    def init(self, key: jax.Array, population: jax.Array) -> EvosaxState:
        """Start from a population ``(N, D)``; see :func:`diffevo_jax.init`."""
        self._check_shape(population)
        inner = pytree.strong(self._begin(key, population))
        return EvosaxState(
            population=population,
            inner=self._settled(key, inner, population),
            started=jnp.zeros((), bool),
            repeat=jnp.zeros((), bool),
            diverged=jnp.zeros((), bool),
            **before_all(population),
        )

    def ask(self, key: jax.Array, state: EvosaxState) -> tuple[jax.Array, EvosaxState]:
        """Return candidates ``(N, D)``; see :func:`diffevo_jax.ask`."""
        asked, inner = self.algorithm.ask(key, state.inner, self.params)
        known = ~state.started | state.repeat | state.done
        fresh = self._ravel(asked).astype(state.population.dtype)
        diverged = ~known & ~jnp.all(jnp.isfinite(fresh))
        same = known | diverged
        candidates = jnp.where(same, state.population, fresh)
        inner = pytree.select(same, state.inner, _like(inner, state.inner))
        return candidates, pytree.replace(state, inner=inner, diverged=diverged)

    def tell(
        self,
        key: jax.Array,
        state: EvosaxState,
        candidates: jax.Array,
        fitness: jax.Array,
        measures: PyTree = (),
        violation: jax.Array | None = None,
        penalty: jax.Array | None = None,
    ) -> tuple[EvosaxState, Info]:
        """Learn the fitness ``(N,)`` of candidates; see :func:`diffevo_jax.tell`."""
        sound = jnp.all(jnp.isfinite(candidates), axis=1)
        candidates = jnp.where(sound[:, None], candidates, state.population)
        fitness = jnp.where(sound, fitness, -jnp.inf)
        seen = feasibility.seen(fitness, violation, penalty)
        hopeless = ~jnp.any(jnp.isfinite(seen))
        told = EvosaxState(
            population=candidates,
            inner=pytree.select(
                hopeless | state.diverged,
                state.inner,
                self._learn(key, state, candidates, seen),
            ),
            started=state.started | ~hopeless,
            repeat=hopeless & ~state.diverged,
            diverged=jnp.zeros((), bool),
            generation=state.generation + 1,
            **best_so_far(state, candidates, fitness, violation),
            done=state.generation + 1 >= self.num_generations,
        )
        told = pytree.select(state.done, state, told)
        return told, _describe(fitness, violation, state, told.done)

    def _learn(
        self, key: jax.Array, state: EvosaxState, candidates: jax.Array, fitness: jax.Array
    ) -> PyTree:
        """The algorithm's state, told a cost: what failed costs as much as the worst."""
        valid = jnp.isfinite(fitness)
        worst = jnp.min(jnp.where(valid, fitness, jnp.inf))
        cost = -jnp.where(valid, fitness, jnp.where(jnp.any(valid), worst, 0.0))
        solutions = self._unravel(candidates)
        told, _ = self.algorithm.tell(key, solutions, cost, state.inner, self.params)
        if isinstance(self.algorithm, PopulationBasedAlgorithm):
            begun = self.algorithm.init(key, solutions, cost, self.params)
        else:
            begun = state.inner  # which knows the mean
        begun, told = _like(begun, state.inner), _like(told, state.inner)
        return pytree.select(state.started, told, begun)

    def _begin(self, key: jax.Array, population: jax.Array) -> PyTree:
        algorithm = self.algorithm
        if isinstance(algorithm, PopulationBasedAlgorithm):
            fitness = jnp.zeros(len(population), population.dtype)
            return algorithm.init(key, self._unravel(population), fitness, self.params)
        if isinstance(algorithm, SV_ES):
            parts = population.reshape(algorithm.num_populations, -1, population.shape[1])
            return algorithm.init(key, self._unravel(parts.mean(axis=1)), self.params)
        mean = algorithm._unravel_solution(population.mean(axis=0))
        return algorithm.init(key, mean, self.params)

    def _settled(self, key: jax.Array, inner: PyTree, population: jax.Array) -> PyTree:
        """A state with the types that it will have: some change with the first tell."""

        def later(inner: PyTree) -> PyTree:
            _, inner = self.algorithm.ask(key, inner, self.params)
            solutions, cost = self._unravel(population), population[:, 0]
            return self.algorithm.tell(key, solutions, cost, inner, self.params)[0]

        return _like(inner, jax.eval_shape(later, inner))

    def _check_shape(self, population: jax.Array) -> None:
        algorithm = self.algorithm
        size = algorithm.population_size
        if isinstance(algorithm, SV_ES):
            size = algorithm.total_population_size
        if population.shape != (size, algorithm.num_dims):
            raise ValueError(
                f"population: got shape {population.shape}, want "
                f"{(size, algorithm.num_dims)} for this {type(algorithm).__name__}"
            )

    def _ravel(self, solutions: PyTree) -> jax.Array:
        return jax.vmap(self.algorithm._ravel_solution)(solutions)

    def _unravel(self, population: jax.Array) -> PyTree:
        return jax.vmap(self.algorithm._unravel_solution)(population)


def _like(tree: PyTree, other: PyTree) -> PyTree:
    """A tree with the dtypes of another one of the same structure."""
    cast = lambda leaf, like: jnp.asarray(leaf).astype(like.dtype)
    return jax.tree.map(cast, tree, other)


def _describe(
    fitness: jax.Array, violation: jax.Array | None, state: EvosaxState, done: jax.Array
) -> Info:
    none = jnp.full((), jnp.nan, fitness.dtype)
    inner = state.inner
    sigma = jnp.asarray(inner.std, fitness.dtype) if offers(inner, HasStd) else none
    return Info(
        **describe_fitness(fitness, violation),
        sigma=jnp.mean(sigma),
        effective_sample_size=none,
        self_weight=none,
        num_weightless=jnp.zeros((), jnp.int32),
        num_diverged=jnp.asarray(state.diverged, jnp.int32),
        num_clipped=jnp.zeros((), jnp.int32),
        done=done,
    )
