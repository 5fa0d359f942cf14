"""Samplers that combine the answers of several generations, at no further evaluation.

All that a step needs of the fitness is the denoiser's answer, so that stored answers are
free. In evolution the answers before come from older populations: what is extrapolated is
also their drift.
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.pytree import Number
from diffevo_jax.samplers.rounds import at_the_level, levels, normal_like, one_round_a_level
from diffevo_jax.samplers.steps import ddim_step, extrapolate


@pytree.dataclass
class DPMSolver2M:
    """DPM-Solver++(2M): the last two answers, extrapolated half a step ahead.

    Of second order with eta 0 at one evaluation a step; with eta 1 it is SDE-DPM-Solver++
    (2M). The first step is of first order.

    Args:
        eta: share of fresh noise, in [0, 1].
        trust: share of the extrapolation, in [0, 1]; 0 is :class:`DDIM`.

    Example:
        >>> import diffevo_jax as de
        >>> de.DiffusionEvolution(10, sampler=de.samplers.DPMSolver2M()).sampler
        DPMSolver2M(eta=0.0, trust=1.0)

    References:
        Lu et al., 2022, arXiv:2211.01095, algorithm 2 and appendix A (SDE).
    """

    eta: Number = pytree.number(default=0.0, low=0.0, high=1.0)
    trust: Number = pytree.number(default=1.0, low=0.0, high=1.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    query = at_the_level

    def init(self, y: jax.Array) -> jax.Array:
        """(N, D) the answer before."""
        return jnp.zeros_like(y)

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: jax.Array,
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Step to the next level with the extrapolated clean point."""
        sigma, sigma_next = levels(sigmas, k)
        before = sigmas[jnp.maximum(k - 1, 0)]
        ahead = extrapolate(clean, memory, before, sigma, sigma_next, self.trust)
        ahead = jnp.where(k == 0, clean, ahead)
        eps = normal_like(key, y)
        return ddim_step(y, ahead, sigma, sigma_next, self.eta, eps), sigma_next, clean


@pytree.dataclass
class GHFilter:
    """DDIM with a g-h filter over successive answers, each individual for itself.

        predicted = estimate + trend,      residual = x0_hat - predicted,
        estimate' = predicted + g residual,  trend' = trend + h residual

    With h = 0 it is an exponential moving average of weight g; with g = 1 and h = 0 it is
    :class:`DDIM`. Prefer it where fitness is noisy.

    Args:
        g: weight of the new answer in the estimate, in [0, 1].
        h: weight of the new answer in its trend, in [0, 1].
        eta: share of fresh noise, in [0, 1].

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

    def init(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Estimate and trend, (N, D) each."""
        return jnp.zeros_like(y), jnp.zeros_like(y)

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[jax.Array, jax.Array],
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
        """Step to the next level with the filtered clean point."""
        sigma, sigma_next = levels(sigmas, k)
        estimate, trend = memory
        predicted = jnp.where(k == 0, clean, estimate + trend)
        residual = clean - predicted
        estimate, trend = predicted + self.g * residual, trend + self.h * residual
        eps = normal_like(key, y)
        moved = ddim_step(y, estimate, sigma, sigma_next, self.eta, eps)
        return moved, sigma_next, (estimate, trend)
