"""Constraints: what a solution must keep, on any problem.

One sign, said once: a constraint function ``g`` is satisfied where ``g(x) <= 0``, so that
"the load is at most the limit" is ``load - limit``. A violated one says by how much. What
is made of it, feasibility first, is in :mod:`diffevo_jax.shaping.feasibility`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import (
    EvaluatesOnHost,
    Evaluation,
    HasEnvironment,
    Noisy,
    Problem,
    PyTree,
)
from diffevo_jax.problems.function import explain
from diffevo_jax.pytree import Number, arrays, validation


@pytree.dataclass
class Constraint:
    """One constraint, or several in a vector: satisfied where ``fn(x) <= tolerance``.

    Args:
        fn: takes one decoded solution, as :class:`diffevo_jax.problems.Function` does, or a
            solution and its measures, if it has two parameters without a default. It
            returns a number, or a vector of them, each a constraint: at most 0 where it
            is satisfied. NaN is not known, and never feasible. It is ``vmap``-ped over the
            population. Static: keep one function object.
        equal: whether ``fn(x) = 0`` is wanted instead, satisfied where
            ``|fn(x)| <= tolerance``; static.
        tolerance: how much of a violation is none, in units of ``fn``, >= 0. An equality
            of floats needs one above 0, or no solution is feasible.
        softness: 0 for a hard constraint, without which nothing is feasible. Above 0 a
            soft one: the violation that costs one standard deviation of the generation's
            fitness, in units of ``fn``. The strategy sees it; who is feasible or the best
            does not depend on it.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> disc = de.problems.Constraint(lambda x: (x**2).sum() - 1.0)
        >>> disc.violation(jnp.array([[0.5, 0.0], [1.0, 1.0]]), ()).tolist()
        [0.0, 1.0]
    """

    fn: Callable[..., Any] = pytree.static()
    equal: bool = pytree.static(default=False, kw_only=True)
    tolerance: Number = pytree.number(default=0.0, low=0.0, kw_only=True)
    softness: Number = pytree.number(default=0.0, low=0.0, kw_only=True)

    def check(self) -> None:
        """Raise TypeError unless the function takes a solution, or one and measures."""
        num_parameters(self.fn)

    def violation(self, solutions: PyTree, measures: PyTree) -> jax.Array:
        """By how much N solutions violate it, the sum over a vector: ``(N,)``, >= 0.

        Args:
            solutions: decoded, leaves with leading axis N.
            measures: of a problem, pytree with leading axis N.
        """
        wants_measures = num_parameters(self.fn) == 2

        def violated(solution: PyTree, measures: PyTree) -> jax.Array:
            value = self.fn(solution, measures) if wants_measures else self.fn(solution)
            value = arrays.real_array("Constraint.fn", value, "() or (m,)")
            if value.ndim > 1:
                raise ValueError(f"Constraint.fn: got shape {value.shape}, want () or (m,)")
            value = jnp.abs(value) if self.equal else value
            return jnp.sum(jnp.maximum(value - self.tolerance, 0.0))

        try:
            return jax.vmap(violated)(solutions, measures)
        except Exception as error:
            if not wants_measures:
                explain("Constraint.fn", self.fn, solutions, error)
            raise


@pytree.dataclass
class Constrained:
    """A problem with constraints: ``violation`` and ``penalty`` of its evaluations.

    The violation of a solution is the sum over the hard constraints, and what the problem
    itself says beside them; it is feasible where that is 0. The constraints are not scaled:
    write them in like units, such as shares of a limit. All else is the problem's own.

    Args:
        problem: any problem; also one whose evaluations have violations already.
        constraints: a tuple of :class:`Constraint`, at least one.

    Example:
        >>> import jax, diffevo_jax as de
        >>> sphere = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=2)
        >>> below = de.problems.Constraint(lambda x: x[0] - 0.5)
        >>> problem = de.problems.Constrained(sphere, (below,))
        >>> strategy, key = de.DiffusionEvolution(25), jax.random.key(0)
        >>> result = de.evolve(key, strategy, problem, population_size=64)
        >>> result.best_solution.round(1).tolist(), float(result.best_violation)
        ([0.5, 1.0], 0.0)

    References:
        Deb, "An efficient constraint handling method for genetic algorithms", Computer
        Methods in Applied Mechanics and Engineering 186, 2000, section 3.
    """

    problem: Problem
    constraints: tuple[Constraint, ...]

    def check(self) -> None:
        """Raise ValueError if there is no constraint."""
        if not self.constraints:
            raise ValueError("Constrained.constraints: got none, want at least one")

    @property
    def space(self) -> Any:
        """The problem's own."""
        return self.problem.space

    @property
    def noisy(self) -> bool:
        """Whether evaluations depend on the key, as far as the problem itself says so."""
        return pytree.offers(self.problem, Noisy) and self.problem.noisy

    def init(self, key: jax.Array) -> PyTree:
        """The problem's own state."""
        return self.problem.init(key)

    def evaluate(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """Evaluate N solutions, and by how much each violates the constraints."""
        evaluation, problem_state = self.problem.evaluate(key, problem_state, solutions)
        return constrained(self.constraints, evaluation, solutions), problem_state

    @property
    def on_host(self) -> bool:
        """Whether the problem itself is evaluated between compiled programs."""
        return pytree.offers(self.problem, EvaluatesOnHost) and self.problem.on_host

    def evaluate_on_host(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """The same between compiled programs, of R runs at once: leaves (R, N)."""
        inner = self.problem
        assert isinstance(inner, EvaluatesOnHost)
        evaluation, problem_state = inner.evaluate_on_host(key, problem_state, solutions)
        over_runs = jax.vmap(constrained, in_axes=(None, 0, 0))
        return over_runs(self.constraints, evaluation, solutions), problem_state

    def with_env_params(self) -> "Constrained":
        """With the parameters of an environment written out, if the problem has one."""
        if not pytree.offers(self.problem, HasEnvironment):
            return self
        return pytree.replace(self, problem=self.problem.with_env_params())


def constrained(
    constraints: tuple[Constraint, ...], evaluation: Evaluation, solutions: PyTree
) -> Evaluation:
    """An evaluation with the violations of hard constraints, and the cost of soft ones.

    Args:
        constraints: what to add.
        evaluation: of N solutions, with what is known of their violation already.
        solutions: decoded, leaves with leading axis N.
    """
    count = len(evaluation.fitness)
    violation, penalty = jnp.zeros(count), jnp.zeros(count)
    if evaluation.violation is not None:  # what is left to a bound makes up for nothing
        violation += jnp.maximum(evaluation.violation, 0.0)
    if evaluation.penalty is not None:
        penalty += evaluation.penalty
    for constraint in constraints:
        excess = constraint.violation(solutions, evaluation.measures)
        hard = jnp.asarray(constraint.softness) <= 0
        cost = excess / jnp.where(hard, 1.0, constraint.softness)
        violation += jnp.where(hard, excess, 0.0)
        penalty += jnp.where(hard, 0.0, cost)
    return pytree.replace(evaluation, violation=violation, penalty=penalty)


def num_parameters(fn: Callable[..., Any]) -> int:
    """1 for a function of a solution, 2 for one of a solution and its measures.

    Raises:
        TypeError: it is neither.
    """
    validation.annotations.check("Constraint.fn", fn, Callable)
    try:
        signature = inspect.signature(fn)
    except ValueError:  # of a compiled function that does not say
        return 1
    for count in (1, 2):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    raise TypeError(
        f"Constraint.fn: got {fn!r}, want a function of a solution, or of a solution and "
        "its measures"
    )
