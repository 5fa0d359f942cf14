"""Different solutions: how many of the known peaks are listed, for how many evaluations.

    python benchmarks/different_solutions.py [--seeds 4] [--only TASK ...]

Three functions of two dimensions whose minima are known, and peaks of the squared distance
in 2 to 32 dimensions. ``de.solutions`` lists; a peak counts if a listed solution has the
global fitness to an accuracy, and no better one is nearer than the suite's radius (CEC
2013). Settings, as docs/different_solutions.md gives them:

* default: 50 generations;
* several: ``DiffusionEvolution.for_several(50)``;
* niches: an exact kernel that is narrow from an even start on, a list, and the same again
  from noisy copies of the list, narrower, twice. For few dimensions.

They were chosen with key 0; the table has other ones.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, load, save, stored, table
from high_dimension import landscape
from scipy.stats import qmc

import diffevo_jax as de
import diffevo_jax.plots
from diffevo_jax.problems import landscapes

NAME = "different_solutions"
ACCURACIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
#: Seeds of the table begin here.
FIRST_SEED = 2301


class Task(NamedTuple):
    """A problem whose peaks are known.

    Attributes:
        problem: what to maximise.
        best: fitness of the peaks.
        radius: two solutions that are nearer are at one peak.
        peaks: how many there are.
        size: individuals.
        start: noise level with which niches begin; 0 for none.
        first: generations of their first stage.
        within: of its list.
    """

    problem: de.Problem
    best: float
    radius: float
    peaks: int
    size: int
    start: float = 0.0
    first: int = 0
    within: float = 0.1


def boxed(fn: Callable[[jax.Array], jax.Array], lower: float, upper: float) -> de.Problem:
    """Minimise a function of two numbers in a box."""
    space = de.problems.Space(jnp.zeros(2), lower=lower, upper=upper)
    return de.problems.Function(lambda x: -fn(x), space=space)


def tasks() -> dict[str, Task]:
    """All of them, by name."""
    himmelblau = boxed(landscapes.himmelblau, -6.0, 6.0)
    shubert = boxed(landscapes.shubert, -10.0, 10.0)
    vincent = boxed(landscapes.vincent, 0.25, 10.0)
    found = {
        "Himmelblau": Task(himmelblau, 0.0, 0.01, 4, 512, 0.2, 20, 0.5),
        "Shubert": Task(shubert, 186.7309088310239, 0.5, 18, 2048, 0.2, 20, 0.5),
        "Vincent": Task(vincent, 1.0, 0.2, 36, 4096, 0.05, 6, 0.9),
    }
    for name in ("two peaks", "four peaks"):
        for dim in (2, 8, 32):
            problem, peaks = landscape(name, dim)
            found[f"{name}, D = {dim}"] = Task(problem, 0.0, 0.25, len(peaks), 256)
    return found


def niches(num_generations: int, start: float, stop: float) -> de.DiffusionEvolution:
    """Everyone listens to the nearest only, and is compared with them."""
    population = de.denoisers.Population(
        de.kernels.Gaussian(), de.shaping.Local(0.3), guidance=0.0
    )
    grid = de.noise.VE(stop, start)
    return de.DiffusionEvolution(num_generations, population, grid=grid)


def around(
    problem: de.Problem, found: de.Solutions, copies: int, deviation: float, seed: int
) -> jax.Array:
    """A population of what is listed, and noisy copies of it."""
    near = np.repeat(found.points, copies, axis=0)
    near += deviation * np.array(jax.random.normal(jax.random.key(seed), near.shape))
    return problem.space.repair(jnp.asarray(np.concatenate([found.points, near])))


def in_stages(task: Task, seed: int) -> tuple[de.Solutions, int]:
    """Niches from an even start, around those listed, and close to those listed then."""
    keys, problem = jax.random.split(jax.random.key(seed), 6), task.problem
    even = qmc.Sobol(problem.space.dim, seed=seed).random(task.size)
    population = jnp.asarray(4 * even - 2, jnp.float32)
    stages = (
        (task.first, task.start, 0.01, 0.0, task.within, 96, 0.1),
        (12, 0.03, 0.003, 0.0, 0.5, 32, 0.01),
        (30, 0.01, 1e-5, 1.0, 0.3, 0, 0.0),
    )
    evaluations = 0
    for number, (count, start, stop, guidance, within, copies, wide) in enumerate(stages):
        strategy = de.replace(niches(count, start, stop), guidance=guidance)
        result = de.evolve(keys[number], strategy, problem, population=population)
        found = de.solutions(
            problem, result, key=keys[number + 3], num_evaluations=6000, within=within
        )
        evaluations += count * len(population) + found.num_evaluations
        if copies:
            population = around(problem, found, copies, wide, seed + number)
    return found, evaluations


def at_once(
    task: Task, strategy: de.DiffusionEvolution, seed: int
) -> tuple[de.Solutions, int]:
    """One run, and its list."""
    key = jax.random.key(seed)
    result = de.evolve(key, strategy, task.problem, population_size=task.size)
    found = de.solutions(task.problem, result, key=key, num_evaluations=2000)
    return found, strategy.num_generations * task.size + found.num_evaluations


def peaks_listed(found: de.Solutions, task: Task, accuracy: float) -> int:
    """How many peaks a list has, to an accuracy of the fitness."""
    apart: list[np.ndarray] = []
    for one in found.solutions[found.fitness >= task.best - accuracy]:
        if all(np.linalg.norm(one - other) > task.radius for other in apart):
            apart.append(one)
    return len(apart)


SETTINGS: dict[str, Callable[[Task, int], tuple[de.Solutions, int]]] = {
    "default": lambda task, seed: at_once(task, de.DiffusionEvolution(50), seed),
    "several": lambda task, seed: at_once(
        task, de.DiffusionEvolution.for_several(50), seed
    ),
    "niches": in_stages,
}


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    rows = load(NAME) if options.only and stored(NAME) else []
    for name, task in tasks().items():
        if options.only and name not in options.only:
            continue
        for setting, solve in SETTINGS.items():
            if (setting == "niches") != (task.start > 0) and setting != "default":
                continue  # niches for few dimensions, for_several for more
            start, listed, lengths, evaluations = time.perf_counter(), [], [], []
            for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
                found, cost = solve(task, seed)
                listed.append([peaks_listed(found, task, one) for one in ACCURACIES])
                lengths.append(len(found))
                evaluations.append(cost)
            rows = [r for r in rows if (r["task"], r["setting"]) != (name, setting)]
            rows.append(
                {
                    "task": name,
                    "setting": setting,
                    "peaks": task.peaks,
                    "listed": listed,
                    "lengths": lengths,
                    "evaluations": evaluations,
                }
            )
            spent = time.perf_counter() - start
            print(name, setting, listed, lengths, evaluations, f"{spent:.0f} s", flush=True)
            save(NAME, options, rows)
    return rows


def report(rows: list[dict[str, Any]]) -> str:
    """The table: mean number of peaks listed, and runs that have all."""
    lines = []
    for row in rows:
        counts = np.array(row["listed"])
        shares = [
            f"{counts[:, k].mean():.3g} ({int((counts[:, k] == row['peaks']).sum())})"
            for k in range(len(ACCURACIES))
        ]
        length, budget = np.mean(row["lengths"]), np.mean(row["evaluations"])
        told = [f"{length:.3g}", str(len(counts)), f"{budget:,.0f}"]
        lines.append([row["task"], row["setting"], str(row["peaks"]), *shares, *told])
    heads = ["task", "setting", "peaks", *(f"{one:g}" for one in ACCURACIES)]
    return table([*heads, "listed in all", "runs", "evaluations"], lines)


def draw() -> None:
    """The picture of the document: four peaks in eight dimensions, as lines."""
    strategy = de.DiffusionEvolution.for_several(50)
    found, _ = at_once(tasks()["four peaks, D = 8"], strategy, FIRST_SEED)
    figure = de.plots.parallel_coordinates(found)
    figure.savefig(FIGURES / f"{NAME}.png", dpi=120)


if __name__ == "__main__":
    options = arguments(__doc__, seeds=4, only="tasks to measure")
    print(report(run(options)))
    if not options.only:
        draw()
