"""The covariance view: a signal is a draw of coloured noise, and white noise hides it.

Along the axes of its covariance a signal has variances l_1 >= l_2 >= ..., while white
noise has sigma^2 along every axis. A direction can be seen while its variance stands above
that; the best linear denoiser keeps ``l / (l + sigma^2)`` of it. Signals have few large
variances, noise has many alike: that is why one can be told from the other.

A Gaussian is a mixture of one component, so what is made here is an
:class:`diffevo_jax.oracles.GaussianMixture`: it draws coloured noise (``sample``), says how
probable a signal is as such noise (``log_density``), and is a diffusion model of its own
(``denoise``), whose samples have the covariance and nothing else of the data.

References:
    Karras et al., 2022, arXiv:2206.00364, appendix B.3; Wiener, 1949.
"""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import matmul
from diffevo_jax.denoisers.oracles import GaussianMixture
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import check_population

#: A covariance may have eigenvalues this far below 0, of its largest: rounding.
_ROUNDING = 1e-5


@checked
def coloured_noise(
    covariance: jax.typing.ArrayLike, mean: jax.typing.ArrayLike = 0.0
) -> GaussianMixture:
    """The Gaussian with a prescribed covariance, by its singular value decomposition.

    Args:
        covariance: (D, D) symmetric, no eigenvalue below 0. Directions of variance 0 are
            legal: draws have no part there, and other points have no density without noise.
        mean: () or (D,).

    Returns:
        A mixture of one component, variances falling.

    Raises:
        ValueError: it is no covariance.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> noise = diffusion.coloured_noise([[2.0, 1.9], [1.9, 2.0]])
        >>> draws = noise.sample(jax.random.key(0), 10_000)
        >>> f"{jax.numpy.corrcoef(draws.T)[0, 1]:.2f}"
        '0.95'
        >>> together, apart = noise.log_density(jax.numpy.array([[1, 1], [1.0, -1]]), 0.0)
        >>> bool(together > apart)
        True
    """
    covariance = jnp.asarray(covariance, dtype=float)
    if (
        covariance.ndim != 2
        or len(covariance) != covariance.shape[1]
        or not len(covariance)
    ):
        raise ValueError(f"covariance: got shape {covariance.shape}, want (D, D)")
    symmetric = (covariance + covariance.T) / 2
    axes, variances, mirrored = jnp.linalg.svd(symmetric, hermitian=True)
    # Left and right axes of a covariance are the same; of a variance below 0, opposite.
    signed = variances * jnp.sum(axes * mirrored.T, axis=0)
    for legal, wanted in (
        (jnp.isfinite(covariance).all(), "finite numbers"),
        (jnp.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-6), "a symmetric one"),
        ((signed >= -_ROUNDING * variances[0]).all(), "no eigenvalue below 0"),
    ):
        known = pytree.concrete(legal)
        if known is not None and not known:
            raise ValueError(f"covariance: got {covariance}, want {wanted}")
    mean = jnp.asarray(mean, dtype=float)
    if mean.shape not in ((), variances.shape):
        raise ValueError(f"mean: got shape {mean.shape}, want () or {variances.shape}")
    return _gaussian(jnp.broadcast_to(mean, variances.shape), variances, axes)


@checked
def fit_gaussian(
    points: jax.typing.ArrayLike, log_weight: jax.typing.ArrayLike | None = None
) -> GaussianMixture:
    """The Gaussian with the mean and the covariance of some points.

    Its ``denoise`` is :func:`diffevo_jax.denoisers.gaussian_mean`, with the decomposition
    made once. That one never holds a (D, D) array, and is the one for a population in many
    dimensions.

    Args:
        points: (N, D), a population or data.
        log_weight: (N,) log of how much each counts, ``-inf`` for nothing; if all are,
            or None: all alike.

    Returns:
        A mixture of one component, variances falling, those beyond N - 1 are 0.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> data = jnp.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.0, -0.5]])
        >>> model = diffusion.fit_gaussian(data)
        >>> samples = de.sample(jax.random.key(0), model.denoise, de.noise.EDM(),
        ...     de.samplers.Heun(), (10_000, 2), num_levels=30)
        >>> [f"{ratio:.1f}" for ratio in samples.std(axis=0) / data.std(axis=0)]
        ['1.0', '1.0']
    """
    points = check_population("points", points)
    if log_weight is None:
        log_weight = jnp.zeros(len(points), points.dtype)
    log_weight = jnp.asarray(log_weight, dtype=float)
    if log_weight.shape != (len(points),):
        raise ValueError(f"log_weight: got {log_weight.shape}, want ({len(points)},)")
    known = pytree.concrete(log_weight)
    if known is not None and not (known < jnp.inf).all():
        raise ValueError("log_weight: got NaN or infinity, want numbers, or -inf")
    weight = jax.nn.softmax(jnp.where((log_weight > -jnp.inf).any(), log_weight, 0.0))
    mean = matmul(weight, points)
    spread = jnp.sqrt(weight)[:, None] * (points - mean[None])
    _, deviations, axes = jnp.linalg.svd(spread, full_matrices=True)
    missing = points.shape[1] - len(deviations)
    return _gaussian(mean, jnp.pad(deviations**2, (0, max(missing, 0))), axes.T)


