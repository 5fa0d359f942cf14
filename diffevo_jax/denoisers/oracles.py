"""The exact denoiser: where there is a formula, nothing has to be estimated.

If the clean points are a mixture of Gaussians, so are the noisy ones ``y = x_0 + sigma e``,
with covariances ``C_k + sigma^2 I``. Bayes' rule then has a closed form: every component
shrinks y towards its mean (Wiener's filter), and the posterior probabilities of the
components mix the answers. A sampler with this denoiser has no error but its own, so its
order of convergence can be measured; so can the error of a population's estimate.
"""

import math

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import einsum, matmul
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked

#: Beyond these the square of sigma, and a distance in units of a deviation, leave float32.
_LARGEST_SIGMA, _SMALLEST_VARIANCE = 1e18, 1e-24


@pytree.dataclass
class GaussianMixture:
    """A mixture of K Gaussians in D dimensions, seen through noise of any level.

    Make it with :func:`gaussian_mixture`. Covariances are kept as eigenvalues and
    eigenvectors, so that noise of any level only adds to the eigenvalues. Cost of a method
    is O(N K D^2), memory O(N K D).

    With ``u_k = Q_k^T (y - mu_k)`` and ``v_k = lambda_k + sigma^2``

        log p(y)  = logsumexp_k( log w_k - sum_d( u_kd^2 / v_kd + log(2 pi v_kd) ) / 2 )
        denoise   = sum_k r_k (mu_k + Q_k (lambda_k / v_k u_k))
        score     = -sum_k r_k Q_k (u_k / v_k),

    r the softmax over components of what is in the logsumexp.

    Args:
        means: (K, D) mu.
        eigenvalues: (K, D) lambda, of the covariances, > 0; what is traced and below 1e-24
            counts as that.
        eigenvectors: (K, D, D) Q, in the columns.
        log_weights: (K,) log w, normalised; ``-inf`` for weight zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.denoisers import oracles
        >>> mixture = oracles.gaussian_mixture([[-4.0], [4.0]], 0.25)
        >>> mixture.denoise(jnp.array([[0.0], [5.0]]), sigma=0.5).tolist()
        [[0.0], [4.5]]

    References:
        Efron, "Tweedie's formula and selection bias", 2011 (denoise = y + sigma^2 score).
        Karras et al., 2022, arXiv:2206.00364, eq. 57 (the ideal denoiser, for points).
    """

    means: jax.Array = pytree.numbers()
    eigenvalues: jax.Array = pytree.numbers()
    eigenvectors: jax.Array = pytree.numbers()
    log_weights: jax.Array = pytree.numbers(infinite=True)

    def denoise(self, y: jax.Array, sigma: Number) -> jax.Array:
        """Mean of the clean points given noisy ones, ``E[x_0 | y]``.

        Args:
            y: (N, D) noisy points, canonical coordinates.
            sigma: () noise level, >= 0; 0 gives ``y``, infinity the mean of the mixture.

        Returns:
            (N, D).
        """
        joint, rotated, variance = self._joint(y, sigma)
        posterior = jax.nn.softmax(joint, axis=1)
        shrunk = posterior[..., None] * (self.eigenvalues / variance)[None] * rotated
        return matmul(posterior, self.means) + self._back(shrunk)

    def score(self, y: jax.Array, sigma: Number) -> jax.Array:
        """Gradient of :meth:`log_density`, ``(denoise - y) / sigma^2``, at sigma 0 too.

        Args:
            y: (N, D) noisy points.
            sigma: () noise level, >= 0.

        Returns:
            (N, D), from the mixture itself: no difference of nearly equal numbers.
        """
        joint, rotated, variance = self._joint(y, sigma)
        posterior = jax.nn.softmax(joint, axis=1)
        return -self._back(posterior[..., None] * rotated / variance[None])

    def log_density(self, y: jax.Array, sigma: Number) -> jax.Array:
        """Log of the density of noisy points ``(N, D)``, in nats, ``(N,)``.

        At ``sigma`` 0 it is the density of the mixture itself.
        """
        return jax.nn.logsumexp(self._joint(y, sigma)[0], axis=1)

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n independent clean points, ``(n, D)``."""
        key_component, key_normal = jax.random.split(key)
        drawn = jax.random.categorical(key_component, self.log_weights, shape=(n,))
        kind = self.means.dtype
        normal = jax.random.normal(key_normal, (n, self.means.shape[1]), kind)
        # One-hot: to gather the eigenvectors would make an (n, D, D) array.
        chosen = jax.nn.one_hot(drawn, len(self.means), dtype=kind)
        deviation = (
            chosen[..., None] * jnp.sqrt(self.eigenvalues)[None] * normal[:, None, :]
        )
        return self.means[drawn] + self._back(deviation)

    def mean(self) -> jax.Array:
        """Mean of the clean points, ``(D,)``."""
        return matmul(jnp.exp(self.log_weights), self.means)

    def covariance(self) -> jax.Array:
        """Covariance of the clean points, ``(D, D)``: within and between components."""
        weights = jnp.exp(self.log_weights)
        scaled = weights[:, None, None] * self.eigenvectors * self.eigenvalues[:, None, :]
        within = einsum("kde,kfe->df", scaled, self.eigenvectors)
        apart = jnp.sqrt(weights)[:, None] * (self.means - self.mean()[None])
        return within + matmul(apart.T, apart)

    def _joint(self, y: jax.Array, sigma: Number) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log of p(k, y), (N, K); rotated distances u, (N, K, D); variances v, (K, D)."""
        dim = self.means.shape[1]
        if jnp.ndim(y) != 2 or jnp.shape(y)[1] != dim:
            raise ValueError(f"y: got shape {jnp.shape(y)}, want (N, {dim})")
        if jnp.shape(sigma) != ():
            raise ValueError(f"sigma: got shape {jnp.shape(sigma)}, want ()")
        noise = jnp.minimum(sigma, _LARGEST_SIGMA) ** 2
        variance = jnp.maximum(self.eigenvalues + noise, _SMALLEST_VARIANCE)
        apart = y[:, None, :] - self.means[None]
        rotated = einsum("nkd,kde->nke", apart, self.eigenvectors)
        distance = jnp.sum((rotated / jnp.sqrt(variance)[None]) ** 2, axis=2)
        volume = jnp.sum(jnp.log(2 * math.pi * variance), axis=1)
        joint = self.log_weights[None] - 0.5 * (distance + volume[None])
        return joint, rotated, variance

    def _back(self, rotated: jax.Array) -> jax.Array:
        """Sum over components of ``Q_k u_k``, ``(N, K, D)`` to ``(N, D)``."""
        return einsum("nke,kde->nd", rotated, self.eigenvectors)


