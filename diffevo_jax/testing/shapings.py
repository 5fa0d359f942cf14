"""The promises of a shaping; :class:`diffevo_jax.Shaping` is their contract."""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from diffevo_jax import pytree, shaping
from diffevo_jax.base import RowShaping, Shaping
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.testing.agreement import (
    FAILURES,
    D,
    N,
    Promise,
    close,
    each_number_changed,
    expect,
    finite_or_weightless,
    hold,
    population,
    same_bits,
    sphere,
    together_and_alone,
)

# The promises share this program: one is compiled for all shapings of one structure.
_weighed = jax.jit(shaping.log_weight)


def _weigh(part: Shaping, fitness: jax.Array) -> jax.Array:
    log_weight: jax.Array = _weighed(pytree.strong(part), fitness)
    return log_weight


def fitness_of_any_size_is_weighed(shaping: Shaping, dim: int = D) -> None:
    """Log-weights (N,) are finite or -inf: for tiny, huge, equal and negative fitness.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.fitness_of_any_size_is_weighed(de.shaping.Rank())
    """
    fitness = sphere(population())
    largest = jnp.finfo(fitness.dtype).max
    huge = jnp.linspace(-0.5, 0.5, N) * largest
    for values in (fitness, fitness - 1.0, 1e-30 * fitness, jnp.ones(N), huge):
        log_weight = _weigh(shaping, values)
        expect(log_weight.shape == (N,), f"log-weights {(N,)}", log_weight.shape)
        finite_or_weightless(log_weight, f"finite log-weights or -inf for {values}")
    expect(jnp.any(_weigh(shaping, fitness) > -jnp.inf), "some weight", "none")


def the_better_weigh_more(shaping: Shaping, dim: int = D) -> None:
    """Whoever is better never weighs less, and the best weighs more than the worst.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.the_better_weigh_more(de.shaping.Rank())
    """
    log_weight = _weigh(shaping, jnp.sort(sphere(population())))
    rises = jnp.all(log_weight[1:] >= log_weight[:-1] - 1e-6)
    expect(rises, "log-weights that never fall as fitness rises", log_weight)
    expect(log_weight[-1] > log_weight[0], "more weight for the best", log_weight)


def order_does_not_matter(shaping: Shaping, dim: int = D) -> None:
    """Fitness in another order gets the same log-weights, in that order.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.order_does_not_matter(de.shaping.Rank())
    """
    fitness, order = sphere(population()), jnp.array([3, 1, 7, 0, 2, 6, 5, 4])
    before, after = _weigh(shaping, fitness), _weigh(shaping, fitness[order])
    close(after, before[order], "the same log-weights in another order")


def every_failure_acts_the_same(shaping: Shaping, dim: int = D) -> None:
    """Whoever failed weighs nothing, and the others do not feel how.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.every_failure_acts_the_same(de.shaping.Rank())
    """
    fitness = sphere(population())
    each = [_weigh(shaping, fitness.at[2].set(bad)) for bad in FAILURES]
    for bad, log_weight in zip(FAILURES, each, strict=True):
        same_bits(log_weight, each[0], f"the same bits for {bad} as for {FAILURES[0]}")
        expect(log_weight[2] == -jnp.inf, "-inf for a failure", log_weight[2])
        finite_or_weightless(log_weight, "finite log-weights or -inf beside a failure")


def failure_of_all_is_survived(shaping: Shaping, dim: int = D) -> None:
    """If all fail, all weigh nothing.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.failure_of_all_is_survived(de.shaping.Rank())
    """
    log_weight = _weigh(shaping, jnp.full(N, jnp.nan))
    same_bits(log_weight, jnp.full(N, -jnp.inf), "no weight where all failed")


def rows_are_weighed(shaping: Shaping, dim: int = D) -> None:
    """Log-weights by rows, where there are any, are (B, M), finite or -inf.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.rows_are_weighed(de.shaping.Local())
    """
    if not pytree.offers(shaping, RowShaping):
        return
    log_kernel = -0.5 * jnp.arange(float(3 * N)).reshape(3, N)
    log_kernel = log_kernel.at[:, 2].set(-jnp.inf)
    log_weight = shaping.row_log_weight(sphere(population()), log_kernel)
    shape = log_weight.shape
    expect(shape == log_kernel.shape, f"log-weights {log_kernel.shape}", shape)
    finite_or_weightless(log_weight, "finite log-weights or -inf in rows")


def jit_equals_eager(shaping: Shaping, dim: int = D) -> None:
    """Compiled and eager agree to rounding.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.jit_equals_eager(de.shaping.Rank())
    """
    fitness, valid = sphere(population()), jnp.ones(N, bool)
    eager = pytree.strong(shaping).log_weight(fitness, valid)
    close(_weigh(shaping, fitness), eager, "compiled as eager")


def vmap_over_any_number_equals_a_loop(shaping: Shaping, dim: int = D) -> None:
    """Every numeric field can be swept.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.shapings.vmap_over_any_number_equals_a_loop(de.shaping.Rank())
    """
    together_and_alone(
        lambda numbers: _weigh(numbers, sphere(population())),
        each_number_changed(shaping),
        "with a number swept the log-weights of each setting alone",
    )


#: What every shaping promises.
PROMISES: tuple[Promise, ...] = (
    fitness_of_any_size_is_weighed,
    the_better_weigh_more,
    order_does_not_matter,
    every_failure_acts_the_same,
    failure_of_all_is_survived,
    rows_are_weighed,
    jit_equals_eager,
    vmap_over_any_number_equals_a_loop,
)


@checked
def check_shaping(shaping: Shaping, dim: int = D, *, but: Collection[Promise] = ()) -> None:
    """Hold a shaping to all promises of one.

    Args:
        shaping: to be tried on the fitness of 8 individuals, most of it positive.
        dim: of no meaning here; as for other parts.
        but: promises that it does not make.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_shaping(de.shaping.Rank())
    """
    hold(shaping, PROMISES, dim, but)
