"""Named numbers, each in a range: where settings live."""

from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import Number

SCALES = ("linear", "log")


@pytree.dataclass
class Range:
    """Where one number is looked for.

    Args:
        low: lower end.
        high: upper end, above the lower one.
        scale: ``"linear"``; or ``"log"``, where factors count and not differences, for
            numbers > 0; static.
    """

    low: Number = pytree.number()
    high: Number = pytree.number()
    scale: str = pytree.static(default="linear")

    def flatten(self, value: Number) -> jax.Array:
        """From a number in the range to one on its scale."""
        return jnp.log(value) if self.scale == "log" else jnp.asarray(value, float)

    def unflatten(self, value: jax.Array) -> jax.Array:
        """The inverse of :meth:`flatten`; rounding does not leave the range."""
        value = jnp.exp(value) if self.scale == "log" else value
        return jnp.clip(value, self.low, self.high)


@pytree.dataclass
class Ranges:
    """A space of named numbers: a box on the scales of their ranges.

    A population starts as N(0, I) around the middle, with the ends at two unit deviations,
    and is mirrored there; see :class:`diffevo_jax.problems.Space`, whose members it has.

    Args:
        ranges: by name.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.sweeps.ranges import Range, Ranges
        >>> space = Ranges({"temperature": Range(0.01, 100.0, "log")})
        >>> space.decode(jnp.array([[-2.0], [0.0], [2.0]]))["temperature"].round(2).tolist()
        [0.009999999776482582, 1.0, 100.0]
    """

    ranges: dict[str, Range]

    @property
    def dim(self) -> int:
        """How many numbers there are."""
        return len(self.ranges)

    def sample(self, key: jax.Array, num_solutions: int) -> jax.Array:
        """Draw ``(num_solutions, D)`` in unit scale."""
        return self._box().sample(key, num_solutions)

    def repair(self, x: jax.Array) -> jax.Array:
        """Bring ``(N, D)`` in unit scale back into the box."""
        return self._box().repair(x)

    def decode(self, x: jax.Array) -> dict[str, jax.Array]:
        """Turn ``(N, D)`` in unit scale into numbers by name, (N,) each."""
        values = self._box().decode(x)
        return {name: end.unflatten(values[name]) for name, end in self.ranges.items()}

    def encode(self, solutions: dict[str, Any]) -> jax.Array:
        """Turn numbers by name, (N,) each, into ``(N, D)`` in unit scale."""
        values = {
            name: end.flatten(jnp.asarray(solutions[name], float))
            for name, end in self.ranges.items()
        }
        return self._box().encode(values)

    def _box(self) -> Space:
        return Space(
            dict.fromkeys(self.ranges, 0.0),
            lower={name: end.flatten(end.low) for name, end in self.ranges.items()},
            upper={name: end.flatten(end.high) for name, end in self.ranges.items()},
        )
