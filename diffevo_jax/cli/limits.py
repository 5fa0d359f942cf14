"""How much memory a command line asks for at least, known before anything is made of it.

An estimate counts only what must be there: what it refuses cannot run, and what it lets
pass may still be too much.
"""

import math

import jax.numpy as jnp

from diffevo_jax.cli.errors import UsageError
from diffevo_jax.running import memory

#: Scalars that a generation leaves; and copies of them, and of a population: on the device,
#: in chunks, and as one.
_SCALARS, _COPIES = 10, 3
#: Bytes of a value of an axis, and of a setting, before anything runs.
_VALUE = 400


def check_memory(what: str, needed: float) -> None:
    """Raise unless this machine has so much memory at all.

    Args:
        what: asks for it.
        needed: bytes.

    Raises:
        UsageError: it has not.

    Example:
        >>> from diffevo_jax.cli import limits
        >>> limits.check_memory("seeds: got 2,000,000,000,000", 8 * 2e12)
        Traceback (most recent call last):
        diffevo_jax.cli.errors.UsageError: seeds: got 2,000,000,000,000, which takes at ...
    """
    known = memory.machine_memory()
    if known is not None and needed > known:
        raise UsageError(
            f"{what}, which takes at least {memory.in_words(needed)} of memory, "
            f"want what fits into {memory.in_words(known)}"
        )


def check_runs(
    name: str, runs: int, population_size: int, dim: int, num_generations: int
) -> None:
    """Raise unless so many runs at once fit into memory, with all that they leave.

    Args:
        name: of what says how many.
        runs: how many.
        population_size: N.
        dim: D.
        num_generations: T.

    Raises:
        UsageError: they do not.
    """
    number = _float_bytes() * _COPIES
    for what, count in (
        (f"num_generations: got {num_generations:,}", num_generations * _SCALARS),
        (
            f"population_size: got {population_size:,} of {dim:,} numbers",
            population_size * dim,
        ),
    ):
        check_memory(what, number * count)
        check_memory(f"{name}: got {runs:,}; {what}", number * count * runs)


def check_population(size: int) -> None:
    """Raise unless so many individuals fit into memory: more cannot even be traced.

    Args:
        size: N, of one number each or more.

    Raises:
        UsageError: they do not.
    """
    check_memory(f"population_size: got {size:,}", _float_bytes() * _COPIES * size)


def check_settings(counts: list[int], seeds: int, num_generations: int) -> None:
    """Raise unless a table of all settings and seeds fits into memory.

    Args:
        counts: values of each axis.
        seeds: of each setting.
        num_generations: of a run.

    Raises:
        UsageError: it does not.
    """
    settings = math.prod(counts)
    check_memory(f"axes: got {settings:,} settings", _VALUE * settings)
    row = _float_bytes() * _SCALARS * num_generations
    counted = {"axes": settings, "seeds": seeds, "num_generations": num_generations}
    name = max(counted, key=lambda each: counted[each])
    what = f"{settings:,} settings and {seeds:,} seeds of {num_generations:,} generations"
    check_memory(f"{name}: got {what}", row * settings * seeds)


def check_values(where: str, word: str, count: int) -> None:
    """Raise unless so many values of an axis, that a word asks for, fit into memory."""
    check_memory(f"{where}: got {word!r}, {count:,} values", _VALUE * count)


def _float_bytes() -> int:
    """Of a number, as JAX makes them here: 4, or 8 with ``jax_enable_x64``."""
    return jnp.zeros(()).dtype.itemsize
