"""What is minimised: which noise levels a network learns at, and how much each counts.

Every denoising loss is a mean over noise levels of a weighted squared error,

    E_sigma E_y  weight(sigma) |D(y, sigma) - x_0|^2,

and all of them have the posterior mean as their minimum, whatever the weight. An objective
is the distribution of sigma and the weight; it goes with any parameterisation.

Levels are drawn through their quantile function, sigma(u) with u uniform in (0, 1). That
function also gives the rate ``-d(1 / sigma^2) / du`` at which the signal-to-noise ratio
falls, and half of it is the weight of the likelihood.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import noise, pytree
from diffevo_jax.base import Grid
from diffevo_jax.noise import Process
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked

#: Largest alpha_bar at which a chain of betas may end: what is left of the data there.
MAX_LAST_ALPHA_BAR = 1e-3
WEIGHTINGS = ("network", "noise", "clean", "likelihood")


class LevelsLike(Protocol):
    """A distribution of noise levels; your own is a ``pytree.dataclass``."""

    def draw(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sigma at quantiles u ``(n,)`` in (0, 1), and the rate; both ``(n,)``."""
        ...


@pytree.dataclass
class LogNormalLevels:
    """Log sigma is normal: most effort where there is something to learn.

    Args:
        mean: of log sigma; -1.2 for images of deviation 0.5.
        deviation: of log sigma, > 0.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> levels = diffusion.LogNormalLevels(mean=0.0, deviation=1.0)
        >>> sigmas, _ = jax.jit(levels.draw)(jnp.array([0.1587, 0.5, 0.8413]))
        >>> [f"{sigma:.2f}" for sigma in sigmas]  # 1 / e, 1, e
        ['0.37', '1.00', '2.72']

    References:
        Karras et al., 2022, arXiv:2206.00364, section 5 and table 1.
    """

    mean: Number = pytree.number(default=-1.2)
    deviation: Number = pytree.number(default=1.2, above=0.0)

    def draw(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sigma and rate at quantiles u."""
        normal = jax.scipy.stats.norm.ppf
        return _with_rate(lambda u: jnp.exp(self.mean + self.deviation * normal(u)), u)


@pytree.dataclass
class LogUniformLevels:
    """Log sigma is uniform between two ends: no noise level is left out.

    Args:
        sigma_min: the lower end, > 0.
        sigma_max: the upper end, > 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> levels = diffusion.LogUniformLevels(0.1, 10.0)
        >>> levels.draw(jnp.array([0.0, 0.5]))[0].round(3).tolist()
        [0.1..., 1.0]
    """

    sigma_min: Number = pytree.number(default=0.01, above=0.0)
    sigma_max: Number = pytree.number(default=10.0, above=0.0)

    def draw(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sigma and rate at quantiles u."""
        low, high = jnp.log(self.sigma_min), jnp.log(self.sigma_max)
        return _with_rate(lambda u: jnp.exp(low + u * (high - low)), u)


@pytree.dataclass
class ProcessLevels:
    """Time is uniform between the ends of a noise process.

    Args:
        process: for example ``de.noise.VP()``, ``de.noise.SubVP()``, ``de.noise.VE()`` as
            in score matching, or ``de.noise.Flow()``.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> levels = diffusion.ProcessLevels(de.noise.Flow(t_min=0.25, t_max=0.75))
        >>> sigmas, _ = levels.draw(jnp.array([0.0, 0.5, 1.0]))
        >>> [f"{sigma:.2f}" for sigma in sigmas]  # t / (1 - t)
        ['0.33', '1.00', '3.00']

    References:
        Song et al., 2021, arXiv:2011.13456, eq. 7.
    """

    process: Process

    def draw(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sigma and rate at quantiles u."""
        noisy, clean = self.process.times(2)
        return _with_rate(lambda u: self.process.sigma(clean + u * (noisy - clean)), u)


@pytree.dataclass
class GridLevels:
    """All levels of a grid are alike, as the steps of a discrete chain.

    The rate of a level is the fall of the signal-to-noise ratio from the next cleaner one;
    that of the cleanest is the whole ratio, which is the share of a Gaussian decoder.

    Args:
        grid: the noise levels.
        num_levels: of the grid.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> levels = diffusion.GridLevels(de.noise.Levels([4.0, 2.0, 1.0]), num_levels=3)
        >>> levels.draw(jnp.array([0.1, 0.5, 0.9]))[0].tolist()
        [4.0, 2.0, 1.0]

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, eq. 14 and algorithm 1.
    """

    grid: Grid
    num_levels: int = pytree.static(default=1000)

    def check(self) -> None:
        """Raise if there is no such grid."""
        validation.check_count("GridLevels.num_levels", self.num_levels)

    def draw(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sigma and rate at quantiles u."""
        sigmas = levels_of(self.grid, self.num_levels)
        falls = self.num_levels * snr_falls(sigmas)
        index = jnp.clip(jnp.int32(u * self.num_levels), 0, self.num_levels - 1)
        return sigmas[index], falls[index]


def snr_falls(sigmas: jax.Array) -> jax.Array:
    """Fall of ``1 / sigma^2`` from the next cleaner level to each; at the last, all of it.

    Args:
        sigmas: (L,) decreasing.

    Returns:
        (L,) ``1 / sigma'^2 - 1 / sigma^2``, then ``1 / sigma^2``.
    """
    now, later = sigmas[:-1], sigmas[1:]
    falls = (now - later) * (now + later) / (now * later) ** 2
    return jnp.append(falls, sigmas[-1] ** -2)


@checked
def beta_levels(betas: jax.typing.ArrayLike) -> GridLevels:
    """The levels of a discrete chain, from the variance that each of its steps adds.

    Args:
        betas: (T,) in [0, 1], in forward time; of DDPM 1e-4 to 0.02 in 1,000 steps.

    Raises:
        ValueError: one is outside [0, 1]; or more than 1e-3 of the data's variance is left
            at the end: samples that start from pure noise would be wrong. Fewer steps need
            larger betas.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> diffusion.beta_levels(jnp.linspace(1e-4, 0.02, 1000)).num_levels
        1000
    """
    betas = jnp.asarray(betas, dtype=float)
    if betas.ndim != 1 or not betas.size:
        raise ValueError(f"betas: got shape {betas.shape}, want (T,)")
    known = pytree.concrete(betas)
    if known is not None and not ((known >= 0) & (known <= 1)).all():
        raise ValueError(f"betas: got {known.min()} to {known.max()}, want [0, 1]")
    last = pytree.concrete(noise.alpha_bar_from_betas(betas)[-1])
    if last is not None and not last <= MAX_LAST_ALPHA_BAR:
        raise ValueError(
            f"betas: got {len(betas)} that end with alpha_bar {last:.2g}, want at most "
            f"{MAX_LAST_ALPHA_BAR:g}: larger betas, or more of them"
        )
    return GridLevels(noise.from_betas(betas), len(betas))


@runtime_checkable
class ObjectiveLike(Protocol):
    """What a training minimises; one of your own is a ``pytree.dataclass`` with these."""

    def draw(self, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """Noise levels ``(count,)``, and how fast each falls, ``(count,)``."""
        ...

    def weight(self, sigma: jax.Array, rate: jax.Array, out: jax.Array) -> jax.Array:
        """How much an error counts at noise levels of any shape; ``out`` is c_out."""
        ...


@pytree.dataclass
class Objective:
    """Noise levels to learn at, and the weight of each.

    Args:
        levels: distribution of sigma.
        weighting: what is squared and counts 1.
            ``"network"``: the error of the network's own answer, ``1 / c_out^2`` of the
            clean point's. It is the loss that each parameterisation was published with.
            ``"noise"``: the error of the noise, ``1 / sigma^2``. Of score matching it is
            lambda = the variance of the noise, and lambda = 1 / E|score|^2 per dimension,
            of VP, sub-VP and VE alike.
            ``"clean"``: the error of the clean point, 1.
            ``"likelihood"``: nats. Half of lambda = g(t)^2, whatever the process: the
            integral of ``1 / sigma^3``. On ``GridLevels`` it is the variational bound.
            Or a function of sigma: the weight of the clean point's error, as below.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> ddpm = diffusion.Objective(diffusion.GridLevels(de.noise.DDPM(), 1000), "noise")
        >>> song = diffusion.Objective(diffusion.ProcessLevels(de.noise.VE()), "likelihood")
        >>> min_snr = diffusion.Objective(
        ...     diffusion.GridLevels(de.noise.DDPM()), lambda s: jnp.minimum(s**-2, 5.0))

    References:
        Karras et al., 2022, arXiv:2206.00364, eqs. 2 and 8; Song et al., 2021,
        arXiv:2011.13456, eq. 7; Song, Durkan, Murray, Ermon, 2021, arXiv:2101.09258,
        theorem 1; Kingma, Salimans, Poole, Ho, 2021, arXiv:2107.00630, eqs. 13 and 18;
        Hang et al., 2023, arXiv:2303.09556, section 3.3, for min-SNR.
    """

    levels: LevelsLike
    weighting: str | Callable[[jax.Array], jax.Array] = pytree.static(default="network")

    def check(self) -> None:
        """Raise ValueError if there is no such weighting."""
        if not callable(self.weighting) and self.weighting not in WEIGHTINGS:
            raise ValueError(
                f"Objective.weighting: got {self.weighting!r}, want one of {WEIGHTINGS}, "
                "or a function of sigma"
            )

    def draw(self, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """Noise levels and rates for a batch, both ``(count,)``.

        Quantiles are ``count`` evenly spaced ones with one random offset: each is uniform,
        and together they cover the levels, which lowers the variance of the loss.

        References:
            Kingma, Salimans, Poole, Ho, 2021, arXiv:2107.00630, appendix I.1.
        """
        offset = jax.random.uniform(key)
        u = (offset + jnp.arange(count) / count) % 1.0
        return self.levels.draw(jnp.clip(u, 1e-6, 1 - 1e-6))

    def weight(self, sigma: jax.Array, rate: jax.Array, out: jax.Array) -> jax.Array:
        """Weight of the squared error of the *network's* answer, of any shape.

        Args:
            sigma: noise levels, > 0.
            rate: fall of the signal-to-noise ratio, of :meth:`draw`.
            out: ``c_out`` of the parameterisation there.
        """
        if callable(self.weighting):
            return out**2 * self.weighting(sigma)
        if self.weighting == "network":
            return jnp.ones_like(sigma)
        if self.weighting == "noise":
            return (out / sigma) ** 2
        return out**2 * (0.5 * rate if self.weighting == "likelihood" else 1.0)


def _with_rate(
    sigma_of: Callable[[jax.Array], Any], u: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sigma at u, and minus the derivative of ``1 / sigma^2``."""
    sigma, slope = jax.jvp(sigma_of, (u,), (jnp.ones_like(u),))
    return sigma, 2.0 * slope / sigma**3
