"""A problem from a plain function: one solution in, one fitness out."""

from collections.abc import Callable
from typing import Any

import jax

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, PyTree
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import arrays, validation


@pytree.dataclass
class Function:
    """Maximise a function of one solution; it is ``vmap``-ped over the population.

    The function gets no key, so that it has no noise. A noisy one is a problem of your own,
    see :class:`diffevo_jax.base.Problem` and :class:`diffevo_jax.base.Noisy`.

    Args:
        fn: takes one solution (a vector (D,), or a pytree like the space's example) and
            returns a scalar to maximise. Static: keep one function object, since a new
            one, or a new lambda, compiles anew.
        dim: D, for a function of a float vector; or give ``space``.
        space: where solutions live.

    Raises:
        TypeError: ``fn`` cannot be called.
        ValueError: neither or both of ``dim`` and ``space`` are given.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Function(lambda x: -(x**2).sum(), dim=3)
        >>> evaluation, _ = problem.evaluate(
        ...     jax.random.key(0), (), jax.numpy.ones((2, 3)))
        >>> evaluation.fitness.tolist()
        [-3.0, -3.0]
    """

    fn: Callable[[Any], jax.Array] = pytree.static()
    space: Space

    def __init__(
        self,
        fn: Callable[[Any], jax.Array],
        dim: int | None = None,
        *,
        space: Space | None = None,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"fn: got {fn!r}, want a function of one solution")
        if (dim is None) == (space is None):
            got = "neither" if dim is None else "both"
            raise ValueError(f"dim, space: got {got}, want one of them")
        if dim is not None:
            validation.check_count("dim", dim)
            space = Space(jax.ShapeDtypeStruct((dim,), jax.numpy.result_type(float)))
        object.__setattr__(self, "fn", fn)
        object.__setattr__(self, "space", space)

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: PyTree
    ) -> tuple[Evaluation, tuple[()]]:
        """Evaluate N solutions: leaves with leading axis N."""

        def evaluate(solution: PyTree) -> jax.Array:  # before vmap makes an array of it
            return arrays.real_array("fn", self.fn(solution), "()")

        return Evaluation(fitness=jax.vmap(evaluate)(solutions)), problem_state
