"""Traced programs of environments, rewritten so that a step computes less.

This is the one place that looks inside traced programs. Nothing here changes what a step
says; only the compiler may round otherwise, which a chaotic environment magnifies over many
steps. ``Control(rewrite=False)`` leaves all of it out. There are two rewritings.

* **The observation is left out of the state** (:func:`observation_from_state`), on every
  device. Most environments compute it from the new state alone. Then it need not be
  carried from step to step: a lane takes less memory, all of which an accelerator reads and
  writes in every step, and a CPU does not compute the state a second time. Whether it is so
  is read off the traced program, not assumed: the part of ``step_env`` between the new
  state and the observation must be the same program as in ``reset_env``.
* **What several results use is computed once** (:func:`compute_once`,
  :func:`compute_trigonometry_once`), on a CPU only. XLA computes what it thinks cheap again
  for everything that needs it: the policy for each number of the next state, sine and
  cosine for each use. It never repeats a division whose result has a second user. So a
  result is divided by a 1 of which the compiler does not know. On an accelerator the
  arithmetic that is repeated is cheap beside the memory that a step moves, of which the
  last action would be a part, so there it is left out.

Notes:
    Programs are read through ``jax.extend.core``: the primitive, parameters and variables
    of their equations. They are evaluated by its ``jaxpr_as_fun``, an equation at a time,
    so that no variable and no equation is made here. Two programs are compared by what they
    compute (:func:`_description`), not as texts.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from diffevo_jax.base import PyTree
from diffevo_jax.problems.control import trigonometry
from diffevo_jax.problems.control.spaces import Environment

ResultT = TypeVar("ResultT")
#: What an equation reads: a variable, or a constant that stands in the program.
Atom = core.Var | core.Literal

#: Primitives that a CPU computes by a library call for every number.
_COSTLY = ("cos", "sin", "tan")
_POLYNOMIALS = {"cos": trigonometry.cosine, "sin": trigonometry.sine}
#: Primitives that leave values as they are.
_IDENTITIES = ("copy", "stop_gradient")
#: Parameters that are rules of differentiation: they do not say what is computed.
_DERIVATIVES = ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd")


def size_of(function: Callable[..., PyTree], *arguments: PyTree) -> tuple[int, int]:
    """Equations of a traced program, and the multiplications of its largest product.

    Those of inner programs are included; a product is one of matrices.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems.control.rewriting import size_of
        >>> size_of(lambda x: jnp.sin(x) + x**2, 1.0)
        (3, 0)
        >>> size_of(lambda x: x @ x.T, jnp.ones((2, 5)))
        (2, 20)
    """
    is_program = lambda value: isinstance(value, core.ClosedJaxpr | core.Jaxpr)

    def found(program: Any) -> tuple[int, int]:
        total = largest = 0
        for equation in getattr(program, "jaxpr", program).eqns:
            values = jax.tree.leaves(list(equation.params.values()), is_leaf=is_program)
            inner = [found(value) for value in values if is_program(value)]
            total += sum(count for count, _ in inner) or 1
            largest = max([largest, _multiplications(equation), *(n for _, n in inner)])
        return total, largest

    return found(jax.make_jaxpr(function)(*arguments))


def _multiplications(equation: core.JaxprEqn) -> int:
    """How many a product of matrices takes; 0 of any other equation."""
    if equation.primitive.name != "dot_general":
        return 0
    (summed, _), _ = equation.params["dimension_numbers"]
    left, result = _array(equation.invars[0]), _array(equation.outvars[0])
    return math.prod(result.shape) * math.prod(left.shape[axis] for axis in summed)


# The observation that the state already has


def observation_from_state(
    environment: Environment, env_params: PyTree
) -> Callable[[PyTree, PyTree], PyTree] | None:
    """Cut the observation out of an environment's step.

    Args:
        environment: a gymnax environment.
        env_params: its parameters; only shapes and dtypes are used.

    Returns:
        ``observe(env_state, env_params) -> observation`` with the bits of ``step_env`` and
        ``reset_env``, or None if their observations depend on more than the new state.

    Example:
        >>> import gymnax
        >>> from diffevo_jax.problems.control.rewriting import observation_from_state
        >>> cartpole, params = gymnax.make("CartPole-v1")
        >>> _, state = cartpole.reset_env(jax.random.key(0), params)
        >>> observation_from_state(cartpole, params)(state, params).shape
        (4,)
    """
    key = jax.random.key(0)
    action = environment.action_space(env_params).sample(key)
    reset = lambda key, env_params: environment.reset_env(key, env_params)
    step = lambda *arguments: environment.step_env(*arguments)[:2]
    shape, before = jax.eval_shape(reset, key, env_params)
    part = _part_to_observation(step, (key, before, action, env_params))
    other = _part_to_observation(reset, (key, env_params))
    if part is None or other is None:
        return None
    if _description(*part[1:]) != _description(*other[1:]):
        return None

    def observe(env_state: PyTree, env_params: PyTree) -> PyTree:
        values: dict[core.Var, Any] = {}
        leaves = jax.tree.leaves((env_state, env_params))
        for atom, leaf in zip(part.known, leaves, strict=True):
            if isinstance(atom, core.Var):
                values.setdefault(atom, leaf)
        for equation in part.equations:
            results = _evaluated(part.program, equation, values)
            values.update(zip(equation.outvars, results, strict=True))
        leaves = [_value(atom, values) for atom in part.wanted]
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    return observe


class _Part(NamedTuple):
    """The part of a program that makes the observation of the new state.

    Attributes:
        program: the whole.
        known: leaves of the state and of the environment's parameters, in order.
        equations: what is computed from them.
        wanted: leaves of the observation.
    """

    program: core.Jaxpr
    known: Sequence[Atom]
    equations: Sequence[core.JaxprEqn]
    wanted: Sequence[Atom]


def _part_to_observation(
    function: Callable[..., PyTree], arguments: tuple[PyTree, ...]
) -> _Part | None:
    """The part of a program from its second output to its first, if there is one.

    Args:
        function: returns ``(observation, env_state)``.
        arguments: of the function; the last are the environment's parameters.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    program = closed.jaxpr
    equations, outputs = _without_identities(program)
    count, num_params = (len(jax.tree.leaves(tree)) for tree in (shapes[0], arguments[-1]))
    inputs = program.invars
    known = [*outputs[count:], *inputs[len(inputs) - num_params :]]
    wanted, part = outputs[:count], []
    needed = _variables(wanted) - _variables(known)
    for equation in reversed(equations):
        if needed.intersection(equation.outvars):
            part.append(equation)
            needed -= set(equation.outvars)
            needed |= _variables(equation.invars) - _variables(known)
    if needed or any(equation.effects for equation in part):
        return None
    return _Part(program, known, part[::-1], wanted)


