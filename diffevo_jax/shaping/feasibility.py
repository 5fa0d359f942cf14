"""Feasibility first: what the fitness is worth under constraints, for whoever learns.

A strategy sees one number for each individual. Under constraints that is its fitness where
it is feasible. The infeasible teach nothing, as if they had failed, while enough are
feasible, three tenths of the generation. With fewer, those that violate least fill up to
so many, below all feasible ones, the lower the more they violate:

    seen_i = f_i                                            if i is feasible
    seen_i = min f - s (violation_i / largest violation)    if it is among the nearest

with min and s, the standard deviation, over the feasible of this generation, and the
largest among those that fill up. No unit of a violation is left, so that what it costs
lasts to the end, however small violations and differences of fitness have become. If none
is feasible min and s are of those that fill up, and the violations alone are seen.

Reference: Deb, "An efficient constraint handling method for genetic algorithms", Computer
Methods in Applied Mechanics and Engineering 186, 2000, eq. 4, where all infeasible ones
are seen, and s is the largest violation: a scale that does not last
(``docs/constraints.md`` compares).
"""

import math

import jax
import jax.numpy as jnp

from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root

#: Share of a generation that teaches at least, feasible or not.
TEACHING = 0.3


@checked
def seen(
    fitness: jax.Array,
    violation: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> jax.Array:
    """The fitness that a strategy learns from.

    Args:
        fitness: (N,); NaN or infinite where the evaluation failed.
        violation: (N,) at most 0 where feasible, NaN or +inf where that is not known, which
            counts as failed here; None if all are feasible.
        penalty: (N,) of soft constraints, in standard deviations of the feasible fitness;
            None for none. NaN and +inf count as failed.

    Returns:
        (N,), not finite for who teaches nothing; without violation and penalty the fitness
        itself.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import feasibility
        >>> fitness = jnp.array([2.0, 4.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0])
        >>> violation = jnp.array([0.0, 0.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0])
        >>> feasibility.seen(fitness, violation).round(3).tolist()[:4]
        [2.0, 4.0, 1.0, -inf]
        >>> feasibility.seen(fitness, violation=None) is fitness
        True
    """
    if penalty is not None:
        feasible = is_feasible(fitness, violation)
        unit = deviation(fitness, jnp.where(jnp.any(feasible), feasible, True))
        lower = jnp.maximum(fitness - penalty * unit, _lowest(fitness))
        fitness = jnp.where(jnp.isfinite(fitness + penalty), lower, -jnp.inf)
    return fitness if violation is None else ranked(fitness, violation)


@checked
def ranked(fitness: jax.Array, violation: jax.Array) -> jax.Array:
    """Fitness ``(N,)`` with the infeasible below the feasible; see this file's head.

    Args:
        fitness: (N,); NaN or infinite where the evaluation failed.
        violation: (N,) as of :func:`seen`.

    Returns:
        (N,); ``-inf`` for who failed, is not known, or teaches nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import feasibility
        >>> fitness, violation = jnp.array([2.0, 4.0, 9.0]), jnp.array([0.0, -1.0, 3.0])
        >>> feasibility.ranked(fitness, violation).tolist()
        [2.0, 4.0, -inf]
    """
    over = jnp.where(jnp.isfinite(fitness), excess(violation), jnp.inf)
    enough = jnp.sort(over)[math.ceil(TEACHING * len(over)) - 1]
    near = (over <= enough) & (over < jnp.inf)
    feasible = near & (over <= 0)
    counted = jnp.where(jnp.any(feasible), feasible, near)
    worst = jnp.min(jnp.where(counted, fitness, jnp.inf))
    over = jnp.where(near, over, 0.0)
    largest = jnp.max(over)
    share = over / jnp.where(largest > 0, largest, 1.0)
    below = jnp.maximum(worst - share * deviation(fitness, counted), _lowest(fitness))
    return jnp.where(feasible, fitness, jnp.where(near, below, -jnp.inf))


@checked
def is_feasible(fitness: jax.Array, violation: jax.Array | None) -> jax.Array:
    """Which of N evaluations succeeded and are feasible, ``(N,)`` bool.

    Args:
        fitness: (N,).
        violation: (N,); None if all are.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import feasibility
        >>> fitness, violation = jnp.array([2.0, jnp.nan, 9.0]), jnp.array([-1.0, 0.0, 0.5])
        >>> feasibility.is_feasible(fitness, violation).tolist()
        [True, False, False]
    """
    valid = jnp.isfinite(fitness)
    return valid if violation is None else valid & (violation <= 0)


@checked
def excess(violation: jax.Array) -> jax.Array:
    """Violation ``(N,)`` from 0 on; ``+inf`` where it is not known.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import feasibility
        >>> feasibility.excess(jnp.array([-2.0, 0.5, jnp.nan])).tolist()
        [0.0, 0.5, inf]
    """
    return jnp.where(violation < jnp.inf, jnp.maximum(violation, 0.0), jnp.inf)


@checked
def deviation(fitness: jax.Array, counted: jax.Array) -> jax.Array:
    """The standard deviation () of fitness ``(N,)`` over some of it.

    Where these are all the same it is that of all that did not fail; where these are, it
    is their size, and 1 where they are 0.

    Args:
        fitness: (N,); NaN or infinite where the evaluation failed.
        counted: (N,) bool, which count.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import feasibility
        >>> fitness = jnp.array([1.0, 3.0, 90.0])
        >>> float(feasibility.deviation(fitness, jnp.array([True, True, False])))
        1.0
    """
    valid = jnp.isfinite(fitness)
    size = jnp.max(jnp.abs(fitness), where=valid, initial=0.0)
    size = jnp.where(size > 0, size, 1.0)
    scaled = jnp.where(valid, fitness, 0.0) / size  # squares of large numbers are infinite
    some, every = (_deviation(scaled, mask) for mask in (counted & valid, valid))
    nothing = 4 * jnp.finfo(fitness.dtype).eps  # what rounding leaves of equal values
    share = jnp.where(some > nothing, some, jnp.where(every > nothing, every, 1.0))
    return size * share


def _deviation(values: jax.Array, mask: jax.Array) -> jax.Array:
    count = jnp.maximum(jnp.sum(mask), 1).astype(values.dtype)
    centred = values - jnp.sum(jnp.where(mask, values, 0.0)) / count
    return square_root(jnp.sum(jnp.where(mask, centred**2, 0.0)) / count)


def _lowest(fitness: jax.Array) -> float:
    return float(jnp.finfo(fitness.dtype).min)
