"""What decides bits, as digests: programs with their constants, arrays, versions, settings.

A function cannot be told by its name, and not by its code alone: it reads closures,
globals and the state of objects. What all of them come to is the traced program, so it is
the program that is hashed, with its constants, and not its sources.
"""

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree.records import version_of

if TYPE_CHECKING:  # where it is used it is imported: it brings Pallas
    from jax.extend import core

#: Settings of JAX that decide bits, by what they are called in a manifest.
_SETTINGS = {
    "x64": "jax_enable_x64",
    "threefry_partitionable": "jax_threefry_partitionable",
    "matmul_precision": "jax_default_matmul_precision",
    "disable_jit": "jax_disable_jit",
    "disable_most_optimizations": "jax_disable_most_optimizations",
}
#: What compiles and draws; what else a program is made by shows in it.
_PACKAGES = ("diffevo-jax", "jax", "jaxlib")
#: Operations whose code is outside of the program; of what only prints nothing depends.
_OUTSIDE = re.compile(r"(?!debug).*callback|ffi_call|infeed")


def surroundings() -> dict[str, Any]:
    """What decides bits beside a program and its arguments, by name, as JSON has it."""
    known = {name: getattr(jax.config, option, None) for name, option in _SETTINGS.items()}
    return known | {
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


def add_array(found: "hashlib._Hash", value: object) -> None:
    """Add the kind, shape, dtype and bits of an array, or of keys, to a digest."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        found.update(str(jax.random.key_impl(value)).encode())
        value = jax.random.key_data(value)
    array = np.asarray(value)
    found.update(repr((array.shape, str(array.dtype))).encode())
    found.update(array.tobytes())


def _constants(program: "core.ClosedJaxpr | core.Jaxpr", known: dict[int, bytes]) -> bytes:
    """Digest of all constants of a program and of its inner ones, in their order.

    Args:
        program: a jaxpr.
        known: digests of programs that have been seen, by their ids.

    Raises:
        ValueError: it calls what is outside of it.
    """
    from jax.extend import core

    if id(program) in known:
        return known[id(program)]
    found = hashlib.sha256()
    if isinstance(program, core.ClosedJaxpr):
        for constant in program.consts:
            add_array(found, constant)
    for equation in program.eqns:
        name = equation.primitive.name
        if _OUTSIDE.match(name):
            raise ValueError(
                f"folder: got a program with {name}, whose code is outside of it and "
                "cannot be identified; want none, or no folder"
            )
        for read in equation.invars:
            if isinstance(read, core.Literal):
                add_array(found, read.val)
        for part in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(part):
                found.update(_constants(part, known))
    known[id(program)] = found.digest()
    return known[id(program)]


def _is_program(value: object) -> TypeGuard["core.ClosedJaxpr | core.Jaxpr"]:
    from jax.extend import core

    return isinstance(value, core.ClosedJaxpr | core.Jaxpr)
