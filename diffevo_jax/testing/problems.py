"""The promises of a problem; :class:`diffevo_jax.Problem` is their contract."""

from collections.abc import Collection
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Problem, PyTree
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running import evolve
from diffevo_jax.strategies import DiffusionEvolution
from diffevo_jax.testing.agreement import (
    D,
    N,
    Promise,
    close,
    expect,
    hold,
    key,
    same_bits,
    same_types,
    together_and_alone,
)


def _evaluate(problem: Problem, key: jax.Array, state: PyTree) -> tuple[Evaluation, Any]:
    """Evaluation and state for N solutions that the space draws."""
    solutions = problem.space.decode(problem.space.sample(key, N))
    evaluation: tuple[Evaluation, Any] = problem.evaluate(key, state, solutions)
    return evaluation


# The promises share these programs: one is compiled for all problems of one structure.
_init = jax.jit(lambda problem, key: problem.init(key))
_evaluated = jax.jit(_evaluate)


def _given(problem: Problem) -> tuple[Any, ...]:
    strong = pytree.strong(problem)
    return strong, key(), _init(strong, key())


def solutions_are_decoded_and_encoded(problem: Problem, dim: int = D) -> None:
    """What the space draws is (N, D), is decoded row by row, and comes back.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> rastrigin = de.problems.Landscape("rastrigin", dim=4)
        >>> testing.problems.solutions_are_decoded_and_encoded(rastrigin)
    """
    space = problem.space
    points = space.sample(key(), N)
    solutions = space.decode(points)
    expect(points.shape == (N, space.dim), f"points {(N, space.dim)}", points.shape)
    expect(jnp.isfinite(points).all(), "finite points", points)
    chex.assert_tree_shape_prefix(solutions, (N,))
    again = space.decode(space.encode(solutions))
    # squashed by tanh, a solution near a bound has few digits left
    chex.assert_trees_all_close(again, solutions, rtol=1e-4, atol=1e-4)
    same_bits(space.decode(points[:1]), jax.tree.map(lambda x: x[:1], solutions), "a row")


def everyone_is_evaluated(problem: Problem, dim: int = D) -> None:
    """Fitness is (N,) floats, measures have a row for everyone, the rest is (N,).

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> rastrigin = de.problems.Landscape("rastrigin", dim=4)
        >>> testing.problems.everyone_is_evaluated(rastrigin)
    """
    evaluation, _ = _evaluated(*_given(problem))
    expect(isinstance(evaluation, Evaluation), "an Evaluation", evaluation)
    fitness = evaluation.fitness
    expect(jnp.shape(fitness) == (N,), f"fitness of shape {(N,)}", jnp.shape(fitness))
    expect(jnp.issubdtype(fitness.dtype, jnp.floating), "floats", fitness.dtype)
    chex.assert_tree_shape_prefix(evaluation.measures, (N,))
    for name in ("violation", "penalty"):
        if vars(evaluation)[name] is not None:
            shape = jnp.shape(vars(evaluation)[name])
            expect(shape == (N,), f"{name} of shape {(N,)}", shape)


def state_keeps_its_types(problem: Problem, dim: int = D) -> None:
    """Shapes, dtypes and structure of the problem's own state never change.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> rastrigin = de.problems.Landscape("rastrigin", dim=4)
        >>> testing.problems.state_keeps_its_types(rastrigin)
    """
    given = _given(problem)
    _, state = _evaluated(*given)
    same_types(given[-1], state, "a state with the structure, shapes and dtypes of before")


def same_key_same_bits(problem: Problem, dim: int = D) -> None:
    """An evaluation is a function of its key.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> rastrigin = de.problems.Landscape("rastrigin", dim=4)
        >>> testing.problems.same_key_same_bits(rastrigin)
    """
    given = _given(problem)
    same_bits(_evaluate(*given), _evaluate(*given), "the same bits for the same key")


def jit_equals_eager(problem: Problem, dim: int = D) -> None:
    """Compiled and eager agree to rounding.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> rastrigin = de.problems.Landscape("rastrigin", dim=4)
        >>> testing.problems.jit_equals_eager(rastrigin)
    """
    given = _given(problem)
    close(_evaluated(*given), _evaluate(*given), "compiled as eager")


def vmap_over_keys_equals_a_loop(problem: Problem, dim: int = D) -> None:
    """Many evaluations under ``vmap`` are the evaluations alone.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> rastrigin = de.problems.Landscape("rastrigin", dim=4)
        >>> testing.problems.vmap_over_keys_equals_a_loop(rastrigin)
    """
    strong, _, state = _given(problem)
    together_and_alone(
        lambda key: _evaluated(strong, key, state)[0],
        jax.random.split(key(), 3),
        "under vmap the evaluations alone",
    )


def it_can_be_evolved(problem: Problem, dim: int = D) -> None:
    """A strategy evolves solutions of it."""
    run = lambda key: evolve(key, DiffusionEvolution(2), problem, population_size=N)
    result = jax.jit(run)(key())
    best = result.best_fitness
    expect(np.isfinite(best), "a finite best fitness", best)
    structures: list[Any] = [
        jax.tree.structure(tree)
        for tree in (result.best_solution, problem.space.decode(result.population))
    ]
    expect(structures[0] == structures[1], "a solution", structures[0])


#: What every problem promises.
PROMISES: tuple[Promise, ...] = (
    solutions_are_decoded_and_encoded,
    everyone_is_evaluated,
    state_keeps_its_types,
    same_key_same_bits,
    jit_equals_eager,
    vmap_over_keys_equals_a_loop,
    it_can_be_evolved,
)


@checked
def check_problem(problem: Problem, dim: int = D, *, but: Collection[Promise] = ()) -> None:
    """Hold a problem to all promises of one.

    Args:
        problem: to be tried on 8 solutions.
        dim: of no meaning here, since the problem's space has its own; as for other parts.
        but: promises that it does not make.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_problem(de.problems.Function(lambda x: -(x**2).sum(), dim=3))
    """
    hold(problem, PROMISES, dim, but)
