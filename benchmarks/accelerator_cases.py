"""What a case of ``accelerator.py`` is, and how its time is taken."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from timing import QUARTILES, extra_memory, seconds

#: Seconds of repeated calls; one call that takes longer is not repeated.
LONG = 2.0

Row = dict[str, Any]


class Case(NamedTuple):
    """A row of the result.

    Attributes:
        what: its name.
        measure: returns the row.
        after: the name of a case whose time foretells this one's; None: it is always tried.
        growth: so many times as long a call takes.
    """

    what: str
    measure: Callable[[], Row]
    after: str | None = None
    growth: float = 1.0


#: The cases of a part, the most valuable first, and the names of their rates.
Cases = tuple[list[Case], tuple[str, ...]]


def repeated(call: Callable[[], Any], repeats: int) -> Row:
    """A first call, and the median and quartiles of as many more as there is time for."""
    first, spent = seconds(call), list[float]()
    while len(spent) < repeats and first + sum(spent) < LONG:
        spent.append(seconds(call))
    low, middle, high = map(float, np.quantile(spent or [first], QUARTILES))
    found = {"seconds": middle, "low": low, "high": high}
    return found | {"first": first, "repeats": len(spent)}


def warmed(call: Callable[[], Any], repeats: int) -> Row:
    """The same of a call that compiles: its own first one is in ``compile``."""
    return {"compile": seconds(call)} | repeated(call, repeats)


def compiled(
    function: Callable[..., Any], *arguments: Any, options: Any = None
) -> tuple[Any, Row]:
    """A program, the seconds until it was there, and the bytes that it needs to run."""
    begin = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile(compiler_options=options)
    spent = time.perf_counter() - begin
    known = program.memory_analysis() is not None  # not by every device
    return program, {
        "compile": spent,
        "extra_memory": extra_memory(program) if known else None,
    }


def peak_memory() -> int | None:
    """Bytes of the device in use at their highest so far; None where nobody counts."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")
