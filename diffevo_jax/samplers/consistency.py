"""Consistency sampling: estimate, forget, draw anew."""

from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.samplers.counting import (
    Step,
    at_the_level,
    no_memory,
    normal_like,
    one_round_a_level,
    step_ends,
)


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
        self, key: Array, y: Array, memory: PyTree, clean: Array, sigmas: Array, k: Array
    ) -> Step:
        """Return the estimate with fresh noise of the next level."""
        sigma_next = step_ends(sigmas, k)[1]
        return clean + sigma_next * normal_like(key, y), sigma_next, memory
