"""Samplers with steps of Langevin dynamics, which stay at a noise level."""

import jax.numpy as jnp
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.samplers.counting import Step, no_memory, normal_like, step_ends
from diffevo_jax.samplers.ddim import ddim_step


@checked
def langevin_step(y: Array, clean: Array, sigma: Number, step: Number, eps: Array) -> Array:
    """A step of Langevin dynamics that stays at its noise level.

        y' = y + step (x0_hat - y) + sqrt(2 step) sigma eps,

    which is ``y + e score + sqrt(2 e) eps`` with ``e = step sigma^2``.

    Args:
        y: (N, D) noisy points, canonical.
        clean: (N, D) the denoiser's answers.
        sigma: noise level, >= 0.
        step: in units of sigma^2, > 0; up to 1 it does not overshoot.
        eps: (N, D) standard normal noise.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> y, clean, eps = jnp.array([[5.0]]), jnp.array([[1.0]]), jnp.ones((1, 1))
        >>> float(de.samplers.langevin_step(y, clean, 2.0, 0.5, eps)[0, 0])  # 5 - 2 + 2
        5.0

    References:
        Song and Ermon, 2019, arXiv:1907.05600, algorithm 1 (step = alpha_i / (2
        sigma_i^2)); Song et al., 2020, arXiv:2011.13456, algorithms 2 to 5.
    """
    return y + step * (clean - y) + square_root(2.0 * step) * sigma * eps


@pytree.dataclass
class PredictorCorrector:
    """A step to the next level, then corrections by Langevin dynamics there.

    Corrections let a population forget the errors of its steps. Each needs an answer: an
    evaluation of its own, or none if ``frozen``, as the corrector of a population whose
    score is at hand.

    Args:
        num_corrections: after every step, static, >= 1.
        step: of a correction in units of sigma^2, in (0, 1]. A signal-to-noise ratio of
            0.16, as for images, is ``2 * 0.16**2 = 0.05``.
        eta: fraction of fresh noise of the predictor, in [0, 1].
        frozen: correct without further evaluations, static.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.PredictorCorrector(num_corrections=2).num_rounds(4)
        10

    References:
        Song et al., 2020, arXiv:2011.13456, algorithms 2 and 3.

    Notes:
        There the step follows from the norms of score and noise; here it is a number, and
        equal to theirs where both norms are what they are in expectation.
    """

    num_corrections: int = pytree.static(default=1)
    step: Number = pytree.number(default=0.05, above=0.0, high=1.0)
    eta: Number = pytree.number(default=1.0, low=0.0, high=1.0)
    frozen: bool = pytree.static(default=False)

    @property
    def answers_per_evaluation(self) -> int:
        """All those of a step if frozen."""
        return self.num_corrections + 1 if self.frozen else 1

    def check(self) -> None:
        """Raise unless ``num_corrections`` is a positive int."""
        validation.check_count("PredictorCorrector.num_corrections", self.num_corrections)

    def num_rounds(self, num_levels: int) -> int:
        """One evaluation an answer, or a step if frozen; the last level has one."""
        if self.frozen:
            return num_levels
        return (self.num_corrections + 1) * (num_levels - 1) + 1

    init = no_memory

    def query(self, key: Array, y: Array, memory: PyTree, sigmas: Array, k: Array) -> Step:
        """Where the point is: at the level, or at the next one for corrections."""
        sigma, sigma_next = step_ends(sigmas, k // (self.num_corrections + 1))
        predicts = k % (self.num_corrections + 1) == 0
        return y, jnp.where(predicts, sigma, sigma_next), memory

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Step to the next level, or correct there."""
        sigma, sigma_next = step_ends(sigmas, k // (self.num_corrections + 1))
        eps = normal_like(key, y)
        predicted = ddim_step(y, clean, sigma, sigma_next, self.eta, eps)
        corrected = langevin_step(y, clean, sigma_next, self.step, eps)
        predicts = k % (self.num_corrections + 1) == 0
        return jnp.where(predicts, predicted, corrected), sigma_next, memory


@pytree.dataclass
class AnnealedLangevin:
    """Langevin dynamics at every level, and nothing else: the level falls by itself.

    A point stays where it is while its noise level falls, so that a grid must be long, or
    the steps at a level many.

    Args:
        num_steps: at every level, static, >= 1.
        step: in units of sigma^2, in (0, 1].
        frozen: one evaluation a level for all its steps, static.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.AnnealedLangevin(num_steps=5).num_rounds(3)
        11

    References:
        Song and Ermon, 2019, arXiv:1907.05600, algorithm 1.

    Notes:
        At the last level nothing moves, as with every sampler here.
    """

    num_steps: int = pytree.static(default=1)
    step: Number = pytree.number(default=0.5, above=0.0, high=1.0)
    frozen: bool = pytree.static(default=False)

    @property
    def answers_per_evaluation(self) -> int:
        """All those of a level if frozen."""
        return self.num_steps if self.frozen else 1

    def check(self) -> None:
        """Raise unless ``num_steps`` is a positive int."""
        validation.check_count("AnnealedLangevin.num_steps", self.num_steps)

    def num_rounds(self, num_levels: int) -> int:
        """One evaluation an answer, or a level if frozen; the last level has one."""
        return num_levels if self.frozen else self.num_steps * (num_levels - 1) + 1

    init = no_memory

    def query(self, key: Array, y: Array, memory: PyTree, sigmas: Array, k: Array) -> Step:
        """Where the point is, at its level."""
        return y, sigmas[k // self.num_steps], memory

    def update(
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Take a step; after the last of a level the next one begins."""
        sigma, sigma_next = step_ends(sigmas, k // self.num_steps)
        moved = langevin_step(y, clean, sigma, self.step, normal_like(key, y))
        ends = k % self.num_steps == self.num_steps - 1
        return moved, jnp.where(ends, sigma_next, sigma), memory
