"""What decides the results of a sweep: two sweeps with one identity have one result.

A function cannot be told by its name, and not by its code alone: it reads closures,
globals and the state of objects. What all of them come to is the traced program, so it is
the program that is hashed, with its constants, and not its sources.
"""

import hashlib
import json
import re
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from diffevo_jax.pytree.records import plain, version_of
from diffevo_jax.sweeps.plan import Plan, trace_group
from diffevo_jax.sweeps.settings import Group

#: Settings of JAX that decide bits, by what they are called in a manifest.
_SETTINGS = {
    "x64": "jax_enable_x64",
    "threefry_partitionable": "jax_threefry_partitionable",
    "matmul_precision": "jax_default_matmul_precision",
    "disable_jit": "jax_disable_jit",
}
#: What compiles and draws; what else a program is made by shows in it.
_PACKAGES = ("diffevo-jax", "jax", "jaxlib")
#: Operations whose code is outside of the program; of what only prints nothing depends.
_OUTSIDE = re.compile(r"(?!debug).*callback|ffi_call|infeed")


def manifest(plan: Plan) -> dict[str, Any]:
    """What decides the results of a sweep, by name, as JSON has it.

    Raises:
        ValueError: a program calls what is outside of it, which nobody can identify.
    """
    settings, programs = hashlib.sha256(), hashlib.sha256()
    for group in plan.groups:
        _add_settings(settings, group)
        traced = trace_group(plan.key, group, plan.num_seeds, plan.batching)
        programs.update(program_digest(traced))
    known = {name: getattr(jax.config, option, None) for name, option in _SETTINGS.items()}
    return known | {
        "programs": programs.hexdigest(),
        "settings": settings.hexdigest(),
        "num_settings": len(plan.settings),
        "num_seeds": plan.num_seeds,
        "key": plain(jax.random.key_data(plan.key)),
        "prng": str(jax.random.key_impl(plan.key)),
        "mode": plan.batching.mode,
        "batch_size": plan.batching.batch_size,
        "keep": list(plan.batching.keep),
        "versions": {name: version_of(name) for name in _PACKAGES},
        "backend": jax.default_backend(),
    }


def program_digest(traced: jax.stages.Traced) -> bytes:
    """Of a program, 32 bytes: what it does, and with which constants.

    The text has no names of variables, no places in files and no addresses: it is the same
    in every process that traces the same. Large constants may be arguments in it.

    Raises:
        ValueError: it calls what is outside of it.
    """
    found = hashlib.sha256(_constants(traced.jaxpr, {}))
    with jax.disable_jit(False):
        found.update(traced.lower().as_text().encode())
    return found.digest()


def digest(manifest: dict[str, Any]) -> bytes:
    """Of a manifest, 32 bytes."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).digest()


def digest_of(sweep: bytes, number: int, arrays: dict[str, np.ndarray]) -> bytes:
    """Of a batch, 32 bytes: of which sweep, which number, and all of its arrays."""
    found = hashlib.sha256(sweep)
    found.update(repr((number, sorted(arrays))).encode())
    for name in sorted(arrays):
        _add_array(found, arrays[name])
    return found.digest()


def _add_settings(found: "hashlib._Hash", group: Group) -> None:
    found.update(repr((group.numbers, group.population_size)).encode())
    for leaf in (*group.varying, *group.fixed):
        found.update(b"-") if leaf is None else _add_array(found, leaf)


def _add_array(found: "hashlib._Hash", value: object) -> None:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        found.update(str(jax.random.key_impl(value)).encode())
        value = jax.random.key_data(value)
    array = np.asarray(value)
    found.update(repr((array.shape, str(array.dtype))).encode())
    found.update(array.tobytes())


def _constants(program: core.ClosedJaxpr | core.Jaxpr, known: dict[int, bytes]) -> bytes:
    """Digest of all constants of a program and of its inner ones, in their order.

    Args:
        program: a jaxpr.
        known: digests of programs that have been seen, by their ids.

    Raises:
        ValueError: it calls what is outside of it.
    """
    if id(program) in known:
        return known[id(program)]
    found = hashlib.sha256()
    if isinstance(program, core.ClosedJaxpr):
        for constant in program.consts:
            _add_array(found, constant)
    for equation in program.eqns:
        name = equation.primitive.name
        if _OUTSIDE.match(name):
            raise ValueError(
                f"folder: got a program with {name}, whose code is outside of it and "
                "cannot be identified; want none, or no folder"
            )
        for read in equation.invars:
            if isinstance(read, core.Literal):
                _add_array(found, read.val)
        for part in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(part):
                found.update(_constants(part, known))
    known[id(program)] = found.digest()
    return known[id(program)]


def _is_program(value: object) -> TypeGuard[core.ClosedJaxpr | core.Jaxpr]:
    return isinstance(value, core.ClosedJaxpr | core.Jaxpr)
