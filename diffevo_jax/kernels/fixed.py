"""Kernels that are the same in every generation."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.kernels.parts import (
    identity_features,
    linear_features,
    no_state,
    not_adapted,
)
from diffevo_jax.pytree import Number, validation


@pytree.dataclass
class Gaussian:
    """The Gaussian kernel of Bayes' rule, in the space of the solutions.

    Prefer it in two or three dimensions, where it keeps several modes apart.

    Args:
        kappa: factor on the squared distance, in [0, 1e6]; 1 is exact; at 0 all
            individuals are neighbours.
        floor: added to the kernel, > 0, static: 1e-9 for parity with the published code,
            whose behaviour it decides above some 40 dimensions; None adds nothing.

    Example:
        >>> import diffevo_jax as de
        >>> de.denoisers.Population(de.kernels.Gaussian(kappa=0.5)).kernel
        Gaussian(kappa=0.5, floor=None)

    References:
        Zhang et al., 2024, arXiv:2410.02543, eq. 9.
    """

    kappa: Number = pytree.number(default=1.0, low=0.0, high=1e6)
    floor: float | None = pytree.static(default=None)

    init = no_state
    adapt = not_adapted
    features = identity_features

    def factor(self, kernel_state: tuple[()], dim: int) -> Number:
        """Kappa."""
        return self.kappa

    def check(self) -> None:
        """Raise ValueError if ``floor`` is neither None nor above 0."""
        validation.check_floor("Gaussian.floor", self.floor)


@pytree.dataclass
class Tempered:
    """The Gaussian kernel with its distances shrunk to those of a few dimensions.

    Squared distances grow in proportion to D; ``kappa = min(1, dimension / D)`` takes that
    growth out, without a random draw. As it is it is the default of
    :class:`diffevo_jax.denoisers.Population`; in ``dimension`` dimensions or fewer it is
    exact.

    Args:
        dimension: as how many dimensions the distances count, > 0.

    Example:
        >>> import diffevo_jax as de
        >>> float(de.kernels.Tempered(dimension=2.0).factor((), dim=58))
        0.0344...
    """

    dimension: Number = pytree.number(default=2.0, above=0.0)

    init = no_state
    adapt = not_adapted
    features = identity_features

    def factor(self, kernel_state: tuple[()], dim: int) -> Number:
        """Kappa, ``min(1, dimension / dim)``."""
        return jnp.minimum(1.0, self.dimension / dim)


@pytree.dataclass
class RandomProjection:
    """Distances in a random low-dimensional projection: the latent form of the paper.

    ``phi(x) = E x`` with E of shape ``(dim, D)``, its entries normal and its rows scaled to
    length 1, so that every coordinate of the projection of N(0, I) is N(0, 1). Drawn
    once a run. Nothing is ever decoded: the estimate is a mean of solutions.

    Args:
        dim: dimension of the projection, static. 2 in the paper; selection fades from
            about 8.

    Example:
        >>> import jax, diffevo_jax as de
        >>> kernel = de.kernels.RandomProjection(dim=2)
        >>> kernel.init(jax.random.key(0), 58).shape
        (2, 58)

    References:
        Zhang et al., 2024, arXiv:2410.02543, eq. 12.

    Notes:
        The paper's text has entries of N(0, 1/D); its experiments scale the rows to length
        1, as here.
    """

    dim: int = pytree.static(default=2)

    def init(self, key: jax.Array, dim: int) -> jax.Array:
        """Draw E, ``(self.dim, dim)``, rows of length 1."""
        matrix = jax.random.normal(key, (self.dim, dim))
        return matrix / jnp.linalg.norm(matrix, axis=1, keepdims=True)

    adapt = not_adapted
    features = linear_features

    def factor(self, kernel_state: jax.Array, dim: int) -> Number:
        """1: distances count as they are in the projection."""
        return 1.0

    def check(self) -> None:
        """Raise ValueError if ``dim`` is not a positive int."""
        validation.check_count("RandomProjection.dim", self.dim)
