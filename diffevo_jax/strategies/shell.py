"""The shell of a strategy: all that is the same for any denoiser and any way to move.

A generation is told here: traced numbers are brought into their ranges and counted, broken
candidates become failed ones, feasibility comes first in the fitness, the strategy learns,
answers and moves, a step that may not be used is undone, the last generation stays where it
was evaluated, and the best feasible individual and the failures are accounted for. A
strategy names :func:`init`, :func:`ask` and :func:`tell` as its methods and fills in the
five of :class:`Moves`.
"""

from typing import Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Estimate, Evaluated, Info, PyTree, StrategyState
from diffevo_jax.pytree import components, threefry, validation
from diffevo_jax.shaping import feasibility

StateT = TypeVar("StateT", bound="ShellState")

#: Numbers to fold into the key of a generation, one for each that draws beside the move.
LEARNING, ASKING = np.uint32(2**32 - 1), np.uint32(2**32 - 2)


class ShellState(StrategyState, Protocol):
    """What the shell needs of a state, beside what every strategy has."""

    @property
    def population(self) -> jax.Array:
        """(N, D) the individuals, unit scale."""
        ...

    @property
    def clean_estimate(self) -> jax.Array:
        """(N, D) where the clean point of each was last seen, unit scale."""
        ...

    @property
    def sigma(self) -> jax.Array:
        """() noise level of the population, in unit deviations."""
        ...


class Moves(Protocol[StateT]):
    """What a strategy on this shell has to say.

    Where a state goes in, its ``population`` is the evaluated candidates.
    """

    @property
    def num_generations(self) -> int:
        """Rounds of evaluation; at least 1."""
        ...

    def start(self, key: jax.Array, population: jax.Array) -> StateT:
        """The state before any evaluation of a population (N, D)."""
        ...

    def query(self, key: jax.Array, state: StateT) -> tuple[jax.Array, StateT]:
        """Candidates (N, D), and the state to tell their fitness to."""
        ...

    def move(
        self, key: jax.Array, state: StateT, evaluated: Evaluated
    ) -> tuple[StateT, Estimate]:
        """Learn, answer and move: the state after it, and the answer."""
        ...

    def stay(self, state: StateT, moved: StateT) -> StateT:
        """The state if the answer may not be used: no individual moves, the level falls."""
        ...

    def rest(self, state: StateT, moved: StateT) -> StateT:
        """The state after the last generation: what was learnt, where it was evaluated."""
        ...


def before_all(population: jax.Array) -> dict[str, jax.Array]:
    """What a state says of the generations and the best before any evaluation.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.strategies import shell
        >>> known = shell.before_all(jnp.array([[3.0], [4.0]]))
        >>> int(known["generation"]), float(known["best_fitness"]), bool(known["done"])
        (0, -inf, False)
    """
    return {
        "generation": jnp.zeros((), jnp.int32),
        "best_solution": population[0],
        "best_fitness": jnp.full((), -jnp.inf, population.dtype),
        "best_violation": jnp.full((), jnp.inf, population.dtype),
        "done": jnp.zeros((), bool),
    }


def _drawing(strategy: object, key: jax.Array) -> jax.Array:
    """The key that the parts draw from: JAX's own if one of them is a user's.

    That one may keep it, or ask for what JAX has for its own kind alone.
    """
    return threefry.written_out(key) if components.is_known(strategy) else key


def init(strategy: Moves[StateT], key: jax.Array, population: jax.Array) -> StateT:
    """Start from a population ``(N, D)``, unit scale; see :func:`diffevo_jax.init`.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.strategies import shell
        >>> de.DiffusionEvolution.init is shell.init  # as of every strategy on the shell
        True
        >>> strategy, population = de.DiffusionEvolution(3), jnp.ones((8, 2))
        >>> state = shell.init(strategy, jax.random.key(0), population)
        >>> int(state.generation), bool((state.population == population).all())
        (0, True)
    """
    strategy, _ = validation.clipped(strategy)
    return strategy.start(_drawing(strategy, key), population)


def ask(strategy: Moves[StateT], key: jax.Array, state: StateT) -> tuple[jax.Array, StateT]:
    """Return candidates ``(N, D)``; see :func:`diffevo_jax.ask`.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.strategies import shell
        >>> to_zero = de.denoisers.Fixed(lambda y, sigma: 0.0 * y)
        >>> strategy, key = de.DiffusionEvolution(3, to_zero), jax.random.key(0)
        >>> state = shell.init(strategy, key, jnp.ones((8, 2)))
        >>> candidates, state = jax.jit(shell.ask)(strategy, key, state)
        >>> bool((candidates == 1.0).all())  # at first they are evaluated as they are
        True
    """
    strategy, _ = validation.clipped(strategy)
    candidates, asked = strategy.query(_drawing(strategy, key), state)
    return candidates, pytree.select(state.done, state, asked)


