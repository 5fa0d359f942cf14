"""What kernels share: methods that do nothing, and a linear map."""

from typing import Any

import jax

from diffevo_jax.attention import matmul
from diffevo_jax.base import PyTree


def nothing_drawn(kernel: Any, key: jax.Array, dim: int) -> tuple[()]:
    """Nothing is drawn."""
    return ()


def nothing_learnt(
    kernel: Any, kernel_state: PyTree, points: jax.Array, log_weight: jax.Array
) -> PyTree:
    """A generation changes nothing."""
    return kernel_state


def the_points(kernel: Any, kernel_state: PyTree, points: jax.Array) -> jax.Array:
    """The points themselves, ``(N, D)``."""
    return points


def projected(kernel: Any, kernel_state: jax.Array, points: jax.Array) -> jax.Array:
    """Coordinates ``(N, d)`` of points ``(N, D)`` along the rows of ``kernel_state``."""
    return matmul(points, kernel_state.T)
