"""The method of Euler and Maruyama, with sigma as its time."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.samplers.counting import (
    Step,
    at_the_level,
    no_memory,
    normal_like,
    one_round_a_level,
    step_ends,
    warn_if_coarse,
)


@checked
def euler_maruyama_step(
    y: Array,
    clean: Array,
    sigma: Number,
    sigma_next: Number,
    rate: Number,
    eps: Array,
) -> Array:
    """A plain Euler-Maruyama step of the reverse SDE, with sigma as its time.

        y' = y - (1 + rate) (sigma - sigma') (y - x0_hat) / sigma
             + sqrt(2 rate sigma (sigma - sigma')) eps

    Args:
        y: (N, D) noisy points, canonical.
        clean: (N, D) the denoiser's answers.
        sigma: noise level of y, > 0.
        sigma_next: noise level to reach, in [0, sigma].
        rate: how fast noise is replaced, >= 0: 0 is the probability-flow ODE, 1 the
            reverse SDE of Song et al.
        eps: (N, D) standard normal noise.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> y, clean, eps = jnp.array([[5.0]]), jnp.array([[1.0]]), jnp.zeros((1, 1))
        >>> step = de.samplers.euler_maruyama_step
        >>> [float(step(y, clean, 2.0, 1.0, rate, eps)[0, 0]) for rate in (0.0, 1.0)]
        [3.0, 1.0]

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 6, with sigma as its time and
        beta = rate / sigma.
    """
    share = 1 - sigma_next / jnp.asarray(sigma)
    noise = sigma * square_root(2 * rate * share)
    return y + (1 + rate) * share * (clean - y) + noise * eps


@pytree.dataclass
class EulerMaruyama:
    """The plain discretisation of the reverse SDE: for long grids, and for comparison.

    Args:
        rate: how fast old noise is replaced by new, >= 0: 0 is the probability-flow ODE
            (then it is ``DDIM(eta=0)``), 1 the reverse SDE of Song et al.; more repairs
            errors faster and makes greater ones of its own.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.EulerMaruyama(rate=0.5)
        EulerMaruyama(rate=0.5)

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 6; Song et al., 2020, arXiv:2011.13456.
    """

    rate: Number = pytree.number(default=1.0, low=0.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    init = no_memory
    query = at_the_level

    def check_grid(self, sigmas: np.ndarray) -> None:
        """Warn where a step would go beyond the clean point."""
        rate = pytree.concrete(self.rate)
        if rate is not None and rate > 0:
            largest = float(1 + 1 / rate)
            warn_if_coarse("EulerMaruyama", sigmas, largest, "samplers.DDIM(eta=1.0)")

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Step to the next level of the grid."""
        sigma, sigma_next = step_ends(sigmas, k)
        eps = normal_like(key, y)
        moved = euler_maruyama_step(y, clean, sigma, sigma_next, self.rate, eps)
        return moved, sigma_next, memory
