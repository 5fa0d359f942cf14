"""The estimator beside evosax: from the fitness of a population to its next candidates.

    python benchmarks/estimator.py

The plain kernel in D dimensions on both sides, the same candidates and fitness, through
the public functions, jitted. Timed are ``tell`` and the ``ask`` after it, since ours
estimates in ``tell`` and evosax in ``ask``. Ours returns candidates, state and info,
evosax candidates, state and metrics. Repetitions alternate, first calls are apart, and
what is compared is the ratio of medians: the median over several processes, since one
program may have two speeds (``timing.of_processes``). The slowest process is told too.

Several runs are one program, under ``vmap`` on both sides.

Extra memory is what XLA allots to the compiled ``tell`` and ``ask`` beside arguments and
results; it is read from the programs, which need not run. One step of 65,536 individuals
runs in a process of its own, which also says how much memory it took at its highest.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import peer
from common import arguments, milliseconds, prepare_devices, save, table
from timing import (
    alternate,
    child,
    extra_memory,
    megabytes,
    of_processes,
    peak_memory,
    seconds,
)

import diffevo_jax as de

GENERATIONS = 10
PROCESSES = 5
#: (N, D), and runs where they are several.
TIMED = ((512, 2), (4096, 2), (4096, 58), (1024, 2, 8), (1024, 58, 8))
MEMORY = ((16_384, 58), (65_536, 58))
LARGE = (65_536, 58)


class Round(NamedTuple):
    """A jitted function of one generation, and its arguments."""

    function: Any
    arguments: tuple[Any, ...]

    def run(self) -> Any:
        return self.function(*self.arguments)

    def compile(self) -> Any:
        return self.function.lower(*self.arguments).compile()


def data(size: int, dim: int, runs: int = 1) -> tuple[jax.Array, ...]:
    """A key, candidates (N, D) and their fitness (N,); an axis more of several runs."""
    leading = () if runs == 1 else (runs,)
    key = jax.random.key(1)
    candidates = jax.random.normal(jax.random.key(0), (*leading, size, dim))
    fitness = -jnp.mean((candidates - 1.0) ** 2, axis=-1)
    return key if runs == 1 else jax.random.split(key, runs), candidates, fitness


def over_runs(
    function: Callable[..., Any], runs: int, shared: int = 0
) -> Callable[..., Any]:
    """Map a function over runs, which share its first ``shared`` arguments."""
    if runs == 1:
        return function

    def mapped(*arguments: Any) -> Any:
        axes = [None if place < shared else 0 for place in range(len(arguments))]
        return jax.vmap(function, axes)(*arguments)

    return mapped


def our_round(size: int, dim: int, runs: int = 1) -> Round:
    """``de.tell``, then ``de.ask``, in the first generation."""
    strategy = de.DiffusionEvolution(
        GENERATIONS, denoiser=de.denoisers.Population(de.kernels.Gaussian(), guidance=None)
    )
    key, candidates, fitness = data(size, dim, runs)

    def function(strategy: Any, key: Any, state: Any, candidates: Any, fitness: Any) -> Any:
        state, info = de.tell(strategy, key, state, candidates, fitness)
        return *de.ask(strategy, key, state), info

    state = over_runs(functools.partial(de.init, strategy), runs)(key, candidates)
    program = jax.jit(over_runs(function, runs, shared=1))
    return Round(program, (strategy, key, state, candidates, fitness))


def their_round(size: int, dim: int, runs: int = 1) -> Round:
    """``tell``, then ``ask`` of evosax, in its first generation; it minimises."""
    algorithm, params = peer.strategy(size, jnp.zeros(dim), GENERATIONS)
    key, candidates, fitness = data(size, dim, runs)

    def function(key: Any, state: Any, candidates: Any, fitness: Any) -> Any:
        state, metrics = algorithm.tell(key, candidates, -fitness, state, params)
        return *algorithm.ask(key, state, params), metrics

    init = lambda *given: algorithm.init(*given, params)
    state = over_runs(init, runs)(key, candidates, -fitness)
    program = jax.jit(over_runs(function, runs))
    return Round(program, (key, state, candidates, fitness))


def measure(size: int, dim: int, runs: int, repetitions: int) -> dict[str, Any]:
    """Both sides: extra memory, and with repetitions also times."""
    ours, theirs = our_round(size, dim, runs), their_round(size, dim, runs)
    what = f"N = {size:,}, D = {dim}"
    times = (
        alternate({"ours": ours.run, "evosax": theirs.run}, repetitions)
        if repetitions
        else {}
    )
    return {
        "what": what if runs == 1 else f"{runs} runs of {what}",
        **times,
        "ours_memory": extra_memory(ours.compile()),
        "evosax_memory": extra_memory(theirs.compile()),
    }


def timed(
    size: int, dim: int, runs: int = 1, *, repetitions: int, processes: int
) -> dict[str, Any]:
    """Both sides, in so many fresh processes one after the other."""
    program = f"""
import json, common
common.prepare_devices()
import estimator
print(json.dumps(estimator.measure({size}, {dim}, {runs}, {repetitions})))
"""
    return of_processes([child(program) for _ in range(processes)])


def large(size: int, dim: int) -> dict[str, Any]:
    """One step of ours: seconds, and the process's memory before and at its highest."""
    step = our_round(size, dim)
    compiled = step.compile()
    before = peak_memory()
    spent = seconds(lambda: compiled(*step.arguments))
    return {"ours": spent, "before": before, "peak": peak_memory()}


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", repetitions=11)
    repeated = functools.partial(
        timed,
        repetitions=options.repetitions,
        processes=1 if options.quick else PROCESSES,
    )
    if options.quick:
        rows = [repeated(512, 2), repeated(64, 2, 2)]
    else:
        rows = [repeated(*shape) for shape in TIMED]
        rows += [measure(*shape, 1, 0) for shape in MEMORY]
        program = f"import json, estimator; print(json.dumps(estimator.large{LARGE}))"
        rows[-1] |= child(program)
    print(report(rows))
    save("estimator", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the page's table."""
    lines = [
        [
            row["what"],
            milliseconds(row.get("ours")),
            milliseconds(row.get("ours_slowest")),
            milliseconds(row.get("evosax")),
            f"{row['ratio']:.1f}" if "ratio" in row else "-",
            megabytes(row["ours_memory"]),
            megabytes(row["evosax_memory"]),
            megabytes(row.get("peak")),
        ]
        for row in rows
    ]
    header = [
        "what",
        "ours, ms",
        "slowest process, ms",
        "evosax, ms",
        "times faster",
    ]
    header.append("extra memory, ours")
    return table([*header, "evosax", "peak of the process, ours"], lines)


if __name__ == "__main__":
    main()
