"""Attention with a Gaussian kernel, in blocks: linear memory, for any number of points.

    mean_i = sum_j w_ij v_j,   w_ij = softmax_j( log g_j - |q_i - k_j|^2 / 2 )

Blocks of queries and keys meet, and a running maximum keeps the sums in range (the online
softmax of Milakov and Gimelshein, arXiv:1805.02867, and of FlashAttention,
arXiv:2205.14135).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax.attention.blocks import (
    Blocks,
    as_blocks,
    even_size,
    in_groups,
    map_blocks,
    runs_at_once,
    usual_blocks,
)
from diffevo_jax.attention.cells import (
    Placed,
    as_keys,
    as_queries,
    find_centres,
    in_cells,
    log_kernel,
    log_kernel_by_product,
    mean_of_cells,
    nothing,
)
from diffevo_jax.attention.numerics import Guidance, guided, guided_sums, matmul, relative
from diffevo_jax.base import Estimate, PyTree
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import checked

#: What computes the attention; another one must take what :func:`attend` takes, but for the
#: block's size, and do as it does. ``guidance`` is None or a :class:`Guidance`, whose
#: strength is traced and may be 0, and whose log-weights may be finite where those of the
#: means are ``-inf``; the effective sample size and the weight of a query's own key are
#: those of the weighted mean.
Attention = Callable[..., Estimate]
#: Means, effective sample sizes and own weights of blocks of queries.
_Answers = tuple[jax.Array, ...]


@runtime_checkable
class Division(Protocol):
    """An attention whose queries are divided over devices."""

    @property
    def whole(self) -> Attention:
        """The attention that is divided."""
        ...

    def of(self, attention: Attention) -> Attention:
        """The same division of another attention."""
        ...


@checked
def attend(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    own: jax.Array,
    *,
    floor: float | None = None,
    guidance: Guidance | None = None,
    block_size: int | None = None,
) -> Estimate:
    """Attend with a Gaussian kernel of variance 1.

    Another implementation of the same arguments can take its place
    (``Population(attention=)``), ``floor`` and ``guidance`` among them.

    Extra memory is of the order of ``block_size^2 + N (d + D)``. The blocks are as few as
    there can be, and as even: little is filled up.

    Args:
        queries: (N, d), close to the origin compared with the spread of all: centre them.
            Several clusters may be far from each other.
        keys: (M, d), centred by the same point.
        values: (M, D).
        log_weight: (M,) log g, ``-inf`` for weight zero; not all may be.
        own: (N,) int32, number of the key that belongs to each query; M or more for none.
        floor: added to the kernel; None: no floor.
        guidance: how far to go beyond the weighted means, and away from which plain means
            of the same keys; None for not. At strength 0 the weighted means keep their
            bits. With more keys than a block the derivative by a strength of 0 is 0, since
            the plain means are not computed there.
        block_size: queries, and keys, in a block at most; None for 2,048 queries and 1,024
            keys on a CPU, and 2,048 of both on other devices. Under ``vmap`` as many runs
            at once as have no more pairs than one such block on a CPU, and than 2^28 on
            other devices.

    Returns:
        The weighted means of the values, or what is beyond them, as ``clean`` (N, D); of
        the weights the effective sample sizes, ``1 / sum_j w_ij^2`` in [1, M], and the
        weight of each query's own key.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import attend
        >>> points = jnp.array([[-1.0], [1.0]])
        >>> origin, none = jnp.zeros((1, 1)), jnp.array([2])
        >>> attend(origin, points, points, jnp.zeros(2), none).clean.tolist()
        [[0.0]]
    """
    check_given(queries, keys, values, log_weight, own, floor)
    # A loop over blocks cannot index what NumPy holds.
    queries, keys, values = map(jnp.asarray, (queries, keys, values))
    log_weight, own = map(jnp.asarray, (log_weight, own))
    most = usual_blocks() if block_size is None else Blocks(block_size, block_size)
    blocks = Blocks(even_size(len(queries), most.queries), even_size(len(keys), most.keys))
    at_once = runs_at_once(math.prod(blocks), math.prod(most))
    attention = in_groups(functools.partial(_attend, floor, blocks), at_once)
    given = queries, keys, values, log_weight, own
    plain = functools.partial(attention, *given, None)
    beyond = functools.partial(attention, *given, guidance)
    if guidance is None:
        answers = plain()
    elif len(keys) <= blocks.keys:
        answers = beyond()
    else:
        # The sums of the plain means cost a half to as much again, which nobody asks for
        # at 0.
        answers = jax.lax.cond(jnp.asarray(guidance.strength) == 0, plain, beyond)
    return joined(answers, len(queries), len(keys))


def check_given(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    own: jax.Array,
    floor: float | None,
) -> None:
    """Raise ValueError or TypeError unless arguments are such as :func:`attend` takes."""
    count, size, dim = len(queries), len(keys), jnp.shape(keys)[-1]
    for name, array, right, wanted in (
        ("keys", keys, keys.ndim == 2 and size > 0, "(M, d) with M >= 1"),
        ("queries", queries, queries.shape == (count, dim), f"({count}, {dim})"),
        ("values", values, values.ndim == 2 and len(values) == size, f"({size}, D)"),
        ("log_weight", log_weight, log_weight.shape == (size,), f"({size},)"),
        ("own", own, own.shape == (count,), f"({count},)"),
    ):
        if not right:
            raise ValueError(f"{name}: got shape {array.shape}, want {wanted}")
        kind = jnp.integer if name == "own" else jnp.floating
        if not jnp.issubdtype(array.dtype, kind):
            raise TypeError(f"{name}: got {array.dtype}, want {kind.__name__} numbers")
    validation.check_floor("floor", floor)


def _attend(
    floor: float | None,
    size: Blocks,
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    own: jax.Array,
    guidance: Guidance | None,
) -> _Answers:
    """Attend in blocks of so many queries and keys."""
    centres = find_centres(keys)
    placed = as_keys(keys, centres)
    columns, value_centres = in_cells(values, placed)
    several = len(keys) > size.keys
    beside = guidance is not None and several
    blocks = (
        jax.tree.map(lambda leaf: as_blocks(leaf, size.keys), placed),
        as_blocks(columns, size.keys),
        as_blocks(log_weight, size.keys, fill=-jnp.inf),
        guidance and as_blocks(guidance.log_weight, size.keys, fill=-jnp.inf),
        as_blocks(jnp.arange(len(keys), dtype=jnp.int32), size.keys)[:, 0],
    )

    # A guided answer has its logits from one product twice, with two weights.
    by_product = several and guidance is None and floor is None and keys.shape[1] > 1
    by_product = by_product and keys.dtype.itemsize >= 4  # half has no very low numbers

    def answer(few: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        points, owned = few
        sums = _fold(
            functools.partial(
                _absorb, floor, guidance, by_product, as_queries(points, centres), owned
            ),
            _nothing(len(points), columns.shape[1], values.dtype, beside=beside),
            blocks,
        )
        weighted = sums.mean.weighted
        if guidance is not None and sums.plain is not None:
            plain, strength = sums.plain.weighted, guidance.strength
            weighted = guided_sums(weighted, plain, len(value_centres), strength)
        mean, total = mean_of_cells(weighted, value_centres)
        largest = jax.lax.stop_gradient(sums.mean.largest)
        return mean, total**2 / sums.squares, relative(sums.own, largest) / total

    few = (as_blocks(queries, size.queries), as_blocks(own, size.queries))
    return map_blocks(answer, few)


class _Mean(NamedTuple):
    """A weighted sum so far, for B queries.

    Attributes:
        largest: (B,) largest logit.
        weighted: (B, D + C) weighted sum of values in cells, relative to the largest.
    """

    largest: jax.Array
    weighted: jax.Array


class _Sums(NamedTuple):
    """What the keys so far have come to, for B queries.

    Attributes:
        mean: of the weights; of those beyond them, signed, if all keys are one block.
        squares: (B,) sum of squared weights, relative to the largest.
        own: (B,) logit of the key that belongs to the query.
        plain: of the weights to go away from, if guided answers are of several blocks.
    """

    mean: _Mean
    squares: jax.Array
    own: jax.Array
    plain: _Mean | None


def _nothing(num_queries: int, num_columns: int, dtype: jnp.dtype, beside: bool) -> _Sums:
    zeros = jnp.zeros((num_queries, num_columns), dtype)
    lowest = jnp.full(num_queries, -jnp.inf, dtype)
    mean = _Mean(lowest, zeros)
    return _Sums(mean, zeros[:, 0], lowest, mean if beside else None)


def _absorb(
    floor: float | None,
    guidance: Guidance | None,
    by_product: bool,
    queries: Placed,
    own: jax.Array,
    sums: _Sums,
    keys: Placed,
    columns: jax.Array,
    log_weight: jax.Array,
    plain_log_weight: jax.Array | None,
    first: jax.Array,
) -> _Sums:
    """Add the K keys from number ``first`` on, with values in cells ``(K, D + C)``."""

    def weighed(log_weight: jax.Array) -> jax.Array:
        if by_product:
            return log_kernel_by_product(queries, keys, log_weight)
        if floor is None:
            return log_kernel(queries, keys, log_weight)
        exact = log_kernel(queries, keys) - queries.half_square[:, None]
        return jnp.logaddexp(exact, math.log(floor)) + log_weight[None]

    logits = weighed(log_weight)
    lowest = nothing(logits.dtype) if by_product else -jnp.inf
    largest, weights, shrink = _relative_to_largest(logits, sums.mean.largest, lowest)
    shares, plain = weights, sums.plain
    if guidance is not None and plain_log_weight is not None:
        plain_logits = weighed(plain_log_weight)
        if plain is None:  # all keys are here: one product is enough
            shares = guided(weights, plain_logits, guidance.strength)
        else:
            plain = _added(plain, plain_logits, columns)
    weighted = matmul(shares, columns)
    row = jnp.clip(own - first, 0, logits.shape[1] - 1)
    here = row == own - first
    return _Sums(
        _Mean(largest, sums.mean.weighted * shrink[:, None] + weighted),
        sums.squares * shrink**2 + jnp.sum(weights**2, axis=1),
        jnp.where(here, logits[jnp.arange(len(own)), row], sums.own),
        plain,
    )


def _relative_to_largest(
    logits: jax.Array, before: jax.Array, lowest: float = -jnp.inf
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The largest logits so far, weights by them, and what those before shrink by.

    A logit below the lowest is as good as ``-inf``.
    """
    largest = jnp.maximum(before, jnp.max(logits, axis=1))
    if lowest > -jnp.inf:
        largest = jnp.where(largest < lowest, -jnp.inf, largest)
    # Only keys of weight zero so far: their logits are -inf, and so is the largest.
    reference = jax.lax.stop_gradient(jnp.where(largest == -jnp.inf, 0.0, largest))
    weights = relative(logits, reference[:, None])
    return largest, weights, jnp.exp(jax.lax.stop_gradient(before) - reference)


def _added(mean: _Mean, logits: jax.Array, columns: jax.Array) -> _Mean:
    """A weighted sum with some keys more."""
    largest, weights, shrink = _relative_to_largest(logits, mean.largest)
    return _Mean(largest, mean.weighted * shrink[:, None] + matmul(weights, columns))


def _fold(function: Callable[..., _Sums], sums: _Sums, blocks: tuple[PyTree, ...]) -> _Sums:
    if len(jax.tree.leaves(blocks)[0]) == 1:
        return function(sums, *jax.tree.map(lambda leaf: leaf[0], blocks))
    return jax.lax.scan(lambda sums, block: (function(sums, *block), None), sums, blocks)[0]


def joined(answers: _Answers, count: int, num_keys: int) -> Estimate:
    """Means, effective sample sizes and own weights of blocks, of the first ``count``."""
    mean, size, own = (leaf.reshape(-1, *leaf.shape[2:])[:count] for leaf in answers)
    return Estimate(mean, jnp.clip(size, 1.0, num_keys), jnp.minimum(own, 1.0))
