"""A g-h filter over the answers of all generations before."""

import jax.numpy as jnp
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number
from diffevo_jax.samplers.counting import (
    Step,
    at_the_level,
    normal_like,
    one_round_a_level,
    step_ends,
)
from diffevo_jax.samplers.ddim import ddim_step


@pytree.dataclass
class GHFilter:
    """DDIM with a g-h filter over successive answers, each individual for itself.

        predicted = estimate + trend,      residual = x0_hat - predicted,
        estimate' = predicted + g residual,  trend' = trend + h residual,

    and a step goes to the estimate as that of :class:`diffevo_jax.samplers.DDIM` to the
    answer. With h = 0 it is an exponential moving average of weight g; with g = 1 and h = 0
    it is DDIM. Prefer it where fitness is noisy.

    Args:
        g: weight of the new answer in the estimate, in [0, 1].
        h: weight of the new answer in its trend, in [0, 1].
        eta: fraction of fresh noise, in [0, 1].

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.GHFilter(g=0.5, h=0.1)
        GHFilter(g=0.5, h=0.1, eta=1.0)

    References:
        Brookner, 1998, Tracking and Kalman Filtering Made Easy, chapter 1.
    """

    g: Number = pytree.number(default=0.7, low=0.0, high=1.0)
    h: Number = pytree.number(default=0.0, low=0.0, high=1.0)
    eta: Number = pytree.number(default=1.0, low=0.0, high=1.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    query = at_the_level

    def init(self, y: Array) -> tuple[Array, Array, Array]:
        """Estimate and trend, (N, D) each, and whether there was an answer, () bool."""
        return jnp.zeros_like(y), jnp.zeros_like(y), jnp.zeros((), bool)

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Step to the next level with the filtered clean point."""
        sigma, sigma_next = step_ends(sigmas, k)
        estimate, trend, begun = memory
        predicted = jnp.where(begun, estimate + trend, clean)
        residual = clean - predicted
        estimate, trend = predicted + self.g * residual, trend + self.h * residual
        eps = normal_like(key, y)
        moved = ddim_step(y, estimate, sigma, sigma_next, self.eta, eps)
        return moved, sigma_next, (estimate, trend, jnp.ones_like(begun))
