"""evosax's problems as problems of this library."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, PyTree
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


@runtime_checkable
class HasRange(Protocol):
    """A problem of evosax that says where its solutions are."""

    @property
    def x_range(self) -> Sequence[float]:
        """Lowest and highest value."""
        ...


@checked
def from_problem(
    problem: Any,
    *,
    maximize: bool = False,
    scale: Number = 1.0,
    bounds: tuple[float, float] | None = None,
    noisy: bool | None = None,
) -> "EvosaxProblem":
    """Make a problem of this library of an evosax problem.

    Args:
        problem: an evosax problem, for example ``BBOBProblem("rastrigin", num_dims=8)``.
        maximize: whether its fitness is a reward, as that of ``GymnaxProblem`` and
            ``BraxProblem``; False for a cost.
        scale: of an unbounded space; see :class:`diffevo_jax.problems.Space`.
        bounds: lower and upper; None takes the ``x_range`` of a problem that has one.
        noisy: whether fitness depends on the key, see :class:`diffevo_jax.base.Noisy`; None
            says so of a reward, and not of a cost.

    Raises:
        TypeError: it is a class.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from evosax.problems import BBOBProblem
        >>> from diffevo_jax.interop.evosax import from_problem
        >>> problem = from_problem(BBOBProblem("sphere", num_dims=2, f_opt=0.0))
        >>> strategy = de.DiffusionEvolution(25)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=128)
        >>> bool(result.best_fitness > -0.01)
        True
    """
    if isinstance(problem, type):
        want = "a problem of evosax that is made, such as"
        raise TypeError(
            f"problem: got the class {problem.__name__}, want {want} "
            'BBOBProblem("sphere", num_dims=2)'
        )
    if bounds is None and pytree.offers(problem, HasRange):
        lowest, highest = problem.x_range
        bounds = (float(lowest), float(highest))
    low, high = bounds or (None, None)
    with jax.ensure_compile_time_eval():
        example = jax.eval_shape(problem.sample, jax.random.key(0))
    space = Space(example, scale, low, high)
    return EvosaxProblem(problem, maximize, space, maximize if noisy is None else noisy)


@pytree.dataclass
class EvosaxProblem:
    """An evosax problem; see :func:`from_problem`.

    Args:
        problem: the problem, static.
        maximize: whether its fitness is a reward, static.
        space: of its solutions.
        noisy: whether fitness depends on the key, static.

    Example:
        >>> from evosax.problems import BBOBProblem
        >>> from diffevo_jax.interop.evosax import from_problem
        >>> problem = from_problem(BBOBProblem("sphere", num_dims=2))
        >>> problem.maximize, problem.space.dim, float(problem.space.upper)
        (False, 2, 5.0)
    """

    problem: Any = pytree.static()
    maximize: bool = pytree.static()
    space: Space
    noisy: bool = pytree.static(default=False)

    def init(self, key: jax.Array) -> PyTree:
        """The problem's state."""
        return pytree.strong(self.problem.init(key))

    def evaluate(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """Fitness of N solutions: what evosax says, a cost with the sign turned."""
        value, after, _ = self.problem.eval(key, solutions, problem_state)
        cast = lambda new, old: jnp.asarray(new).astype(old.dtype)
        after = jax.tree.map(cast, after, problem_state)
        return Evaluation(fitness=value if self.maximize else -value), after
