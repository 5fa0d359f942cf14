"""What :mod:`diffevo_jax.attention.fused` runs on a GPU: a program for a few queries each.

A program keeps its queries and their sums in registers, reads the keys one after the
other, and writes once. Logits are in units of log 2, since a GPU raises 2 to a power. There
are two forms, by how many columns queries, keys and values have.

* Narrow: a query is a lane, a key is read by all of them at once, and every product is a
  multiply-add of its own.
* Wide: a tile of queries meets a tile of keys in a matrix product.

Keys are added up in rounds, and then the sums of these: a sum of all keys one after the
other would lose a digit for each hundred times as many.
"""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import jax
import jax.numpy as jnp

if TYPE_CHECKING:  # a tenth of the time that the library takes to import
    from jax.experimental.pallas import triton

#: Base-2 logits of natural ones.
LOG2_E = 1.0 / math.log(2.0)
#: Keys of a round.
_ADDED_UP = 512
#: Columns of queries and of values up to which the narrow form is the faster one: there it
#: takes a time by their number, where a product of matrices has 16 of each at least.
_NARROW = 14
#: A matrix product in a kernel has at least so many columns.
_FEWEST = 16
#: Products of matrices in full float32, and by three of TF32's numbers on tensor cores.
FULL, THREE = jax.lax.Precision.HIGHEST, jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3


class Tiling(NamedTuple):
    """How the work is cut; it changes times, and results by their rounding.

    Attributes:
        wide: by products of matrices, or narrow: by multiply-adds of single columns.
        queries: of a program, a power of 2; at least 16 if wide.
        keys: that meet them at once, a power of 2; at least 16 if wide.
        num_warps: of 32 threads that share a program, a power of 2.
        num_stages: loads that are under way ahead of their use, if wide.
        precision: of products of matrices: ``jax.lax.Precision.HIGHEST``, full float32, or
            ``jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3``, by tensor cores: numbers are
            sums of two of TF32's, and three of the four products are made.

    Example:
        >>> import functools, diffevo_jax as de
        >>> from diffevo_jax.attention import Tiling, attend_fused
        >>> tiling = Tiling(wide=False, queries=64, keys=8, num_warps=2)
        >>> timed = functools.partial(attend_fused, tiling=tiling)  # instead of the guess
        >>> strategy = de.DiffusionEvolution(25, de.denoisers.Population(attention=timed))
        >>> strategy.denoiser.attention.keywords["tiling"].queries
        64
    """

    wide: bool
    queries: int
    keys: int
    num_warps: int
    num_stages: int = 2
    precision: jax.lax.Precision | jax.lax.DotAlgorithmPreset = FULL


class Table(NamedTuple):
    """Queries, keys and values as a kernel reads them.

    Attributes:
        queries: (N, K).
        half_square: (N,), of base-2 logits; taken off where there is a floor.
        own: (N,) int32.
        keys: (M, K), of base-2 logits but for K = 1.
        log_kernel: (M,), of base-2 logits, added to the products.
        log_weight: (M,), of base-2 logits, added after the floor; else part of the above.
        values: (M, V).
    """

    queries: jax.Array
    half_square: jax.Array
    own: jax.Array
    keys: jax.Array
    log_kernel: jax.Array
    log_weight: jax.Array
    values: jax.Array


class Sums(NamedTuple):
    """What all keys come to, for N queries.

    Attributes:
        weighted: (N, V) weighted sums of values, relative to the largest.
        largest: (N,) largest base-2 logit.
        squares: (N,) sum of squared weights, relative to the largest.
        own: (N,) base-2 logit of a query's own key, ``-inf`` if it has none.
    """

    weighted: jax.Array
    largest: jax.Array
    squares: jax.Array
    own: jax.Array


class _Memory(Protocol):
    """An array that a kernel reads or writes by pieces."""

    dtype: jnp.dtype

    def __getitem__(self, index: object) -> jax.Array: ...

    def __setitem__(self, index: object, value: jax.Array) -> None: ...


#: Largest logits, sums of squares and own logits (Q,) each, then sums of values.
_Carry = tuple[jax.Array, ...]


def usual_tiling(num_queries: int, columns: int, value_columns: int) -> Tiling:
    """By times on an H200, at 16, 64 and 128 columns; between them it is a guess.

    Args:
        num_queries: N.
        columns: K, of queries and keys.
        value_columns: V.
    """
    if columns + value_columns <= _NARROW:
        few = 128 if num_queries < 2**15 else 256
        return Tiling(False, few if num_queries < 2**17 else 512, 8, 4)
    widest = max(columns, value_columns)
    # Wider ones have no registers for as many keys at once.
    keys = 32 if widest <= 32 else 64 if widest <= 64 else 16
    return Tiling(True, 64, keys, 4, precision=THREE)


