"""Between unit scale and values: how each number of a solution is stretched."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree import Number

BOUNDARIES = ("reflect", "clip", "tanh")
#: The boundary of a number that has no bounds.
UNBOUNDED = "unbounded"
#: Beyond this ``tanh`` is 1 in every float.
_FAR = 20.0
#: How far a search for the point that decodes to a value goes, in eighths of a step.
_SEARCHED = 32


class Columns(NamedTuple):
    """What is known of each of the D numbers of a solution; (1,) for all that are alike.

    Attributes:
        boundaries: (D,) names of boundaries, structure.
        log: (D,) bool, whether it is on a log scale; structure.
        variable: (D,) bool, whether it is of a variable; structure.
        stepped: (D,) bool, whether it has steps; structure.
        lower: (1, D) lower ends of the box.
        upper: (1, D) upper ends.
        grid: (D,) each, of those with steps: first value, step, number of steps, last.
        scale: of those without bounds, in solution units per unit deviation.
        edge: unit deviations from the middle of the box to its ends.
    """

    boundaries: np.ndarray
    log: np.ndarray
    variable: np.ndarray
    stepped: np.ndarray
    lower: jax.Array
    upper: jax.Array
    grid: tuple[jax.Array, ...]
    scale: Number
    edge: Number

    def values(self, x: jax.Array) -> jax.Array:
        """Values ``(N, D)`` of points in unit scale, within the box."""
        values = self.stretched(x)
        return _where(self.stepped, lambda: self._snapped(values), values)

    def stretched(self, x: jax.Array) -> jax.Array:
        """Values before they are brought onto steps."""
        free = self.boundaries == UNBOUNDED
        if free.all():
            return self.scale * x
        middle, half = self._middle_and_half()
        fraction = repair(x, self.boundaries, self.edge) / self.edge
        squashed = self.boundaries == "tanh"
        fraction = _where(squashed, lambda: self._squashed(fraction), fraction)
        values = _where(
            self.log,
            lambda: middle * jnp.exp(jnp.where(self.log, half * fraction, 0.0)),
            _plus(middle, half, fraction, self.variable),
        )
        values = jnp.clip(values, self.lower, self.upper)  # rounding, in float32
        values = _where(self.variable, lambda: self._ended(values, fraction), values)
        return _where(free, lambda: self.scale * x, values)

    def points(self, values: jax.Array) -> jax.Array:
        """Points ``(N, D)`` in unit scale of values; those outside are brought in.

        Of a variable it is the point around the exact one whose value is nearest, so that
        what was decoded is decoded again.
        """
        free = self.boundaries == UNBOUNDED
        if free.all():
            return values / self.scale
        middle, half = self._middle_and_half()
        values = _where(self.stepped, lambda: self._snapped(values), values)
        held = jnp.clip(values, self.lower, self.upper)
        values = _where(self.variable, lambda: held, values)
        ratio = jnp.where(self.log, values / jnp.where(self.log, middle, 1.0), 1.0)
        fraction = _where(self.log, lambda: jnp.log(ratio) / half, (values - middle) / half)
        squashed = self.boundaries == "tanh"
        x = _where(
            squashed,
            lambda: self.edge * self._unsquashed(fraction),
            repair(self.edge * fraction, self.boundaries, self.edge),
        )
        x = _where(self.variable, lambda: self._nearest(x, values, fraction), x)
        return _where(free, lambda: values / self.scale, x)

    def _middle_and_half(self) -> tuple[jax.Array, jax.Array]:
        """Of the box, both (1, D); on a log scale the middle is that of factors."""
        half = 0.5 * self.upper - 0.5 * self.lower
        half = jnp.maximum(half, jnp.finfo(half.dtype).tiny)
        middle = 0.5 * self.lower + 0.5 * self.upper
        if not self.log.any():
            return middle, half
        lower, upper = (jnp.where(self.log, e, 1.0) for e in (self.lower, self.upper))
        roots = jnp.sqrt(lower), jnp.sqrt(upper)  # no product or quotient overflows
        narrow = 0.5 * jnp.log1p((jnp.minimum(upper, 2 * lower) - lower) / lower)
        factor = jnp.where(upper < 2 * lower, narrow, jnp.log(roots[1] / roots[0]))
        factor = jnp.maximum(factor, jnp.finfo(half.dtype).tiny)
        return (
            jnp.where(self.log, roots[0] * roots[1], middle),
            jnp.where(self.log, factor, half),
        )

    def _ended(self, values: jax.Array, fraction: jax.Array) -> jax.Array:
        """The ends themselves, where rounding would miss them."""
        values = jnp.where(fraction >= 1, self.upper, values)
        return jnp.where(fraction <= -1, self.lower, values)

    def _snapped(self, values: jax.Array) -> jax.Array:
        first, step, count, last = self.grid
        place = jnp.clip(jnp.round((values - first) / step), 0, count)
        return jnp.minimum(_plus(first, step, place, self.stepped), last)

    def _squashed(self, fraction: jax.Array) -> jax.Array:
        """Of variables in steps that are above the error of ``tanh`` in any program."""
        squashed = jnp.tanh(fraction)
        steps = 2.0 ** (jnp.finfo(fraction.dtype).nmant - 2)
        stepped = lambda: jnp.round(squashed * steps) / steps
        return _where(self.variable, stepped, squashed)

    def _unsquashed(self, fraction: jax.Array) -> jax.Array:
        inside = 1.0 - jnp.finfo(fraction.dtype).eps
        near = jnp.arctanh(jnp.clip(fraction, -inside, inside))
        size = jnp.abs(fraction)  # XLA's own arctanh has 50 times the error in float64
        grown = 0.5 * jnp.log1p(2 * size / jnp.maximum(1 - size, 0))
        far = jnp.sign(fraction) * jnp.minimum(grown, _FAR)
        return _where(self.variable, lambda: far, near)

    def _nearest(self, x: jax.Array, values: jax.Array, fraction: jax.Array) -> jax.Array:
        """The point around x whose value is nearest, the first of them.

        It looks at points an eighth of a rounding error apart.
        """
        _, half = self._middle_and_half()
        eps = jnp.finfo(x.dtype).eps
        squashed = self.boundaries == "tanh"
        rounding = jnp.where(self.log, 1.0, jnp.abs(values)) / half
        rounding += jnp.where(squashed, jnp.abs(fraction), 0.0)
        slope = jnp.where(squashed, jnp.maximum(1 - fraction**2, eps), 1.0)
        step = 0.125 * eps * jnp.maximum(jnp.abs(x), self.edge * rounding / slope)
        farthest = self.edge * jnp.where(squashed, _FAR, 1.0)

        def look(number: jax.Array, found: tuple[jax.Array, jax.Array]) -> tuple:
            offset = jnp.where(number % 2, -1, 1) * ((number + 1) // 2)
            other = jnp.clip(x + offset * step, -farthest, farthest)
            error = jnp.abs(self.stretched(other) - values)
            better = error < found[1]
            return jnp.where(better, other, found[0]), jnp.where(better, error, found[1])

        start = x, jnp.full_like(values, jnp.inf)
        return jax.lax.fori_loop(0, 2 * _SEARCHED + 1, look, start)[0]


def _plus(
    start: jax.Array, step: jax.Array, times: jax.Array, exact: np.ndarray
) -> jax.Array:
    """``start + step * times``; where it is to be exact, with the same bits in any program.

    A product by a power of two is not rounded, and so it is the same fused with the sum.
    """

    def unfused() -> jax.Array:
        mantissa, exponent = jnp.frexp(step)
        return start + jnp.ldexp(times * mantissa, exponent)

    return _where(exact, unfused, start + step * times)


def repair(x: jax.Array, boundaries: np.ndarray, edge: Number) -> jax.Array:
    """Bring ``(N, D)`` in unit scale back into the box; inside nothing changes.

    Args:
        x: in unit scale.
        boundaries: (D,) names of boundaries.
        edge: unit deviations from the middle of the box to its ends.
    """
    mirrored = lambda: jnp.where(jnp.abs(x) <= edge, x, reflect(x, edge))
    repaired = _where(boundaries == "reflect", mirrored, x)
    return _where(boundaries == "clip", lambda: jnp.clip(x, -edge, edge), repaired)


def reflect(x: jax.Array, edge: Number) -> jax.Array:
    """Mirror at -edge and edge, as often as needed: a triangle wave."""
    phase = jnp.mod(x + edge, 4 * edge)
    return jnp.clip(
        jnp.where(phase <= 2 * edge, phase, 4 * edge - phase) - edge, -edge, edge
    )


def _where(mask: np.ndarray, value: Callable[[], jax.Array], other: jax.Array) -> jax.Array:
    """A value in the columns of a mask, which is structure; not computed where in none."""
    if not mask.any():
        return other
    return value() if mask.all() else jnp.where(mask, value(), other)
