"""Rounds of evaluation and levels of a grid: which sampler fits which."""

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import ChecksGrid, Grid, Sampler


def num_levels(sampler: Sampler, num_generations: int) -> int:
    """Levels of the grid that a sampler walks down in so many rounds of evaluation.

    Raises:
        ValueError: the sampler cannot end after exactly that many rounds.
    """
    levels = 1
    while sampler.num_rounds(levels + 1) <= num_generations:
        levels += 1
    if sampler.num_rounds(levels) != num_generations:
        raise ValueError(
            f"num_generations: got {num_generations}, want {sampler.num_rounds(levels)} "
            f"or {sampler.num_rounds(levels + 1)} with {type(sampler).__name__}"
        )
    return levels


def check_grid(sampler: Sampler, grid: Grid, num_levels: int) -> None:
    """Let a sampler say what it thinks of a grid, if it cares and the grid is concrete.

    Args:
        sampler: may offer :class:`diffevo_jax.base.ChecksGrid`, which warns or raises.
        grid: the noise levels.
        num_levels: of the grid.
    """
    known = all(pytree.concrete(leaf) is not None for leaf in jax.tree.leaves(grid))
    if known and pytree.offers(sampler, ChecksGrid):
        with jax.ensure_compile_time_eval():
            sampler.check_grid(np.asarray(grid.sigmas(num_levels)))