def sums(table: Table, floor: float | None, tiling: Tiling, interpret: bool) -> Sums:
    """The sums over all keys, by one kernel.

    Args:
        table: of N queries and M keys.
        floor: added to the kernel; None for none.
        tiling: how the work is cut.
        interpret: run the kernel as plain JAX, on any platform.
    """
    found = (_wide if tiling.wide else _narrow)(table, floor, tiling, interpret)
    return Sums(*(leaf[: len(table.queries)] for leaf in found))


def _compiler_params(tiling: Tiling) -> "triton.CompilerParams":
    from jax.experimental.pallas import triton

    return triton.CompilerParams(num_warps=tiling.num_warps, num_stages=tiling.num_stages)


def _longer(array: jax.Array, multiple: int, fill: float = 0.0, axis: int = 0) -> jax.Array:
    """With an axis filled up to a multiple."""
    missing = -array.shape[axis] % multiple
    if not missing:
        return array
    padding = [(0, missing if one == axis else 0) for one in range(array.ndim)]
    return jnp.pad(array, padding, constant_values=fill)


def _floored(
    logits: jax.Array, half_square: jax.Array, log_weight: jax.Array, floor: float
) -> jax.Array:
    """Base-2 logits of a kernel with a floor, and its weights."""
    exact, lowest = logits - half_square, math.log2(floor)
    beside = jnp.exp2(-jnp.abs(exact - lowest))
    return jnp.maximum(exact, lowest) + LOG2_E * jnp.log1p(beside) + log_weight


def _differ(query: jax.Array, key: jax.Array) -> jax.Array:
    """What the kernel of one dimension takes off, in base-2 logits."""
    return (0.5 * LOG2_E) * (query - key) ** 2


def _reference(largest: jax.Array) -> jax.Array:
    """From where weights count: 0 if all keys so far are of weight zero."""
    return jnp.where(largest == -jnp.inf, 0.0, largest)


def _weights(logits: jax.Array, reference: jax.Array) -> jax.Array:
    return jnp.exp2(jnp.minimum(logits - reference, 0.0))


def _joined(first: _Carry, second: _Carry) -> _Carry:
    """The sums of two sets of keys."""
    largest = jnp.maximum(first[0], second[0])
    reference = _reference(largest)
    ours, theirs = jnp.exp2(first[0] - reference), jnp.exp2(second[0] - reference)
    squares = first[1] * ours**2 + second[1] * theirs**2
    if first[3].ndim == 2:
        ours, theirs = ours[:, None], theirs[:, None]
    both = zip(first[3:], second[3:], strict=True)
    weighted = [one * ours + other * theirs for one, other in both]
    return largest, squares, jnp.maximum(first[2], second[2]), *weighted


