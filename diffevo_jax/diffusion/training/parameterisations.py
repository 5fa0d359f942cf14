"""What a network predicts, and how that becomes the clean point.

    D(y, sigma) = c_skip(sigma) y + c_out(sigma) F(c_in(sigma) y, c_noise(sigma)),

with y = x_0 + sigma eps. Every parameterisation is a choice of the four coefficients, and
its target, what F should answer, follows: ``F = (x_0 - c_skip y) / c_out``. The samplers
see only D, so a network trained as one thing is sampled as any other.

All have the field ``sigma_data``: the standard deviation of the data that they expect.

References:
    Karras et al., 2022, arXiv:2206.00364, eq. 7 and table 1.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import noise, pytree
from diffevo_jax.diffusion.training.objectives import (
    GridLevels,
    LogNormalLevels,
    Objective,
    ProcessLevels,
)
from diffevo_jax.pytree import Number


class Coefficients(NamedTuple):
    """The four coefficients at some noise levels, of their shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> coefficients = diffusion.Flow().coefficients(jnp.array(3.0))
        >>> float(coefficients.scale), float(coefficients.level)  # 1 - t and t
        (0.25, 0.75)
    """

    skip: jax.Array
    out: jax.Array
    scale: jax.Array  # c_in, which Python keeps "in" from being called
    level: jax.Array  # c_noise


@runtime_checkable
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


@pytree.dataclass
class EDM:
    """Input and target of the network have unit variance at every noise level.

        c_skip = s^2 / r^2,  c_out = sigma s / r,  c_in = 1 / r,  c_noise = log(sigma) / 4,

    with s = ``sigma_data`` and r^2 = sigma^2 + s^2. Near the data the network predicts the
    noise, far away the clean point, and its errors are never amplified. The one to begin
    with. Trained at log-normal noise levels, by default those of the paper in units of s.

    Args:
        sigma_data: standard deviation of the data, > 0.

    Example:
        >>> from diffevo_jax import diffusion
        >>> skip, out, scale, level = diffusion.EDM(sigma_data=3.0).coefficients(4.0)
        >>> round(float(skip), 2), round(float(out), 2), round(float(scale), 2)
        (0.36, 2.4, 0.2)

    References:
        Karras et al., 2022, arXiv:2206.00364, table 1, last column.
    """

    sigma_data: Number = pytree.number(default=1.0, above=0.0)

    def coefficients(self, sigma: jax.Array) -> Coefficients:
        """The four coefficients."""
        r = _noisy_deviation(sigma, self.sigma_data)
        share = self.sigma_data / r
        return Coefficients(share**2, sigma * share, 1 / r, _quarter_log(sigma))

    def target(self, clean: jax.Array, eps: jax.Array, sigma: jax.Array) -> jax.Array:
        """``(sigma x_0 / s - s eps) / r``."""
        s = self.sigma_data
        return (sigma / s * clean - s * eps) / _noisy_deviation(sigma, s)

    def objective(self) -> Objective:
        """Log-normal levels around ``0.6 sigma_data``."""
        return Objective(LogNormalLevels(jnp.log(2 * self.sigma_data) - 1.2, 1.2))


@pytree.dataclass
class Noise:
    """The network predicts the noise: DDPM.

        c_skip = 1,  c_out = -sigma,  c_in = 1 / r,  c_noise = log(sigma) / 4.

    Where sigma is large, sigma times its error is the error of the clean point. Trained at
    uniform times of the variance-preserving process, as DDPM's 1,000 steps in continuous
    time.

    Args:
        sigma_data: standard deviation of the data, > 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> clean, eps, sigma = jnp.array(1.0), jnp.array(2.0), jnp.array(3.0)
        >>> noise = diffusion.Noise()
        >>> answer = noise.target(clean, eps, sigma)
        >>> skip, out, _, _ = noise.coefficients(sigma)
        >>> float(answer), float(skip * (clean + sigma * eps) + out * answer)
        (2.0, 1.0)

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eqs. 11 and 14; Karras et al., 2022,
        arXiv:2206.00364, table 1, first column.

    Notes:
        The papers' ``c_noise`` is the number of the step, which belongs to one schedule.
    """

    sigma_data: Number = pytree.number(default=1.0, above=0.0)

    def coefficients(self, sigma: jax.Array) -> Coefficients:
        """The four coefficients."""
        scale = 1 / _noisy_deviation(sigma, self.sigma_data)
        return Coefficients(jnp.ones_like(scale), -sigma, scale, _quarter_log(sigma))

    def target(self, clean: jax.Array, eps: jax.Array, sigma: jax.Array) -> jax.Array:
        """``eps``."""
        return eps

    def objective(self) -> Objective:
        """Uniform times of ``de.noise.VP()``."""
        return Objective(ProcessLevels(noise.VP()))


@pytree.dataclass
class Velocity:
    """The network predicts the velocity: v-prediction.

        v = (s eps - sigma x_0 / s) / r,

    the coefficients of :class:`EDM` with c_out negative. Trained, by default, at the levels
    of the cosine grid.

    Args:
        sigma_data: s, standard deviation of the data, > 0; in the paper 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> clean, eps, sigma = jnp.array(1.0), jnp.array(2.0), jnp.array(0.75)
        >>> v = diffusion.Velocity().target(clean, eps, sigma)
        >>> round(float(v), 3)  # (2 - 0.75) / 1.25
        1.0

    References:
        Salimans and Ho, 2022, arXiv:2202.00512, section 4 and appendix D.
    """

    sigma_data: Number = pytree.number(default=1.0, above=0.0)

    def coefficients(self, sigma: jax.Array) -> Coefficients:
        """The four coefficients."""
        skip, out, scale, level = EDM(self.sigma_data).coefficients(sigma)
        return Coefficients(skip, -out, scale, level)

    def target(self, clean: jax.Array, eps: jax.Array, sigma: jax.Array) -> jax.Array:
        """``v``."""
        return -EDM(self.sigma_data).target(clean, eps, sigma)

    def objective(self) -> Objective:
        """1,000 levels of ``de.noise.Cosine()``."""
        return Objective(GridLevels(noise.Cosine(), 1000))


@pytree.dataclass
class Flow:
    """The network predicts the velocity of straight lines: flow matching.

        x_t = (1 - t) x_0 + t eps,  sigma = t / (1 - t),  F = dx_t / dt = eps - x_0,
        c_skip = 1 - t,  c_out = -t,  c_in = 1 - t,  c_noise = t.

    Trained at uniform times.

    Args:
        sigma_data: standard deviation of the data, > 0; its size decides what the paths
            look like, so 1 is best.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> clean, eps, sigma = jnp.array(1.0), jnp.array(2.0), jnp.array(3.0)
        >>> flow = diffusion.Flow()
        >>> answer = flow.target(clean, eps, sigma)
        >>> skip, out, _, time = flow.coefficients(sigma)
        >>> float(time), float(skip * (clean + sigma * eps) + out * answer)
        (0.75, 1.0)

    References:
        Lipman et al., 2022, arXiv:2210.02747, eqs. 9 and 23; Liu, Gong, Liu, 2022,
        arXiv:2209.03003, eq. 1.

    Notes:
        The papers run from noise at time 0 to data at time 1.
    """

    sigma_data: Number = pytree.number(default=1.0, above=0.0)

    def coefficients(self, sigma: jax.Array) -> Coefficients:
        """The four coefficients."""
        signal = 1 / (1 + jnp.asarray(sigma))
        time = sigma * signal
        return Coefficients(signal, -time, signal, time)

    def target(self, clean: jax.Array, eps: jax.Array, sigma: jax.Array) -> jax.Array:
        """``eps - x_0``."""
        return eps - clean

    def objective(self) -> Objective:
        """Uniform times from 0.001 to 0.999."""
        return Objective(ProcessLevels(noise.Flow(t_min=1e-3, t_max=1 - 1e-3)))


@pytree.dataclass
class Score:
    """The network predicts minus the noise, from an input that is not scaled: VE.

        c_skip = 1,  c_out = sigma,  c_in = 1,  c_noise = log(sigma / 2).

    The score is its answer over sigma. The network has to cope with inputs of any size.
    Trained at uniform times of a variance-exploding process.

    Args:
        sigma_data: standard deviation of the data, > 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> skip, out, scale, level = diffusion.Score().coefficients(jnp.array(2.0))
        >>> float(skip), float(out), float(scale), float(level)
        (1.0, 2.0, 1.0, 0.0)

    References:
        Song et al., 2021, arXiv:2011.13456, appendix C; Karras et al., 2022,
        arXiv:2206.00364, table 1, second column.
    """

    sigma_data: Number = pytree.number(default=1.0, above=0.0)

    def coefficients(self, sigma: jax.Array) -> Coefficients:
        """The four coefficients."""
        sigma = jnp.asarray(sigma, dtype=float)
        one = jnp.ones_like(sigma)
        return Coefficients(one, sigma, one, jnp.log(sigma) - math.log(2))

    def target(self, clean: jax.Array, eps: jax.Array, sigma: jax.Array) -> jax.Array:
        """``-eps``, which is sigma times the score of the noise."""
        return -eps

    def objective(self) -> Objective:
        """Uniform times of ``de.noise.VE`` from 0.01 to 50."""
        return Objective(ProcessLevels(noise.VE(sigma_min=0.01, sigma_max=50.0)))


@pytree.dataclass
class Clean:
    """The network predicts the clean point itself.

        c_skip = 0,  c_out = 1,  c_in = 1 / r,  c_noise = log(sigma) / 4.

    Near the data it has to copy its input. Trained at the levels of :class:`EDM`.

    Args:
        sigma_data: standard deviation of the data, > 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> skip, out, scale, _ = diffusion.Clean().coefficients(jnp.array(0.75))
        >>> float(skip), float(out), round(float(scale), 3)
        (0.0, 1.0, 0.8)

    References:
        Salimans and Ho, 2022, arXiv:2202.00512, section 4.
    """

    sigma_data: Number = pytree.number(default=1.0, above=0.0)

    def coefficients(self, sigma: jax.Array) -> Coefficients:
        """The four coefficients."""
        scale = 1 / _noisy_deviation(sigma, self.sigma_data)
        one = jnp.ones_like(scale)
        return Coefficients(jnp.zeros_like(scale), one, scale, _quarter_log(sigma))

    def target(self, clean: jax.Array, eps: jax.Array, sigma: jax.Array) -> jax.Array:
        """``x_0``."""
        return clean

    def objective(self) -> Objective:
        """As of :class:`EDM`."""
        return EDM(self.sigma_data).objective()


def _noisy_deviation(sigma: jax.Array, sigma_data: Number) -> jax.Array:
    """Deviation of a noisy number, ``sqrt(sigma^2 + sigma_data^2)``."""
    return jnp.hypot(jnp.asarray(sigma, dtype=float), sigma_data)


def _quarter_log(sigma: jax.Array) -> jax.Array:
    """``log(sigma) / 4``."""
    return 0.25 * jnp.log(jnp.asarray(sigma, dtype=float))