def _without_identities(program: core.Jaxpr) -> tuple[list[core.JaxprEqn], list[Atom]]:
    """Equations and outputs, as if nothing were copied or kept from being derived."""
    copied: dict[Atom, Atom] = {}
    rename = lambda atoms: [
        copied.get(atom, atom) if isinstance(atom, core.Var) else atom for atom in atoms
    ]
    equations = []
    for equation in program.eqns:
        invars = rename(equation.invars)
        if equation.primitive.name in _IDENTITIES:
            copied[equation.outvars[0]] = invars[0]
        else:
            equations.append(equation.replace(invars=invars))
    return equations, rename(program.outvars)


# Whether two programs are the same


def _description(
    inputs: Sequence[Atom], equations: Sequence[core.JaxprEqn], outputs: Sequence[Atom]
) -> tuple[Any, ...]:
    """What a program computes, whatever its variables are called; compare with ``==``.

    JAX has no public comparison of programs: two that were traced apart are different
    objects, and their texts leave arrays out. So variables become numbers, in the order in
    which they are made, arrays their bits, and inner programs their own descriptions. What
    else is a parameter is compared by its own ``==``; where that knows nothing, programs
    count as different, which costs speed and no result.
    """
    numbers: dict[Atom, int] = {}
    count = itertools.count()

    def make(atoms: Sequence[Atom]) -> tuple[Any, ...]:
        for atom, number in zip(atoms, count, strict=False):
            if isinstance(atom, core.Var):  # of two places of an array the first counts
                numbers.setdefault(atom, number)
        return tuple(map(read, atoms))

    def read(atom: Atom) -> tuple[Any, ...]:
        kind = _array(atom)
        if isinstance(atom, core.Literal):
            return "literal", kind.shape, kind.dtype, _described(atom.val)
        return "variable", kind.shape, kind.dtype, numbers[atom]

    make(inputs)  # those that nothing reads may differ
    return (
        *(
            (
                equation.primitive,
                tuple(map(read, equation.invars)),
                tuple(
                    (key, _described(value))
                    for key, value in sorted(equation.params.items())
                    if key not in _DERIVATIVES
                ),
                make(equation.outvars),
            )
            for equation in equations
        ),
        tuple(map(read, outputs)),
    )


