"""Does the state of an environment hold its observation?

Most environments compute the observation from the new state alone. Then it need not be kept
beside the state while lanes step, which saves memory and, on a CPU, computing the state a
second time. Whether it is so is read off the traced program, not assumed: the part of
``step_env`` between the new state and the observation is cut out, and must be the same
program as in ``reset_env``.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

from diffevo_jax.base import PyTree

#: Primitives that leave values as they are.
_IDENTITIES = ("copy", "stop_gradient")


def observer(environment: Any, env_params: PyTree) -> Callable[..., PyTree] | None:
    """Cut the observation out of an environment's step.

    Args:
        environment: a gymnax environment.
        env_params: its parameters; only shapes and dtypes are used.

    Returns:
        ``observe(env_state, env_params) -> observation`` with the bits of ``step_env`` and
        ``reset_env``, or None if their observations depend on more than the new state.

    Example:
        >>> import gymnax
        >>> from diffevo_jax.problems.control.observing import observer
        >>> cartpole, params = gymnax.make("CartPole-v1")
        >>> _, state = cartpole.reset_env(jax.random.key(0), params)
        >>> observer(cartpole, params)(state, params).shape
        (4,)
    """
    key = jax.random.key(0)
    action = environment.action_space(env_params).sample(key)
    reset = lambda key, env_params: environment.reset_env(key, env_params)
    before = jax.eval_shape(reset, key, env_params)[1]
    step = lambda key, env_state, action, env_params: environment.step_env(
        key, env_state, action, env_params
    )[:2]
    parts = [
        _cut(*jax.make_jaxpr(function, return_shape=True)(*args), env_params)
        for function, args in (
            (step, (key, before, action, env_params)),
            (reset, (key, env_params)),
        )
    ]
    if parts[0] is None or parts[1] is None or str(parts[0]) != str(parts[1]):
        return None
    part, shape = parts[0], jax.eval_shape(reset, key, env_params)[0]

    def observe(env_state: PyTree, env_params: PyTree) -> PyTree:
        leaves = core.jaxpr_as_fun(part)(*jax.tree.leaves((env_state, env_params)))
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    return observe


def _cut(program: Any, shapes: Any, env_params: PyTree) -> Any:
    """The program from ``(env_state, env_params)`` to the observation, if there is one."""
    equations, outputs = _without_identities(program.jaxpr)
    count, num_params = (len(jax.tree.leaves(tree)) for tree in (shapes[0], env_params))
    inputs = program.jaxpr.invars
    known = _distinct([*outputs[count:], *inputs[len(inputs) - num_params :]])
    wanted, part = outputs[:count], []
    needed = _variables(wanted) - set(known)
    for equation in reversed(equations):
        if needed.intersection(equation.outvars):
            part.append(equation)
            needed -= set(equation.outvars)
            needed |= _variables(equation.invars) - set(known)
    if needed or _has_constants(part):
        return None
    debug_info = program.jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    jaxpr = core.Jaxpr(
        (), known, wanted, part[::-1], program.jaxpr.effects, debug_info=debug_info
    )
    return core.ClosedJaxpr(jaxpr, ())


def _has_constants(equations: list[Any]) -> bool:
    """Whether programs inside hold arrays, whose values the text of a program lacks."""
    inner = [
        program
        for equation in equations
        for value in equation.params.values()
        for program in (value if isinstance(value, (tuple, list)) else (value,))
        if isinstance(program, core.ClosedJaxpr)
    ]
    return any(one.consts or _has_constants(one.jaxpr.eqns) for one in inner)


def _variables(atoms: list[Any]) -> set[Any]:
    return {atom for atom in atoms if not isinstance(atom, core.Literal)}


def _distinct(atoms: list[Any]) -> list[Any]:
    """Variables, with new ones in the place of constants and repetitions."""
    distinct: list[Any] = []
    for atom in atoms:
        new = isinstance(atom, core.Literal) or atom in distinct
        distinct.append(core.Var(atom.aval) if new else atom)
    return distinct


def _without_identities(jaxpr: Any) -> tuple[list[Any], list[Any]]:
    """Equations and outputs, as if nothing were copied or kept from being derived."""
    names: dict[Any, Any] = {}
    rename = lambda atoms: [
        atom if isinstance(atom, core.Literal) else names.get(atom, atom) for atom in atoms
    ]
    equations = []
    for equation in jaxpr.eqns:
        invars = rename(equation.invars)
        if equation.primitive.name in _IDENTITIES:
            names[equation.outvars[0]] = invars[0]
        else:
            equations.append(equation.replace(invars=invars))
    return equations, rename(jaxpr.outvars)
