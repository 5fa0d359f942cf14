"""Sampling: run any sampler on any denoiser, along any grid.

The generative side of the library. The same samplers and grids are evolution strategies
when a population answers: see :class:`diffevo_jax.DiffusionEvolution`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Denoise, Grid, Sampler
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import check_population
from diffevo_jax.samplers.counting import check_grid


@pytree.dataclass
class SamplePath:
    """How N samples came about, in A answers.

    Attributes:
        samples: (N, D) what :func:`sample` returns.
        points: (A, N, D) where the denoiser was asked, canonical; divide by
            ``sqrt(1 + sigma^2)`` to look at them in unit scale.
        clean: (A, N, D) its answers.
        sigmas: (A,) noise levels of the points.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> to_zero = lambda y, sigma: jnp.zeros_like(y)
        >>> path = de.sample_path(jax.random.key(0), to_zero, de.noise.Cosine(),
        ...                       de.samplers.DDIM(eta=0.0), shape=(5, 2), num_levels=4)
        >>> path.points.shape, path.samples.shape
        ((4, 5, 2), (5, 2))
        >>> noise = path.points / path.sigmas[:, None, None]  # the same all the way
        >>> bool(jnp.allclose(noise, noise[0], rtol=1e-4))
        True
    """

    samples: jax.Array
    points: jax.Array
    clean: jax.Array
    sigmas: jax.Array


@checked
def sample(
    key: jax.Array,
    denoise: Denoise,
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
            returns the clean points (N, D), or an :class:`diffevo_jax.Estimate` of them:
            an oracle's :meth:`diffevo_jax.oracles.GaussianMixture.denoise`, a trained
            network, or what a population knows, by :func:`diffevo_jax.denoisers.bind`.
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
        TypeError: ``denoise``, ``grid`` or ``sampler`` is none.
        ValueError: a setting is out of its range, or ``start`` or an answer of ``denoise``
            is not of that shape.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> target = de.oracles.gaussian_mixture(jnp.array([[-2.0], [2.0]]), 0.01)
        >>> samples = de.sample(jax.random.key(0), target.denoise, de.noise.Cosine(),
        ...     de.samplers.Heun(), (1000, 1), num_levels=20)
        >>> bool(abs((samples > 0).mean() - 0.5) < 0.05)
        True
    """
    return _run(key, denoise, grid, sampler, shape, num_levels, start, final_denoise)[0]


@checked
def sample_path(
    key: jax.Array,
    denoise: Denoise,
    grid: Grid,
    sampler: Sampler,
    shape: tuple[int, int],
    *,
    num_levels: int,
    start: jax.Array | None = None,
) -> SamplePath:
    """Draw samples as :func:`sample` does, and keep every question and answer.

    Args:
        key: see :func:`sample`; the same one draws the same samples, to rounding.
        denoise: see :func:`sample`.
        grid: see :func:`sample`.
        sampler: see :func:`sample`.
        shape: see :func:`sample`.
        num_levels: see :func:`sample`.
        start: see :func:`sample`.

    Returns:
        The samples, and the path to them; the last answer is the samples.

    Raises:
        ValueError: see :func:`sample`.

    Example:
        >>> import jax, diffevo_jax as de
        >>> target = de.oracles.gaussian_mixture([[-2.0], [2.0]], 0.01)
        >>> path = de.sample_path(jax.random.key(0), target.denoise, de.noise.Cosine(),
        ...     de.samplers.DDIM(), (100, 1), num_levels=20)
        >>> path.points.shape, path.sigmas.shape
        ((20, 100, 1), (20,))
    """
    samples, steps, (y, sigma) = _run(
        key, denoise, grid, sampler, shape, num_levels, start, True, record=True
    )
    last = (y, samples, sigma)
    joined = (
        jnp.concatenate([all_, one[None]]) for all_, one in zip(steps, last, strict=True)
    )
    return SamplePath(samples, *joined)


def _run(
    key: jax.Array,
    denoise: Denoise,
    grid: Grid,
    sampler: Sampler,
    shape: tuple[int, int],
    num_levels: int,
    start: jax.Array | None,
    final_denoise: bool,
    record: bool = False,
) -> tuple[jax.Array, Any, tuple[jax.Array, jax.Array]]:
    """The samples; if recorded, points, answers and levels; the last point and level."""
    if not callable(denoise):
        raise TypeError(
            f"denoise: got {denoise!r}, want a function of (y, sigma); "
            "of a denoiser it is made by denoisers.bind"
        )
    if not isinstance(shape, Sequence) or len(shape) != 2:
        raise ValueError(f"shape: got {shape!r}, want (N, D)")
    for count in shape:
        validation.check_count("shape", count)
    validation.check_count("num_levels", num_levels)
    validation.check_part("grid", grid, Grid, "noise.EDM()")
    validation.check_part("sampler", sampler, Sampler, "samplers.Heun()")
    check_grid(sampler, grid, num_levels)
    key_start, key_steps = jax.random.split(key)
    sigmas = levels_of(grid, num_levels)
    if start is None:
        start = sigmas[0] * jax.random.normal(key_start, shape)
    start = check_population("start", start)
    if start.shape != tuple(shape):
        raise ValueError(f"start: got shape {start.shape}, want {tuple(shape)}")
    answers = (sampler.num_rounds(num_levels) - 1) * sampler.answers_per_evaluation

    def step(carry: tuple, k: jax.Array) -> tuple[tuple, Any]:
        y, memory = carry
        key_query, key_update = jax.random.split(jax.random.fold_in(key_steps, k))
        y, sigma, memory = sampler.query(key_query, y, memory, sigmas, k)
        clean = clean_points(denoise(y, sigma), y)
        asked = (y, clean, sigma) if record else None
        y, _, memory = sampler.update(key_update, y, memory, clean, sigmas, k)
        return (y, memory), asked

    begin = (start, sampler.init(start))
    (y, _), asked = jax.lax.scan(step, begin, jnp.arange(answers))
    samples = clean_points(denoise(y, sigmas[-1]), y) if final_denoise else y
    return samples, asked, (y, sigmas[-1])
