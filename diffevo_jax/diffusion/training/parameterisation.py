"""What a parameterisation is: four coefficients, a target, and an objective."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from diffevo_jax.diffusion.training.objectives import Objective
from diffevo_jax.pytree import Number


class Coefficients(NamedTuple):
    """The four coefficients at some noise levels, of their shape."""

    skip: jax.Array
    out: jax.Array
    scale: jax.Array  # c_in, which Python keeps "in" from being called
    level: jax.Array  # c_noise


class Parameterisation(Protocol):
    """What a network predicts; your own is a ``pytree.dataclass`` with these members."""

    @property
    def sigma_data(self) -> Number:
        """Standard deviation of the data that is expected, (), > 0."""
        ...

    def coefficients(self, sigma: jax.Array) -> Coefficients:
        """Return c_skip, c_out, c_in and c_noise at noise levels of any shape."""
        ...

    def target(self, clean: jax.Array, eps: jax.Array, sigma: jax.Array) -> jax.Array:
        """What the network should answer at ``clean + sigma eps``.

        It is ``(clean - c_skip y) / c_out``, written so that nothing cancels.
        """
        ...

    def objective(self) -> Objective:
        """What it is trained with if nothing else is said."""
        ...


def noisy_deviation(sigma: jax.Array, sigma_data: Number) -> jax.Array:
    """Deviation of a noisy number, ``sqrt(sigma^2 + sigma_data^2)``."""
    return jnp.hypot(jnp.asarray(sigma, dtype=float), sigma_data)


def quarter_log(sigma: jax.Array) -> jax.Array:
    """``log(sigma) / 4``."""
    return 0.25 * jnp.log(jnp.asarray(sigma, dtype=float))
