"""Denoisers: given noisy points, where are the clean ones?

The population answers by Bayes' rule. Its evaluated individuals ``x_j`` with weights
``g_j`` are a prior; the mean of the posterior of a noisy point ``y_i`` is

    x0_hat_i = sum_j softmax_j( log g_j - kappa |phi(y_i) - phi(x_j)|^2 / (2 sigma^2) ) x_j.

This is one step of attention: queries ``phi(y_i)``, keys ``phi(x_j)``, a bias for each key,
values ``x_j`` (``docs/theory.md`` has the derivation).
"""

import math

import jax
import jax.numpy as jnp

from diffevo_jax import metrics, pytree

_EXACT = jax.lax.Precision.HIGHEST


@pytree.dataclass
class Estimate:
    """The population's answer for N noisy points.

    Attributes:
        clean: (N, D) posterior means.
        effective_sample_size: (N,) individuals behind each mean, in [1, N].
        self_weight: (N,) weight of individual i in its own mean, in [0, 1].
    """

    clean: jax.Array
    effective_sample_size: jax.Array
    self_weight: jax.Array


def posterior_weights(
    queries: jax.Array,
    keys: jax.Array,
    log_weight: jax.Array,
    precision: jax.Array,
    *,
    floor: float | None = None,
) -> jax.Array:
    """Posterior probability of every key, for every query.

    ``w_ij`` is proportional to ``g_j exp(-precision |q_i - k_j|^2 / 2)``. Computed in log
    space, so rows sum to 1 in any dimension; squared distances come from one matrix product
    of *centred* points, since uncentred ones cancel in float32 late in a run.

    Args:
        queries: (N, d) features of the noisy points.
        keys: (M, d) features of the evaluated points.
        log_weight: (M,) log g, ``-inf`` for weight zero. If all are, all count the same.
        precision: () ``kappa / sigma^2``, the inverse variance of the kernel.
        floor: added to the kernel. The published code adds 1e-9 to it, which decides what
            happens above about 40 dimensions, and to g (:func:`shaping.log_weight` has
            that floor). None: no floor.

    Returns:
        (N, M) with rows that sum to 1.

    References:
        Zhang et al., 2024, arXiv:2410.02543, eqs. 8 and 9.
    """
    centre = jnp.mean(keys, axis=0)
    queries, keys = queries - centre, keys - centre
    log_weight = jnp.where(jnp.any(log_weight > -jnp.inf), log_weight, 0.0)
    product = jnp.matmul(queries, keys.T, precision=_EXACT)
    log_kernel = precision * (product - 0.5 * jnp.sum(keys**2, axis=1))
    if floor is not None:
        log_kernel -= 0.5 * precision * jnp.sum(queries**2, axis=1, keepdims=True)
        log_kernel = jnp.logaddexp(log_kernel, math.log(floor))
    return jax.nn.softmax(log_kernel + log_weight, axis=1)


def posterior_mean(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    precision: jax.Array,
    *,
    floor: float | None = None,
) -> Estimate:
    """The population's denoiser: the mean of the posterior of every noisy point.

    Args:
        queries: (N, d) features of the noisy points.
        keys: (N, d) features of the evaluated points.
        values: (N, D) the evaluated points themselves.
        log_weight: (N,) log g, ``-inf`` for weight zero.
        precision: () ``kappa / sigma^2``.
        floor: see :func:`posterior_weights`.

    Returns:
        The estimate. Its means lie in the convex hull of the values.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import denoisers
        >>> x = jnp.array([[0.0], [1.0]])
        >>> answer = denoisers.posterior_mean(x, x, x, jnp.zeros(2), jnp.array(1e-6))
        >>> answer.clean.round(3).tolist()  # a flat kernel: everyone is the mean
        [[0.5], [0.5]]

    References:
        Zhang et al., 2024, arXiv:2410.02543, eq. 8.
    """
    weights = posterior_weights(queries, keys, log_weight, precision, floor=floor)
    centre = jnp.mean(values, axis=0)
    clean = centre + jnp.matmul(weights, values - centre, precision=_EXACT)
    return Estimate(
        clean=clean,
        effective_sample_size=metrics.effective_sample_size(weights),
        self_weight=metrics.self_weight(weights),
    )
