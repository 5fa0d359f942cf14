"""Different solutions: how many of the known peaks are listed, for how many evaluations.

    python benchmarks/different_solutions.py [--seeds 16] [--only TASK OR TABLE ...]

Three functions of two dimensions whose minima are known, and peaks of the squared distance
in 2 to 32 dimensions. ``de.solutions`` lists; a peak counts if a listed solution has the
global fitness to an accuracy, and no better one is nearer than the suite's radius (CEC
2013). Tables:

* listed: what docs/different_solutions.md recommends, beside the default;
* parts: one kernel, one memory or one shaping of ``for_several`` replaced;
* few: ``for_several`` with fewer individuals, told and not told how many.

Settings:

* default: 50 generations;
* for_several: ``DiffusionEvolution.for_several(50)``;
* for_several, finer: its list, and the default from noisy copies of it, its noise narrow;
* niches: an exact kernel that is narrow from an even start on, a list, and the same again
  from noisy copies of the list, narrower, twice. For few dimensions.

They were chosen with keys below 8; the tables have keys from ``FIRST_SEED`` on, "parts" and
"few" half as many.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, load, provenance, save, stored, table
from high_dimension import landscape
from scipy.stats import qmc

import diffevo_jax as de
import diffevo_jax.plots
from diffevo_jax import kernels
from diffevo_jax.problems import landscapes

NAME = "different_solutions"
ACCURACIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
#: Seeds of the table begin here.
FIRST_SEED = 7001


TABLES = ("listed", "parts", "few")


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


#: From a task and a seed to a list, and what it has cost.
Solve = Callable[[Task, int], tuple[de.Solutions, int]]


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
    problem: de.Problem, found: de.Solutions, size: int, deviation: float, seed: int
) -> jax.Array:
    """A population of what is listed, and noisy copies of it, as many of each."""
    rows = np.arange(size) % len(found)
    noise = deviation * np.array(
        jax.random.normal(jax.random.key(seed), (size, problem.space.dim))
    )
    noise[: len(found)] = 0.0
    return problem.space.repair(jnp.asarray(found.points[rows] + noise))


def in_stages(task: Task, seed: int) -> tuple[de.Solutions, int]:
    """Niches from an even start, around those listed, and close to those listed then."""
    keys, problem = jax.random.split(jax.random.key(seed), 6), task.problem
    even = qmc.Sobol(problem.space.dim, seed=seed).random(task.size)
    population = jnp.asarray(4 * even - 2, jnp.float32)
    stages = (
        (task.first, task.start, 0.01, 0.0, task.within, task.size, 0.1),
        (12, 0.03, 0.003, 0.0, 0.5, task.size // 2, 0.01),
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


def finer(task: Task, seed: int) -> tuple[de.Solutions, int]:
    """A list of ``for_several``, and each of it made precise, all in one population."""
    found, evaluations = at_once(task, de.DiffusionEvolution.for_several(50), seed)
    strategy = de.DiffusionEvolution(40, grid=de.noise.VE(0.001, 0.1))
    population = around(task.problem, found, task.size, 0.1, seed)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    result = de.evolve(
        key, de.replace(strategy, guidance=2.0), task.problem, population=population
    )
    found = de.solutions(task.problem, result, key=key, num_evaluations=2000, within=0.5)
    evaluations += strategy.num_generations * task.size + found.num_evaluations
    return found, evaluations


def peaks_listed(found: de.Solutions, task: Task, accuracy: float) -> int:
    """How many peaks a list has, to an accuracy of the fitness."""
    apart: list[np.ndarray] = []
    for one in found.solutions[found.fitness >= task.best - accuracy]:
        if all(np.linalg.norm(one - other) > task.radius for other in apart):
            apart.append(one)
    return len(apart)


def with_parts(**parts: Any) -> Solve:
    """``for_several``, some parts replaced."""
    return lambda task, seed: at_once(
        task, de.replace(de.DiffusionEvolution.for_several(50), **parts), seed
    )


def default(task: Task, seed: int) -> tuple[de.Solutions, int]:
    """50 generations."""
    return at_once(task, de.DiffusionEvolution(50), seed)


def told(task: Task, seed: int) -> tuple[de.Solutions, int]:
    """``for_several`` that knows the number of individuals."""
    return at_once(task, de.DiffusionEvolution.for_several(50, task.size), seed)


#: One part of ``for_several`` replaced.
PARTS: dict[str, Solve] = {
    "kernel: exact": with_parts(kernel=kernels.Gaussian()),
    "kernel: tempered": with_parts(kernel=kernels.Tempered()),
    "kernel: principal 2": with_parts(kernel=kernels.PrincipalComponents(2)),
    "kernel: perplexity 30": with_parts(kernel=kernels.Perplexity(30.0)),
    "kernel: perplexity 30, self": with_parts(
        kernel=kernels.SelfConditioned(kernels.Perplexity(30.0))
    ),
    "memory: archive 1": with_parts(memory=de.denoisers.Archive(1)),
    "memory: archive 2, uncorrected": with_parts(
        memory=de.denoisers.Archive(2, correction=0.0)
    ),
    "shaping: local": with_parts(shaping=de.shaping.Local(0.3)),
}


def jobs() -> Iterator[tuple[str, str, Task, str, Solve]]:
    """Table, name of the task, task, setting, how it is solved."""
    several = {name: task for name, task in tasks().items() if not task.start}
    for name, task in tasks().items():
        yield "listed", name, task, "default", default
        if name in several:  # niches for few dimensions, for_several for more
            yield "listed", name, task, "for_several", with_parts()
            yield "listed", name, task, "for_several, finer", finer
        else:
            yield "listed", name, task, "niches", in_stages
    for name in ("two peaks, D = 8", "four peaks, D = 8"):
        for size in (48, 64, 128):
            less = several[name]._replace(size=size)
            yield "few", f"{name}, N = {size}", less, "for_several(50)", with_parts()
            yield "few", f"{name}, N = {size}", less, "for_several(50, N)", told
    for name, task in reversed(several.items()):
        for setting, solve in PARTS.items():
            yield "parts", name, task, setting, solve


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    rows = load(NAME) if options.only and stored(NAME) else []
    for kind, name, task, setting, solve in jobs():
        if options.only and not {kind, name, setting} & set(options.only):
            continue
        which = {"table": kind, "task": name, "setting": setting}
        rows = [row for row in rows if not which.items() <= row.items()]
        start = time.perf_counter()
        seeds = options.seeds if kind == "listed" else options.seeds // 2
        rows.append(which | measured(task, solve, seeds))
        spent = time.perf_counter() - start
        print(kind, name, setting, *line(rows[-1])[-8:], f"{spent:.0f} s", flush=True)
        save(NAME, options, rows)
    return rows


def measured(task: Task, solve: Solve, num_seeds: int) -> dict[str, Any]:
    """Peaks listed at every accuracy, all that is listed, and evaluations, a run each."""
    listed, lengths, evaluations = [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
        found, cost = solve(task, seed)
        listed.append([peaks_listed(found, task, one) for one in ACCURACIES])
        lengths.append(len(found))
        evaluations.append(cost)
    return {
        "peaks": task.peaks,
        "first_seed": FIRST_SEED,
        "commit": provenance()["commit"],
        "listed": listed,
        "lengths": lengths,
        "evaluations": evaluations,
    }


def line(row: dict[str, Any]) -> list[str]:
    """Task, setting, peaks; at each accuracy; length, runs, evaluations."""
    shares = [cell(row, k) for k in range(len(ACCURACIES))]
    length, budget = np.mean(row["lengths"]), np.mean(row["evaluations"])
    counts = [f"{length:.3g}", str(len(row["lengths"])), f"{budget:,.0f}"]
    return [row["task"], row["setting"], str(row["peaks"]), *shares, *counts]


def cell(row: dict[str, Any], number: int) -> str:
    """Mean number of peaks listed at an accuracy, and runs that list all."""
    counts = np.array(row["listed"])[:, number]
    return f"{counts.mean():.3g} ({int((counts == row['peaks']).sum())})"


def across(rows: list[dict[str, Any]], head: str, first: str, second: str) -> str:
    """A table of one of the names against the other: to 0.1, to 0.01, listed in all."""
    cells = {
        (row[first], row[second]): f"{cell(row, 0)}, {cell(row, 1)}, "
        f"{np.mean(row['lengths']):.3g}"
        for row in rows
    }
    columns = list(dict.fromkeys(row[second] for row in rows))
    lines = [
        [one, *(cells.get((one, column), "-") for column in columns)]
        for one in dict.fromkeys(row[first] for row in rows)
    ]
    return table([head, *columns], lines)


def report(rows: list[dict[str, Any]]) -> str:
    """The recommended beside the default; parts replaced; few individuals."""
    kinds = {kind: [row for row in rows if row["table"] == kind] for kind in TABLES}
    few = [
        row | {name: row[name][: len(row[name]) // 2] for name in ("listed", "lengths")}
        for row in rows
    ]
    same = [row for row in few if row["setting"] in ("for_several", "default")]
    tried = {row["task"] for row in kinds["parts"]}
    parts = [*(row for row in same if row["task"] in tried), *kinds["parts"]]
    heads = ["task", "setting", "peaks", *(f"{one:g}" for one in ACCURACIES)]
    heads += ["listed in all", "runs", "evaluations"]
    return "\n\n".join(
        [
            table(heads, [line(row) for row in kinds["listed"]]),
            "Parts of `for_several` replaced, 256 individuals: to 0.1, to 0.01, in all:",
            across(parts, "setting", "setting", "task"),
            "Fewer individuals: to 0.1, to 0.01, in all:",
            across(kinds["few"], "task", "task", "setting"),
        ]
    )


def draw() -> None:
    """The picture of the document: four peaks in eight dimensions, as lines."""
    strategy = de.DiffusionEvolution.for_several(50)
    found, _ = at_once(tasks()["four peaks, D = 8"], strategy, FIRST_SEED)
    figure = de.plots.parallel_coordinates(found)
    figure.savefig(FIGURES / f"{NAME}.png", dpi=120)


if __name__ == "__main__":
    options = arguments(__doc__, seeds=16, only="tables, tasks or settings")
    print(report(run(options)))
    if not options.only:
        draw()
