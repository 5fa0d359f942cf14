"""A problem from a plain function: one solution in, one fitness out."""

from collections.abc import Callable
from typing import Any

import jax

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, PyTree
from diffevo_jax.compilation import explain_untraced, first_line
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import arrays, validation


@pytree.dataclass
class Function:
    """Maximise a function of one solution; it is ``vmap``-ped over the population.

    The function gets no key, so that it has no noise. A noisy one is a problem of your own,
    see :class:`diffevo_jax.base.Problem` and :class:`diffevo_jax.base.Noisy`.

    Args:
        fn: takes one solution (a vector (D,), or a pytree like the space's example) and
            returns a scalar to maximise, by ``jax.numpy``; of any other function make an
            :class:`diffevo_jax.problems.External`. Static: keep one function object, since
            a new one, or a new lambda, compiles anew.
        dim: D, for a function of a float vector; or give ``space``.
        space: where solutions live.

    Raises:
        TypeError: ``fn`` cannot be called; when it is evaluated, it cannot be traced, or
            takes a population.
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

        try:
            fitness = jax.vmap(evaluate)(solutions)
        except Exception as error:
            explain("fn", self.fn, solutions, error)
            raise
        if fitness.ndim > 1:
            count = len(fitness)
            raise ValueError(
                f"fitness: got shape {fitness.shape}, want ({count},): fn takes one "
                "solution and returns one number"
            )
        return Evaluation(fitness=fitness), problem_state


def explain(
    name: str, fn: Callable[[Any], Any], solutions: PyTree, error: Exception
) -> None:
    """Raise what is known to be wrong with a function; nothing, if that is not known.

    Args:
        name: what it is called.
        fn: that was mapped over solutions.
        solutions: leaves with leading axis N.
        error: what was raised.

    Raises:
        TypeError: it cannot be traced, or it takes a population and not a solution.
    """
    explain_untraced(
        name,
        error,
        "diffevo_jax.problems.External evaluates any function, of NumPy and SciPy too",
    )
    said = first_line(error)
    count = len(jax.tree.leaves(solutions)[0])
    try:
        of_all = jax.eval_shape(fn, solutions)
    except Exception:  # it fails for a population too: the error is its own
        return
    if getattr(of_all, "shape", None) == (count,):
        raise TypeError(
            f"{name}: got a function of a population ({said}), want one that "
            "takes one solution; it is vmapped over the population"
        ) from error
