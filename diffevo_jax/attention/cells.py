"""Points and values in cells: seen from the nearest of a few centres, right within each.

A product of centred points gives squared distances at the rounding of the points' own
length. If they lie in several far places, one centre does not help: neighbours are then as
near to each other as the rounding is large. So every point is seen from the nearest of a
few centres. With ``q = c_a + u`` and ``k = c_b + v``

    |q - k|^2 / 2 = |u - v|^2 / 2 + (c_a - c_b) (u - v) + |c_a - c_b|^2 / 2,

where all but the first vanish exactly within a cell. They are a number for each query and
each cell, and one for each key and each cell, and so some more columns of one product.
Weighted sums of values are taken likewise, cell by cell.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffevo_jax.attention.numerics import matmul

#: Centres are looked for in a sample: a share of the points, between two bounds.
_FEWEST_POINTS, _MOST_POINTS, _SHARE = 16, 32, 8
#: One cell per so many dimensions, between two bounds: in more dimensions more is rounded,
#: and two more columns for a cell cost relatively less.
_DIMENSIONS, _FEWEST, _MOST = 16, 2, 8
#: The golden ratio's multiples are nowhere near a period of the points.
_GOLDEN = 0.6180339887498949
#: Share of the largest half squared distance from which on a centre has its own cell.
_FAR = 1 / 64
#: Values of fewer numbers are summed without cells, where that is exact enough.
_LONG = 16
#: Columns of long values are padded to a multiple of it: a product of 61 columns takes half
#: as long again as one of 64.
_COLUMNS = 16


class Centres(NamedTuple):
    """Of few cells.

    Attributes:
        places: (C, d).
        half_square: (C,) half their squared lengths; huge for who has no cell.
        gaps: (C, C) half the squared distances between them, 0 to itself.
    """

    places: jax.Array
    half_square: jax.Array
    gaps: jax.Array


class Placed(NamedTuple):
    """Points in their cells; queries and keys of the same centres go together.

    Attributes:
        columns: (N, d + 2 C), whose products are minus half the squared distances, up to
            ``half_square`` of both; one column if d = 1.
        half_square: (N,) half the squared distance from the centre of the cell.
        cell: (N, C), 1 for the point's cell, else 0.
    """

    columns: jax.Array
    half_square: jax.Array
    cell: jax.Array


def find_centres(points: jax.Array) -> Centres:
    """Centres of few cells, far from each other, in which the points ``(N, d)`` lie.

    Those of a sample that are farthest from each other, one after the other (Gonzalez,
    1985, doi:10.1016/0304-3975(85)90224-5). They are a matter of rounding only, and not
    differentiated.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import cells
        >>> points = jnp.array([[8.0, 9.0], [-9.0, -9.0], [8.0, 7.0]])
        >>> cells.find_centres(points).places.tolist()
        [[-9.0, -9.0], [8.0, 9.0]]
    """
    points = jax.lax.stop_gradient(points)
    size, dim = points.shape
    count = min(max(size // _SHARE, _FEWEST_POINTS), _MOST_POINTS, size)
    chosen = [int(_GOLDEN * number % 1 * size) for number in range(count)]
    sample = points if size == count else points[jnp.asarray(chosen)]
    half_square = 0.5 * jnp.sum(sample**2, axis=1)
    half = half_square[:, None] + half_square[None] - matmul(sample, sample.T)
    index = [jnp.argmax(half_square)]
    nearest = half[index[0]]
    cells = min(max(dim // _DIMENSIONS, _FEWEST), _MOST, max(count // 4, _FEWEST), count)
    remoteness = []
    for _ in range(1, cells):
        index.append(jnp.argmax(nearest))
        remoteness.append(nearest[index[-1]])
        nearest = jnp.minimum(nearest, half[index[-1]])
    which = jnp.stack(index)
    gaps = jnp.where(jnp.eye(cells, dtype=bool), 0.0, half[which][:, which])
    lengths = half_square[which]
    if cells > _FEWEST:
        far = jnp.stack(remoteness) > _FAR * remoteness[0]
        none = jnp.finfo(lengths.dtype).max / 8
        lengths = lengths.at[1:].set(jnp.where(far, lengths[1:], none))
    return Centres(sample[which], lengths, gaps)


def as_queries(points: jax.Array, centres: Centres) -> Placed:
    """Points (N, d) to ask about, in the cells of C centres."""
    inside, nearer, cell = _place(points, centres)
    return _placed(points, inside, (nearer, cell), cell)


def as_keys(points: jax.Array, centres: Centres) -> Placed:
    """Points (M, d) that are asked, in the cells of C centres."""
    inside, nearer, cell = _place(points, centres)
    beyond = nearer + matmul(cell, centres.gaps)
    return _placed(points, inside, (cell, beyond), cell)


def log_kernel(
    queries: Placed, keys: Placed, log_weight: jax.Array | None = None
) -> jax.Array:
    """Log of a Gaussian kernel of variance 1 (N, M), times weights (M,) of the keys.

    Minus half the squared distances, up to a constant a row. The constant is minus the
    queries' ``half_square``: left out, since it is far larger than the rest where there is
    much noise.
    """
    bias = keys.half_square if log_weight is None else keys.half_square - log_weight
    if queries.columns.shape[1] > 1:
        return matmul(queries.columns, keys.columns.T) - bias[None]
    # Kept, or the largest of them may be rounded in another way than where it is used.
    half = 0.5 * (queries.columns - keys.columns.T) ** 2
    return jax.lax.optimization_barrier(-half - bias[None])


def log_kernel_by_product(
    queries: Placed, keys: Placed, log_weight: jax.Array
) -> jax.Array:
    """:func:`log_kernel` of more than one dimension, written once: for large blocks.

    What is subtracted there from a product is its last column here. A weight of zero is a
    very low number, since infinity times a derivative of 0 is none: what is below
    :func:`nothing` of the type is of weight zero.
    """
    low = 2 * nothing(log_weight.dtype)
    last = jnp.where(log_weight == -jnp.inf, low, log_weight) - keys.half_square
    ones = jnp.ones_like(queries.half_square)
    beside = lambda columns, column: jnp.concatenate([columns, column[:, None]], axis=1)
    return matmul(beside(queries.columns, ones), beside(keys.columns, last).T)


def nothing(dtype: jnp.dtype) -> float:
    """Below which a logit of :func:`log_kernel_by_product` is of weight zero."""
    return float(jnp.finfo(dtype).min) / 16


def in_cells(values: jax.Array, keys: Placed) -> tuple[jax.Array, jax.Array]:
    """Values (M, D) from the centre of their key's cell, and the cells beside them.

    Returns:
        Columns (M, D + E + C) to be summed up, E of them empty, and the centres (C, D);
        C = 1 of short values.
    """
    known, cell = jax.lax.stop_gradient(values), keys.cell
    if values.shape[1] < _LONG:
        centre = jnp.mean(known, axis=0, keepdims=True)
        return jnp.pad(values - centre, ((0, 0), (0, 1)), constant_values=1.0), centre
    centres = known[jnp.argmax(cell, axis=0)]
    (size, dim), cells = values.shape, cell.shape[1]
    empty = jnp.zeros((size, -(dim + cells) % _COLUMNS), values.dtype)
    columns = [values - matmul(cell, centres), empty, cell]
    return jnp.concatenate(columns, axis=1), centres


def mean_of_cells(sums: jax.Array, centres: jax.Array) -> tuple[jax.Array, jax.Array]:
    """From weighted sums (B, D + E + C) of :func:`in_cells` means (B, D), totals (B,).

    Counted from the centre of the cell of most weight, which is rounded once, at the end.
    """
    cells, dim = centres.shape
    shares = sums[:, -cells:]
    total = jnp.sum(shares, axis=1)
    total = jnp.where(total > 0, total, 1.0)
    if cells == 1:
        return centres + sums[:, :dim] / total[:, None], total
    most = jax.lax.stop_gradient(jnp.argmax(shares, axis=1))
    here = most[:, None] == jnp.arange(shares.shape[1])[None]
    others = jnp.where(here, 0.0, shares)
    change = jnp.where(here, -jnp.sum(others, axis=1, keepdims=True), others)
    # One division, of a sum: what is added to a quotient is rounded as programs like it.
    beyond = matmul(change, centres - centres[:1]) + sums[:, :dim]
    return centres[most] + beyond / total[:, None], total


def _place(points: jax.Array, centres: Centres) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Points from their centres (N, d), how much nearer they are to others, their cells.

    Nearer, (N, C), is half of ``|x - c_a|^2 - |x - c_b|^2``, a the point's cell: 0 there,
    exactly.
    """
    nearness = matmul(points, centres.places.T) - centres.half_square[None]
    label = jnp.argmax(jax.lax.stop_gradient(nearness), axis=1)
    cell = jax.nn.one_hot(label, len(centres.places), dtype=points.dtype)
    # Of its own cell also where two are as near, or the derivative would be of both.
    own = jnp.sum(jnp.where(cell > 0, nearness, 0.0), axis=1, keepdims=True)
    nearer = nearness - own
    return points - centres.places[label], nearer, cell


def _placed(
    points: jax.Array,
    inside: jax.Array,
    between: tuple[jax.Array, jax.Array],
    cell: jax.Array,
) -> Placed:
    if points.shape[1] == 1:  # their differences are taken
        return Placed(points, jnp.zeros_like(points[:, 0]), cell)
    columns = jnp.concatenate([inside, *between], axis=1)
    return Placed(columns, 0.5 * jnp.sum(inside**2, axis=1), cell)
