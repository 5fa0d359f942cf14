"""Results that are computed once, on a CPU.

XLA computes what it thinks cheap again for everything that needs it: the policy for each
number of the next state, sine and cosine for each use. It never repeats a division whose
result has a second user. So a result is divided by a 1 of which the compiler does not know,
which changes no bit of it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

#: Primitives that a CPU computes by a library call for every number.
_COSTLY = ("cos", "sin", "tan")


def keep(result: jax.Array, other: jax.Array) -> jax.Array:
    """The result, bit for bit.

    Args:
        result: numbers; integers of less than 2^24. A subnormal number may become 0, as
            in any arithmetic of XLA on a CPU.
        other: any number that is at hand in the program, so that the 1 is no constant.
    """
    one = 1.0 + 0.0 * jnp.where(jnp.isfinite(other), other, 0).astype(float)
    return (result.astype(float) / one).astype(result.dtype)


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose sines and cosines are computed once.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems.control.once import once
        >>> bool(once(jnp.sin)(0.5) == jnp.sin(0.5))
        True
    """

    def same(*arguments: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        jaxpr = program.jaxpr.replace(eqns=_rewritten(program.jaxpr.eqns))
        leaves = jax.tree.leaves(arguments)
        values = core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, program.consts))(*leaves)
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return same


def _rewritten(equations: Any) -> list[Any]:
    """The equations, with a division after each costly one."""
    rewritten = []
    for equation in equations:
        if equation.primitive.name not in _COSTLY:
            rewritten.append(equation)
            continue
        (argument,), (result,) = equation.invars, equation.outvars
        computed = core.Var(result.aval)
        rewritten.append(equation.replace(outvars=[computed]))
        part = jax.make_jaxpr(keep)(result.aval, argument.aval).jaxpr
        names = dict(zip(part.invars, (computed, argument), strict=True))
        names[part.outvars[0]] = result
        rename = lambda atoms, names=names: [
            atom if isinstance(atom, core.Literal) else names.get(atom, atom)
            for atom in atoms
        ]
        rewritten += [
            step.replace(invars=rename(step.invars), outvars=rename(step.outvars))
            for step in part.eqns
        ]
    return rewritten