@checked
def gaussian_mixture(
    means: jax.typing.ArrayLike,
    covariances: jax.typing.ArrayLike,
    weights: jax.typing.ArrayLike | None = None,
) -> GaussianMixture:
    """Make a mixture from the means and covariances of its components.

    Args:
        means: (K, D).
        covariances: () or (K,) variances of round components, (K, D) variances along the
            axes, or (K, D, D) symmetric matrices; positive (definite).
        weights: (K,) >= 0, not all 0, of any sum; None counts all the same.

    Raises:
        ValueError: a shape does not fit, or a concrete value is out of its range.

    Example:
        >>> from diffevo_jax.denoisers import oracles
        >>> mixture = oracles.gaussian_mixture([[0.0, 0.0], [4.0, 0.0]], [1.0, 2.0], [3, 1])
        >>> mixture.mean().tolist(), mixture.covariance().tolist()
        ([1.0, 0.0], [[4.25, 0.0], [0.0, 1.25]])
    """
    means = jnp.asarray(means, dtype=float)
    covariances = jnp.asarray(covariances, dtype=float)
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(f"means: got shape {means.shape}, want (K, D), both at least 1")
    _check("means", means, jnp.isfinite(means), "finite numbers")
    _check("covariances", covariances, jnp.isfinite(covariances), "finite numbers")
    eigenvalues, eigenvectors = _eigen(covariances, *means.shape)
    return GaussianMixture(
        means=means,
        eigenvalues=eigenvalues,
        eigenvectors=eigenvectors,
        log_weights=_log_weights(weights, len(means)),
    )


