"""Many pytrees of like shape as the columns of a few arrays of 32-bit words.

A loop over lanes whose state is one array is one kernel a step on a CPU, where every array
of its own would be another kernel, and a copy.
"""

import functools
import math
from collections.abc import Hashable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.base import PyTree

#: XLA joins no more operands than these into one kernel.
_TOGETHER = 8
_BITS = 32

#: Arrays ``(S, L)`` of words of 32 bits, for L lanes.
Words = tuple[jax.Array, ...]
#: What has a shape and a dtype.
Leaf = jax.Array | jax.ShapeDtypeStruct
Item = TypeVar("Item")


def pack(lanes: PyTree) -> Words:
    """Write leaves ``(..., L)`` as rows of words, every bit kept.

    Args:
        lanes: real numbers of 8 to 64 bits, booleans or typed keys, with the lanes last.
    """
    leaves = jax.tree.leaves(lanes)
    flags = [leaf for leaf in leaves if _is_flag(leaf, 1)]
    words = [_words(leaf) for leaf in leaves if not _is_flag(leaf, 1)]
    for few in _groups(flags, _BITS):
        bits = [flag.astype(jnp.uint32) for flag in few]
        bits = bits[:1] + [bit << i for i, bit in enumerate(bits) if i]
        words.append(_written(functools.reduce(jnp.bitwise_or, bits)))
    rows = [leaf.reshape(-1, leaf.shape[-1]) for leaf in words]
    return tuple(map(jnp.concatenate, _groups(rows, _TOGETHER)))


def unpack(packed: Words, lane: PyTree) -> PyTree:
    """Read rows back into leaves ``(..., L)``.

    Args:
        packed: as :func:`pack` wrote it.
        lane: the shapes of one lane, for example from ``jax.eval_shape``.
    """
    shapes, structure = jax.tree.flatten(lane)
    others = [shape for shape in shapes if not _is_flag(shape, 0)]
    num_flags = len(shapes) - len(others)
    kinds = [_word_shape(shape) for shape in others]
    kinds += [()] * math.ceil(num_flags / _BITS)
    words = []
    for array, group in zip(packed, _groups(kinds, _TOGETHER), strict=True):
        start = 0
        for kind in group:
            stop = start + math.prod(kind)
            words.append(array[start:stop].reshape(*kind, array.shape[1]))
            start = stop
    values = iter(map(_value, words, others))
    bits = [_read(word) for word in words[len(others) :]]
    flags = (bits[i // _BITS] & np.uint32(1 << i % _BITS) != 0 for i in range(num_flags))
    leaves = [next(flags if _is_flag(shape, 0) else values) for shape in shapes]
    return jax.tree.unflatten(structure, leaves)


def _groups(items: list[Item], size: int) -> Iterator[list[Item]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _is_flag(leaf: Leaf, ndim: int) -> bool:
    """Whether a leaf is a single boolean a lane, of which many fit a word."""
    return leaf.dtype == bool and leaf.ndim == ndim


def _is_key(leaf: Leaf) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _key_impl(shape: jax.ShapeDtypeStruct) -> Hashable:
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), shape)
    return found[0]


def _word_shape(shape: jax.ShapeDtypeStruct) -> tuple[int, ...]:
    return jax.eval_shape(lambda leaf: _words(leaf[..., None]), shape).shape[:-1]


def _words(leaf: jax.Array) -> jax.Array:
    """A leaf ``(..., L)`` as words; what needs several words gets an axis for them."""
    if leaf.dtype == _word():
        return leaf
    if _is_key(leaf):
        return _written(jnp.moveaxis(jax.random.key_data(leaf), -2, -1))
    if leaf.dtype == bool:
        return _written(leaf.astype(jnp.uint32))
    size = leaf.dtype.itemsize
    if size == 8:
        pair = jax.lax.bitcast_convert_type(leaf, jnp.uint32)
        return _written(jnp.moveaxis(pair, -2, -1))
    unsigned = jax.lax.bitcast_convert_type(leaf, jnp.dtype(f"uint{8 * size}"))
    return _written(unsigned.astype(jnp.uint32))


def _value(words: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
    """The inverse of :func:`_words`."""
    if like.dtype == _word():
        return words
    words = _read(words)
    if _is_key(like):
        data = jnp.moveaxis(words, -2, -1)
        return jax.random.wrap_key_data(data, impl=_key_impl(like))
    if like.dtype == bool:
        return words != 0
    size = like.dtype.itemsize
    if size == 8:
        return jax.lax.bitcast_convert_type(jnp.moveaxis(words, -2, -1), like.dtype)
    unsigned = words.astype(jnp.dtype(f"uint{8 * size}"))
    return jax.lax.bitcast_convert_type(unsigned, like.dtype)


def _word() -> jnp.dtype:
    """What a word counts as. Nothing is computed with words: they are moved, bit for bit.

    On a CPU floats, as most numbers are, so that less is converted. XLA takes a conversion
    for arithmetic, and divides a kernel with much arithmetic among the cores, where to wake
    a thread takes longer than a step.
    """
    return jnp.dtype("float32" if jax.default_backend() == "cpu" else "uint32")


def _written(bits: jax.Array) -> jax.Array:
    """uint32 as words."""
    return jax.lax.bitcast_convert_type(bits, _word())


def _read(words: jax.Array) -> jax.Array:
    """Words as uint32."""
    return jax.lax.bitcast_convert_type(words, jnp.uint32)
