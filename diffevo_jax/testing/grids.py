"""The promises of a grid; :class:`diffevo_jax.Grid` is their contract."""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from diffevo_jax import noise, pytree
from diffevo_jax.base import Grid
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.testing.agreement import (
    D,
    Promise,
    close,
    each_number_changed,
    expect,
    hold,
    together_and_alone,
)

#: How many levels are asked for; a list of levels has one of these lengths.
COUNTS = (1, 2, 9)


def _levels(grid: Grid) -> dict[int, jax.Array]:
    """Noise levels of a grid, by number, as far as it has so many."""
    levels = {}
    for count in COUNTS:
        try:
            levels[count] = pytree.strong(grid).sigmas(count)
        except ValueError:  # a list of levels has one length
            continue
    expect(len(levels) > 0, f"levels for one of {COUNTS}", "a ValueError for all of them")
    return levels


def levels_fall(grid: Grid, dim: int = D) -> None:
    """Noise levels (T,) never rise, and are within [1e-6, 1e6].

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.grids.levels_fall(de.noise.Cosine())
    """
    for count, sigmas in _levels(grid).items():
        expect(sigmas.shape == (count,), f"levels of shape {(count,)}", sigmas.shape)
        expect(jnp.all(sigmas[1:] <= sigmas[:-1]), "levels that never rise", sigmas)
        # the limits, to rounding
        low, high = noise.SIGMA_MIN * (1 - 1e-6), noise.SIGMA_MAX * (1 + 1e-6)
        inside = jnp.all((sigmas >= low) & (sigmas <= high))
        expect(inside, "levels within [1e-6, 1e6]", sigmas)


def one_level_is_the_noisiest(grid: Grid, dim: int = D) -> None:
    """However many levels there are, they begin at the same one.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.grids.one_level_is_the_noisiest(de.noise.Cosine())
    """
    first, *others = [sigmas[0] for sigmas in _levels(grid).values()]
    for other in others:
        agree = jnp.isclose(first, other, rtol=1e-4)
        expect(agree, f"a first level of {first}", other)


def jit_equals_eager(grid: Grid, dim: int = D) -> None:
    """Compiled and eager agree to rounding.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.grids.jit_equals_eager(de.noise.Cosine())
    """
    for count, sigmas in _levels(grid).items():
        compiled = jax.jit(lambda grid, count=count: grid.sigmas(count))
        close(jnp.log(compiled(pytree.strong(grid))), jnp.log(sigmas), "compiled as eager")


def vmap_over_any_number_equals_a_loop(grid: Grid, dim: int = D) -> None:
    """Every numeric field can be swept.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.grids.vmap_over_any_number_equals_a_loop(de.noise.Cosine())
    """
    count = max(_levels(grid))
    together_and_alone(
        lambda numbers: jnp.log(numbers.sigmas(count)),
        each_number_changed(grid),
        "with a number swept the levels of each setting alone",
    )


#: What every grid promises.
PROMISES: tuple[Promise, ...] = (
    levels_fall,
    one_level_is_the_noisiest,
    jit_equals_eager,
    vmap_over_any_number_equals_a_loop,
)


@checked
def check_grid(grid: Grid, dim: int = D, *, but: Collection[Promise] = ()) -> None:
    """Hold a grid to all promises of one.

    Args:
        grid: with 1, 2 or 9 levels if it is a list of them.
        dim: of no meaning here; as for other parts.
        but: promises that it does not make.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_grid(de.noise.Cosine())
    """
    hold(grid, PROMISES, dim, but)
