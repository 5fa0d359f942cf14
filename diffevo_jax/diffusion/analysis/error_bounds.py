"""How far samples can be from the data, if the denoiser is wrong by so much.

Two theorems, in canonical coordinates. A model D is asked where the exact answer is D*, at
noisy points of the data; ``e(sigma)^2 = E|D - D*|^2`` is its excess loss. Samples start at
``sigma_max`` and end at ``sigma_min``, with the noise of the data there.

Kullback-Leibler, for the reverse SDE (Song's, noise rate 1):

    KL(data || samples) <= integral e^2 / sigma^2 dlog(sigma) + KL at the start

which is T/2 times the mean over time of the score's squared error, weighted by g(t)^2.
Equal if D is exact for some other data.

Wasserstein, for any noise rate eta (0 the ODE, 1 the SDE):

    W2(data, samples) <= integral (1 + eta) I(sigma) e dlog(sigma) + I(sigma_max) W2 start,
    log I(sigma) = (1 + eta) integral_{sigma_min}^{sigma} (L - 1) dlog(sigma'),

L(sigma) the largest slope of D: two points that follow the same noise come closer where
it is below 1 and part where it is above, which is between modes. There the bound grows
exponentially, while the loss says nothing of it.

References:
    Song, Durkan, Murray, Ermon, 2021, arXiv:2101.09258, theorems 1 and 2; Kwon, Fan, Lee,
    2022, arXiv:2212.06359, for the SDE; Benton, Deligiannidis, Doucet, 2023,
    arXiv:2305.16860, for flows.
"""

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Denoise
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import check_population


@pytree.dataclass
class ErrorBound:
    """An upper bound of a distance between data and samples.

    Attributes:
        error: () the share of the denoiser's errors.
        prior: () the share of where samples start.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> sigmas, errors = jnp.array([2.0, 1.0]), jnp.zeros(2)
        >>> bound = diffusion.kl_bound(sigmas, errors, prior=0.25)
        >>> float(bound.error), float(bound.prior), float(bound.total)
        (0.0, 0.25, 0.25)
    """

    error: jax.Array
    prior: jax.Array

    @property
    def total(self) -> jax.Array:
        """The bound itself, ()."""
        return self.error + self.prior


@checked
def denoising_errors(
    key: jax.Array,
    denoise: Denoise,
    exact: Denoise,
    points: jax.typing.ArrayLike,
    sigmas: jax.Array,
) -> jax.Array:
    """Mean squared error of a denoiser's answers, at each noise level.

    The denoising loss of the model minus that of the exact denoiser, without the noise that
    both have.

    Args:
        key: a typed key; the noise is the same at all levels but for its size.
        denoise: the model.
        exact: the posterior mean.
        points: (N, D) clean points of the data.
        sigmas: (L,) noise levels.

    Returns:
        (L,) ``E|D - D*|^2``, the sum over coordinates.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> exact = de.oracles.gaussian_mixture([[0.0, 0.0]], 1.0)
        >>> biased = lambda y, sigma: exact.denoise(y, sigma) + 0.5
        >>> diffusion.denoising_errors(jax.random.key(0), biased, exact.denoise,
        ...     jnp.zeros((4, 2)), jnp.ones(1)).tolist()
        [0.5]
    """
    points = check_population("points", points)
    eps = jax.random.normal(key, points.shape, points.dtype)

    def error(sigma: jax.Array) -> jax.Array:
        y = points + sigma * eps
        wrong = clean_points(denoise(y, sigma), y) - clean_points(exact(y, sigma), y)
        return jnp.mean(jnp.sum(wrong**2, axis=1))

    return jax.lax.map(error, jnp.asarray(sigmas, dtype=float))


@checked
def largest_slopes(denoise: Denoise, points: jax.Array, sigma: jax.Array) -> jax.Array:
    """How fast answers part at each point: the one-sided Lipschitz constant there.

    The largest eigenvalue of the symmetric part of ``dD/dy``. The constant L of the bounds
    is its supremum over all points; that of some points is less or equal.

    Args:
        denoise: the answer for each point depends on it alone.
        points: (N, D) noisy points; D derivatives, and memory N D^2.
        sigma: () their noise level.

    Returns:
        (N,).

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> two = de.oracles.gaussian_mixture([[-2.0], [2.0]], 1.0)
        >>> y = jnp.array([[0.0], [9.0]])  # between the modes, and beyond one
        >>> [f"{slope:.2f}" for slope in diffusion.largest_slopes(two.denoise, y, 1.0)]
        ['1.50', '0.50']
    """
    _, slope = jax.linearize(lambda y: clean_points(denoise(y, sigma), y), points)
    basis = jnp.eye(points.shape[1], dtype=points.dtype)
    columns = jax.vmap(lambda axis: slope(jnp.broadcast_to(axis, points.shape)))(basis)
    matrices = jnp.moveaxis(columns, 0, 2)
    return jnp.linalg.eigvalsh((matrices + jnp.swapaxes(matrices, 1, 2)) / 2)[:, -1]


