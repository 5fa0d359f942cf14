"""The wait for the first result, in fresh processes, beside evosax.

    python benchmarks/first_result.py

CartPole at the published protocol, one run and 32 under ``vmap``. Apart: importing JAX,
gymnax and the library; setting up (evosax builds its problem and network eagerly, ours
while it is traced); tracing, lowering and compiling the program; its first run. What is
compared is the ratio of all from tracing to the first run, both sides with the same
options of the compiler; the last column counts the set-up too. Once more with the options
that we offer, for steady use and for a quick look (where programs run slower), and with
JAX's persistent compilation cache, filled by a process before.

The demo is ``diffevo evolve cartpole --seeds 8``, from the call to the printed table; its
parts are what JAX reports of all its programs, and parts inside others count twice.

Medians over processes, taken in turn.
"""

import functools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import main_job
import peer
from common import arguments, prepare_devices, save, table
from timing import child

import diffevo_jax as de

LIBRARIES = {
    "ours": "diffevo_jax",
    "evosax": "evosax.problems.rl.gymnax, evosax.problems.networks, evosax.algorithms",
}
#: Imports first, timed; then what this file does.
PARTS = """
import json, time
begin = time.perf_counter()
import jax, gymnax, {library}
imported = time.perf_counter() - begin
import first_result
parts = first_result.parts({side!r}, {runs}, {options!r})
print(json.dumps({{"import": imported, **parts}}))
"""
DEMO = """
import json, time
begin = time.perf_counter()
import jax, gymnax, diffevo_jax
imported = time.perf_counter() - begin
import first_result
print(json.dumps({"import": imported, **first_result.demo()}))
"""
#: Of the compiler: JAX's own, ours for steady use, and ours for a first look.
OPTIONS = {
    "": dict,
    ", options": de.compiler_options,
    ", quick options": functools.partial(de.compiler_options, quick=True),
}
#: Names of JAX's events, and ours.
EVENTS = {"jaxpr_trace": "trace", "jaxpr_to_mlir": "lower", "backend_compile": "compile"}
COMPARED = ("trace", "lower", "compile", "run")
RATIOS = ("ratio", "ratio_with_set_up")
COLUMNS = ("import", "set up", *COMPARED, "total")


class Process(NamedTuple):
    """What a fresh process does, and with what environment."""

    what: str
    program: str
    environment: dict[str, str]


def parts(side: str, runs: int, options: str) -> dict[str, float]:
    """Seconds from the set-up to the first result, in a process that has imported all.

    Args:
        side: whose evolution.
        runs: how many.
        options: what to compile with, as :data:`OPTIONS`.
    """
    spent, last = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[name], last = now - last, now

    run: Any = main_job.our_run if side == "ours" else peer.evolution()
    keys = jax.block_until_ready(jax.random.split(jax.random.key(0), runs))
    one = runs == 1  # is no vmap, as nobody would write it
    run, keys = (run, keys[0]) if one else (jax.vmap(run), keys)
    lap("set up")
    traced = jax.jit(run).trace(keys)
    lap("trace")
    lowered = traced.lower()
    lap("lower")
    compiled = lowered.compile(OPTIONS[options]())
    lap("compile")
    jax.block_until_ready(compiled(keys))
    lap("run")
    return spent | {"total": sum(spent[name] for name in COMPARED)}


def demo() -> dict[str, float]:
    """Seconds of the demo's command, and of the parts that JAX reports."""
    from diffevo_jax import cli

    spent = dict.fromkeys(EVENTS.values(), 0.0)

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        for part, name in EVENTS.items():
            if part in event:
                spent[name] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    begin = time.perf_counter()
    cli.main(["evolve", "cartpole", "--seeds", "8"])
    return spent | {"total": time.perf_counter() - begin}


def processes(sizes: tuple[int, ...], cache: Path) -> list[Process]:
    """The demo; for each number of runs ours, evosax's, and ours with a warm cache."""
    warm = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    wanted = [Process("the demo", DEMO, {})]
    for runs in sizes:
        ending = f"{runs} run{'s' * (runs > 1)}"
        for side, library in LIBRARIES.items():
            known = {"library": library, "side": side, "runs": runs}
            for options in OPTIONS:
                program = PARTS.format(**known, options=options)
                wanted.append(Process(f"{side}, {ending}{options}", program, {}))
            program = PARTS.format(**known, options="")
            wanted.append(Process(f"{side}, {ending}, warm cache", program, warm))
    return wanted


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, ours with what evosax takes as they do, by ours, and with set-up."""
    by_name = {row["what"]: row for row in rows}
    for row in rows:
        side, _, rest = row["what"].partition(", ")
        theirs = by_name.get("evosax, " + rest)
        if side == "ours" and theirs is not None:
            row["ratio"] = theirs["total"] / row["total"]
            whole, their_whole = (r["set up"] + r["total"] for r in (row, theirs))
            row["ratio_with_set_up"] = their_whole / whole
    return rows


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", repetitions=5)
    repetitions = 1 if options.quick else options.repetitions
    with tempfile.TemporaryDirectory() as cache:
        wanted = processes((1,) if options.quick else (1, 32), Path(cache))
        for process in wanted:
            if process.environment:
                child(process.program, **process.environment)
        measured: dict[str, list[dict[str, float]]] = {p.what: [] for p in wanted}
        for _ in range(repetitions):
            for what, program, environment in wanted:
                measured[what].append(child(program, **environment))
    rows = [
        {"what": what, "repetitions": repetitions}
        | {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        | {f"total_{f.__name__}": f(run["total"] for run in runs) for f in (min, max)}
        for what, runs in measured.items()
    ]
    print(report(compared(rows)))
    save("first_result", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the page's table."""
    lines = [
        [
            row["what"],
            *(f"{row[name]:.2f}" if name in row else "-" for name in COLUMNS),
            *(f"{row[name]:.1f}" if name in row else "-" for name in RATIOS),
        ]
        for row in rows
    ]
    header = ["seconds", *COLUMNS[:-1], "total after set-up", "times faster", "with set-up"]
    return table(header, lines)


if __name__ == "__main__":
    main()
