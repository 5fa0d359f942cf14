"""What a traced program is made of."""

import math
from collections.abc import Iterator
from typing import Any

import jax


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a program, those of its inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")
        ):
            if hasattr(inner, "jaxpr"):
                yield from equations(getattr(inner.jaxpr, "jaxpr", inner.jaxpr))


def largest_array(jaxpr: Any) -> int:
    """How many numbers the largest array that a program makes has."""
    return max(math.prod(v.aval.shape) for e in equations(jaxpr) for v in e.outvars)
