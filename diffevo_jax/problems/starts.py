"""Starts: where the first points of a box are."""

import math

import jax
import jax.numpy as jnp
import numpy as np

STARTS = ("normal", "uniform", "sobol")
#: How many dimensions the direction numbers of SciPy have.
MOST_DIMENSIONS = 21_201
#: Bits of a Sobol point.
_BITS = 32


def uniform(key: jax.Array, num_points: int, dim: int) -> jax.Array:
    """Independent points ``(N, D)`` of the unit cube, its faces not among them."""
    bits = jax.random.bits(key, (num_points, dim), jnp.uint32)
    return _centred(bits)


def sobol(key: jax.Array, num_points: int, dim: int) -> jax.Array:
    """Sobol points ``(N, D)`` of the unit cube, shifted digitally by a key.

    Each point is uniform, and of the first ``2^m`` there is one in each of ``2^m`` equal
    parts of each axis. They are made on the device, of SciPy's direction numbers.

    Args:
        key: of the shift.
        num_points: N; powers of 2 are balanced best.
        dim: D, at most 21,201.

    Example:
        >>> import jax, numpy as np
        >>> from diffevo_jax.problems import starts
        >>> points = np.asarray(starts.sobol(jax.random.key(0), 8, 3))
        >>> np.sort(np.floor(8 * points), axis=0)[:, 2].tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]

    References:
        Joe and Kuo, SIAM J. Sci. Comput. 30, 2008 (direction numbers); Owen, Handbook of
        Monte Carlo methods, 2003 (digital shift).
    """
    number = jnp.arange(num_points, dtype=jnp.uint32)
    gray = number ^ (number >> 1)
    shift = jax.random.bits(key, (dim,), jnp.uint32)
    directions = jnp.asarray(_directions(num_points, dim))

    def add(bit: jax.Array, points: jax.Array) -> jax.Array:
        has = (gray >> bit.astype(jnp.uint32)) & jnp.uint32(1)
        return points ^ (has[:, None] * directions[bit])

    start = jnp.broadcast_to(shift, (num_points, dim))
    return _centred(jax.lax.fori_loop(0, len(directions), add, start))


def _directions(num_points: int, dim: int) -> np.ndarray:
    """Direction numbers (bits, D), uint32, as many as so many points need.

    Point ``2^j`` differs from the point before it by direction j alone.
    """
    from scipy.stats import qmc

    engine, directions = qmc.Sobol(dim, scramble=False, bits=_BITS), []
    for bit in range(max(math.ceil(math.log2(num_points)), 1)):
        engine.reset()
        if bit:
            engine.fast_forward(2**bit - 1)
        before, after = np.round(engine.random(2) * 2.0**_BITS).astype(np.uint64)
        directions.append((before ^ after).astype(np.uint32))
    return np.stack(directions)


def _centred(bits: jax.Array) -> jax.Array:
    """Integers of 32 bits as floats in (0, 1), each in the middle of its cell."""
    return (jnp.asarray(bits >> 9, float) + 0.5) * 2.0**-23
