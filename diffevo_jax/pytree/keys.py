"""Implementations of random keys, by what they do: which promises they can keep.

Runs are promised to be independent, and to draw the same together as alone. Threefry keeps
both. With ``rbg`` one key draws for all that is mapped over; with ``unsafe_rbg`` the order
of what is folded in does not matter: generation 2 of run 1 is generation 1 of run 2.
"""

import functools
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax.pytree.threefry import THREEFRY


def key_of_seed(seed: int) -> jax.Array:
    """A typed key that is the same whatever JAX's default implementation is."""
    return jax.random.key(seed, impl=THREEFRY)


def drawing_alone(name: str, key: jax.Array) -> jax.Array:
    """The key; to map over it raises if its implementation then draws otherwise.

    Args:
        name: of the argument.
        key: () typed.

    Raises:
        ValueError: numbers that are folded into such a key commute; or, when it is mapped
            over, all would draw from one.
    """
    kind = jax.random.key_impl(key)
    if kind == THREEFRY:
        return key
    if not _folds_in_order(kind):
        raise ValueError(
            f"{name}: got a key of {kind}, in which the order of what is folded in does "
            f"not matter, so that independent runs share noise; want one of {THREEFRY}"
        )
    if _draws_in_a_batch(kind):
        return key

    @jax.custom_batching.custom_vmap
    def alone(data: jax.Array) -> jax.Array:
        return data

    @alone.def_vmap
    def refuse(size: int, batched: list[bool], data: jax.Array) -> Any:
        raise ValueError(
            f"{name}: got {size} keys of {kind} under vmap, where one of them draws for "
            f"all; want keys of {THREEFRY}, or jax.lax.map (mode='map' of a sweep)"
        )

    return jax.random.wrap_key_data(alone(jax.random.key_data(key)), impl=kind)


def drawing_in_a_batch(key: jax.Array) -> jax.Array:
    """A key that draws the same in any batch: itself, or one of threefry of its data."""
    kind = jax.random.key_impl(key)
    if kind == THREEFRY or _draws_in_a_batch(kind):
        return key
    data = jnp.ravel(jax.random.key_data(key))
    made = jax.random.wrap_key_data(jnp.resize(data, (2,)), impl=THREEFRY)
    for word in data[2:]:
        made = jax.random.fold_in(made, word)
    return made


@functools.cache
def _folds_in_order(kind: Hashable) -> bool:
    """Whether 1 and then 2 is another key than 2 and then 1."""
    with jax.ensure_compile_time_eval(), jax.debug_key_reuse(False):
        key, fold_in = jax.random.key(0, impl=kind), jax.random.fold_in
        ends = [fold_in(fold_in(key, a), b) for a, b in ((1, 2), (2, 1))]
        first, second = (jax.random.key_data(end) for end in ends)
        return bool(jnp.any(first != second))


@functools.cache
def _draws_in_a_batch(kind: Hashable) -> bool:
    """Whether a key draws the same with others as alone."""
    with jax.ensure_compile_time_eval(), jax.debug_key_reuse(False):
        keys = jax.random.split(jax.random.key(0, impl=kind), 3)
        alone = jnp.stack([jax.random.bits(key, (4,)) for key in keys])
        together = jax.vmap(lambda key: jax.random.bits(key, (4,)))(keys)
        return bool(jnp.all(together == alone))
