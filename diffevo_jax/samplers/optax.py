"""Optimisers of optax as samplers."""

from typing import Any, Protocol, runtime_checkable

from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.compilation import arithmetic_of_others
from diffevo_jax.pytree import Number
from diffevo_jax.samplers.counting import (
    Step,
    at_the_level,
    normal_like,
    one_round_a_level,
    step_ends,
)
from diffevo_jax.samplers.ddim import kept_and_fresh


@runtime_checkable
class Transformation(Protocol):
    """What :class:`Optax` needs of ``optax.GradientTransformation``."""

    @property
    def init(self) -> Any:
        """``init(params) -> state``."""
        ...

    @property
    def update(self) -> Any:
        """``update(gradient, state, params) -> (updates, state)``."""
        ...


def transformed(
    transformation: Transformation, gradient: PyTree, state: PyTree, params: PyTree
) -> tuple[PyTree, PyTree]:
    """What a transformation makes of a gradient, and its state after that."""
    with arithmetic_of_others():
        return transformation.update(gradient, state, params)


@pytree.dataclass
class Optax:
    """Any optimiser of optax, on the gradient ``(y - x0_hat) / sigma^2``.

    That is minus the score: gradient descent with the learning rate ``sigma (sigma -
    sigma')`` is ``DDIM(eta=0)``. Momentum, Adam and the rest smooth successive answers.

    Args:
        transformation: of optax, static.
        eta: fraction of fresh noise, as of :class:`diffevo_jax.samplers.DDIM`, in [0, 1].

    Example:
        >>> import optax, diffevo_jax as de
        >>> sampler = de.samplers.Optax(optax.adam(0.1), eta=0.1)
        >>> de.DiffusionEvolution(25, sampler=sampler).sampler.eta
        0.1
    """

    transformation: Transformation = pytree.static()
    eta: Number = pytree.number(default=0.0, low=0.0, high=1.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    query = at_the_level

    def check(self) -> None:
        """Raise TypeError if the transformation is none of optax."""
        if not pytree.offers(self.transformation, Transformation):
            raise TypeError(
                f"Optax.transformation: got {self.transformation!r}, want a transformation "
                "of optax"
            )

    def init(self, y: Array) -> PyTree:
        """The optimiser's own state."""
        return self.transformation.init(y)

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Take one step of the optimiser; the noise level falls with the grid."""
        sigma, sigma_next = step_ends(sigmas, k)
        gradient = (y - clean) / sigma**2
        step, memory = transformed(self.transformation, gradient, memory, y)
        fresh = kept_and_fresh(sigma, sigma_next, self.eta)[1] * normal_like(key, y)
        return y + step + fresh, sigma_next, memory
