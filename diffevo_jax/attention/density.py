"""Density at the points of a population: by distances to neighbours, and by a kernel.

Squared distances come from a matrix product of points in cells, a block of rows at a time:
neither an N x N nor an N x N x D array is ever made of a large population.
"""

import jax
import jax.numpy as jnp

from diffevo_jax.attention.blocked import Attention, attend
from diffevo_jax.attention.cells import as_keys, as_queries, find_centres, log_kernel
from diffevo_jax.attention.numerics import or_uniform, whitened
from diffevo_jax.pytree import Number, arrays, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root

#: Rows of distances at a time.
_ROWS = 1024


@checked
def neighbour_distance(
    points: jax.Array,
    count: int,
    valid: jax.Array | None = None,
    fitness: jax.Array | None = None,
) -> jax.Array:
    """Mean distance to the ``count`` nearest others, in deviations of the population.

    Args:
        points: (N, d).
        count: in [1, N - 1]. Where fewer others are valid, the mean is over those.
        valid: (N,) bool, which points count as neighbours; None for all.
        fitness: (N,), if those that are fitter are the others, and nobody else is; any
            ``count`` >= 1 is legal then. None takes all.

    Returns:
        (N,) >= 0, without a unit; 0 if all points are equal. With ``fitness``: infinite for
        whom nobody is fitter.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import density
        >>> points = jnp.array([[-3.0], [3.0], [-3.0], [3.0]])
        >>> density.neighbour_distance(points, count=2).tolist()  # 0 and 2 deviations
        [1.0, 1.0, 1.0, 1.0]
    """
    points, valid = _given(points, valid)
    if fitness is None and count >= len(points):
        raise ValueError(f"count: got {count}, want an int < N = {len(points)}")
    if fitness is not None and jnp.shape(fitness) != (len(points),):
        raise ValueError(f"fitness: got shape {jnp.shape(fitness)}, want ({len(points)},)")
    count = min(count, len(points))
    points = _standardise(points, valid)
    centres, index = find_centres(points), jnp.arange(len(points))
    keys = as_keys(points, centres)

    def from_one(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        point, own = row
        asked = as_queries(point[None], centres)
        half = (asked.half_square[:, None] - log_kernel(asked, keys))[0]
        squared = jnp.maximum(2 * half, 0.0)
        others = index != own if fitness is None else fitness > fitness[own]
        squared = jnp.where(valid & others, squared, jnp.inf)
        nearest = -jax.lax.top_k(-squared, count)[0]
        found = nearest < jnp.inf
        distance = jnp.sum(square_root(jnp.where(found, nearest, 0.0)))
        distance = distance / jnp.maximum(jnp.sum(found), 1).astype(distance.dtype)
        return distance if fitness is None else jnp.where(found[0], distance, jnp.inf)

    size = min(len(points), _ROWS)
    return jax.lax.map(from_one, (points, index), batch_size=size)


@checked
def standardized_distances(distance: jax.Array, valid: jax.Array) -> jax.Array:
    """Distances ``(N,)`` in deviations from their mean over the valid.

    Zeros if all are the same, to rounding.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import standardized_distances
        >>> distance, valid = jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])
        >>> standardized_distances(distance, valid).tolist()[:2]
        [-1.0, 1.0]
    """
    number = jnp.maximum(jnp.sum(valid), 1).astype(distance.dtype)
    weight = valid.astype(distance.dtype) / number
    mean = jnp.sum(weight * distance)
    deviation = square_root(jnp.sum(weight * (distance - mean) ** 2))
    # Distances come from a matrix product: below this, their spread is its rounding.
    spread = deviation > jnp.sqrt(jnp.finfo(distance.dtype).eps) * mean
    return jnp.where(spread, (distance - mean) / jnp.where(spread, deviation, 1.0), 0.0)


@checked
def log_density(
    points: jax.Array, bandwidth: Number = 1.0, valid: jax.Array | None = None
) -> jax.Array:
    """Log of a kernel density estimate at its own points, over that of N equal points.

    The mean over j of ``exp(-|x_i - x_j|^2 / (2 h^2))``, j = i included. Its reciprocal is
    N times the weight that an individual has in its own posterior mean, and is computed as
    that.

    Args:
        points: (N, D), finite.
        bandwidth: > 0; ``h = bandwidth N^(-1 / (D + 4)) s``, with s the root-mean-square
            deviation of a coordinate. Less than 1e-3 counts as 1e-3.
        valid: (N,) bool, which points count; None for all. The others get 0.

    Returns:
        (N,) in [-log N, 0]: alone to all in one place; 0 for N = 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import log_density
        >>> points = jnp.array([[0.0], [0.0], [9.0], [9.0]])
        >>> jnp.exp(log_density(points, bandwidth=0.1)).tolist()
        [0.5, 0.5, 0.5, 0.5]

    References:
        Silverman, "Density estimation for statistics and data analysis", 1986, eq. 4.14.

    Notes:
        Silverman's rule has a factor ``(4 / (D + 2))^(1 / (D + 4))`` more, which is between
        0.92 and 1.06. All coordinates have one deviation: unit scale is meant.
    """
    points, valid = _given(points, valid)
    validation.check_positive("bandwidth", bandwidth)
    dim = points.shape[1]
    size = jnp.maximum(jnp.sum(valid), 1).astype(points.dtype)
    points = _standardise(points, valid)
    precision = (size ** (1 / (dim + 4)) / jnp.maximum(bandwidth, 1e-3)) ** 2
    own = self_weights(points, precision, valid)
    density = -jnp.log(jnp.clip(own, 1 / size, 1.0)) - jnp.log(size)
    return jnp.where(valid, density, 0.0)


def self_weights(
    points: jax.Array,
    precision: Number,
    valid: jax.Array,
    *,
    attention: Attention = attend,
) -> jax.Array:
    """Weight of each point in its own kernel mean: 1 over N times its kernel density.

    Args:
        points: (N, d).
        precision: () of the kernel, its inverse variance.
        valid: (N,) bool, which points count; all alike if none does.
        attention: computes it, as :func:`diffevo_jax.attention.attend` does.

    Returns:
        (N,) in [0, 1].
    """
    queries, keys = whitened(points, points, precision)
    weight = jnp.where(valid, 0.0, -jnp.inf).astype(points.dtype)
    own = jnp.arange(len(points), dtype=jnp.int32)
    answer = attention(queries, keys, points[:, :1], or_uniform(weight), own)
    return answer.self_weight


def _given(points: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Points (N, d) as floats, and which of them count, (N,)."""
    points = arrays.real_array("points", points, "(N, d)")
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"points: got shape {points.shape}, want (N, d), N and d >= 1")
    if valid is None:
        return points, jnp.ones(len(points), bool)
    if jnp.shape(valid) != (len(points),):
        raise ValueError(f"valid: got shape {jnp.shape(valid)}, want ({len(points)},)")
    return points, jnp.asarray(valid, bool)


def _standardise(points: jax.Array, valid: jax.Array) -> jax.Array:
    """Centre ``(N, d)``, divide by the root-mean-square deviation; 0 for the invalid."""
    mask = valid[:, None]
    limit = jnp.finfo(points.dtype).max / 4
    points = jnp.clip(points, -limit, limit)
    # First by one of the points: equal ones then are exactly 0, wherever they are.
    points = jnp.where(mask, points - points[jnp.argmax(valid)][None], 0.0)
    largest = jnp.max(jnp.abs(points), initial=0.0)
    points = points / jnp.where(largest > 0, largest, 1.0)
    number = jnp.maximum(jnp.sum(mask), 1).astype(points.dtype)
    weight = mask.astype(points.dtype) / number
    points = jnp.where(mask, points - jnp.sum(weight * points, axis=0)[None], 0.0)
    deviation = square_root(jnp.sum(weight * points**2) / points.shape[1])
    return points / jnp.where(deviation > 0, deviation, 1.0)
