"""Seconds and bytes: of alternated calls, of programs, of processes."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

Call = Callable[[], Any]
QUARTILES = (0.25, 0.5, 0.75)

#: Seconds of untimed calls before each timed one. The host of a virtual machine takes some
#: tenths of a second to give a second core back that was idle: two threads of NumPy alone
#: take twice as long until then.
WARM = 0.5


def alternate(
    calls: Mapping[str, Call], repetitions: int, *, ours: str = "ours"
) -> dict[str, float]:
    """First calls, compiling included, then alternated ones: medians and quartiles.

    Alternation lets whatever else a machine does fall on all calls alike. Before each
    timed call it is called untimed, for ``WARM`` seconds, or once: what the call before it
    left of the cores and caches is no part of its time.

    Args:
        calls: by name.
        repetitions: of each call after its first.
        ours: the call that the ratio is of.

    Returns:
        In seconds, for each name ``name``, the median; ``name_low`` and ``name_high``, the
        quartiles; ``name_first``. If one is ``"evosax"``, ``ratio``: its median by ours.
    """
    row = {f"{name}_first": seconds(call) for name, call in calls.items()}
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            warm_up(call)
            spent[name].append(seconds(call))
    for name, values in spent.items():
        low, middle, high = map(float, np.quantile(values, QUARTILES))
        row |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    if {ours, "evosax"} <= calls.keys():
        row["ratio"] = row["evosax"] / row[ours]
    return row


def of_processes(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several processes measured of the same calls: medians over the processes.

    A program may run at one of two speeds in a process, or for seconds on end, as the host
    of a virtual machine places its cores (see ``WARM``). One process says which it met.

    Returns:
        The medians of all numbers; ``processes``, how many there were; for ``"ours"`` and
        ``"evosax"`` the slowest median, ``..._slowest``.
    """
    names = [name for name in rows[0] if isinstance(rows[0][name], int | float)]
    row = {name: float(np.median([one[name] for one in rows])) for name in names}
    for name in {"ours", "evosax"} & row.keys():
        row[f"{name}_slowest"] = max(one[name] for one in rows)
    return {**rows[0], **row, "processes": len(rows)}


def rename(row: dict[str, float], name: str, theirs: str = "evosax") -> dict[str, float]:
    """The row of another of our calls, or of theirs, in the place of the usual ones."""
    wanted = {}
    for end in ("", "_first", "_low", "_high"):
        wanted["ours" + end] = row[name + end]
        wanted["evosax" + end] = row[theirs + end]
    return wanted | {"ratio": row[theirs] / row[name]}


def warm_up(call: Call) -> None:
    """Calls of it for ``WARM`` seconds, at least one."""
    end = time.perf_counter() + WARM
    seconds(call)
    while time.perf_counter() < end:
        seconds(call)


def seconds(call: Call) -> float:
    """One call, until its result is there."""
    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def median(call: Call, repetitions: int) -> float:
    """The median of so many calls after those that warm up."""
    warm_up(call)
    return float(np.median([seconds(call) for _ in range(repetitions)]))


def to_target(curves: Any, target: float, spent: float) -> dict[str, Any]:
    """Time to a target, beside evaluations, of runs that are started again if they miss it.

    Args:
        curves: (R, G) of R runs, what each has after each generation; higher is better.
        target: to be reached.
        spent: seconds of one generation of one run.

    Returns:
        ``target``; ``reached``, the share of runs; ``generations``, those of all runs until
        their target, or all of them, for one success: the expected running time of Auger
        and Hansen, 2005, doi:10.1109/CEC.2005.1554902; ``seconds``, its time. None for both
        if nobody reaches it.
    """
    there = np.asarray(curves) >= target
    reached = there.any(axis=1)
    generations = np.where(reached, there.argmax(axis=1) + 1, there.shape[1]).sum()
    expected = float(generations / reached.sum()) if reached.any() else None
    return {
        "target": target,
        "reached": float(reached.mean()),
        "generations": expected,
        "seconds": None if expected is None else expected * spent,
    }


def extra_memory(compiled: Any) -> int:
    """Bytes that a compiled program needs beside its arguments and results."""
    return int(compiled.memory_analysis().temp_size_in_bytes)


def peak_memory() -> int:
    """Bytes of this process, at their highest so far.

    On Linux not those of ``getrusage``, with which a process inherits its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (s for s in status.read_text().splitlines() if s.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child(program: str, **environment: str) -> Any:
    """Run a program in a fresh process, among the benchmarks; its last line is JSON."""
    out = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(out.stdout.splitlines()[-1])


def megabytes(count: float | None) -> str:
    """Bytes in words, or a dash where nothing was measured."""
    if count is None:
        return "-"
    value = count / 1e6
    return f"{value:,.0f} MB" if value >= 10 else f"{value:.2g} MB"
