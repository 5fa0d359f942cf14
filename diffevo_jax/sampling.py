"""Sampling: run any sampler on any denoiser, along any grid.

The generative side of the library. The same samplers and grids are evolution strategies
when a population answers: see :class:`diffevo_jax.DiffusionEvolution`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax import validation
from diffevo_jax.base import Grid, Sampler
from diffevo_jax.checks import check_key


def sample(
    key: jax.Array,
    denoise: Callable[[jax.Array, jax.Array], jax.Array],
    grid: Grid,
    sampler: Sampler,
    shape: tuple[int, int],
    *,
    num_levels: int,
    start: jax.Array | None = None,
    final_denoise: bool = True,
) -> jax.Array:
    """Draw samples: from noise to the clean end of a grid.

    Not jitted; ``jax.jit`` it with ``denoise``, ``shape`` and ``num_levels`` closed over.

    Args:
        key: a typed key.
        denoise: ``denoise(y, sigma)`` with y (N, D) in canonical coordinates and sigma (),
            returns the clean estimates (N, D); for example
            :meth:`diffevo_jax.oracles.GaussianMixture.denoise`.
        grid: the noise levels.
        sampler: how to step from level to level.
        shape: (N, D).
        num_levels: of the grid, >= 1.
        start: (N, D) canonical points at the first level; None draws ``sigma_max eps``.
        final_denoise: whether to end at the clean estimate of the last level; else at the
            point itself, with the last level's noise.

    Returns:
        (N, D) samples, canonical (of clean points: in the units of the data).

    Raises:
        ValueError: a setting is out of its range, or ``start`` is not of that shape.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> target = de.oracles.gaussian_mixture(jnp.array([[-2.0], [2.0]]), 0.01)
        >>> samples = de.sample(jax.random.key(0), target.denoise, de.noise.Cosine(),
        ...     de.samplers.Heun(), (1000, 1), num_levels=20)
        >>> bool(abs((samples > 0).mean() - 0.5) < 0.05)
        True
    """
    check_key("key", key)
    validation.check_count("num_levels", num_levels)
    for part in (grid, sampler):
        validation.validate(part)
    validation.check_grid(sampler, grid, num_levels)
    key_start, key_steps = jax.random.split(key)
    sigmas = grid.sigmas(num_levels)
    if start is None:
        start = sigmas[0] * jax.random.normal(key_start, shape)
    start = jnp.asarray(start, dtype=float)
    if start.shape != shape:
        raise ValueError(f"start: got shape {start.shape}, want {shape}")
    answers = (sampler.num_rounds(num_levels) - 1) * sampler.answers_per_evaluation

    def step(carry: tuple, k: jax.Array) -> tuple[tuple, None]:
        y, memory = carry
        key_query, key_update = jax.random.split(jax.random.fold_in(key_steps, k))
        y, sigma, memory = sampler.query(key_query, y, memory, sigmas, k)
        clean = denoise(y, sigma)
        y, _, memory = sampler.update(key_update, y, memory, clean, sigmas, k)
        return (y, memory), None

    begin = (start, sampler.init(start))
    (y, _), _ = jax.lax.scan(step, begin, jnp.arange(answers))
    return denoise(y, sigmas[-1]) if final_denoise else y
