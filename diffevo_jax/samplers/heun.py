"""Samplers of second order that ask at both ends of a step.

Both move to the next level with the first answer, ask there, and correct by a share of the
difference of the two answers. What differs is the share: with noise levels ``sigma`` and
``sigma'``, and ``r = sigma' / sigma``,

    exponential:  y'' = y' + (1 - r) / 2 (x0_hat' - x0_hat),
    EDM:          y'' = y' + (1 / r - 1) / 2 (x0_hat' - x0_hat).

They agree for short steps. For long ones the first never goes beyond the answers; the
second does as soon as r < 1 / 3.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.pytree import Number
from diffevo_jax.samplers.rounds import levels, normal_like, warn_if_coarse
from diffevo_jax.samplers.steps import ddim_step, shares


@pytree.dataclass
class Heun:
    """Exponential Heun: the mean of the answers at both ends of a step.

    Of second order with eta 0, and in distribution with any eta. Two evaluations a step,
    both rounds of ask and tell, so that ``num_generations`` is odd; or none more than
    :class:`DDIM` if ``frozen``: then the evaluated individuals also answer for the points
    at the other end.

    Args:
        eta: share of fresh noise, in [0, 1].
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

    def init(self, y: jax.Array) -> jax.Array:
        """(N, D) the first answer of a step."""
        return jnp.zeros_like(y)

    def query(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Where the point is: at the level, or at the next one."""
        return y, sigmas[jnp.minimum(k // 2 + k % 2, len(sigmas) - 1)], memory

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: jax.Array,
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Step to the next level, or correct the step there."""
        sigma, sigma_next = levels(sigmas, k // 2)
        first = ddim_step(y, clean, sigma, sigma_next, self.eta, normal_like(key, y))
        share = (1 - shares(sigma, sigma_next, self.eta)[0]) / 2
        corrected = y + share * (clean - memory)
        return jnp.where(k % 2 == 0, first, corrected), sigma_next, clean


@pytree.dataclass
class EDM:
    """The stochastic sampler of EDM: churn, then Heun's method in sigma.

    For long grids only: it overshoots where sigma falls by a factor of more than 3 in a
    step, and warns of it. Two evaluations a step. Fresh noise is added on arrival at a
    level, so that it costs no evaluation; none at the first level, which is noise already,
    and none at the last, where nothing moves.

    Args:
        churn: S_churn, amount of fresh noise over the whole grid, >= 0; 0 is the
            deterministic sampler.
        churn_min: S_tmin, no churn at noise levels below it, >= 0.
        churn_max: S_tmax, no churn at noise levels above it, >= 0.
        noise_scale: S_noise, deviation of the fresh noise, > 0.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.EDM(churn=40.0).num_rounds(18)
        35

    References:
        Karras et al., 2022, arXiv:2206.00364, algorithm 2; for ImageNet-64 churn 40,
        churn_min 0.05, churn_max 50 and noise_scale 1.003.
    """

    churn: Number = pytree.number(default=0.0, low=0.0)
    churn_min: Number = pytree.number(default=0.0, low=0.0)
    churn_max: Number = pytree.number(default=1e6, low=0.0)
    noise_scale: Number = pytree.number(default=1.0, above=0.0)

    answers_per_evaluation = 1

    def num_rounds(self, num_levels: int) -> int:
        """Two evaluations a step; the last level is evaluated once."""
        return 2 * num_levels - 1

    def check_grid(self, sigmas: np.ndarray) -> None:
        """Warn where the grid is too coarse for Heun's method in sigma."""
        warn_if_coarse("EDM", sigmas, 3.0, "samplers.Heun()")

    def init(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The first answer of a step (N, D), and how much churn raised its level, ()."""
        return jnp.zeros_like(y), jnp.ones((), y.dtype)

    def query(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[jax.Array, jax.Array],
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
        """Where the point is: at the raised level, or at the next one."""
        sigma, sigma_next = levels(sigmas, k // 2)
        return y, jnp.where(k % 2 == 0, memory[1] * sigma, sigma_next), memory

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[jax.Array, jax.Array],
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
        """Step to the next level, or correct the step there and churn."""
        first, raised = memory
        sigma, sigma_next = levels(sigmas, k // 2)
        ratio = sigma_next / (raised * sigma)
        arrived = clean + ratio * (y - clean)
        corrected = y + 0.5 * (1 / ratio - 1) * (clean - first)
        raise_next = self._raise(sigmas, k // 2 + 1)
        deviation = sigma_next * jnp.sqrt(raise_next**2 - 1) * self.noise_scale
        churned = corrected + deviation * normal_like(key, y)
        second = k % 2 == 1
        return (
            jnp.where(second, churned, arrived),
            jnp.where(second, raise_next * sigma_next, sigma_next),
            (clean, jnp.where(second, raise_next, raised)),
        )

    def _raise(self, sigmas: jax.Array, level: jax.Array) -> jax.Array:
        """1 + gamma, by how much the noise level grows on arrival."""
        last = len(sigmas) - 1
        sigma = sigmas[jnp.minimum(level, last)]
        inside = (sigma >= self.churn_min) & (sigma <= self.churn_max) & (level < last)
        gamma = jnp.minimum(self.churn / len(sigmas), math.sqrt(2.0) - 1.0)
        return jnp.where(inside, 1.0 + gamma, 1.0)
