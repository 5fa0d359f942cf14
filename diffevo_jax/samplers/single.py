"""Samplers of one answer a step, and no memory of the answers before."""

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.pytree import Number
from diffevo_jax.samplers.rounds import (
    at_the_level,
    levels,
    no_memory,
    normal_like,
    one_round_a_level,
    warn_if_coarse,
)
from diffevo_jax.samplers.steps import ancestral_step, ddim_step, euler_maruyama_step


@pytree.dataclass
class DDIM:
    """One exponential step to the next level, with a share of fresh noise.

    With eta 0 it is deterministic (Euler's method on the probability-flow ODE in sigma, and
    that of flow matching in t); with eta 1 it is DDPM's ancestral sampling with the smaller
    variance, ``Ancestral(0)``. It is exact if the denoiser is constant, which is what lets
    evolution take huge first steps.

    Args:
        eta: share of fresh noise, in [0, 1]. Evolution of policies likes 1; on
            two-dimensional landscapes the paper uses 0.1.

    Example:
        >>> import diffevo_jax as de
        >>> de.DiffusionEvolution(25, sampler=de.samplers.DDIM(eta=0.1)).sampler
        DDIM(eta=0.1)

    References:
        Song, Meng, Ermon, 2020, arXiv:2010.02502, eqs. 12 and 16;
        Zhang et al., 2024, arXiv:2410.02543, eq. 10.
    """

    eta: Number = pytree.number(default=1.0, low=0.0, high=1.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    init = no_memory
    query = at_the_level

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[()],
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Step to the next level of the grid."""
        sigma, sigma_next = levels(sigmas, k)
        eps = normal_like(key, y)
        return ddim_step(y, clean, sigma, sigma_next, self.eta, eps), sigma_next, memory


@pytree.dataclass
class Ancestral:
    """DDPM's ancestral sampling, with noise for data of a known spread.

    A step goes to the mean of the points one level down and adds their noise: what they
    have around a known clean point, and what is uncertain of that point itself.
    ``sigma_data=0`` leaves out the second: DDPM's smaller variance, ``DDIM(eta=1)``. 1, for
    data of unit variance, is its larger one, beta. On a short grid the first loses
    variance; the second loses it in directions that are wider, and gains some in narrower
    ones.

    Args:
        sigma_data: deviation of the clean points in every direction, >= 0. If they are
            nearer to each other, as where evolution converges, points have more noise
            than their level says.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.Ancestral(sigma_data=0.5)
        Ancestral(sigma_data=0.5)

    References:
        Ho et al., 2020, arXiv:2006.11239, section 3.2; Bao et al., 2022,
        arXiv:2201.06503, theorem 1.
    """

    sigma_data: Number = pytree.number(default=1.0, low=0.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    init = no_memory
    query = at_the_level

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[()],
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Step to the next level of the grid."""
        sigma, sigma_next = levels(sigmas, k)
        eps = normal_like(key, y)
        moved = ancestral_step(y, clean, sigma, sigma_next, self.sigma_data, eps)
        return moved, sigma_next, memory


@pytree.dataclass
class Consistency:
    """Estimate the clean point, then forget all noise and draw it anew.

    The multistep sampler of consistency models, and the most exploring of all: nothing of
    a point survives but its estimate. On a :class:`diffevo_jax.noise.Constant` grid it is
    open-ended evolution, at one noise level for ever.

    Example:
        >>> import diffevo_jax as de
        >>> de.DiffusionEvolution(10, sampler=de.samplers.Consistency()).sampler
        Consistency()

    References:
        Song et al., 2023, arXiv:2303.01469, algorithm 1.

    Notes:
        A consistency function answers with one clean point, a denoiser with the mean of
        all that are likely. On a long grid the spread at the end is therefore smaller than
        that of the clean points: half the variance, if they are a Gaussian.
    """

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    init = no_memory
    query = at_the_level

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[()],
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Return the estimate with fresh noise of the next level."""
        sigma_next = levels(sigmas, k)[1]
        return clean + sigma_next * normal_like(key, y), sigma_next, memory


@pytree.dataclass
class EulerMaruyama:
    """The plain discretisation of the reverse SDE: for long grids, and for comparison.

    Args:
        rate: how fast old noise is replaced by new, >= 0: 0 is the probability-flow ODE
            (then it is ``DDIM(eta=0)``), 1 the reverse SDE of Song et al.; more repairs
            errors faster and makes greater ones of its own.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.EulerMaruyama(rate=0.5)
        EulerMaruyama(rate=0.5)

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 6; Song et al., 2020, arXiv:2011.13456.
    """

    rate: Number = pytree.number(default=1.0, low=0.0)

    answers_per_evaluation = 1
    num_rounds = one_round_a_level
    init = no_memory
    query = at_the_level

    def check_grid(self, sigmas: np.ndarray) -> None:
        """Warn where a step would go beyond the clean point."""
        rate = pytree.concrete(self.rate)
        if rate is not None and rate > 0:
            largest = float(1 + 1 / rate)
            warn_if_coarse("EulerMaruyama", sigmas, largest, "samplers.DDIM(eta=1.0)")

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: tuple[()],
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Step to the next level of the grid."""
        sigma, sigma_next = levels(sigmas, k)
        eps = normal_like(key, y)
        moved = euler_maruyama_step(y, clean, sigma, sigma_next, self.rate, eps)
        return moved, sigma_next, memory
