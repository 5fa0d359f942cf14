"""Two mixtures of Gaussians in two dimensions, and how near points come to them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import summary

import diffevo_jax as de

#: Of the kernel through which divergences are seen, and points to judge by.
WIDTH, SAMPLES = 0.2, 1024
ANGLES = 2 * np.pi * np.arange(8) / 8
#: Means, deviation of a mode, deviation of the particles at first.
TARGETS = {
    "ring": (2.0 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.15, 1.0),
    "grid": (
        np.stack(np.meshgrid(*[np.linspace(-2, 2, 5)] * 2), axis=-1).reshape(-1, 2),
        0.1,
        1.5,
    ),
}


def target(name: str) -> de.oracles.GaussianMixture:
    """The mixture of a name."""
    means, deviation, _ = TARGETS[name]
    return de.oracles.gaussian_mixture(means, deviation**2)


def judged(name: str, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Divergence, and modes kept, of points."""
    means, deviation, _ = TARGETS[name]
    kl = de.flows.smoothed_kl(jax.random.key(9), points, target(name), WIDTH, 4096)
    distance = jnp.linalg.norm(points[:, None] - means, axis=-1)
    near = jnp.sum(distance < 3 * deviation, axis=0)
    return kl, jnp.sum(near >= len(points) / len(means) / 5)


def interval(values: Any) -> str:
    """Mean and its 95 % interval."""
    got = summary(values)
    digits = ".3f" if got["mean"] < 100 else ".0e"
    return f"{got['mean']:{digits}} ± {got['interval']:{digits}}"
