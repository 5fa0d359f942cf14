"""Numerics that the estimator, kernels, shapings and denoisers share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked

#: Accelerators else round the factors of a product to half of their digits.
_EXACT = jax.lax.Precision.HIGHEST


class Guidance(NamedTuple):
    """How far an attention goes beyond its weighted means, and away from what.

        answer = mean + strength (mean - plain mean)

    Both means are of the same values by the same kernel; they differ in the weights.

    Attributes:
        strength: (), 0 gives the weighted means, -1 the plain ones.
        log_weight: (M,) of the plain means; ``-inf`` for weight zero; not all may be.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import Guidance, attend_by_rows
        >>> points, log_weight = jnp.array([[-1.0], [1.0]]), jnp.log(jnp.array([1.0, 3.0]))
        >>> weighted = jnp.zeros((1, 1)), points, points, log_weight, jnp.array([2])
        >>> one = lambda half_squares, mask: jnp.ones(len(half_squares))
        >>> twice = Guidance(strength=1.0, log_weight=jnp.zeros(2))  # 0.5 + (0.5 - 0)
        >>> answer = attend_by_rows(*weighted, row_precision=one, guidance=twice)
        >>> round(float(answer.clean[0, 0]), 5)
        1.0
    """

    strength: Number
    log_weight: jax.Array


def guided(weights: jax.Array, plain_logits: jax.Array, strength: Number) -> jax.Array:
    """The weights of what is beyond a mean: signed, a row's sum stays what it is.

    Args:
        weights: (N, M) of the mean, not normalised.
        plain_logits: (N, M) of the mean to go away from, up to a constant a row.
        strength: see :class:`Guidance`; at 0 the weights keep their bits.
    """
    plain_logits = plain_logits.astype(weights.dtype)
    largest = jnp.max(plain_logits, axis=1, keepdims=True)
    plain = relative(plain_logits, jax.lax.stop_gradient(largest))
    total = jnp.sum(plain, axis=1)
    scale = jnp.sum(weights, axis=1) / jnp.where(total > 0, total, 1.0)
    strength = jnp.asarray(strength, weights.dtype)
    return weights + strength * (weights - scale[:, None] * plain)


def guided_sums(
    weighted: jax.Array, plain: jax.Array, cells: int, strength: Number
) -> jax.Array:
    """The weighted sums (N, D + C) of what is beyond a mean, whose total stays.

    What :func:`guided` does to weights, done to their sums.

    Args:
        weighted: (N, D + C) of the mean; the last C add up to the sum of its weights.
        plain: (N, D + C) of the mean to go away from, each row in a unit of its own.
        cells: C.
        strength: see :class:`Guidance`.
    """
    total, plain_total = (jnp.sum(sums[:, -cells:], axis=1) for sums in (weighted, plain))
    scale = total / jnp.where(plain_total > 0, plain_total, 1.0)
    strength = jnp.asarray(strength, weighted.dtype)
    return weighted + strength * (weighted - scale[:, None] * plain)


def relative(logits: jax.Array, largest: jax.Array) -> jax.Array:
    """``exp(logits - largest)``, at most 1: a compiler may round the largest twice.

    Kept, or a CPU would take the exponential again wherever it is used.
    """
    below = logits - largest
    return jax.lax.optimization_barrier(jnp.exp(jnp.where(below > 0, 0.0, below)))


@checked
def matmul(first: jax.Array, second: jax.Array) -> jax.Array:
    """A matrix product at full precision.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import matmul
        >>> row = jnp.array([[4097.0]])  # 13 bits, and 26 of its square; bfloat16 has 8
        >>> float(matmul(row, jnp.array([[4095.0]]))[0, 0])
        16777215.0
    """
    return jnp.matmul(first, second, precision=_EXACT)


@checked
def einsum(subscripts: str, *arrays: jax.Array) -> jax.Array:
    """A sum of products at full precision, as :func:`jax.numpy.einsum`.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import einsum
        >>> points = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> einsum("nd,nd->n", points, points).tolist()
        [25.0, 1.0]
    """
    return jnp.einsum(subscripts, *arrays, precision=_EXACT)


@checked
def or_uniform(log_weight: jax.Array) -> jax.Array:
    """Log-weights; zeros if all are ``-inf``, so that all count the same.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import or_uniform
        >>> or_uniform(jnp.array([-jnp.inf, -2.0])).tolist()
        [-inf, -2.0]
        >>> or_uniform(jnp.array([-jnp.inf, -jnp.inf])).tolist()
        [0.0, 0.0]
    """
    return jnp.where(jnp.any(log_weight > -jnp.inf), log_weight, 0.0)


@checked
def whitened(
    queries: jax.Array, keys: jax.Array, precision: Number
) -> tuple[jax.Array, jax.Array]:
    """Queries (N, d) and keys (M, d) for a kernel of variance 1, about the keys' centre.

    Args:
        queries: (N, d).
        keys: (M, d).
        precision: () of the kernel, its inverse variance.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import whitened
        >>> queries, keys = whitened(jnp.array([[5.0]]), jnp.array([[3.0], [5.0]]), 4.0)
        >>> queries.tolist(), keys.tolist()
        ([[2.0]], [[-2.0], [2.0]])
    """
    # A little more, so that a precision of 0 has the derivative that its products have.
    scale = jnp.sqrt(jnp.asarray(precision) + 1e-30)
    centre = jnp.mean(keys, axis=0)[None]
    return scale * (queries - centre), scale * (keys - centre)


@checked
def bisect(
    function: Callable[[jax.Array], jax.Array],
    low: jax.Array,
    high: jax.Array,
    halvings: int,
) -> jax.Array:
    """Where a function that is above 0 at first, and falls, stops to be, number by number.

    It is differentiated as the root that it is: by what the function depends on, through
    the function's slope, and not through the halvings. At an end of the interval, and where
    the function is flat, the derivative is 0.

    Args:
        function: of values of the shape of the ends, each number by itself.
        low: lower ends of the intervals, any shape.
        high: upper ends.
        halvings: how often an interval is halved, static.

    Returns:
        The middles of what is left of the intervals.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax.attention import bisect
        >>> def root(square):
        ...     ends = jnp.array(0.0), jnp.array(2.0)
        ...     return bisect(lambda x: square - x**2, *ends, 22)
        >>> round(float(root(2.0)), 5), round(float(jax.grad(root)(2.0)), 5)
        (1.41421, 0.35355)
    """
    ends = low, high

    def solve(function: Callable[[jax.Array], jax.Array], start: jax.Array) -> jax.Array:
        def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = ends
            middle = 0.5 * (low + high)
            below = function(middle) > 0
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        left, right = jax.lax.fori_loop(0, halvings, halve, ends)
        return 0.5 * (left + right)

    def divide(slope: Callable[[jax.Array], jax.Array], change: jax.Array) -> jax.Array:
        steepness = slope(jnp.ones_like(change))
        steep = jnp.abs(steepness) > 0
        return jnp.where(steep, change / jnp.where(steep, steepness, 1.0), 0.0)

    root = jax.lax.custom_root(function, 0.5 * (low + high), solve, divide)
    nearest = (high - low) * 2.0**-halvings
    inside = (root - low > nearest) & (high - root > nearest)
    return jnp.where(inside, root, jax.lax.stop_gradient(root))
