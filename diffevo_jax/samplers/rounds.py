"""What the samplers share: counting answers and levels."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.base import PyTree


def one_round_a_level(sampler: Any, num_levels: int) -> int:
    """One evaluation a level; at the last nothing moves."""
    return num_levels


def no_memory(sampler: Any, y: jax.Array) -> tuple[()]:
    """Nothing is remembered."""
    return ()


def at_the_level(
    sampler: Any,
    key: jax.Array,
    y: jax.Array,
    memory: PyTree,
    sigmas: jax.Array,
    k: jax.Array,
) -> tuple[jax.Array, jax.Array, PyTree]:
    """The denoiser is wanted where the point is, at level ``k``."""
    return y, sigmas[k], memory


def levels(sigmas: jax.Array, level: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Noise levels from and to which a step goes; the last level stays."""
    return sigmas[level], sigmas[jnp.minimum(level + 1, len(sigmas) - 1)]


def normal_like(key: jax.Array, y: jax.Array) -> jax.Array:
    """Standard normal noise for the whole population."""
    return jax.random.normal(key, y.shape, y.dtype)


def warn_if_coarse(name: str, sigmas: np.ndarray, largest: float, instead: str) -> None:
    """Say so where a step of the grid is longer than a sampler can take."""
    ratios = sigmas[:-1] / sigmas[1:]
    if np.any(ratios > largest):
        worst = int(np.argmax(ratios))
        warnings.warn(
            f"{name} overshoots where sigma falls by a factor of more than {largest:g} in "
            f"a step; here it falls by {ratios[worst]:.3g} at step {worst}. Take more "
            f"levels, or {instead}",
            stacklevel=2,
        )