def _gaussian(mean: jax.Array, variances: jax.Array, axes: jax.Array) -> GaussianMixture:
    return GaussianMixture(mean[None], variances[None], axes[None], jnp.zeros(1))


@checked
def logistic_covariance(places: jax.typing.ArrayLike, scale: Number = 1.0) -> jax.Array:
    """A covariance from pairwise differences: alike where places are close.

    ``C_ij = 2 / (1 + exp(|p_i - p_j| / scale))``, the logistic function of minus the
    difference, 1 on the diagonal. It is a covariance by Pólya's criterion: even, and convex
    on each side.

    Args:
        places: (D,) where each number of a signal is: its time, and smooth signals are
            probable; or the value of a given signal, and those of its shape are.
        scale: difference that matters, (), > 0.

    Returns:
        (D, D).

    Example:
        >>> from diffevo_jax import diffusion
        >>> diffusion.logistic_covariance([0.0, 0.0, 100.0]).tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]

    References:
        Pólya, "Remarks on characteristic functions", 1949, theorem 1.
    """
    places = jnp.asarray(places, dtype=float)
    if places.ndim != 1:
        raise ValueError(f"places: got shape {places.shape}, want (D,)")
    validation.check_positive("scale", scale)
    return 2 * jax.nn.sigmoid(-jnp.abs(places[:, None] - places[None]) / scale)


@pytree.dataclass
class WienerFilter:
    """What the best linear denoiser keeps of a signal, at L noise levels.

    Attributes:
        gains: (L, D) of each direction, ``l / (l + sigma^2)`` in [0, 1]; above 1/2 where
            the signal is above the noise.
        num_above: (L,) int32, directions whose variance is above that of the noise.
        degrees_of_freedom: (L,) sum of the gains: directions that can be seen, in [0, D].

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> kept = diffusion.wiener_filter(jnp.array([9.0, 1.0]), jnp.array([3.0]))
        >>> [f"{gain:.2f}" for gain in kept.gains[0]]  # 9 / (9 + 9), 1 / (1 + 9)
        ['0.50', '0.10']
    """

    gains: jax.Array
    num_above: jax.Array
    degrees_of_freedom: jax.Array


@checked
def wiener_filter(variances: jax.Array, sigmas: jax.Array) -> WienerFilter:
    """Which directions of a signal stand above white noise, level by level.

    Args:
        variances: (D,) l, of the signal along its axes, >= 0.
        sigmas: (L,) noise levels, > 0, for example of a grid.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> sigmas = jnp.array([3.0, 2.0, 0.5])
        >>> kept = diffusion.wiener_filter(jnp.array([9.0, 1.0]), sigmas)
        >>> print(kept.num_above, *(f"{d:.2f}" for d in kept.degrees_of_freedom))
        [0 1 2] 0.60 0.89 1.77

    References:
        Wiener, 1949, for the gains; Hastie, Tibshirani, Friedman, "The elements of
        statistical learning", 2009, eq. 3.50, for their sum.
    """
    noise = jnp.asarray(sigmas)[:, None] ** 2
    variances = jnp.asarray(variances)[None]
    gains = variances / (variances + noise)
    num_above = jnp.sum(variances > noise, axis=1, dtype=jnp.int32)
    return WienerFilter(gains, num_above, jnp.sum(gains, axis=1))


@checked
def effective_rank(variances: jax.Array) -> jax.Array:
    """Number of directions that a signal has, ``exp(-sum_d p_d log p_d)``.

    Args:
        variances: (..., D) along the axes, >= 0, not all 0; p are their shares.

    Returns:
        (...) in [1, D]: 1 if all lies along one axis, D if all directions are alike.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> f"{diffusion.effective_rank(jnp.array([1.0, 1.0, 0.0])):.3f}"
        '2.000'

    References:
        Roy and Vetterli, "The effective rank", EUSIPCO 2007, eq. 4.
    """
    shares = variances / jnp.sum(variances, axis=-1, keepdims=True)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(shares), axis=-1))
