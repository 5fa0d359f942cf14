"""A sweep beside the loop that one would write: 64 settings, 32 seeds each.

    python benchmarks/sweep_loop.py

Eight temperatures of the shaping times eight noises of the sampler, with population 64 and
5 generations, on CartPole-v1 as published otherwise, and on a landscape that costs nothing.
``de.sweep`` runs them in one compiled program, a batch at a time, and labels the results.
The loop calls one jitted evolution for every setting and seed: compiled once, the numbers
its arguments, the same scalars its results, which are fetched at the end. The third is what
one would write next: a loop over settings, with a ``vmap`` over seeds. All run on one
device of one process and alternate; first calls, compiling included, are timed apart.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, milliseconds, save, table, times
from timing import alternate

import diffevo_jax as de

POPULATION, GENERATIONS = 64, 5
#: A run: its key, a temperature, a noise.
Run = Callable[[jax.Array, float, float], Any]


def problems() -> dict[str, Any]:
    """By name; the first takes a million steps of a simulation, the second nothing."""
    return {
        "CartPole": de.published.control("CartPole-v1").problem,
        "Beale": de.problems.Landscape("beale"),
    }


def settings(count: int) -> dict[str, np.ndarray]:
    """The axes of the sweep."""
    return {
        "shaping.temperature": np.geomspace(0.05, 2.0, count),
        "sampler.eta": np.linspace(0.0, 1.0, count),
    }


def run_of(problem: Any) -> Run:
    """One run, whose numbers are arguments."""

    def run(key: jax.Array, temperature: float, eta: float) -> Any:
        strategy = de.DiffusionEvolution(
            GENERATIONS,
            denoiser=de.denoisers.Population(shaping=de.shaping.Standardized(temperature)),
            sampler=de.samplers.DPMSolver2M(eta=eta),
        )
        result = de.evolve(key, strategy, problem, population_size=POPULATION, final=0)
        return result.history, result.best_fitness

    return run


def measure(
    what: str, problem: Any, count: int, seeds: int, options: Any
) -> dict[str, Any]:
    """A row: count squared settings, so many seeds."""
    key, axes = jax.random.key(options.seed), settings(count)
    keys = [jax.random.fold_in(key, seed) for seed in range(seeds)]
    run, together = run_of(problem), jnp.stack(keys)
    one, many = jax.jit(run), jax.jit(jax.vmap(run, (0, None, None)))
    pairs = [(t, e) for t in axes["shaping.temperature"] for e in axes["sampler.eta"]]
    ends: dict[str, float] = {}

    def sweep() -> None:
        found = de.sweep(
            key,
            de.DiffusionEvolution(GENERATIONS),
            problem,
            axes=axes,
            num_seeds=seeds,
            population_size=POPULATION,
        )
        ends["sweep"] = float(found.final_mean.mean())

    def loop() -> None:
        results = [one(key, *pair) for pair in pairs for key in keys]
        ends["loop"] = _end(jax.device_get(results))

    def over_seeds() -> None:
        ends["vmap"] = _end(jax.device_get([many(together, *pair) for pair in pairs]))

    calls = {"ours": sweep, "loop": loop, "vmap": over_seeds}
    row: dict[str, Any] = alternate(calls, options.repetitions)
    size = {"what": what, "settings": len(pairs), "seeds": seeds, "final_mean": ends}
    row["ratio"], row["ratio_vmap"] = row["loop"] / row["ours"], row["vmap"] / row["ours"]
    return size | row


def _end(results: list[Any]) -> float:
    """Mean fitness of the last populations of all runs."""
    return float(np.mean([history.mean_fitness[..., -1] for history, _ in results]))


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the table of a document."""
    lines = [
        [
            f"{row['what']}, {row['settings']} settings, {row['seeds']} seeds",
            *(times(row, name) for name in ("ours", "loop", "vmap")),
            f"{row['ratio']:.1f}",
            f"{row['ratio_vmap']:.2f}",
        ]
        for row in rows
    ]
    head = ["what", "sweep, ms (first call)", "loop", "loop over settings, vmap over seeds"]
    return table([*head, "times faster than the loop", "than the vmap"], lines)


def main() -> None:
    options = arguments(__doc__ or "", repetitions=7)
    count, seeds = (2, 4) if options.quick else (8, 32)
    rows = [
        measure(what, problem, count, seeds, options)
        for what, problem in problems().items()
    ]
    print(report(rows))
    for row in rows:
        ends = ", ".join(f"{name} {value:.4g}" for name, value in row["final_mean"].items())
        print(f"{row['what']}: final mean {ends}; {milliseconds(row['ours'])} ms")
    save("sweep_loop", options, rows)


if __name__ == "__main__":
    main()
