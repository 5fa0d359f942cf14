"""The variational bound: the likelihood of a discrete chain, as a sum of Gaussian KLs.

The reverse chain draws the next cleaner point, of level sigma', from the posterior

    q(y' | y, x_0) = N(x_0 + r (y - x_0), sigma'^2 (1 - r) I),  r = sigma'^2 / sigma^2,

with the denoiser's answer in the place of ``x_0``. Both have the same variance, so the KL
between them is ``(1 / sigma'^2 - 1 / sigma^2) |x_0 - D(y, sigma)|^2 / 2``: the fall of the
signal-to-noise ratio times the denoising loss.

References:
    Sohl-Dickstein et al., 2015, arXiv:1503.03585, section 2.4; Ho, Jain, Abbeel, 2020,
    arXiv:2006.11239, eqs. 5 to 8; Kingma, Salimans, Poole, Ho, 2021, arXiv:2107.00630,
    eqs. 11 to 13.
"""

import math

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Denoise, Grid
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.diffusion.training.objectives import snr_falls
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import check_population


@pytree.dataclass
class VariationalBound:
    """An upper bound of ``-log p(x_0)``, in nats per number of a sample.

    Attributes:
        prior: () KL from the noisy points at the first level to what samples start from.
        steps: (L - 1,) KL of each step of the chain, from noisy to clean.
        decoder: () ``-log p`` of a clean point given its last noisy one, of a Gaussian
            around the denoiser's answer with the last level's deviation.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> bound = jax.jit(lambda key: diffusion.variational_bound(
        ...     key, of_normal, jnp.ones((4, 1)), de.noise.VE(), num_levels=3))(
        ...     jax.random.key(0))
        >>> parts = bound.prior, *bound.steps, bound.decoder
        >>> len(bound.steps), bool(jnp.isclose(bound.total, sum(parts)))
        (2, True)
    """

    prior: jax.Array
    steps: jax.Array
    decoder: jax.Array

    @property
    def total(self) -> jax.Array:
        """The bound itself, ()."""
        return self.prior + jnp.sum(self.steps) + self.decoder


@checked
def gaussian_kl(
    mean: jax.Array, variance: Number, other_mean: Number, other_variance: Number
) -> jax.Array:
    """KL from one Gaussian to another, for each number: ``KL(first || other)``, in nats.

    Example:
        >>> from diffevo_jax import diffusion
        >>> float(diffusion.gaussian_kl(1.0, 4.0, 0.0, 4.0))
        0.125
    """
    ratio = jnp.asarray(variance / other_variance, dtype=float)
    distance = (mean - other_mean) ** 2 / other_variance
    return 0.5 * (ratio - 1 - jnp.log(ratio) + distance)


@checked
def variational_bound(
    key: jax.Array,
    denoise: Denoise,
    points: jax.Array,
    grid: Grid,
    *,
    num_levels: int,
    prior_deviation: Number = 1.0,
) -> VariationalBound:
    """Bound the mean negative log-likelihood of points under the chain of a denoiser.

    The chain is ``de.samplers.DDIM(eta=1)`` from N(0, prior_deviation^2 + sigma_max^2).
    Every level gets fresh noise, one a point. To train by it, use
    ``Objective(GridLevels(grid, num_levels), "likelihood")``.

    Args:
        key: a typed key.
        denoise: ``denoise(y, sigma)``, (N, D) and () to (N, D).
        points: (N, D) clean points.
        grid: the noise levels.
        num_levels: of the grid, >= 1.
        prior_deviation: of the data, (), >= 0.

    Returns:
        The bound, mean over the points.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> key, of_normal = jax.random.key(0), lambda y, sigma: y / (1 + sigma**2)
        >>> bound = diffusion.variational_bound(key, of_normal,
        ...     jax.random.normal(key, (1000, 1)), de.noise.VE(), num_levels=300)
        >>> f"{float(bound.total):.1f}"  # the entropy is 1.42
        '1.5'
    """
    points = check_population("points", points)
    if pytree.is_component(grid):
        validation.validate(grid)
    sigmas = levels_of(grid, num_levels)

    def error(_: None, now: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        eps = jax.random.normal(now[0], points.shape, points.dtype)
        y = points + now[1] * eps
        clean = clean_points(denoise(y, now[1]), y)
        return None, jnp.mean((points - clean) ** 2)

    keys = jax.random.split(key, num_levels)
    _, errors = jax.lax.scan(error, None, (keys, sigmas))
    shares = 0.5 * snr_falls(sigmas) * errors
    noise, start = sigmas[0] ** 2, sigmas[0] ** 2 + prior_deviation**2
    return VariationalBound(
        prior=jnp.mean(gaussian_kl(points, noise, 0.0, start)),
        steps=shares[:-1],
        decoder=shares[-1] + 0.5 * jnp.log(2 * math.pi * sigmas[-1] ** 2),
    )
