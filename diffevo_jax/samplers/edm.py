"""The sampler of EDM: Heun's method in sigma, with churn."""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.samplers.counting import Step, normal_like, step_ends, warn_if_coarse

#: Largest fall of sigma in a step. The flow is ``d(y / sigma) = -D / sigma^2 dsigma``, so
#: with ``R = sigma / sigma'`` and an answer D that goes from x0_hat to x0_hat' as the level
#: falls, a step ends at ``y' + (1 - 1 / R) w (x0_hat' - x0_hat)``, w in [0, 1]: w is 1 if D
#: changes at once, and 0 if it does so at the end. Heun's w is ``R / 2``. Where R > 2 it is
#: beyond all that can be; where R > 4 it is further off than no correction at all, w = 0.
LARGEST_FALL = 4.0


@checked
def heun_correction(
    arrived: Array, clean: Array, clean_next: Array, ratio: Number
) -> Array:
    """Correct a step of Euler's method in sigma, by the answer where it arrived.

        y'' = y' + (1 / r - 1) / 2 (x0_hat' - x0_hat),  r = sigma' / sigma

    Args:
        arrived: (N, D) y', points at sigma'.
        clean: (N, D) x0_hat, the answers at sigma.
        clean_next: (N, D) x0_hat', the answers at sigma' and y'.
        ratio: r, in (0, 1].

    Returns:
        (N, D) points at sigma'.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> arrived, clean, clean_next = jnp.array([[[3.0]], [[1.0]], [[2.0]]])
        >>> float(de.samplers.heun_correction(arrived, clean, clean_next, ratio=0.5)[0, 0])
        3.5

    References:
        Karras et al., 2022, arXiv:2206.00364, algorithm 1 with sigma(t) = t and s(t) = 1.
    """
    return arrived + 0.5 * (1 / ratio - 1) * (clean_next - clean)


@pytree.dataclass
class EDM:
    """The stochastic sampler of EDM: churn, then Heun's method in sigma.

        y  <- y + sqrt(raised^2 - sigma^2) noise_scale eps,     raised = (1 + gamma) sigma,
        y'  = x0_hat + sigma' / raised (y - x0_hat),
        y'' = y' + (raised / sigma' - 1) / 2 (x0_hat' - x0_hat)

    Two evaluations a step. It takes any grid; that of the same paper is
    :class:`diffevo_jax.noise.EDM`, with 18 levels or more. Where sigma falls by a factor of
    more than 4 in a step, the correction is worse than none, and it warns: prefer
    :class:`diffevo_jax.samplers.Heun` there. Fresh noise is added on arrival at a level, so
    that it costs no evaluation; none at the first level, which is noise already, and none
    at the last, where nothing moves.

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
        Karras et al., 2022, arXiv:2206.00364, algorithm 2, gamma = min(churn / (number of
        levels), sqrt(2) - 1) between churn_min and churn_max; for ImageNet-64 churn 40,
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
        """Warn where the correction of a step does more harm than good."""
        warn_if_coarse("EDM", sigmas, LARGEST_FALL, "samplers.Heun()")

    def init(self, y: Array) -> tuple[Array, Array]:
        """The first answer of a step (N, D), and how much churn raised its level, ()."""
        return jnp.zeros_like(y), jnp.ones((), y.dtype)

    def query(self, key: Array, y: Array, memory: PyTree, sigmas: Array, k: Array) -> Step:
        """Where the point is: at the raised level, or at the next one."""
        sigma, sigma_next = step_ends(sigmas, k // 2)
        return y, jnp.where(k % 2 == 0, memory[1] * sigma, sigma_next), memory

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Step to the next level, or correct the step there and churn."""
        first, raised = memory
        sigma, sigma_next = step_ends(sigmas, k // 2)
        ratio = sigma_next / (raised * sigma)
        arrived = clean + ratio * (y - clean)
        corrected = heun_correction(y, first, clean, ratio)
        raise_next = self._raise(sigmas, k // 2 + 1)
        deviation = sigma_next * square_root(raise_next**2 - 1) * self.noise_scale
        churned = corrected + deviation * normal_like(key, y)
        second = k % 2 == 1
        return (
            jnp.where(second, churned, arrived),
            jnp.where(second, raise_next * sigma_next, sigma_next),
            (clean, jnp.where(second, raise_next, raised)),
        )

    def _raise(self, sigmas: Array, level: Array) -> Array:
        """1 + gamma, by how much the noise level grows on arrival."""
        last = len(sigmas) - 1
        sigma = sigmas[jnp.minimum(level, last)]
        inside = (sigma >= self.churn_min) & (sigma <= self.churn_max) & (level < last)
        gamma = jnp.minimum(self.churn / len(sigmas), math.sqrt(2.0) - 1.0)
        return jnp.where(inside, 1.0 + gamma, 1.0)
