"""A long life: runs, sweeps and trainings in one process, and its resident memory.

    python benchmarks/soak.py
    python benchmarks/soak.py --minutes 2

First the same shapes again and again, with other numbers, keys and data each time: an
evolution, a run in chunks, a sweep, a training. After the first round nothing may be
compiled, and after the first minute the memory may not grow. Then so many evolutions, each
of another population size and so a program of its own: they may not end the process, and
the memory maps, of which Linux lets a process have 65,530, may not run out.

The memory is that which the kernel says is resident, at the end of a round and after a
collection of garbage.
"""

import argparse
import gc
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import arguments, save, table
from timing import megabytes

import diffevo_jax as de

POPULATION, GENERATIONS = 32, 4
#: Memory is compared with that after so many seconds, or a fifth of a shorter soak.
SETTLED = 60.0
#: Population sizes from here on are those of the different shapes.
FIRST_SHAPE = 40
COMPILED = "/jax/core/compile/backend_compile_duration"


class Programs:
    """Counts what JAX compiles, and the memory maps of this process."""

    def __init__(self) -> None:
        self.compiled = 0
        jax.monitoring.register_event_duration_secs_listener(self.listen)

    def listen(self, event: str, duration_secs: float, **_: Any) -> None:
        self.compiled += event == COMPILED


def resident() -> int:
    """Bytes of this process that are in memory now; nothing is left to collect."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def maps() -> int:
    """Memory maps of this process."""
    return Path("/proc/self/maps").read_bytes().count(b"\n")


def strategy(number: int) -> de.DiffusionEvolution:
    """One whose numbers are others each time, and whose structure is not."""
    draw = np.random.default_rng(number)
    return de.DiffusionEvolution(
        GENERATIONS,
        denoiser=de.denoisers.Population(
            shaping=de.shaping.Standardized(draw.uniform(0.1, 2.0)),
            guidance=draw.uniform(0.0, 1.0),
        ),
        sampler=de.samplers.DDIM(draw.uniform(0.0, 1.0)),
    )


def once(number: int) -> None:
    """A run, one in chunks, a sweep and a training."""
    key, problem = jax.random.key(number), de.problems.Landscape("beale")
    ours = strategy(number)
    size = {"population_size": POPULATION}
    de.evolve(key, ours, problem, **size).best_fitness.block_until_ready()
    de.run(key, ours, problem, chunk_size=2, **size).best_fitness.block_until_ready()
    values = (np.linspace(0.1, 1.0, 4) + 1e-4 * number).tolist()
    de.sweep(key, ours, problem, axes={"temperature": values}, num_seeds=2, **size)
    data = np.random.default_rng(number).normal(size=(256, 2))
    recipe = de.diffusion.Recipe(num_steps=20, batch_size=16)
    de.diffusion.train(key, data / data.std(), de.diffusion.MLP((8,)), recipe)


def repeat(minutes: float, programs: Programs) -> dict[str, Any]:
    """The same shapes for so long, as a row."""
    begin, settled = time.perf_counter(), min(SETTLED, 12.0 * minutes)
    once(0)
    warm, rounds, first = programs.compiled, 1, 0
    while (now := time.perf_counter() - begin) < 60.0 * minutes or not first:
        if now >= settled and not first:
            first = resident()
        once(rounds)
        rounds += 1
    last = resident()
    return {
        "what": "the same shapes",
        "seconds": time.perf_counter() - begin,
        "rounds": rounds,
        "compiled": programs.compiled - warm,
        "settled": first,
        "end": last,
        "growth": last / first - 1.0,
        "maps": maps(),
    }


def differ(shapes: int, programs: Programs) -> dict[str, Any]:
    """As many population sizes, each a program of its own, as a row."""
    begin, before, most = time.perf_counter(), resident(), 0
    compiled, half = programs.compiled, 0
    for number in range(shapes):
        size, key = FIRST_SHAPE + number, jax.random.key(number)
        problem = de.problems.Landscape("beale")
        de.evolve(key, strategy(number), problem, population_size=size)
        most = max(most, maps())
        if number + 1 == max(1, shapes // 2):
            half = resident()
    last = resident()
    return {
        "what": f"{shapes} different shapes",
        "seconds": time.perf_counter() - begin,
        "rounds": shapes,
        "compiled": programs.compiled - compiled,
        "before": before,
        "settled": half,
        "end": last,
        "growth": last / half - 1.0,
        "maps": most,
    }


def options() -> argparse.Namespace:
    """Minutes and shapes; few of a quick run."""
    given = arguments(__doc__ or "", minutes=30.0, shapes=300)
    if given.quick:
        given.minutes, given.shapes = min(given.minutes, 0.05), min(given.shapes, 2)
    return given


def main() -> None:
    given, programs = options(), Programs()
    rows: list[dict[str, Any]] = []
    for part in (
        lambda: repeat(given.minutes, programs),
        lambda: differ(given.shapes, programs),
    ):
        rows.append(part())
        print(report(rows), flush=True)
        save("soak", given, rows)  # an hour is long: what is known is kept


def report(rows: list[dict[str, Any]]) -> str:
    """A row for each part."""
    lines = [
        [
            row["what"],
            f"{row['seconds'] / 60.0:.0f}",
            f"{row['rounds']:,}",
            f"{row['compiled']:,}",
            megabytes(row["settled"]),
            megabytes(row["end"]),
            f"{row['growth']:+.1%}",
            f"{row['maps']:,}",
        ]
        for row in rows
    ]
    header = ["what", "minutes", "rounds", "compiled after the first", "resident, MB"]
    return table([*header, "at the end", "growth", "memory maps"], lines)


if __name__ == "__main__":
    main()
