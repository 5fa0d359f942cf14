"""How probable a sample is: the probability-flow ODE, there and back.

In canonical coordinates, with log sigma as the time l, the flow is

    dy/dl = y - D(y, sigma),

from the data at ``sigma_min`` to noise at ``sigma_max``, and back. It is smooth in l, so a
Runge-Kutta method on a fixed grid is enough. A volume grows along it by the divergence
``D - div D(y)`` (the first D is the dimension), hence

    log p(y_min) = log p(y_max) + integral_{l_min}^{l_max} (dim - div D(y_l)) dl,

where at the end the noisy data are Gaussian, to the accuracy of (deviation / sigma_max)^2.

References:
    Chen, Rubanova, Bettencourt, Duvenaud, 2018, arXiv:1806.07366, theorem 1; Song et al.,
    2021, arXiv:2011.13456, eqs. 39 and 40; Karras et al., 2022, arXiv:2206.00364, eq. 1.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Denoise, Grid
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.samplers.integrators import integrate

#: A Runge-Kutta method by name, or ``integrate(slope, start, sigmas)``, which follows
#: ``slope(state, sigma)`` over log sigma from the first level to the last.
Method = str | Callable[[Callable, Any, jax.Array], Any]


@pytree.dataclass
class Likelihood:
    """What the flow says about N points.

    Attributes:
        log_density: (N,) log-density at the clean end of the grid, in nats.
        latent: (N, D) where the points came from, at the noisy end, canonical.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> likelihood = jax.jit(lambda points: diffusion.log_likelihood(
        ...     of_normal, points, de.noise.VE(0.01, 10.0), num_levels=64))
        >>> found = likelihood(jnp.zeros((1, 1)))
        >>> f"{found.log_density[0]:.3f}", found.latent.tolist()  # -log(2 pi) / 2
        ('-0.919', [[0.0]])
    """

    log_density: jax.Array
    latent: jax.Array


@checked
def encode(
    denoise: Denoise,
    points: jax.Array,
    grid: Grid,
    *,
    num_levels: int,
    method: Method = "rk4",
) -> jax.Array:
    """Follow the flow from data to the noise they came from.

    Args:
        denoise: ``denoise(y, sigma)``, learned, exact, or of a population.
        points: (N, D) at the clean end of the grid, canonical.
        grid: the noise levels; those with even steps of log sigma, as ``de.noise.VE``, are
            best.
        num_levels: of the grid, >= 2.
        method: ``"rk4"``, of order 4 with four answers a step, ``"heun"``, of order 2 with
            two, or an integrator: :func:`diffevo_jax.interop.diffrax.adaptive`.

    Returns:
        (N, D) at the noisy end.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> points, grid = jnp.array([[-2.0], [1.0]]), de.noise.VE(0.01, 10.0)
        >>> latent = diffusion.encode(of_normal, points, grid, num_levels=64)
        >>> latent.round(1).tolist()
        [[-20.1...], [10.0...]]
        >>> back = diffusion.decode(of_normal, latent, grid, num_levels=64)
        >>> bool(abs(back - points).max() < 1e-3)
        True
    """
    sigmas = _levels(grid, num_levels, points)[::-1]
    return _follow(_flow(denoise), jnp.asarray(points, dtype=float), sigmas, method)


@checked
def decode(
    denoise: Denoise,
    latent: jax.Array,
    grid: Grid,
    *,
    num_levels: int,
    method: Method = "rk4",
) -> jax.Array:
    """Follow the flow from noise to data: the inverse of :func:`encode`.

    As :func:`diffevo_jax.sample` from a given start, by a method of higher order.

    Args:
        denoise: see :func:`encode`.
        latent: (N, D) at the noisy end of the grid, canonical.
        grid: see :func:`encode`.
        num_levels: see :func:`encode`.
        method: see :func:`encode`.

    Returns:
        (N, D) at the clean end.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> latent, grid = jnp.array([[-20.1], [10.05]]), de.noise.VE(0.01, 10.0)
        >>> points = diffusion.decode(of_normal, latent, grid, num_levels=64)
        >>> [f"{x:.2f}" for x in points[:, 0]]
        ['-2.00', '1.00']
    """
    sigmas = _levels(grid, num_levels, latent)
    return _follow(_flow(denoise), jnp.asarray(latent, dtype=float), sigmas, method)


@checked
def log_likelihood(
    denoise: Denoise,
    points: jax.Array,
    grid: Grid,
    *,
    num_levels: int,
    key: jax.Array | None = None,
    num_probes: int = 1,
    prior_mean: jax.typing.ArrayLike = 0.0,
    prior_deviation: Number = 1.0,
    method: Method = "rk4",
) -> Likelihood:
    """Log-density of points under the flow of a denoiser.

    It is the density of what the deterministic samplers draw, in the limit of many steps,
    which has noise ``sigma_min`` in it.

    Args:
        denoise: see :func:`encode`; each point's answer must depend on it alone.
        points: (N, D) canonical.
        grid: see :func:`encode`; its noisy end much larger than the data.
        num_levels: see :func:`encode`.
        key: None for the exact divergence, D derivatives an answer; a typed key estimates
            it, without bias, by probes.
        num_probes: random directions a point, >= 1, the same ones along the whole flow.
        prior_mean: of the data, () or (D,): where the Gaussian at the noisy end is.
        prior_deviation: of the data, (), >= 0: that Gaussian has variance
            ``prior_deviation^2 + sigma_max^2``.
        method: see :func:`encode`.

    Returns:
        Log-densities, and the latents on the way.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> points, grid = jnp.array([[-2.0], [1.0]]), de.noise.VE(0.01, 10.0)
        >>> found = diffusion.log_likelihood(of_normal, points, grid, num_levels=64)
        >>> exact = -0.5 * (points[:, 0] ** 2 + jnp.log(2 * jnp.pi))
        >>> bool(abs(found.log_density - exact).max() < 1e-3)
        True

    References:
        Song et al., 2021, arXiv:2011.13456, eq. 39; Hutchinson, 1990,
        doi:10.1080/03610919008812866; Grathwohl et al., 2018, arXiv:1810.01367, section 3.
    """
    validation.check_positive("prior_deviation", prior_deviation, or_zero=True)
    sigmas = _levels(grid, num_levels, points)[::-1]
    points = jnp.asarray(points, dtype=float)
    dim = points.shape[1]
    if key is None:
        probes = jnp.eye(dim, dtype=points.dtype)[:, None] * jnp.ones_like(points)[None]
        scale = 1.0
    else:
        shape = (num_probes, *points.shape)
        probes = jax.random.rademacher(key, shape, points.dtype)
        scale = 1.0 / num_probes

    def growth(carry: Any, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
        clean, derivative = jax.linearize(
            lambda y: clean_points(denoise(y, sigma), y), carry[0]
        )
        traces = jax.vmap(lambda probe: jnp.sum(probe * derivative(probe), axis=1))(probes)
        return carry[0] - clean, dim - scale * jnp.sum(traces, axis=0)

    start = (points, jnp.zeros(len(points), points.dtype))
    latent, volume = _follow(growth, start, sigmas, method)
    variance = prior_deviation**2 + sigmas[-1] ** 2
    apart = latent - jnp.reshape(prior_mean, (1, -1))
    distance = jnp.sum(apart**2, axis=1) / variance
    log_prior = -0.5 * (distance + dim * jnp.log(2 * math.pi * variance))
    return Likelihood(log_prior + volume, latent)


def _flow(denoise: Denoise) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return lambda y, sigma: y - clean_points(denoise(y, sigma), y)


def _levels(grid: Grid, num_levels: int, points: jax.Array) -> jax.Array:
    """Noise levels of a grid, after a look at what is asked."""
    validation.check_count("num_levels", num_levels, low=2)
    if pytree.is_component(grid):
        validation.validate(grid)
    if jnp.ndim(points) != 2:
        raise ValueError(f"points: got shape {jnp.shape(points)}, want (N, D)")
    return levels_of(grid, num_levels)


def _follow(slope: Callable, start: Any, sigmas: jax.Array, method: Method) -> Any:
    """Integrate ``slope(state, sigma)`` over log sigma along the levels."""
    if callable(method):
        return method(slope, start, sigmas)
    in_logs = lambda state, log_sigma: slope(state, jnp.exp(log_sigma))
    return integrate(in_logs, start, jnp.log(sigmas), method)
