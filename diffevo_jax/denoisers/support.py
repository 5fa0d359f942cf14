"""Support: which of the evaluated points answer an individual.

All of them, or so few that a generation costs O(N M) and not O(N^2): the best, or a sample
drawn by weight.
"""

import math
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import or_uniform
from diffevo_jax.pytree import validation

#: Numbers of a table of draws and points: larger ones are drawn in two steps.
_MOST_NUMBERS = 2**24


@pytree.dataclass
class Chosen:
    """The M evaluated points, of L, that answer.

    Attributes:
        index: (M,) int32, which points.
        log_weight: (M,) their log-weights; -inf for a repetition.
        place: (L,) int32, the place of each point among the chosen; M if it has none.
    """

    index: jax.Array
    log_weight: jax.Array
    place: jax.Array


@runtime_checkable
class Support(Protocol):
    """Which points answer: a choice among all that are remembered."""

    def choose(self, key: jax.Array, log_weight: jax.Array) -> Chosen | None:
        """Choose by log-weights ``(L,)``; None for all."""
        ...


@pytree.dataclass
class Everyone:
    """All evaluated points answer.

    Example:
        >>> import diffevo_jax as de
        >>> de.denoisers.Population().support
        Everyone()
    """

    def choose(self, key: jax.Array, log_weight: jax.Array) -> None:
        """None, which means all."""
        return


@pytree.dataclass
class Best:
    """Those of largest weight answer; the others count nothing.

    Biased towards the best, and the better the sharper the weights are; without noise.

    Args:
        count: M, static, in [1, N].

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> support = de.denoisers.Best(2)
        >>> support.choose(jax.random.key(0), jnp.array([0.0, 2.0, 1.0])).index.tolist()
        [1, 2]
    """

    count: int = pytree.static()

    def check(self) -> None:
        """Raise if ``count`` is not a positive int."""
        validation.check_count("Best.count", self.count)

    def choose(self, key: jax.Array, log_weight: jax.Array) -> Chosen:
        """The ``count`` of largest weight."""
        check_enough("Best.count", self.count, log_weight)
        return best(log_weight, self.count)


@pytree.dataclass
class Drawn:
    """As many as are drawn by weight answer, each as often as it was drawn.

    To be had with ``guidance=None``: draws by fitness estimate the mean without it poorly.
    Drawn from g, every draw counts the same: self-normalised importance sampling, whose
    mean tends to that of all like ``1 / sqrt(count)``.

    Args:
        count: M, static, in [1, N].

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> support = de.denoisers.Drawn(2)
        >>> support.choose(jax.random.key(0), jnp.array([0.0, -jnp.inf])).index.tolist()
        [0, 0]
    """

    count: int = pytree.static()

    def check(self) -> None:
        """Raise if ``count`` is not a positive int."""
        validation.check_count("Drawn.count", self.count)

    def choose(self, key: jax.Array, log_weight: jax.Array) -> Chosen:
        """``count`` draws, with replacement."""
        check_enough("Drawn.count", self.count, log_weight)
        return drawn(key, log_weight, self.count)


def check_enough(name: str, count: int, log_weight: jax.Array) -> None:
    """Raise if fewer points are known than are asked for."""
    if count > len(log_weight):
        raise ValueError(
            f"{name}: got {count}, want at most the {len(log_weight)} points that are known"
        )


def best(log_weight: jax.Array, count: int) -> Chosen:
    """The ``count`` points of largest weight, of L; if all have none, all are alike."""
    largest, index = jax.lax.top_k(or_uniform(log_weight), count)
    place = jnp.full(len(log_weight), count, jnp.int32)
    return Chosen(index, largest, place.at[index].set(jnp.arange(count, dtype=jnp.int32)))


def drawn(key: jax.Array, log_weight: jax.Array, count: int) -> Chosen:
    """Draw ``count`` points with replacement, as often as their weights say.

    Memory is of the order of ``L + count sqrt(L)``, where a table of all draws and points
    would be large.

    Args:
        key: a typed key.
        log_weight: (L,) log g, ``-inf`` for weight zero. If all are, all count the same.
        count: M >= 1.
    """
    size = len(log_weight)
    index = _draws(key, or_uniform(log_weight), count)
    places = jnp.arange(count, dtype=jnp.int32)
    place = jnp.full(size, count, jnp.int32).at[index].min(places)
    times = jnp.zeros(size, log_weight.dtype).at[index].add(1.0)
    # The first of several draws of a point stands for all of them.
    first = place[index] == places
    return Chosen(index, jnp.where(first, jnp.log(times[index]), -jnp.inf), place)


def _draws(key: jax.Array, log_weight: jax.Array, count: int) -> jax.Array:
    """Numbers (count,) int32 of points, drawn by log-weights (L,), not all of them -inf."""
    size = len(log_weight)
    if count * size <= _MOST_NUMBERS:
        return jax.random.categorical(key, log_weight, shape=(count,)).astype(jnp.int32)
    # First one of about sqrt(L) rows of points, by its sum, and then one of its points.
    width = math.isqrt(size - 1) + 1
    padding = (0, -size % width)
    # Kept, or the compiler would sum them up itself, slowly, where they are all the same.
    log_weight = jax.lax.optimization_barrier(log_weight)
    rows = jnp.pad(log_weight, padding, constant_values=-jnp.inf).reshape(-1, width)
    key_row, key_point = jax.random.split(key)
    of_row = jax.nn.logsumexp(rows, axis=1)
    row = jax.random.categorical(key_row, of_row, shape=(count,))
    point = jax.random.categorical(key_point, rows[row], axis=1)
    return (row * width + point).astype(jnp.int32)


def reweighted(chosen: Chosen, before: jax.Array, after: jax.Array) -> Chosen:
    """Points chosen by some log-weights (L,), to be weighed by others.

    Those that had none were not chosen by weight, and have the others as they are.
    """
    before, after = before[chosen.index], after[chosen.index]
    weighed = before > -jnp.inf
    change = after - jnp.where(weighed, before, 0.0)
    log_weight = jnp.where(weighed, chosen.log_weight + change, after)
    return pytree.replace(chosen, log_weight=log_weight)
