"""The covariance of weighted points, its axes, and derivatives that are always finite.

A derivative by way of the axes of a singular value decomposition divides by differences of
variances, and there is none where two are the same, such as 0. What is made of a covariance
has a derivative of its own, and that is used here.
"""

import functools

import jax
import jax.numpy as jnp

from diffevo_jax.attention.numerics import matmul
from diffevo_jax.pytree.derivatives import square_root


def principal_variances(
    weight: jax.Array, centred: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Variances and axes of weighted points, largest first, by singular values.

    Args:
        weight: (M,) with sum 1.
        centred: (M, D) points about their weighted mean.

    Returns:
        (K,) variances and (K, D) axes, rows orthonormal, K the smaller of M and D.
    """
    spread = jnp.sqrt(weight)[:, None] * centred
    _, deviation, axes = jnp.linalg.svd(spread, full_matrices=False)
    return deviation**2, axes


def shrinkage(weight: jax.Array, centred: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How much of a covariance is chance: a sphere's share of it, and its variance.

    The oracle approximating shrinkage of Gaussian points, their number that of their
    degrees of freedom. Far fewer points than dimensions have all their variance along a
    few axes of their own; nearly all of it is chance.

    Returns:
        The share in [0, 1], and the mean variance of a coordinate, both ().

    References:
        Chen, Wiesel, Eldar, Hero, 2010, doi:10.1109/TSP.2010.2053029, eq. 23.
    """
    size, dim = centred.shape
    spread = square_root(weight)[:, None] * centred
    gram = matmul(spread, spread.T) if size <= dim else matmul(spread.T, spread)
    trace, square = jnp.sum(weight[:, None] * centred**2), jnp.sum(gram**2)
    count = degrees_of_freedom(weight)
    chance = (1 - 2 / dim) * square + trace**2
    known = (count + 1 - 2 / dim) * (square - trace**2 / dim)
    some = (known > chance) & (chance >= 0)  # in one dimension both are rounding
    return jnp.where(some, chance / jnp.where(some, known, 1.0), 1.0), trace / dim


def degrees_of_freedom(weight: jax.Array) -> jax.Array:
    """How many equal axes of their own weighted points have in very many dimensions, ().

    That is ``tr(S)^2 / tr(S^2)`` of the covariance S of points that are orthogonal and of
    the same length: n - 1 for n of the same weight, since they are about their own mean.
    """
    square, cube = jnp.sum(weight**2), jnp.sum(weight**3)
    # sum_ij w_i w_j (delta_ij - w_i - w_j + sum w^2)^2
    spread = square - 2 * cube + square**2
    known = spread > 64 * jnp.finfo(weight.dtype).eps
    return jnp.where(known, (1 - square) ** 2 / jnp.where(known, spread, 1.0), 1.0)


@jax.custom_jvp
def filtered(
    y: jax.Array,
    weight: jax.Array,
    centred: jax.Array,
    share: jax.Array,
    variance: jax.Array,
    sigma: jax.Array,
) -> jax.Array:
    """The Wiener filter ``C (C + sigma^2)^-1 y`` of a covariance that is shrunk.

        C = (1 - share) sum_j w_j x_j x_j^T + share variance

    Args:
        y: (N, D) about the mean.
        weight: (M,) with sum 1.
        centred: (M, D), x.
        share: () of the sphere, in [0, 1].
        variance: () of the sphere.
        sigma: () > 0, the noise of y.
    """
    return _Filter(weight, centred, share, variance, sigma).kept(y)


@filtered.defjvp
def _filtered_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    y, weight, centred, share, variance, sigma = primals
    dy, dweight, dcentred, dshare, dvariance, dsigma = tangents
    wiener = _Filter(*primals[1:])
    x = wiener.removed(y) / sigma**2
    sample = matmul(matmul(x, centred.T) * weight[None], centred)
    turned = (1 - share) * _changed(x, weight, centred, dweight, dcentred)
    turned += dshare * (variance * x - sample) + share * dvariance * x
    change = wiener.kept(dy - 2 * sigma * dsigma * x) + wiener.removed(turned)
    return wiener.kept(y), change


class _Filter:
    """A Wiener filter by its axes: linear in what it is given."""

    def __init__(
        self,
        weight: jax.Array,
        centred: jax.Array,
        share: jax.Array,
        variance: jax.Array,
        sigma: jax.Array,
    ) -> None:
        variances, self.axes = principal_variances(weight, centred)
        around = share * variance
        along = (1 - share) * variances + around
        self.gains = along / (along + sigma**2), around / (around + sigma**2)
        self.losses = sigma**2 / (along + sigma**2), sigma**2 / (around + sigma**2)

    def kept(self, y: jax.Array) -> jax.Array:
        """What is signal of y, (N, D)."""
        return self._scaled(y, *self.gains)

    def removed(self, y: jax.Array) -> jax.Array:
        """What is noise of y, (N, D)."""
        return self._scaled(y, *self.losses)

    def _scaled(self, y: jax.Array, along: jax.Array, around: jax.Array) -> jax.Array:
        parts = matmul(y, self.axes.T)
        return around * y + matmul((along - around)[None] * parts, self.axes)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def principal_axes(weight: jax.Array, centred: jax.Array, count: int) -> jax.Array:
    """The first axes ``(count, D)`` of weighted points, rows orthonormal.

    Axes of the same variance turn into each other freely: that has the derivative 0 here.

    Args:
        weight: (M,) with sum 1.
        centred: (M, D) points about their weighted mean.
        count: how many, static, at most the smaller of M and D.
    """
    return principal_variances(weight, centred)[1][:count]


@principal_axes.defjvp
def _axes_jvp(count: int, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (weight, centred), (dweight, dcentred) = primals, tangents
    variances, axes = principal_variances(weight, centred)
    first = axes[:count]
    turned = _changed(first, weight, centred, dweight, dcentred)
    parts = matmul(turned, axes.T)
    beyond = turned - matmul(parts, axes)
    rounding = variances[0] * jnp.finfo(variances.dtype).eps
    gaps = variances[:count, None] - variances[None]
    apart = jnp.abs(gaps) > rounding
    parts = jnp.where(apart, parts / jnp.where(apart, gaps, 1.0), 0.0)
    own = variances[:count, None]
    beyond = jnp.where(own > rounding, beyond / jnp.where(own > rounding, own, 1.0), 0.0)
    return first, matmul(parts, axes) + beyond


def _changed(
    rows: jax.Array,
    weight: jax.Array,
    centred: jax.Array,
    dweight: jax.Array,
    dcentred: jax.Array,
) -> jax.Array:
    """Rows (N, D) times the change of ``sum_j w_j x_j x_j^T``."""
    along = matmul(rows, centred.T)
    turned = matmul(along * dweight[None], centred) + matmul(along * weight[None], dcentred)
    return turned + matmul(matmul(rows, dcentred.T) * weight[None], centred)
