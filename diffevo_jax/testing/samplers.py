"""The promises of a sampler; :class:`diffevo_jax.Sampler` is their contract."""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import noise, pytree
from diffevo_jax.base import PyTree, Sampler
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.testing.agreement import (
    D,
    Promise,
    close,
    each_number_changed,
    expect,
    hold,
    key,
    population,
    same_bits,
    same_types,
    together_and_alone,
)

#: A short grid of short steps, on which every solver is at home.
SIGMAS = np.geomspace(2.0, 0.25, 9)
#: Points of a walk: enough to know their deviation to a twentieth.
NUM_POINTS = 64


def _round(
    sampler: Sampler,
    key: jax.Array,
    y: jax.Array,
    memory: PyTree,
    clean: jax.Array,
    k: jax.Array,
) -> tuple[Any, Any]:
    """What ``query`` and ``update`` return for an answer."""
    sigmas = jnp.asarray(SIGMAS, y.dtype)
    asked = sampler.query(key, y, memory, sigmas, k)
    return asked, sampler.update(key, *asked[::2], clean, sigmas, k)


# The promises share this program: one is compiled for all samplers of one structure.
_compiled = jax.jit(_round)


def _given(sampler: Sampler, dim: int, k: int = 0) -> tuple[Any, ...]:
    """Arguments of a round at the first level."""
    sampler, y = pytree.strong(sampler), 2.0 * population(NUM_POINTS, dim)
    clean = jnp.full_like(y, 0.5)
    return sampler, key(), clean + y, sampler.init(y), clean, jnp.asarray(k)


def _num_answers(sampler: Sampler) -> int:
    """Answers until the last level is reached."""
    rounds = sampler.num_rounds(len(SIGMAS)) - 1
    return rounds * sampler.answers_per_evaluation


def rounds_are_counted(sampler: Sampler, dim: int = D) -> None:
    """One round for one level, and more for more levels; at least an answer in each.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.rounds_are_counted(de.samplers.Heun(frozen=True))
    """
    rounds = [sampler.num_rounds(levels) for levels in range(1, 20)]
    expect(rounds[0] == 1, "one round for one level", rounds[0])
    expect(min(np.diff(rounds)) > 0, "more rounds for more levels", rounds)
    answers = sampler.answers_per_evaluation
    expect(answers >= 1, "at least one answer an evaluation", answers)


def memory_keeps_its_types(sampler: Sampler, dim: int = D) -> None:
    """Points, levels and memory keep structure, shapes and dtypes.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.memory_keeps_its_types(de.samplers.Heun(frozen=True))
    """
    given = _, _, y, memory, *_ = _given(sampler, dim)
    for returned in _compiled(*given):
        level = jnp.zeros((), y.dtype)
        same_types((y, level, memory), returned, "points, level and memory as before")


def asks_where_it_is(sampler: Sampler, dim: int = D) -> None:
    """The first question is the first point itself, at the first level of the grid.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.asks_where_it_is(de.samplers.Heun(frozen=True))
    """
    given = _given(sampler, dim)
    (y, sigma, _), _ = _compiled(*given)
    same_bits(y, given[2], "the first question about the first point")
    close(sigma, jnp.asarray(SIGMAS[0], y.dtype), "the first level")


def asking_draws_nothing(sampler: Sampler, dim: int = D) -> None:
    """Noise is added in ``update`` alone: what is asked about is what is evaluated.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.asking_draws_nothing(de.samplers.Heun(frozen=True))
    """
    sampler, key, *rest = _given(sampler, dim)
    for answer in range(2):
        rest[-1] = jnp.asarray(answer)
        asked, _ = _compiled(sampler, key, *rest)
        other, _ = _compiled(sampler, jax.random.fold_in(key, 1), *rest)
        same_bits(asked, other, "the same question whatever the key is")


def walks_to_the_end(sampler: Sampler, dim: int = D) -> None:
    """With one clean point for all, they end at the last level, about its noise away.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.walks_to_the_end(de.samplers.Heun(frozen=True))
    """
    sampler, first, y, memory, clean, _ = _given(sampler, dim)
    for k in range(_num_answers(sampler)):
        given = sampler, jax.random.fold_in(first, k), y, memory, clean, jnp.asarray(k)
        _, (y, sigma, memory) = _compiled(*given)
    last = jnp.asarray(SIGMAS[-1], y.dtype)
    close(sigma, last, "the last level at the end")
    away = jnp.sqrt(jnp.mean((y - clean) ** 2))
    expect(away < 2 * last, f"points within {2 * last:.3g} of their clean point", away)


def jit_equals_eager(sampler: Sampler, dim: int = D) -> None:
    """Compiled and eager agree to rounding.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.jit_equals_eager(de.samplers.Heun(frozen=True))
    """
    given = _given(sampler, dim)
    close(_compiled(*given), _round(*given), "compiled as eager")


def same_key_same_bits(sampler: Sampler, dim: int = D) -> None:
    """A step is a function of its key.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.same_key_same_bits(de.samplers.Heun(frozen=True))
    """
    given = _given(sampler, dim)
    same_bits(_round(*given), _round(*given), "the same bits for the same key")


def vmap_over_any_number_equals_a_loop(sampler: Sampler, dim: int = D) -> None:
    """Every numeric field can be swept."""
    together_and_alone(
        lambda numbers: _compiled(*_given(numbers, dim))[1],
        each_number_changed(sampler),
        "with a number swept the step of each setting alone",
    )


def one_level_is_enough(sampler: Sampler, dim: int = D) -> None:
    """A grid of one level is legal: what it asks there and answers is finite.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.samplers.one_level_is_enough(de.samplers.Heun(frozen=True))
    """
    sampler, key, y, memory, clean, k = _given(sampler, dim)
    sigmas = jnp.asarray([noise.SIGMA_MIN], y.dtype)
    asked = sampler.query(key, y, memory, sigmas, k)
    moved = sampler.update(key, *asked[::2], clean, sigmas, k)
    for leaf in jax.tree.leaves((asked, moved)):
        expect(np.isfinite(leaf).all(), "finite numbers on a grid of one level", leaf)


#: What every sampler promises.
PROMISES: tuple[Promise, ...] = (
    rounds_are_counted,
    memory_keeps_its_types,
    asks_where_it_is,
    asking_draws_nothing,
    walks_to_the_end,
    jit_equals_eager,
    same_key_same_bits,
    vmap_over_any_number_equals_a_loop,
    one_level_is_enough,
)


@checked
def check_sampler(sampler: Sampler, dim: int = D, *, but: Collection[Promise] = ()) -> None:
    """Hold a sampler to all promises of one.

    Args:
        sampler: to be tried on a grid of nine levels.
        dim: D of the points that it moves.
        but: promises that it does not make.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_sampler(de.samplers.Heun(frozen=True))
    """
    hold(sampler, PROMISES, dim, but)