def _rounds(num_keys: int, together: int) -> tuple[int, int]:
    """How many rounds there are, and how often so many keys together are in each."""
    rounds = -(-num_keys // _ADDED_UP)
    return rounds, -(-num_keys // (rounds * together))


def _in_rounds(
    rounds: int,
    length: int,
    absorb: Callable[[jax.Array, _Carry], _Carry],
    empty: _Carry,
) -> _Carry:
    """The sums of all keys, some of which are absorbed by their number at a time."""

    def round_of(number: jax.Array, carry: _Carry) -> _Carry:
        mine = lambda index, some: absorb(number * length + index, some)
        found: _Carry = jax.lax.fori_loop(0, length, mine, empty)
        return _joined(carry, found)

    found: _Carry = jax.lax.fori_loop(0, rounds, round_of, empty)
    return found


# Narrow


def _narrow(table: Table, floor: float | None, tiling: Tiling, interpret: bool) -> Sums:
    from jax.experimental import pallas as pl

    size, columns = table.keys.shape
    num_values, block = table.values.shape[1], tiling.queries
    rounds = _rounds(size, tiling.keys)
    rows = [table.keys, table.values, table.log_kernel[:, None]]
    if floor is not None:
        rows.append(table.log_weight[:, None])
    keys = jnp.concatenate(rows, axis=1)
    # Keys that fill a round up have no weight: by their kernel, or by their weight.
    missing = math.prod(rounds) * tiling.keys - size
    silent = jnp.zeros((missing, keys.shape[1]), keys.dtype).at[:, -1].set(-jnp.inf)
    queries = _longer(table.queries.T, block, axis=1)
    own = _longer(table.own, block, fill=-1)
    half_square = _longer(table.half_square, block)
    length = len(own)

    one = pl.BlockSpec((block,), lambda i: (i,))
    many = lambda count: pl.BlockSpec((count, block), lambda i: (0, i))
    of_all = lambda *shape: jax.ShapeDtypeStruct(shape, queries.dtype)
    weighted, largest, squares, own_logit = pl.pallas_call(
        functools.partial(_narrow_kernel, columns, num_values, floor, tiling.keys, rounds),
        out_shape=(of_all(num_values, length), *(of_all(length),) * 3),
        grid=(length // block,),
        in_specs=[many(columns), one, one, pl.BlockSpec(memory_space=pl.ANY)],
        out_specs=(many(num_values), one, one, one),
        compiler_params=None if interpret else _compiler_params(tiling),
        interpret=interpret,
    )(queries, half_square, own, jnp.concatenate([keys, silent]))
    return Sums(weighted.T, largest, squares, own_logit)


def _narrow_kernel(
    columns: int,
    num_values: int,
    floor: float | None,
    together: int,
    rounds: tuple[int, int],
    query_memory: _Memory,
    half_memory: _Memory,
    own_memory: _Memory,
    key_memory: _Memory,
    weighted_memory: _Memory,
    largest_memory: _Memory,
    squares_memory: _Memory,
    own_logit_memory: _Memory,
) -> None:
    queries = [query_memory[column, :] for column in range(columns)]
    own = own_memory[:]

    def logit(key: jax.Array) -> jax.Array:
        found = key_memory[key, columns + num_values]
        for column, query in enumerate(queries):
            along = key_memory[key, column]
            if columns == 1:
                found -= _differ(query, along)
            else:
                found += query * along
        if floor is None:
            return found
        log_weight = key_memory[key, columns + num_values + 1]
        return _floored(found, half_memory[:], log_weight, floor)

    def absorb(chunk: jax.Array, carry: _Carry) -> _Carry:
        """The keys of a chunk; written out, so that its parts are under way at once."""
        before, squares, own_logit, *weighted = carry
        keys = [chunk * together + number for number in range(together)]
        logits = [logit(key) for key in keys]
        largest = functools.reduce(jnp.maximum, logits, before)
        reference = _reference(largest)
        shrink = jnp.exp2(before - reference)
        squares *= shrink**2
        weighted = [one * shrink for one in weighted]
        for key, found in zip(keys, logits, strict=True):
            weight = _weights(found, reference)
            squares += weight**2
            own_logit = jnp.where(own == key, found, own_logit)
            for number in range(num_values):
                weighted[number] += weight * key_memory[key, columns + number]
        return largest, squares, own_logit, *weighted

    nothing = jnp.zeros(own.shape, queries[0].dtype)
    lowest = jnp.full(own.shape, -jnp.inf, queries[0].dtype)
    empty = (lowest, nothing, lowest, *(nothing,) * num_values)
    found = _in_rounds(*rounds, absorb, empty)
    largest_memory[:], squares_memory[:], own_logit_memory[:] = found[:3]
    for number, one in enumerate(found[3:]):
        weighted_memory[number, :] = one


# Wide


def _product(
    tiling: Tiling, interpret: bool
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    if interpret and tiling.precision == THREE:
        return three_products
    return functools.partial(jnp.dot, precision=tiling.precision)


def three_products(first: jax.Array, second: jax.Array) -> jax.Array:
    """A product of float32 matrices as tensor cores make it, for platforms without them."""
    ours, theirs = rounded_to_tf32(first), rounded_to_tf32(second)
    small = rounded_to_tf32(first - ours), rounded_to_tf32(second - theirs)
    product = functools.partial(jnp.dot, precision=FULL)
    return product(small[0], theirs) + product(ours, small[1]) + product(ours, theirs)


def rounded_to_tf32(array: jax.Array) -> jax.Array:
    """Finite float32 numbers, rounded to the ten digits that TF32 has of their 23."""
    bits = jax.lax.bitcast_convert_type(array, jnp.int32)
    rounded = (bits + jnp.int32(1 << 12)) & jnp.int32(-1 << 13)
    return jax.lax.bitcast_convert_type(rounded, jnp.float32)


def _wide(table: Table, floor: float | None, tiling: Tiling, interpret: bool) -> Sums:
    from jax.experimental import pallas as pl

    num_values = table.values.shape[1]
    block = tiling.queries
    width = max(_FEWEST, pl.next_power_of_2(table.keys.shape[1]))
    value_width = max(_FEWEST, pl.next_power_of_2(num_values))
    rounds = _rounds(len(table.keys), tiling.keys)
    whole = math.prod(rounds) * tiling.keys
    queries = _longer(_longer(table.queries, block), width, axis=1)
    keys = _longer(_longer(table.keys, whole), width, axis=1)
    values = _longer(_longer(table.values, whole), value_width, axis=1)
    length = len(queries)
    # Keys that fill a round up have no weight: by their kernel, or by their weight.
    log_kernel = _longer(table.log_kernel, whole, fill=-jnp.inf if floor is None else 0.0)
    log_weight = _longer(table.log_weight, whole, fill=-jnp.inf)

    one = pl.BlockSpec((block,), lambda i: (i,))
    many = lambda count: pl.BlockSpec((block, count), lambda i: (i, 0))
    anywhere = pl.BlockSpec(memory_space=pl.ANY)
    of_all = lambda *shape: jax.ShapeDtypeStruct(shape, queries.dtype)
    weighted, largest, squares, own_logit = pl.pallas_call(
        functools.partial(
            _wide_kernel,
            table.keys.shape[1],
            value_width,
            floor,
            tiling,
            rounds,
            _product(tiling, interpret),
        ),
        out_shape=(of_all(length, value_width), *(of_all(length),) * 3),
        grid=(length // block,),
        in_specs=[many(width), one, one, *(anywhere,) * 4],
        out_specs=(many(value_width), one, one, one),
        compiler_params=None if interpret else _compiler_params(tiling),
        interpret=interpret,
    )(
        queries,
        _longer(table.half_square, block),
        _longer(table.own, block, fill=-1),
        keys,
        log_kernel,
        log_weight,
        values,
    )
    return Sums(weighted[:, :num_values], largest, squares, own_logit)


def _wide_kernel(
    columns: int,
    value_width: int,
    floor: float | None,
    tiling: Tiling,
    rounds: tuple[int, int],
    product: Callable[[jax.Array, jax.Array], jax.Array],
    query_memory: _Memory,
    half_memory: _Memory,
    own_memory: _Memory,
    key_memory: _Memory,
    log_kernel_memory: _Memory,
    log_weight_memory: _Memory,
    value_memory: _Memory,
    weighted_memory: _Memory,
    largest_memory: _Memory,
    squares_memory: _Memory,
    own_logit_memory: _Memory,
) -> None:
    from jax.experimental import pallas as pl

    own, dtype = own_memory[:], log_kernel_memory.dtype
    numbers = jax.lax.broadcasted_iota(jnp.int32, (tiling.queries, tiling.keys), 1)

    def absorb(number: jax.Array, carry: _Carry) -> _Carry:
        before, squares, own_logit, weighted = carry
        here = pl.ds(number * tiling.keys, tiling.keys)
        logits = log_kernel_memory[here][None]
        if columns == 1:
            query, key = query_memory[:, 0], key_memory[here, 0]
            logits -= _differ(query[:, None], key[None])
        else:
            logits += product(query_memory[:, :], key_memory[here, :].T)
        if floor is not None:
            half, log_weight = half_memory[:][:, None], log_weight_memory[here][None]
            logits = _floored(logits, half, log_weight, floor)
        largest = jnp.maximum(before, jnp.max(logits, axis=1))
        reference = _reference(largest)
        weights = _weights(logits, reference[:, None])
        shrink = jnp.exp2(before - reference)
        mine = numbers == (own - number * tiling.keys)[:, None]
        return (
            largest,
            squares * shrink**2 + jnp.sum(weights**2, axis=1),
            jnp.maximum(own_logit, jnp.max(jnp.where(mine, logits, -jnp.inf), axis=1)),
            weighted * shrink[:, None] + product(weights, value_memory[here, :]),
        )

    nothing = jnp.zeros(own.shape, dtype)
    lowest = jnp.full(own.shape, -jnp.inf, dtype)
    sums = jnp.zeros((tiling.queries, value_width), dtype)
    found = _in_rounds(*rounds, absorb, (lowest, nothing, lowest, sums))
    largest_memory[:], squares_memory[:], own_logit_memory[:] = found[:3]
    weighted_memory[:, :] = found[3]