def _eigen(covariances: jax.Array, count: int, dim: int) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues ``(K, D)`` and eigenvectors ``(K, D, D)`` of any form of covariances."""
    legal = ((), (count,), (count, dim), (count, dim, dim))
    shape = covariances.shape
    if shape not in legal:
        raise ValueError(f"covariances: got shape {shape}, want one of {legal}")
    if len(shape) == 3:
        mirrored = jnp.swapaxes(covariances, 1, 2)
        # Rounding of a product A A^T is not symmetric in every library.
        symmetric = jnp.allclose(covariances, mirrored, rtol=1e-4, atol=1e-6)
        _check("covariances", covariances, symmetric, "symmetric matrices")
        eigenvalues, eigenvectors = jnp.linalg.eigh((covariances + mirrored) / 2)
    else:
        narrow = covariances[:, None] if len(shape) == 1 else covariances
        eigenvalues = jnp.broadcast_to(narrow, (count, dim))
        identity = jnp.eye(dim, dtype=covariances.dtype)
        eigenvectors = jnp.broadcast_to(identity, (count, dim, dim))
    _check("covariances", covariances, eigenvalues > 0, "positive (definite) ones")
    return jnp.maximum(eigenvalues, _SMALLEST_VARIANCE), eigenvectors


def _log_weights(weights: jax.typing.ArrayLike | None, count: int) -> jax.Array:
    given = jnp.ones(count) if weights is None else jnp.asarray(weights, dtype=float)
    if given.shape != (count,):
        raise ValueError(f"weights: got shape {given.shape}, want ({count},)")
    legal = jnp.isfinite(given) & (given >= 0) & jnp.any(given > 0)
    _check("weights", given, legal, "finite numbers >= 0, not all 0")
    return jax.nn.log_softmax(jnp.log(given))


def _check(name: str, value: jax.Array, legal: jax.Array, wanted: str) -> None:
    """Raise ValueError where JAX does not trace and ``legal`` does not hold."""
    known = pytree.concrete(legal)
    if known is not None and not known.all():
        raise ValueError(f"{name}: got {value}, want {wanted}")


@checked
def random_mixture(
    key: jax.Array,
    num_components: int,
    dim: int,
    *,
    spread: Number = 1.0,
    width: Number = 0.3,
) -> GaussianMixture:
    """Draw a mixture to test samplers and estimators on.

    Means are N(0, spread^2 I), axes point anywhere, standard deviations are log-uniform
    within a factor of 2 of ``width``, weights uniform on the simplex.

    Example:
        >>> import jax
        >>> from diffevo_jax.denoisers import oracles
        >>> oracles.random_mixture(jax.random.key(0), 3, 50).eigenvectors.shape
        (3, 50, 50)
    """
    key_means, key_axes, key_widths, key_weights = jax.random.split(key, 4)
    shape = (num_components, dim)
    octaves = jax.random.uniform(key_widths, shape, minval=-1.0, maxval=1.0)
    matrices = jax.random.normal(key_axes, (*shape, dim))
    weights = jax.random.exponential(key_weights, (num_components,))
    return GaussianMixture(
        means=spread * jax.random.normal(key_means, shape),
        eigenvalues=(width * 2.0**octaves) ** 2,
        eigenvectors=jnp.linalg.qr(matrices)[0],
        log_weights=jax.nn.log_softmax(jnp.log(weights)),
    )
