"""Bayes' rule in one step of attention: the mean of the posterior of noisy points.

The evaluated individuals ``x_j`` with weights ``g_j`` are a prior; the mean of the
posterior of a noisy point ``y_i`` is

    x0_hat_i = sum_j softmax_j( log g_j - kappa |phi(y_i) - phi(x_j)|^2 / (2 sigma^2) ) x_j.

This is one step of attention: queries ``phi(y_i)``, keys ``phi(x_j)``, a bias for each key,
values ``x_j`` (``docs/theory.md`` has the derivation), and it is computed as such:
:func:`diffevo_jax.attention.attend` never holds an N x N array.
"""

import math

import jax
import jax.numpy as jnp

from diffevo_jax.attention import Attention, Guidance, attend, or_uniform, whitened
from diffevo_jax.attention.cells import as_keys, as_queries, find_centres, log_kernel
from diffevo_jax.base import Estimate
from diffevo_jax.denoisers.support import Chosen
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked


@checked
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
    of points in cells (:mod:`diffevo_jax.attention.cells`), since they cancel in
    float32 late in a run otherwise.

    For looking at a posterior; :func:`posterior_mean` never makes this array.

    Args:
        queries: (N, d) features of the noisy points.
        keys: (M, d) features of the evaluated points.
        log_weight: (M,) log g, ``-inf`` for weight zero. If all are, all count the same.
        precision: () ``kappa / sigma^2``, the inverse variance of the kernel.
        floor: added to the kernel. The published code adds 1e-9 to it, which decides what
            happens above about 40 dimensions, and to g (the shapings of one value have
            that floor). None: no floor.

    Returns:
        (N, M) with rows that sum to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import denoisers
        >>> query, keys = jnp.array([[0.0]]), jnp.array([[-1.0], [1.0]])  # equally far
        >>> log_weight, precision = jnp.log(jnp.array([1.0, 3.0])), jnp.array(4.0)
        >>> (row,) = denoisers.posterior_weights(query, keys, log_weight, precision)
        >>> [round(float(weight), 5) for weight in row]
        [0.25, 0.75]

    References:
        Zhang et al., 2024, arXiv:2410.02543, eqs. 8 and 9.
    """
    _check_given(queries, keys, log_weight, precision)
    queries, keys = whitened(queries, keys, precision)
    centres = find_centres(keys)
    asked = as_queries(queries, centres)
    weight = log_kernel(asked, as_keys(keys, centres))
    if floor is not None:
        weight = jnp.logaddexp(weight - asked.half_square[:, None], math.log(floor))
    return jax.nn.softmax(weight + or_uniform(log_weight)[None], axis=1)


@checked
def posterior_mean(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    precision: jax.Array,
    *,
    floor: float | None = None,
    own: bool = True,
    chosen: Chosen | None = None,
    guidance: Guidance | None = None,
    attention: Attention = attend,
) -> Estimate:
    """The population's denoiser: the mean of the posterior of every noisy point.

    Args:
        queries: (N, d) features of the noisy points.
        keys: (M, d) features of the evaluated points.
        values: (M, D) the evaluated points themselves.
        log_weight: (M,) log g, ``-inf`` for weight zero.
        precision: () ``kappa / sigma^2``.
        floor: see :func:`posterior_weights`.
        own: whether the first N keys belong to the queries, so that these have a weight of
            their own; static.
        chosen: the points to attend to; None for all.
        guidance: how far to go beyond that mean, and away from the mean of which weights
            (M,), those of the chosen if there are; see ``docs/guidance.md``; None for not.
        attention: computes it, as :func:`diffevo_jax.attention.attend` does.

    Returns:
        The estimate. Without guidance its means lie in the convex hull of the values.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import denoisers
        >>> x = jnp.array([[0.0], [1.0]])
        >>> answer = denoisers.posterior_mean(x, x, x, jnp.zeros(2), jnp.array(1e-6))
        >>> answer.clean.round(3).tolist()  # a flat kernel: the mean of all
        [[0.5], [0.5]]

    References:
        Zhang et al., 2024, arXiv:2410.02543, eq. 8.
    """
    _check_given(queries, keys, log_weight, precision)
    log_weight = or_uniform(log_weight)
    queries, keys = whitened(queries, keys, precision)
    values, count = jnp.asarray(values), len(queries)
    place = jnp.arange(count, dtype=jnp.int32)  # M or more is the place of no key
    if chosen is not None:
        keys, values = keys[chosen.index], values[chosen.index]
        place, log_weight = chosen.place, or_uniform(chosen.log_weight)
    mine = place[:count] if own else jnp.full(count, len(keys), jnp.int32)
    options = {}
    if guidance is not None:
        plain = or_uniform(guidance.log_weight)
        options["guidance"] = guidance._replace(log_weight=plain)
    return attention(queries, keys, values, log_weight, mine, floor=floor, **options)


def _check_given(
    queries: jax.Array, keys: jax.Array, log_weight: jax.Array, precision: Number
) -> None:
    """Raise unless shapes fit; broadcast, they would mean another kernel."""
    for name, array, shape in (
        ("keys", keys, jnp.shape(keys)[:1] + jnp.shape(keys)[-1:]),
        ("queries", queries, jnp.shape(queries)[:1] + jnp.shape(keys)[-1:]),
        ("log_weight", log_weight, jnp.shape(keys)[:1]),
    ):
        if jnp.shape(array) != shape:
            raise ValueError(f"{name}: got shape {jnp.shape(array)}, want {shape}")
    validation.check_positive("precision", precision, or_zero=True)
