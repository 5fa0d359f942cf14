"""A strategy of this library as an evosax algorithm."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm, State
from evosax.algorithms.population_based.base import metrics_fn as evosax_metrics
from evosax.core.fitness_shaping import identity_fitness_shaping_fn
from flax import struct

from diffevo_jax import pytree
from diffevo_jax.base import Info, PyTree, Strategy
from diffevo_jax.pytree import Number, validation


@pytree.dataclass
class Params:
    """Parameters of :class:`Algorithm`: all numbers of the strategy, and a scale.

    Args:
        strategy: the strategy.
        scale: units of a solution per unit deviation, > 0.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.interop.evosax import Params
        >>> params = Params(de.DiffusionEvolution(10))
        >>> params = params.replace(**{"sampler.eta": 0.5}, scale=3.0)
        >>> params.strategy.sampler.eta, params.scale
        (0.5, 3.0)
    """

    strategy: Strategy
    scale: Number = pytree.number(default=1.0, above=0.0)

    def replace(self, **changes: PyTree) -> "Params":
        """Change the scale, the strategy, or a number of it, by any ending of its path."""
        return pytree.replace(self, **changes)


@struct.dataclass
class AlgorithmState(State):
    """evosax's state of a population, with the strategy's own state.

    Attributes:
        inner: the strategy's state, in unit scale.
        info: what the strategy says of the generation that it was told last.
    """

    inner: PyTree
    info: Info


class Algorithm(PopulationBasedAlgorithm):
    """Any strategy as a population-based evosax algorithm, for evosax's own pipelines.

    ``init(key, population, fitness, params)`` is our ``init`` and first ``tell``; fitness
    is a cost, which evosax minimises. After ``strategy.num_generations`` evaluations, that
    of ``init`` included, it returns the last population again.

    Args:
        population_size: N.
        solution: an example of a solution, a pytree.
        strategy: the strategy, for example ``de.DiffusionEvolution(num_generations=64)``.
        fitness_shaping_fn: of evosax; the strategy's own shaping comes after it.
        metrics_fn: of evosax.
        scale: units of a solution per unit deviation; a population for a strategy should
            be near N(0, scale^2).

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.interop.evosax import Algorithm
        >>> cost = jax.vmap(lambda x: ((x - 1.0) ** 2).sum())
        >>> algorithm = Algorithm(64, jnp.zeros(2), strategy=de.DiffusionEvolution(20))
        >>> params, key = algorithm.default_params, jax.random.key(0)
        >>> population = jax.random.normal(key, (64, 2))
        >>> state = algorithm.init(key, population, cost(population), params)
        >>> for key in jax.random.split(key, 19):
        ...     population, state = algorithm.ask(key, state, params)
        ...     state, metrics = algorithm.tell(
        ...         key, population, cost(population), state, params)
        >>> bool(metrics["best_fitness"] < 1e-3)
        True
    """

    def __init__(
        self,
        population_size: int,
        solution: PyTree,
        strategy: Strategy,
        fitness_shaping_fn: Callable = identity_fitness_shaping_fn,
        metrics_fn: Callable = evosax_metrics,
        *,
        scale: float = 1.0,
    ) -> None:
        validation.check_count("population_size", population_size)
        super().__init__(population_size, solution, fitness_shaping_fn, metrics_fn)
        self._start = self._params(strategy, scale)
        validation.validate(self._start)

    def _params(self, strategy: Strategy, scale: float) -> Params:
        return Params(strategy, scale)

    @property
    def _default_params(self) -> Params:
        return pytree.strong(self._start)

    @functools.partial(jax.jit, static_argnames=("self",))
    def init(
        self, key: jax.Array, population: PyTree, fitness: jax.Array, params: Params
    ) -> AlgorithmState:
        """Start from an evaluated population: our ``init`` and first ``tell``."""
        key_init, key_tell = jax.random.split(key)
        state = super().init(key, population, fitness, params)
        points = state.population / params.scale
        inner = params.strategy.init(key_init, points)
        inner, info = params.strategy.tell(key_tell, inner, points, -state.fitness)
        return state.replace(inner=inner, info=info)

    def _init(self, key: jax.Array, params: Params) -> AlgorithmState:
        shape = (self.population_size, self.num_dims)
        points = jnp.zeros(shape)
        fitness = jnp.full(shape[:1], jnp.inf)

        def begin(key: jax.Array) -> tuple[PyTree, Info]:
            inner = params.strategy.init(key, points)
            return params.strategy.tell(key, inner, points, fitness)

        blank = lambda leaf: jnp.zeros(leaf.shape, leaf.dtype)
        inner, info = jax.tree.map(blank, jax.eval_shape(begin, key))
        return AlgorithmState(
            population=points,
            fitness=fitness,
            best_solution=jnp.full(shape[1:], jnp.nan),
            best_fitness=jnp.asarray(jnp.inf),
            generation_counter=jnp.zeros((), jnp.int32),
            inner=inner,
            info=info,
        )

    def _ask(
        self, key: jax.Array, state: AlgorithmState, params: Params
    ) -> tuple[jax.Array, AlgorithmState]:
        points, inner = params.strategy.ask(key, state.inner)
        return points * params.scale, state.replace(inner=inner)

    def _tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: AlgorithmState,
        params: Params,
    ) -> AlgorithmState:
        points = population / params.scale
        inner, info = params.strategy.tell(key, state.inner, points, -fitness)
        return state.replace(population=population, fitness=fitness, inner=inner, info=info)
