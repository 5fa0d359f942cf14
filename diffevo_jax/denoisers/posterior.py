"""Denoisers: given noisy points, where are the clean ones?

The population answers by Bayes' rule. Its evaluated individuals ``x_j`` with weights
``g_j`` are a prior; the mean of the posterior of a noisy point ``y_i`` is

    x0_hat_i = sum_j softmax_j( log g_j - kappa |phi(y_i) - phi(x_j)|^2 / (2 sigma^2) ) x_j.

This is one step of attention: queries ``phi(y_i)``, keys ``phi(x_j)``, a bias for each key,
values ``x_j`` (``docs/theory.md`` has the derivation), and it is computed as such:
:func:`diffevo_jax.attention.attend` never holds an N x N array.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import Attended, attend

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

    For looking at a posterior; :func:`posterior_mean` never makes this array.

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
    log_weight = _not_all_zero(log_weight)
    product = jnp.matmul(queries, keys.T, precision=_EXACT)
    log_kernel = precision * (product - 0.5 * jnp.sum(keys**2, axis=1))
    if floor is not None:
        log_kernel -= 0.5 * precision * jnp.sum(queries**2, axis=1, keepdims=True)
        log_kernel = jnp.logaddexp(log_kernel, math.log(floor))
    return jax.nn.softmax(log_kernel + log_weight, axis=1)


@pytree.dataclass
class Support:
    """The evaluated points that the posterior is made of: M of the N individuals.

    Attributes:
        index: (M,) int32, which individuals.
        log_weight: (M,) their log-weights; -inf for a repetition.
        place: (N,) int32, the place of each individual in the support; M if it has none.
    """

    index: jax.Array
    log_weight: jax.Array
    place: jax.Array


def best_support(log_weight: jax.Array, count: int) -> Support:
    """The ``count`` individuals of largest weight; the others count nothing.

    Biased towards the best, and the better the sharper the weights are.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import denoisers
        >>> denoisers.best_support(jnp.array([0.0, 2.0, 1.0]), 2).index.tolist()
        [1, 2]
    """
    largest, index = jax.lax.top_k(_not_all_zero(log_weight), count)
    place = jnp.full(len(log_weight), count, jnp.int32)
    return Support(index, largest, place.at[index].set(jnp.arange(count, dtype=jnp.int32)))


def sampled_support(key: jax.Array, log_weight: jax.Array, count: int) -> Support:
    """Draw ``count`` individuals with replacement, as often as their weights say.

    Drawn from g, every draw counts the same: self-normalised importance sampling, whose
    mean tends to the whole population's like ``1 / sqrt(count)``.

    Args:
        key: a typed key.
        log_weight: (N,) log g, ``-inf`` for weight zero. If all are, all count the same.
        count: M >= 1.
    """
    size = len(log_weight)
    draws = jax.random.categorical(key, _not_all_zero(log_weight), shape=(count,))
    index, places = draws.astype(jnp.int32), jnp.arange(count, dtype=jnp.int32)
    place = jnp.full(size, count, jnp.int32).at[index].min(places)
    times = jnp.zeros(size, log_weight.dtype).at[index].add(1.0)
    # The first of several draws of an individual stands for all of them.
    first = place[index] == places
    return Support(index, jnp.where(first, jnp.log(times[index]), -jnp.inf), place)


def _not_all_zero(log_weight: jax.Array) -> jax.Array:
    return jnp.where(jnp.any(log_weight > -jnp.inf), log_weight, 0.0)


#: What computes the attention, for a kernel of your own; it must do as ``attend`` does.
Attention = Callable[..., Attended]


def posterior_mean(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    precision: jax.Array,
    *,
    floor: float | None = None,
    support: Support | None = None,
    attention: Attention = attend,
) -> Estimate:
    """The population's denoiser: the mean of the posterior of every noisy point.

    Args:
        queries: (N, d) features of the noisy points.
        keys: (M, d) features of the evaluated points, M >= N; the first N belong to the
            queries, the others are an archive.
        values: (M, D) the evaluated points themselves.
        log_weight: (M,) log g, ``-inf`` for weight zero.
        precision: () ``kappa / sigma^2``.
        floor: see :func:`posterior_weights`.
        support: the individuals to attend to; None for all.
        attention: computes it, as :func:`diffevo_jax.attention.attend` does.

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
    log_weight = _not_all_zero(log_weight)
    centre, value_centre = jnp.mean(keys, axis=0), jnp.mean(values, axis=0)
    scale = jnp.sqrt(jnp.asarray(precision))
    queries, keys = scale * (queries - centre), scale * (keys - centre)
    values = values - value_centre
    if support is None:
        own = jnp.arange(len(queries), dtype=jnp.int32)
    else:
        keys, values = keys[support.index], values[support.index]
        own, log_weight = support.place[: len(queries)], support.log_weight
    answer = attention(queries, keys, values, log_weight, own, floor=floor)
    return Estimate(
        clean=value_centre + answer.mean,
        effective_sample_size=answer.effective_sample_size,
        self_weight=answer.own_weight,
    )


def gaussian_mean(
    y: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    sigma: jax.Array,
    *,
    diagonal: bool = False,
) -> Estimate:
    """The denoiser of a Gaussian that is fitted to the weighted population.

    With mean m, principal axes v_k and variances l_k of the population under the weights,

        x0_hat = m + sum_k l_k / (l_k + sigma^2) v_k v_k^T (y - m),

    the Wiener filter. No neighbourhood, hence one mode, and a cost that is linear in N; it
    selects in any dimension.

    Args:
        y: (N, D) noisy points, canonical.
        values: (M, D) evaluated points; the first N belong to ``y``.
        log_weight: (M,) log g, ``-inf`` for weight zero; if all are, all count the same.
        sigma: () noise level of ``y``.
        diagonal: fit a variance for every coordinate, and no axes: O(M D) instead of a
            singular value decomposition.

    References:
        Wiener, 1949; Karras et al., 2022, arXiv:2206.00364, appendix B.3, whose ``c_skip``
        is this for a spherical Gaussian around 0.
    """
    weight = jax.nn.softmax(_not_all_zero(log_weight))
    mean = jnp.matmul(weight, values, precision=_EXACT)
    spread = jnp.sqrt(weight)[:, None] * (values - mean)
    if diagonal:
        variance = jnp.sum(spread**2, axis=0)
        clean = mean + variance / (variance + sigma**2) * (y - mean)
    else:
        _, deviation, axes = jnp.linalg.svd(spread, full_matrices=False)
        share = deviation**2 / (deviation**2 + sigma**2)
        along = jnp.matmul(y - mean, axes.T, precision=_EXACT)
        clean = mean + jnp.matmul(share * along, axes, precision=_EXACT)
    return Estimate(
        clean=clean,
        effective_sample_size=jnp.full(len(y), 1.0 / jnp.sum(weight**2)),
        self_weight=weight[: len(y)],
    )
