"""Threefry without its loop: the same bits as JAX's, in programs that compile sooner.

JAX lowers its hash to a loop on a CPU, and a loop fuses with nothing: each place that
derives a key or draws a number is some ten kernels more, a third of a small program.
Written out, the hash is arithmetic like any other, part of the kernel that uses its bits.
On accelerators JAX's own is one kernel already.
"""

import functools
import math
from collections.abc import Hashable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

T = TypeVar("T")

#: JAX's default, which keeps all promises.
THREEFRY = "threefry2x32"
_PARITY = np.uint32(0x1BD11BDA)
_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
#: Counters of more numbers than these have two words.
_ONE_WORD = 2**32


def written_out(key: jax.Array) -> jax.Array:
    """A key that draws the same, for use in a function that returns no keys.

    The same key where JAX's own hash is as good: on accelerators, for other implementations
    of keys, and for the older order of counters (``jax_threefry_partitionable=False``).

    Example:
        >>> import jax
        >>> from diffevo_jax.pytree import threefry
        >>> key = jax.random.key(0)
        >>> same = jax.random.bits(threefry.written_out(key)) == jax.random.bits(key)
        >>> bool(same)
        True
    """
    partitionable = getattr(jax.config, "jax_threefry_partitionable", True)
    if (
        not partitionable
        or jax.default_backend() != "cpu"
        or jax.random.key_impl(key) != THREEFRY
    ):
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_written_out())


def of_kind(key: jax.Array, like: jax.Array) -> jax.Array:
    """Keys of :func:`written_out` as keys like the one that it was given."""
    kind = jax.random.key_impl(like)
    if jax.random.key_impl(key) == kind:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=kind)


def given_back(tree: T, drawn: jax.Array, like: jax.Array) -> T:
    """What a function has made, with its keys of :func:`written_out` as keys of JAX.

    A part may keep a key, begin with one of its own, or have it read on an accelerator.

    Args:
        tree: any pytree; leaves that are not keys of this kind stay what they are.
        drawn: the key that the function got.
        like: the key that this was made of.
    """
    is_ours = lambda leaf: jnp.result_type(leaf) == drawn.dtype
    return jax.tree.map(lambda leaf: of_kind(leaf, like) if is_ours(leaf) else leaf, tree)


@jax.jit  # traced, and lowered, once for each shape
def hash_pair(
    key: jax.Array, first: jax.Array, second: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 of 20 rounds: two words of 32 bits from two, by a key.

    Args:
        key: (2,) uint32.
        first: uint32, any shape.
        second: uint32, of that shape.

    References:
        Salmon, Moraes, Dror and Shaw, 2011, "Parallel random numbers: as easy as 1, 2, 3",
        SC '11, section 4.1.
    """
    words = key[0], key[1], key[0] ^ key[1] ^ _PARITY
    first, second = first + words[0], second + words[1]
    for number in range(5):
        for rotation in _ROTATIONS[number % 2]:
            first = first + second
            second = first ^ _rotated(second, rotation)
        first = first + words[(number + 1) % 3]
        second = second + words[(number + 2) % 3] + np.uint32(number + 1)
    return first, second


def _rotated(word: jax.Array, bits: int) -> jax.Array:
    left, right = np.uint32(bits), np.uint32(32 - bits)
    return jax.lax.shift_left(word, left) | jax.lax.shift_right_logical(word, right)


@functools.cache
def _written_out() -> Hashable:
    """The implementation; made once, since each is of a type of its own."""
    return define_prng_impl(
        key_shape=(2,),
        seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl=THREEFRY)),
        split=_split,
        random_bits=_random_bits,
        fold_in=_fold_in,
        name="diffevo_threefry2x32",
        tag="dfry",
    )


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    if math.prod(shape) > _ONE_WORD:
        return jax.random.key_data(jax.random.split(_of_jax(key), shape))
    return jnp.stack(hash_pair(key, *_counters(shape)), axis=-1)


def _fold_in(key: jax.Array, data: jax.typing.ArrayLike) -> jax.Array:
    low = jnp.asarray(data).astype(jnp.uint32)
    return jnp.stack(hash_pair(key, jnp.zeros_like(low), low))


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    if math.prod(shape) > _ONE_WORD:
        return jax.random.bits(_of_jax(key), shape, f"uint{bit_width}")
    first, second = hash_pair(key, *_counters(shape))
    kind = jnp.dtype(f"uint{bit_width}")
    if bit_width == 64:
        return (first.astype(kind) << np.uint64(32)) | second.astype(kind)
    return (first ^ second).astype(kind)


def _of_jax(key: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(key, impl=THREEFRY)


def _counters(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """0, 1, 2, ... in a shape, as the high and the low words of 64 bits."""
    low = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return jnp.zeros_like(low), low
