"""A discrete chain as a process: its time is the number of a step."""

import dataclasses

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.noise.conversions import SIGMA_MAX, SIGMA_MIN
from diffevo_jax.noise.ends import times_between
from diffevo_jax.noise.grids import Levels
from diffevo_jax.noise.process import falling_sigmas, unit_variance_scale
from diffevo_jax.pytree import Number


@pytree.dataclass
class Chain:
    """A discrete chain of T steps, as of DDPM, at unit variance.

        t in [0, T - 1],  log sigma linear between two steps,  s = 1 / sqrt(1 + sigma^2).

    A model that was trained on such a chain knows its steps by number. As a grid, the chain
    has levels at uniform times: those of a model that is sampled in fewer steps.

    Args:
        levels: those of the steps, from :func:`diffevo_jax.noise.from_betas`,
            ``from_alphas``, ``from_alpha_bars``, or ``Levels``.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> betas = jnp.linspace(1e-4, 0.02, 1000)
        >>> chain = de.noise.Chain(de.noise.from_betas(betas))
        >>> [f"{sigma:.3g}" for sigma in chain.sigmas(3)], float(chain.time(1e3))
        (['157', '3.43', '0.01'], 999.0)

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, section 2.
    """

    levels: Levels = dataclasses.field(metadata={"like": "noise.from_betas(betas)"})

    scale = unit_variance_scale
    sigmas = falling_sigmas

    def sigma(self, t: Number) -> jax.Array:
        """The level of step t, beyond the ends that of the end."""
        logs = self._logs()
        steps = jnp.arange(len(logs), dtype=logs.dtype)
        return jnp.exp(jnp.interp(jnp.asarray(t, dtype=float), steps, logs))

    def time(self, sigma: Number) -> jax.Array:
        """The number of the step that has a level, between two steps a fraction."""
        logs = self._logs()
        steps = jnp.arange(len(logs), dtype=logs.dtype)
        return jnp.interp(jnp.log(jnp.asarray(sigma, dtype=float)), logs, steps)

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` uniform times from the last step to the first, 0."""
        return times_between(0.0, len(self._logs()) - 1.0, num_levels)

    def _logs(self) -> jax.Array:
        """Logarithms of the levels, (T,), in forward time."""
        levels = jnp.clip(jnp.asarray(self.levels.values, float), SIGMA_MIN, SIGMA_MAX)
        return jax.lax.cummax(jnp.log(levels[::-1]))
