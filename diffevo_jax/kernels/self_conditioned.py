"""A kernel around a kernel, which measures between answers and not between points."""

from typing import Any

import jax

from diffevo_jax import pytree
from diffevo_jax.base import Evaluated, Kernel, Placing, PyTree
from diffevo_jax.pytree import Number


@pytree.dataclass
class SelfConditioned:
    """Measure neighbourhoods between the clean estimates of the generation before.

    They are far less noisy than the points, so that groups show themselves earlier. With
    :class:`diffevo_jax.kernels.Perplexity` it selects and keeps several modes above ten
    dimensions.

    Args:
        kernel: how distances between the estimates count.

    Example:
        >>> import diffevo_jax as de
        >>> kernel = de.kernels.SelfConditioned(de.kernels.Perplexity(30.0))
        >>> strategy = de.DiffusionEvolution(50, de.denoisers.Population(kernel))

    References:
        Chen, Zhang, Hinton, 2023, arXiv:2208.04202, section 3.2: a network that is given
        its own previous answer.

    Notes:
        A place belongs to an individual, so that only the individuals can be asked about:
        not in :func:`diffevo_jax.sample` for another number of points.
    """

    kernel: Kernel

    def check(self) -> None:
        """Raise unless the kernel is one that measures where it is told to."""
        if pytree.offers(self.kernel, Placing):
            raise ValueError(
                f"SelfConditioned.kernel: got {type(self.kernel).__name__}, want a kernel "
                "that measures between the points it is given"
            )

    def places(self, evaluated: Evaluated) -> jax.Array:
        """Where each individual's clean point was last seen, ``(N, D)``."""
        return evaluated.clean

    def init(self, key: jax.Array, dim: int) -> PyTree:
        """The kernel's own state."""
        return self.kernel.init(key, dim)

    def adapt(
        self, kernel_state: PyTree, points: jax.Array, log_weight: jax.Array
    ) -> PyTree:
        """As the kernel does, from the evaluated points."""
        return self.kernel.adapt(kernel_state, points, log_weight)

    def features(self, kernel_state: PyTree, points: jax.Array) -> jax.Array:
        """Those of the kernel, of places."""
        return self.kernel.features(kernel_state, points)

    def factor(self, kernel_state: Any, dim: int) -> Number:
        """The kernel's own."""
        return self.kernel.factor(kernel_state, dim)