def tell(
    strategy: Moves[StateT],
    key: jax.Array,
    state: StateT,
    candidates: jax.Array,
    fitness: jax.Array,
    measures: PyTree = (),
    violation: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> tuple[StateT, Info]:
    """Learn the fitness ``(N,)`` of candidates; see :func:`diffevo_jax.tell`.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.strategies import shell
        >>> to_zero = de.denoisers.Fixed(lambda y, sigma: 0.0 * y)
        >>> strategy, key = de.DiffusionEvolution(3, to_zero), jax.random.key(0)
        >>> state = shell.init(strategy, key, jnp.ones((8, 2)))
        >>> broken, fitness = state.population.at[0].set(jnp.nan), jnp.arange(8.0)
        >>> state, info = jax.jit(shell.tell)(strategy, key, state, broken, fitness)
        >>> int(info.num_failed), bool(jnp.isfinite(state.population).all())
        (1, True)
    """
    strategy, num_clipped = validation.clipped(strategy)
    candidates, fitness, present = repaired(candidates, fitness)
    evaluated = Evaluated(
        points=candidates,
        fitness=feasibility.seen(fitness, violation, penalty),
        clean=state.clean_estimate,
        sigma=state.sigma,
        measures=measures,
        violation=violation,
        present=present,
    )
    here = pytree.replace(state, population=candidates)
    moved, estimate = strategy.move(_drawing(strategy, key), here, evaluated)
    finite = jnp.all(jnp.isfinite(moved.population))
    sound = jnp.asarray(estimate.sound)
    told = pytree.select(sound & finite, moved, strategy.stay(here, moved))
    last = state.generation + 1 >= strategy.num_generations
    told = pytree.select(last, strategy.rest(here, told), told)
    told = pytree.replace(
        told,
        generation=state.generation + 1,
        **best_so_far(state, candidates, fitness, violation),
        done=last,
    )
    told = pytree.select(state.done, state, told)
    thrown = jnp.asarray(sound & ~finite, jnp.int32)
    info = Info(
        **describe_fitness(fitness, violation),
        sigma=state.sigma,
        effective_sample_size=jnp.mean(estimate.effective_sample_size),
        self_weight=jnp.mean(estimate.self_weight),
        num_weightless=jnp.asarray(estimate.num_weightless, jnp.int32),
        num_diverged=jnp.asarray(estimate.num_diverged, jnp.int32) + thrown,
        num_clipped=num_clipped,
        done=told.done,
    )
    return told, info


def repaired(
    candidates: jax.Array, fitness: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Put broken numbers (NaN, infinite) at 0: such candidates failed and are not there.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.strategies import shell
        >>> candidates = jnp.array([[1.0, 2.0], [jnp.nan, 3.0]])
        >>> [each.tolist() for each in shell.repaired(candidates, jnp.array([5.0, 6.0]))]
        [[[1.0, 2.0], [0.0, 3.0]], [5.0, -inf], [True, False]]
    """
    finite = jnp.isfinite(candidates)
    present = jnp.all(finite, axis=1)
    fitness = jnp.where(present, fitness, -jnp.inf)
    return jnp.where(finite, candidates, 0.0), fitness, present


def best_so_far(
    state: StrategyState,
    candidates: jax.Array,
    fitness: jax.Array,
    violation: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """The best so far: feasibility first, then fitness; failed ones never win.

    A feasible solution is better than an infeasible one, of two feasible ones the fitter is
    better, and of two infeasible ones the one that violates less, whatever their fitness.
    While none is feasible the least infeasible one is kept, and the best fitness is -inf.

    Args:
        state: with the best before.
        candidates: (N, D).
        fitness: (N,).
        violation: (N,), at most 0 where feasible; None if all are.

    Returns:
        The fields of the state: ``best_solution`` (D,), ``best_fitness`` () and
        ``best_violation`` ().

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.strategies import shell
        >>> population = jnp.array([[1.0], [2.0], [3.0]])
        >>> state = de.init(de.DiffusionEvolution(3), jax.random.key(0), population)
        >>> fitness, violation = jnp.array([5.0, 7.0, 9.0]), jnp.array([0.0, -1.0, 2.0])
        >>> best = jax.jit(shell.best_so_far)(state, population, fitness, violation)
        >>> best["best_solution"].tolist(), float(best["best_fitness"])
        ([2.0], 7.0)

    References:
        Deb, 2000, Computer Methods in Applied Mechanics and Engineering 186, section 3.
    """
    feasible = feasibility.is_feasible(fitness, violation)
    score = jnp.where(feasible, fitness, -jnp.inf)
    index = jnp.argmax(score)
    # Among equals the latest: noisy fitness that saturates is more reliable late in a run.
    better = (score[index] >= state.best_fitness) & feasible[index]
    changed, best_violation = better, jnp.where(better, 0.0, state.best_violation)
    if violation is not None:  # while none is feasible, whoever violates least
        excess = jnp.where(jnp.isfinite(fitness), feasibility.excess(violation), jnp.inf)
        least = jnp.argmin(excess)
        closer = excess[least] < best_violation
        index, changed = jnp.where(closer, least, index), better | closer
        best_violation = jnp.where(closer, excess[least], best_violation)
    return {
        "best_solution": jnp.where(changed, candidates[index], state.best_solution),
        "best_fitness": jnp.where(better, jnp.max(score), state.best_fitness),
        "best_violation": best_violation,
    }


def describe_fitness(
    fitness: jax.Array, violation: jax.Array | None = None
) -> dict[str, jax.Array]:
    """What :class:`diffevo_jax.Info` says of the fitness ``(N,)`` of a generation.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.strategies import shell
        >>> told = shell.describe_fitness(jnp.array([1.0, 3.0, jnp.nan]))
        >>> {name: float(value) for name, value in told.items()}
        {'best_fitness': 3.0, 'mean_fitness': 2.0, 'num_failed': 1.0}
    """
    valid = jnp.isfinite(fitness)
    feasible = feasibility.is_feasible(fitness, violation)
    num_valid = jnp.sum(valid, dtype=jnp.int32)
    count = jnp.maximum(num_valid, 1).astype(fitness.dtype)
    mean = jnp.sum(jnp.where(valid, fitness / count, 0.0))
    return {
        "best_fitness": jnp.max(jnp.where(feasible, fitness, -jnp.inf)),
        "mean_fitness": jnp.where(num_valid > 0, mean, -jnp.inf),
        "num_failed": len(fitness) - num_valid,
    }
