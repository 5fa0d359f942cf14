"""Methods that kernels take by name: no state, features that are a linear map or none.

A function of a kernel, of ``self``, is a method that a class names, as in
``features = linear_features``.
"""

from typing import Any

import jax

from diffevo_jax.attention import matmul
from diffevo_jax.base import PyTree


def no_state(kernel: Any, key: jax.Array, dim: int) -> tuple[()]:
    """No state: nothing is drawn."""
    return ()


def not_adapted(
    kernel: Any, kernel_state: PyTree, points: jax.Array, log_weight: jax.Array
) -> PyTree:
    """The state stays: the kernel is the same in every generation."""
    return kernel_state


def identity_features(kernel: Any, kernel_state: PyTree, points: jax.Array) -> jax.Array:
    """The points themselves, ``(N, D)``."""
    return points


def linear_features(kernel: Any, kernel_state: jax.Array, points: jax.Array) -> jax.Array:
    """Coordinates ``(N, d)`` of points ``(N, D)`` along the rows of ``kernel_state``."""
    return matmul(points, kernel_state.T)
