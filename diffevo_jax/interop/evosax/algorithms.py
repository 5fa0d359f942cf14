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
        scale: units of a solution per unit deviation around 0, > 0; None takes mean and
            deviation of the population that ``init`` gets, see :func:`frame_of`.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.interop.evosax import Params
        >>> params = Params(de.DiffusionEvolution(10))
        >>> params = params.replace(**{"sampler.eta": 0.5}, scale=3.0)
        >>> params.strategy.sampler.eta, params.scale
        (0.5, 3.0)
    """

    strategy: Strategy
    scale: Number | None = pytree.numbers(default=None, above=0.0)

    def replace(self, **changes: PyTree) -> "Params":
        """Change the scale, the strategy, or a number of it, by any ending of its path."""
        return pytree.replace(self, **changes)


@pytree.dataclass
class Frame:
    """Where unit scale lies among solutions: ``solution = centre + scale * x``.

    Attributes:
        centre: (D,).
        scale: (D,) > 0.
    """

    centre: jax.Array
    scale: jax.Array


def frame_of(population: jax.Array) -> Frame:
    """The frame in which a population ``(N, D)`` has mean 0 and deviation 1.

    A strategy expects N(0, I), and evosax starts where its problems do, for example
    uniformly in [-5, 5]. A coordinate in which all are equal, as biases that start at 0,
    has the root-mean-square deviation of the others; if no coordinate varies, it is 1.
    Individuals that are not finite do not count.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.interop.evosax import algorithms
        >>> frame = algorithms.frame_of(jnp.array([[1.0, 2.0], [3.0, 2.0]]))
        >>> frame.centre.tolist(), frame.scale.tolist()
        ([2.0, 2.0], [1.0, 1.0])
    """
    present = jnp.all(jnp.isfinite(population), axis=1)
    counts = present.astype(population.dtype)
    share = counts / jnp.maximum(jnp.sum(counts), 1.0)
    reference = population[jnp.argmax(present)]
    beside = jnp.where(present[:, None], population - reference[None], 0.0)
    shift = share @ beside
    deviation = jnp.sqrt(share @ (beside - shift[None]) ** 2)
    varies = deviation > 0  # exactly 0 of equal numbers, since they are taken from one
    number = jnp.maximum(jnp.sum(varies), 1).astype(population.dtype)
    common = jnp.sqrt(jnp.sum(deviation**2 / number))
    common = jnp.where(jnp.any(varies), common, 1.0)
    centre = jnp.where(jnp.any(present), reference + shift, 0.0)
    return Frame(centre, jnp.where(varies, deviation, common))


@struct.dataclass
class AlgorithmState(State):
    """evosax's state of a population, with the strategy's own state.

    Attributes:
        inner: the strategy's state, in unit scale.
        info: what the strategy says of the generation that it was told last.
        frame: where unit scale lies among solutions.
    """

    inner: PyTree
    info: Info
    frame: Frame


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
        scale: units of a solution per unit deviation around 0, for a population near
            N(0, scale^2); None takes both from the population that ``init`` gets.

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
        scale: float | None = None,
    ) -> None:
        validation.check_count("population_size", population_size)
        super().__init__(population_size, solution, fitness_shaping_fn, metrics_fn)
        self._start = self._params(strategy, scale)
        validation.validate(self._start)

    def _params(self, strategy: Strategy, scale: float | None) -> Params:
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
        frame = _frame(state.population, params)
        points = _to_unit(frame, state.population)
        inner = params.strategy.init(key_init, points)
        inner, info = params.strategy.tell(key_tell, inner, points, -state.fitness)
        return state.replace(inner=inner, info=info, frame=frame)

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
            frame=_frame(points, params),
        )

    def _ask(
        self, key: jax.Array, state: AlgorithmState, params: Params
    ) -> tuple[jax.Array, AlgorithmState]:
        points, inner = params.strategy.ask(key, state.inner)
        frame = state.frame
        solutions = frame.centre[None] + frame.scale[None] * points
        return solutions, state.replace(inner=inner)

    def _tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: AlgorithmState,
        params: Params,
    ) -> AlgorithmState:
        points = _to_unit(state.frame, population)
        inner, info = params.strategy.tell(key, state.inner, points, -fitness)
        return state.replace(population=population, fitness=fitness, inner=inner, info=info)


def _frame(population: jax.Array, params: Params) -> Frame:
    """The frame of a population, or the one that the parameters say."""
    if params.scale is None:
        return frame_of(population)
    shape, dtype = population.shape[1:], population.dtype
    return Frame(jnp.zeros(shape, dtype), jnp.full(shape, params.scale, dtype))


def _to_unit(frame: Frame, population: jax.Array) -> jax.Array:
    return (population - frame.centre[None]) / frame.scale[None]
