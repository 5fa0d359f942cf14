"""What samplers are wired with: counting answers and levels, and whether a grid suits them.

A function of a sampler, of ``self``, is a method that a class takes by name, as in
``query = at_the_level``.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffevo_jax import pytree
from diffevo_jax.base import ChecksGrid, Grid, PyTree, Sampler
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree.annotations import checked, outside

#: What ``query`` and ``update`` return: points (N, D), their noise level (), the memory.
Step = tuple[Array, Array, PyTree]


def one_round_a_level(sampler: object, num_levels: int) -> int:
    """One evaluation a level; at the last nothing moves."""
    return num_levels


def no_memory(sampler: object, y: Array) -> tuple[()]:
    """Nothing is remembered."""
    return ()


def at_the_level(
    sampler: object, key: Array, y: Array, memory: PyTree, sigmas: Array, k: Array
) -> Step:
    """The denoiser is wanted where the point is, at level ``k``."""
    return y, sigmas[k], memory


def step_ends(sigmas: Array, level: Array) -> tuple[Array, Array]:
    """Noise levels from and to which a step goes; the last level stays."""
    return sigmas[level], sigmas[jnp.minimum(level + 1, len(sigmas) - 1)]


def normal_like(key: Array, y: Array) -> Array:
    """Standard normal noise for the whole population."""
    return jax.random.normal(key, y.shape, y.dtype)


@checked
def num_levels(sampler: Sampler, num_generations: int) -> int:
    """Levels of the grid that a sampler walks down in so many rounds of evaluation.

    Args:
        sampler: says by ``num_rounds`` how many it needs.
        num_generations: rounds of evaluation, >= 1.

    Returns:
        The length of the grid, >= 1.

    Raises:
        ValueError: the sampler cannot end after exactly that many rounds.

    Example:
        >>> import diffevo_jax as de
        >>> de.samplers.num_levels(de.samplers.DDIM(), 9)
        9
        >>> de.samplers.num_levels(de.samplers.Heun(), 9)
        5
    """
    levels, beyond = 1, 2
    while sampler.num_rounds(beyond) <= num_generations:
        levels, beyond = beyond, 2 * beyond
    while beyond - levels > 1:  # more levels never take fewer rounds
        middle = (levels + beyond) // 2
        if sampler.num_rounds(middle) <= num_generations:
            levels = middle
        else:
            beyond = middle
    if sampler.num_rounds(levels) != num_generations:
        raise ValueError(
            f"num_generations: got {num_generations}, want {sampler.num_rounds(levels)} "
            f"or {sampler.num_rounds(levels + 1)} with {type(sampler).__name__}"
        )
    return levels


@checked
def check_grid(sampler: Sampler, grid: Grid, num_levels: int) -> None:
    """Let a sampler say what it thinks of a grid, if it cares and the grid is concrete.

    Args:
        sampler: may offer :class:`diffevo_jax.base.ChecksGrid`, which warns or raises.
        grid: the noise levels.
        num_levels: of the grid, >= 1.

    Example:
        >>> import warnings, diffevo_jax as de
        >>> with warnings.catch_warnings(record=True, action="always") as said:
        ...     de.samplers.check_grid(de.samplers.DDIM(), de.noise.Cosine(), 5)
        ...     de.samplers.check_grid(de.samplers.EulerMaruyama(), de.noise.Cosine(), 5)
        >>> [str(each.message) for each in said]
        ['EulerMaruyama overshoots where sigma falls by a factor of more than 2 in a ...]
    """
    known = all(pytree.concrete(leaf) is not None for leaf in jax.tree.leaves(grid))
    if known and pytree.offers(sampler, ChecksGrid):
        with jax.ensure_compile_time_eval():
            sampler.check_grid(np.asarray(levels_of(grid, num_levels)))


def warn_if_coarse(name: str, sigmas: np.ndarray, largest: float, instead: str) -> None:
    """Say so where a step of the grid is longer than a sampler can take."""
    ratios = sigmas[:-1] / sigmas[1:]
    if np.any(ratios > largest):
        worst = int(np.argmax(ratios))
        warnings.warn(
            f"{name} overshoots where sigma falls by a factor of more than {largest:g} in "
            f"a step; here it falls by {ratios[worst]:.3g} at step {worst}. Take more "
            f"levels, or {instead}",
            stacklevel=outside(),
        )
