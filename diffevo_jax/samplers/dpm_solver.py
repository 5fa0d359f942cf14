"""DPM-Solver++: the answers before, extrapolated, at no further evaluation."""

import jax.numpy as jnp
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.samplers.counting import (
    Step,
    at_the_level,
    normal_like,
    one_round_a_level,
    step_ends,
)
from diffevo_jax.samplers.ddim import ddim_step


@checked
def extrapolate(
    clean: Array,
    previous: Array,
    sigma_previous: Number,
    sigma: Number,
    sigma_next: Number,
    trust: Number,
) -> Array:
    """The clean point half a step ahead, from the last two answers.

        x0_bar = x0_hat + w (x0_hat - x0_hat_previous),
        w = trust min(h / (2 h_previous), 1)

    with steps h in log sigma. A whole exponential step with ``x0_bar`` is of second order.

    Args:
        clean: (N, D) the answer at sigma.
        previous: (N, D) the answer at sigma_previous.
        sigma_previous: noise level of the answer before, >= sigma.
        sigma: noise level of the answer.
        sigma_next: noise level to reach, <= sigma.
        trust: fraction of the extrapolation, in [0, 1]; 0 gives ``clean``.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> clean, previous = jnp.array([[3.0]]), jnp.array([[1.0]])
        >>> sigmas = 4.0, 2.0, 1.0  # steps of one length, so half of the last change
        >>> float(de.samplers.extrapolate(clean, previous, *sigmas, trust=1.0)[0, 0])
        4.0

    References:
        Lu et al., 2022, arXiv:2211.01095, algorithm 2.

    Notes:
        The bound of 1 is ours. It is met only where a step is more than twice as long, in
        log sigma, as the one before, and so leaves the order alone.
    """
    step, before = jnp.log(sigma / sigma_next), jnp.log(sigma_previous / sigma)
    safe = jnp.where(before > 0, before, 1.0)
    weight = jnp.where(before > 0, jnp.minimum(step / (2 * safe), 1.0), 0.0)
    return clean + trust * weight * (clean - previous)


@pytree.dataclass
class DPMSolver2M:
    """DPM-Solver++(2M): the last two answers, extrapolated half a step ahead.

    Of second order with eta 0 at one evaluation a step; with eta 1 it is SDE-DPM-Solver++
    (2M). The first step is of first order.

    Args:
        eta: fraction of fresh noise, in [0, 1].
        trust: fraction of the extrapolation, in [0, 1]; 0 is DDIM.

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

    def init(self, y: Array) -> tuple[Array, Array]:
        """The answer before, (N, D), and whether there was one, () bool."""
        return jnp.zeros_like(y), jnp.zeros((), bool)

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Step to the next level with the extrapolated clean point."""
        sigma, sigma_next = step_ends(sigmas, k)
        before = sigmas[jnp.maximum(k - 1, 0)]
        previous, begun = memory
        ahead = extrapolate(clean, previous, before, sigma, sigma_next, self.trust)
        ahead = jnp.where(begun, ahead, clean)
        eps = normal_like(key, y)
        moved = ddim_step(y, ahead, sigma, sigma_next, self.eta, eps)
        return moved, sigma_next, (clean, jnp.ones_like(begun))
