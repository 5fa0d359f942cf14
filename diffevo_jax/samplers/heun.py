"""Exponential Heun: of second order, by the answers at both ends of a step."""

import jax.numpy as jnp
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number
from diffevo_jax.samplers.counting import Step, normal_like, step_ends
from diffevo_jax.samplers.ddim import ddim_step, kept_and_fresh


@pytree.dataclass
class Heun:
    """Exponential Heun: the mean of the answers at both ends of a step.

        y'  = ddim_step(y, x0_hat),
        y'' = y' + (1 - kept) / 2 (x0_hat' - x0_hat)

    with x0_hat' the answer at y' and ``kept``, ``sigma' / sigma`` at eta 0, what the step
    keeps of a point's noise. ``y''`` is the step with the mean of both answers, and never
    goes beyond them, however long the step; that of :class:`diffevo_jax.samplers.EDM` does.
    It is of second order with eta 0, and in distribution with any eta.

    Two evaluations a step, both rounds of ask and tell, so that ``num_generations`` is odd;
    or none more than :class:`diffevo_jax.samplers.DDIM` if ``frozen``: then the evaluated
    individuals also answer for the points at the other end.

    Args:
        eta: fraction of fresh noise, in [0, 1].
        frozen: ask for the second answer without an evaluation, static.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.Heun().num_rounds(4), de.samplers.Heun(frozen=True).num_rounds(4)
        (7, 4)

    References:
        Hochbruck and Ostermann, 2010, Acta Numerica 19, section 2 (exponential
        Runge-Kutta methods); Karras et al., 2022, arXiv:2206.00364, algorithm 1.
    """

    eta: Number = pytree.number(default=0.0, low=0.0, high=1.0)
    frozen: bool = pytree.static(default=False)

    @property
    def answers_per_evaluation(self) -> int:
        """Two if frozen."""
        return 2 if self.frozen else 1

    def num_rounds(self, num_levels: int) -> int:
        """Two evaluations a step, or one if frozen; the last level is evaluated once."""
        return num_levels if self.frozen else 2 * num_levels - 1

    def init(self, y: Array) -> Array:
        """(N, D) the first answer of a step."""
        return jnp.zeros_like(y)

    def query(self, key: Array, y: Array, memory: PyTree, sigmas: Array, k: Array) -> Step:
        """Where the point is: at the level, or at the next one."""
        return y, sigmas[jnp.minimum(k // 2 + k % 2, len(sigmas) - 1)], memory

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Step to the next level, or correct the step there."""
        sigma, sigma_next = step_ends(sigmas, k // 2)
        first = ddim_step(y, clean, sigma, sigma_next, self.eta, normal_like(key, y))
        weight = (1 - kept_and_fresh(sigma, sigma_next, self.eta)[0]) / 2
        corrected = y + weight * (clean - memory)
        return jnp.where(k % 2 == 0, first, corrected), sigma_next, clean