@checked
def kl_bound(sigmas: jax.Array, errors: jax.Array, prior: Number) -> ErrorBound:
    """The Kullback-Leibler divergence that an error may lead to, at most.

    Of the data with noise ``sigma_min`` from what the reverse SDE draws there, in the limit
    of many steps.

    Args:
        sigmas: (L,) decreasing noise levels, close enough to integrate over.
        errors: (L,) of :func:`denoising_errors`.
        prior: KL at ``sigmas[0]`` from the noisy data to what samples start from, ().

    Returns:
        The bound, in nats.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> sigmas = de.noise.VE(sigma_min=1.0, sigma_max=100.0).sigmas(1000)
        >>> f"{diffusion.kl_bound(sigmas, jnp.ones(1000), prior=0.0).total:.3f}"
        '0.500'

    References:
        Song, Durkan, Murray, Ermon, 2021, arXiv:2101.09258, theorem 1.
    """
    _check(sigmas, errors=errors)
    return ErrorBound(_integral(errors / sigmas**2, sigmas)[0], jnp.asarray(prior))


@checked
def wasserstein_bound(
    sigmas: jax.Array,
    errors: jax.Array,
    slopes: jax.Array,
    prior: Number,
    rate: Number = 1.0,
) -> ErrorBound:
    """The Wasserstein distance W2 that an error may lead to, at most.

    Args:
        sigmas: (L,) decreasing noise levels, close enough to integrate over.
        errors: (L,) of :func:`denoising_errors`.
        slopes: (L,) the largest of :func:`largest_slopes` of the model at each level.
        prior: W2 at ``sigmas[0]`` of the noisy data and what samples start from, ().
        rate: noise rate of the sampler, (), >= 0: 0 the ODE, 1 the reverse SDE.

    Returns:
        The bound, in the units of the data.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> sigmas = de.noise.VE(sigma_min=1.0, sigma_max=100.0).sigmas(1000)
        >>> points = jnp.zeros(1000)  # slope 0: the data are one point
        >>> bound = diffusion.wasserstein_bound(sigmas, jnp.ones(1000), points, 1.0, rate=0)
        >>> f"{bound.error:.2f} {bound.prior:.2f}"
        '0.99 0.01'

    References:
        Kwon, Fan, Lee, 2022, arXiv:2212.06359; Benton, Deligiannidis, Doucet, 2023,
        arXiv:2305.16860.
    """
    _check(sigmas, errors=errors, slopes=slopes)
    # In log space: the growth may be beyond float32 where an error is 0.
    growth = (1 + rate) * _integral(slopes - 1, sigmas)
    shares = (1 + rate) * jnp.exp(growth + 0.5 * jnp.log(errors))
    start = jnp.exp(growth[0] + jnp.log(jnp.asarray(prior, dtype=float)))
    return ErrorBound(_integral(shares, sigmas)[0], start)


def _integral(values: jax.Array, sigmas: jax.Array) -> jax.Array:
    """Integrals over log sigma from the last level up to each, by trapezoids, (L,)."""
    steps = -jnp.diff(jnp.log(sigmas)) * (values[:-1] + values[1:]) / 2
    return jnp.append(jnp.cumsum(steps[::-1])[::-1], 0.0)


def _check(sigmas: jax.Array, **given: jax.Array) -> None:
    """Raise unless there is a number for each of at least two levels."""
    shape = jnp.shape(sigmas)
    if len(shape) != 1 or shape[0] < 2:
        raise ValueError(f"sigmas: got shape {shape}, want (L,) with L >= 2")
    known = pytree.concrete(sigmas)
    if known is not None and not ((known[-1] > 0) & (np.diff(known) < 0).all()):
        ends = f"{known[0]:g}, ..., {known[-1]:g}"
        raise ValueError(f"sigmas: got {ends}, want numbers that fall, > 0")
    for name, values in given.items():
        if jnp.shape(values) != shape:
            raise ValueError(f"{name}: got shape {jnp.shape(values)}, want {shape}")
