"""Linear observations of a clean point: ``c = A x_0 + deviation eps``.

A partly known signal (inpainting), a mean over a window, a projection. What is behind a
noisy point y is spread around the denoiser's answer with a covariance that the denoiser
knows, by Tweedie's formula for the second moment:

    C(y) = Cov[x_0 | y] = sigma^2 dD/dy.

If x_0 given y were Gaussian, then c given y would be, with mean ``A D`` and covariance
``S = A C A^T + deviation^2 I``, and Bayes' rule would be Kalman's update,

    D(y | c) = D + C A^T S^-1 (c - A D).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.attention import einsum, matmul
from diffevo_jax.base import Denoise
from diffevo_jax.denoisers import oracles
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.denoisers.oracles import GaussianMixture
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked


@pytree.dataclass
class LinearObservation:
    """What was seen of a clean point, and how.

    Args:
        matrix: (M, D) A. Rows should be independent.
        values: (M,) c.
        deviation: of the noise in each value, > 0; divide a row and its value to give it
            another.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> seen = diffusion.LinearObservation([[1.0, 1.0]], [3.0], deviation=0.1)
        >>> known = seen.posterior(de.oracles.gaussian_mixture([[0.0, 0.0]], 1.0))
        >>> print(known.mean().round(2))
        [1.49 1.49]

    References:
        Kalman, 1960, doi:10.1115/1.3662552.
    """

    matrix: jax.Array = pytree.numbers()
    values: jax.Array = pytree.numbers()
    deviation: Number = pytree.number(above=0.0)

    def check(self) -> None:
        """Raise ValueError unless matrix and values fit."""
        matrix, values = (leaf.shape for leaf in self._arrays())
        if len(matrix) != 2 or 0 in matrix or values != matrix[:1]:
            raise ValueError(
                f"LinearObservation: got a matrix of shape {matrix} and values of shape "
                f"{values}, want (M, D) and (M,)"
            )

    def log_likelihood(self, points: jax.Array) -> jax.Array:
        """``log p(c | x_0)`` of clean points (N, D), in nats, (N,)."""
        matrix, values = self._arrays()
        error = (values[None] - matmul(points, matrix.T)) / self.deviation
        volume = len(values) * jnp.log(2 * math.pi * jnp.square(self.deviation))
        return -0.5 * (jnp.sum(error**2, axis=1) + volume)

    def posterior(self, prior: GaussianMixture) -> GaussianMixture:
        """The exact posterior of a Gaussian mixture: a mixture again.

        Every component is updated by itself, and weighs as much as it expected the values.
        """
        validation.validate(self)
        matrix, values = self._arrays()
        variance = jnp.square(jnp.asarray(self.deviation, dtype=float))

        def update(
            mean: jax.Array, eigenvalues: jax.Array, axes: jax.Array
        ) -> tuple[Any, ...]:
            covariance = matmul(axes * eigenvalues[None], axes.T)
            expected, cross = matmul(matrix, mean), matmul(covariance, matrix.T)
            noise = variance * jnp.eye(len(values), dtype=covariance.dtype)
            total = matmul(matrix, cross) + noise
            gain = jnp.linalg.solve(total, cross.T).T
            left = jnp.eye(len(mean), dtype=covariance.dtype) - matmul(gain, matrix)
            # Joseph's form: a sum of squares, which cannot lose its sign.
            after = matmul(matmul(left, covariance), left.T)
            after += variance * matmul(gain, gain.T)
            log_evidence = jax.scipy.stats.multivariate_normal.logpdf(
                values, expected, total
            )
            return mean + matmul(gain, values - expected), after, log_evidence

        parts = (prior.means, prior.eigenvalues, prior.eigenvectors)
        means, covariances, log_evidence = jax.vmap(update)(*parts)
        log_weights = jax.nn.log_softmax(prior.log_weights + log_evidence)
        return pytree.replace(
            oracles.gaussian_mixture(means, covariances), log_weights=log_weights
        )

    def _arrays(self) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(self.matrix, dtype=float), jnp.asarray(self.values, dtype=float)


@checked
def known_part(
    known: jax.typing.ArrayLike, values: jax.typing.ArrayLike, deviation: Number
) -> LinearObservation:
    """The observation of some numbers of a point: inpainting.

    Args:
        known: (D,) booleans, or those of an image (H, W, C); concrete, at least one True.
        values: like ``known``, anything where it is False.
        deviation: how exactly they are known, (), > 0.

    Example:
        >>> from diffevo_jax import diffusion
        >>> diffusion.known_part([True, False], [7.0, 0.0], 0.1).matrix.tolist()
        [[1.0, 0.0]]
    """
    mask = np.asarray(known)
    if mask.dtype != bool or mask.ndim not in (1, 3) or not mask.any():
        got = f"{mask.dtype} of shape {mask.shape}"
        raise ValueError(
            f"known: got {got}, want (D,) or (H, W, C) booleans, not all False"
        )
    given, index = jnp.asarray(values, dtype=float), np.flatnonzero(mask)
    if given.shape != mask.shape:
        raise ValueError(f"values: got shape {given.shape}, want {mask.shape}")
    return LinearObservation(jnp.eye(mask.size)[index], given.ravel()[index], deviation)


@checked
def linear_posterior(
    denoise: Denoise,
    observation: LinearObservation,
    prior_deviation: Number | None = None,
) -> Denoise:
    """Condition a denoiser on a linear observation, by Kalman's update.

    Exact for Gaussian data, at any noise; for others, as exact as a Gaussian is for what is
    behind a noisy point: right at little noise, and at much noise the best *linear* guess
    of the point from the observation, which knows nothing of modes.

    Args:
        denoise: the denoiser without the observation; see ``bayes.py``.
        observation: what is known.
        prior_deviation: None takes the covariance from the denoiser's derivative, which
            costs M + 1 derivatives an answer and holds (M, N, D). A number s, of the data,
            takes ``s^2 sigma^2 / (s^2 + sigma^2)`` along every direction instead, s > 0:
            one derivative, and exact only for white data.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> prior = diffusion.coloured_noise([[1.0, 0.9], [0.9, 1.0]])
        >>> seen = diffusion.known_part([True, False], [1.0, 0.0], deviation=0.1)
        >>> denoise = diffusion.linear_posterior(prior.denoise, seen)
        >>> y = jnp.array([[0.5, -1.0]])
        >>> bool(abs(denoise(y, 2.0) - seen.posterior(prior).denoise(y, 2.0)).max() < 1e-5)
        True

    References:
        Boys et al., 2023, arXiv:2310.06721, for the covariance of the denoiser (Tweedie
        moment projection); Song, Vahdat, Mardani, Kautz, "Pseudoinverse-guided diffusion
        models for inverse problems", ICLR 2023, for the other (pseudo-inverse guidance).

    Notes:
        The covariance of a network need be none: it is made symmetric, and along axes where
        it is not above 0 nothing is corrected.
    """
    validation.validate(observation)
    if prior_deviation is not None:
        validation.check_positive("prior_deviation", prior_deviation)
    matrix, values = observation._arrays()
    noise = jnp.square(observation.deviation)

    def conditioned(y: jax.Array, sigma: jax.Array) -> jax.Array:
        clean, back = jax.vjp(lambda y: clean_points(denoise(y, sigma), y), y)
        if prior_deviation is None:
            rows = jnp.broadcast_to(matrix[:, None], (len(matrix), *clean.shape))
            slopes = jax.vmap(lambda row: back(row)[0])(rows)
            spread = einsum("mnd,kd->nmk", slopes, matrix)
            spread *= sigma**2
        else:
            share = 1.0 / (prior_deviation**-2.0 + jnp.asarray(sigma) ** -2.0)
            spread = (share * matmul(matrix, matrix.T))[None]
        error = values[None] - matmul(clean, matrix.T)
        weighed = _solve(spread, noise, error)
        return clean + sigma**2 * back(matmul(weighed, matrix).astype(clean.dtype))[0]

    return conditioned


def _solve(spread: jax.Array, noise: Number, error: jax.Array) -> jax.Array:
    """``(spread + noise I)^-1 error``, (N or 1, M, M) and (N, M) to (N, M).

    Along axes without variance there is nothing to correct, and the answer is 0.
    """
    symmetric = (spread + jnp.swapaxes(spread, 1, 2)) / 2
    variances, axes = jnp.linalg.eigh(symmetric)
    gains = jnp.where(variances > 0, 1 / (jnp.maximum(variances, 0.0) + noise), 0.0)
    along = matmul(error[:, None], axes) * gains[:, None]
    return matmul(along, jnp.swapaxes(axes, 1, 2))[:, 0]