def _described(value: Any) -> Any:
    """A parameter of an equation, or a constant, as what ``==`` can compare."""
    whole = lambda program: _description(
        [*program.constvars, *program.invars], program.eqns, program.outvars
    )
    if isinstance(value, core.ClosedJaxpr):  # since JAX 0.11 every program is one
        return whole(value.jaxpr), tuple(map(_described, value.consts))
    if isinstance(value, core.Jaxpr):
        return whole(value)
    if isinstance(value, tuple | list):
        return tuple(map(_described, value))
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return str(value.dtype), _described(jax.random.key_data(value))
    if isinstance(value, float | np.generic | np.ndarray | jax.Array):
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes()
    return value


# Results that are computed once


def compute_once(result: jax.Array, other: jax.Array) -> jax.Array:
    """The result, bit for bit, divided by a 1 so that XLA does not compute it again.

    Args:
        result: numbers; integers of less than 2^24. A subnormal number may become 0, as
            in any arithmetic of XLA on a CPU.
        other: any number that is at hand in the program, so that the 1 is no constant.
    """
    return divided(result, other).astype(result.dtype)


def divided(result: jax.Array, other: jax.Array) -> jax.Array:
    """The result as a float, divided as in :func:`compute_once`."""
    one = 1.0 + 0.0 * jnp.where(jnp.isfinite(other), other, 0).astype(float)
    return result.astype(float) / one


def compute_trigonometry_once(
    function: Callable[..., ResultT], fast: bool = False
) -> Callable[..., ResultT]:
    """The same function, whose sines and cosines are computed once.

    Args:
        function: of arrays.
        fast: whether those of float32 are polynomials, right to 2 units in the last place
            (:mod:`diffevo_jax.problems.control.trigonometry`).

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems.control.rewriting import compute_trigonometry_once
        >>> bool(compute_trigonometry_once(jnp.sin)(0.5) == jnp.sin(0.5))
        True
    """

    def same(*arguments: PyTree) -> ResultT:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        program = closed.jaxpr
        variables = [*program.constvars, *program.invars]
        leaves = [*closed.consts, *jax.tree.leaves(arguments)]
        values = dict(zip(variables, leaves, strict=True))
        for equation in program.eqns:
            name = equation.primitive.name
            if name not in _COSTLY:
                results = _evaluated(program, equation, values)
            else:
                argument = _value(equation.invars[0], values)
                same = jnp.result_type(argument) == jnp.float32
                if fast and name in _POLYNOMIALS and same:
                    result = _POLYNOMIALS[name](argument)
                else:
                    result = _evaluated(program, equation, values)[0]
                results = [compute_once(result, argument)]
            values.update(zip(equation.outvars, results, strict=True))
        outputs = [_value(atom, values) for atom in program.outvars]
        made: ResultT = jax.tree.unflatten(jax.tree.structure(shape), outputs)
        return made

    return same


# Programs, an equation at a time


def _evaluated(
    program: core.Jaxpr, equation: core.JaxprEqn, values: dict[core.Var, Any]
) -> list[Any]:
    """What an equation of a program makes of the values of its variables."""
    variables = list(dict.fromkeys(_variables(equation.invars)))
    alone = program.replace(
        constvars=[], invars=variables, outvars=equation.outvars, eqns=[equation]
    )
    closed = core.ClosedJaxpr(alone, ())
    return core.jaxpr_as_fun(closed)(*(values[variable] for variable in variables))


def _value(atom: Atom, values: dict[core.Var, Any]) -> Any:
    return atom.val if isinstance(atom, core.Literal) else values[atom]


def _array(atom: Atom) -> jax.ShapeDtypeStruct:
    """Shape and dtype."""
    kind: Any = atom.aval  # of an array, which its type does not say
    return jax.ShapeDtypeStruct(kind.shape, kind.dtype)


def _variables(atoms: Sequence[Atom]) -> set[core.Var]:
    return {atom for atom in atoms if isinstance(atom, core.Var)}
