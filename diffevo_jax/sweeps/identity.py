"""What decides the results of a sweep: two sweeps with one identity have one result."""

import hashlib
from typing import Any

import jax
import numpy as np

from diffevo_jax.pytree.digests import add_array, program_digest, surroundings
from diffevo_jax.pytree.records import plain
from diffevo_jax.sweeps.plan import Plan, trace_group
from diffevo_jax.sweeps.settings import Group


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
    return surroundings() | {
        "programs": programs.hexdigest(),
        "settings": settings.hexdigest(),
        "num_settings": len(plan.settings),
        "num_seeds": plan.num_seeds,
        "key": plain(jax.random.key_data(plan.key)),
        "prng": str(jax.random.key_impl(plan.key)),
        "mode": plan.batching.mode,
        "batch_size": plan.batching.batch_size,
        "keep": list(plan.batching.keep),
    }


def digest_of(sweep: bytes, number: int, arrays: dict[str, np.ndarray]) -> bytes:
    """Of a batch, 32 bytes: of which sweep, which number, and all of its arrays."""
    found = hashlib.sha256(sweep)
    found.update(repr((number, sorted(arrays))).encode())
    for name in sorted(arrays):
        add_array(found, arrays[name])
    return found.digest()


def _add_settings(found: "hashlib._Hash", group: Group) -> None:
    found.update(repr((group.numbers, group.population_size)).encode())
    for leaf in (*group.varying, *group.fixed):
        found.update(b"-") if leaf is None else add_array(found, leaf)
