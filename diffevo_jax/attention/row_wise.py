"""Attention by whole rows: where each individual has a bandwidth or weights of its own.

What depends on a whole row of the kernel (a bandwidth that is calibrated, a fitness that
is compared with that of neighbours) needs the row at once. Here a block of rows is made,
answered, and forgotten: the memory is that of a block, the time that of all pairs.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax.attention.blocked import check_given, joined
from diffevo_jax.attention.blocks import (
    CPU_PAIRS,
    as_blocks,
    even_size,
    in_groups,
    runs_at_once,
)
from diffevo_jax.attention.cells import (
    as_keys,
    as_queries,
    find_centres,
    in_cells,
    log_kernel,
    mean_of_cells,
)
from diffevo_jax.attention.numerics import Guidance, guided, matmul
from diffevo_jax.base import Estimate
from diffevo_jax.pytree.annotations import checked

#: Numbers of a block of rows. The bits of a result depend on it, and on nothing else.
BLOCK_NUMBERS = 2**22

#: From half squared distances (B, M), up to a constant a row, and which points count
#: (M,) to precisions (B,).
RowPrecision = Callable[[jax.Array, jax.Array], jax.Array]
#: From the log-kernel (B, M) to log-weights (B, M).
RowLogWeight = Callable[[jax.Array], jax.Array]


@checked
def attend_by_rows(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    own: jax.Array,
    *,
    row_precision: RowPrecision,
    row_log_weight: RowLogWeight | None = None,
    floor: float | None = None,
    guidance: Guidance | None = None,
    block_numbers: int = BLOCK_NUMBERS,
) -> Estimate:
    """Attend with a bandwidth, and with log-weights, that depend on the row.

        w_ij = softmax_j( log g_j + log g_ij - p_i |q_i - k_j|^2 / 2 )

    Args:
        queries: (N, d), centred with the keys.
        keys: (M, d).
        values: (M, D).
        log_weight: (M,) log g, ``-inf`` for weight zero; not all may be.
        own: (N,) int32, number of the key that belongs to each query; M or more for none.
        row_precision: gives p, from half the squared distances, up to a constant a row.
        row_log_weight: gives ``log g_ij``, from ``log g_j``'s zeros and the kernel; None
            for 0.
        floor: added to the kernel; None: no floor.
        guidance: beyond the weighted means, as in :func:`diffevo_jax.attention.attend`; the
            plain means are by the same rows of the kernel.
        block_numbers: at most so many numbers in a block of rows, at least one row. Under
            ``vmap`` as many runs at once as have no more together, nor more than 2^21, on a
            CPU, and 2^28 on other devices; at least one.

    Returns:
        The answers to the N queries.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import attend_by_rows
        >>> keys, values = jnp.array([[-1.0], [1.0]]), jnp.array([[10.0], [20.0]])
        >>> queries, none = jnp.array([[0.0], [0.9]]), jnp.array([2, 2])
        >>> sharp = lambda half_squares, mask: jnp.array([0.0, 1e3])[: len(half_squares)]
        >>> given = queries, keys, values, jnp.zeros(2), none
        >>> attend_by_rows(*given, row_precision=sharp).clean.tolist()
        [[15.0], [20.0]]
    """
    check_given(queries, keys, values, log_weight, own, floor)
    given = tuple(map(jnp.asarray, (queries, keys, values, log_weight, own)))  # or NumPy's
    size = even_size(len(queries), max(1, block_numbers // len(keys)))
    rows = functools.partial(_attend_by_rows, row_precision, row_log_weight, floor, size)
    at_once = runs_at_once(size * len(keys), min(block_numbers, CPU_PAIRS))
    answers = in_groups(rows, at_once)(*given, guidance)
    return joined(answers, len(queries), len(keys))


def _attend_by_rows(
    row_precision: RowPrecision,
    row_log_weight: RowLogWeight | None,
    floor: float | None,
    size: int,
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    own: jax.Array,
    guidance: Guidance | None,
) -> tuple[jax.Array, ...]:
    """Attend in blocks of so many rows."""
    mask = log_weight > -jnp.inf
    centres = find_centres(keys)
    placed = as_keys(keys, centres)
    columns, value_centres = in_cells(values, placed)

    def answer(row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        few, owned = row
        asked = as_queries(few, centres)
        half = -log_kernel(asked, placed)
        precision = row_precision(half, mask)[:, None]
        log_rows = -precision * half
        if floor is not None:
            log_rows -= precision * asked.half_square[:, None]
            log_rows = jnp.logaddexp(log_rows, math.log(floor))
        logits = log_rows + log_weight[None]
        if row_log_weight is not None:
            logits += row_log_weight(jnp.where(mask, log_rows, -jnp.inf))
        weight = jax.nn.softmax(logits, axis=1)
        share = weight
        if guidance is not None:
            share = guided(weight, log_rows + guidance.log_weight[None], guidance.strength)
        mean, _ = mean_of_cells(matmul(share, columns), value_centres)
        here = jnp.minimum(owned, len(keys) - 1)
        self_weight = jnp.where(owned == here, weight[jnp.arange(len(few)), here], 0.0)
        return mean, 1.0 / jnp.sum(weight**2, axis=1), self_weight

    rows = (as_blocks(queries, size), as_blocks(own, size))
    return jax.lax.map(answer, rows)
