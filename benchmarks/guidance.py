"""Fitness guidance: chosen on some seeds, confirmed on others.

    python benchmarks/guidance.py [--minutes 60] [--only STAGE ...]

A population answers by Bayes' rule with its fitness, and without; guidance goes from the
one through the other (docs/guidance.md). The stages, each on seeds of its own:

* choosing: guidance x noise range x temperature, for kernels and samplers, by ``de.sweep``,
  on tasks of ``design_tasks.py`` and on two peaks (``high_dimension.py``);
* options: what was tried beside one number;
* fresh: the default, the one that keeps several, the default of before, as published,
  MonoFlow, and two algorithms of evosax, on all tasks, and on those set apart;
* peaks: what happens to diversity, on the four landscapes of peaks;
* longer: precision with more generations, beside what the grid ends with;
* noise: the error that is left under noise of the fitness;
* cost: the guided estimate beside the unguided one.

Everything is stored as it is measured, and what is stored is not measured again: stop it,
and go on later.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, provenance, summary
from design_tasks import FRESH, TASKS, Task
from guidance_settings import (
    KERNELS,
    OPTION_FIELDS,
    OPTIONS,
    PEERS,
    SAMPLERS,
    STRATEGIES,
    Optional,
    option_values,
    peer,
    problems_of,
)
from high_dimension import SHARE, SIGNS, landscape
from monoflow import peaks_kept
from timing import alternate

import diffevo_jax as de

#: Keys that no other study of this folder uses, one a stage.
SEEDS = {"choosing": 1101, "options": 1102, "fresh": 1104, "peaks": 1105}
SEEDS |= {"longer": 1106, "noise": 1107, "grids": 1108}
#: Where the noise begins, in the order of the table.
GRIDS = {
    "VE(0.01, 1)": de.noise.VE(0.01, 1.0),
    "VE(0.01, 4), the default": de.noise.VE(0.01, 4.0),
    "VE(0.01, 100)": de.noise.VE(0.01, 100.0),
    "Cosine(1e-4), of before": de.noise.Cosine(1e-4),
}
GUIDANCE, SIGMAS = [0.0, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0], [1.0, 4.0, 8.0]
TEMPERATURES = [0.1, 0.25, 0.4, 0.7]
WIDE = {"guidance": [0.0, 1.0, 2.0, 4.0, 6.0], "grid.sigma_max": [4.0, 8.0]}
WIDE |= {"shaping.temperature": [0.3, 0.5, 0.7, 1.0]}
FEW = {"guidance": GUIDANCE, "grid.sigma_max": SIGMAS, "shaping.temperature": TEMPERATURES}
#: Seeds for choosing, by task.
CHOOSING = {"suite": 4, "2 dims": 8, "8 dims": 8, "64 dims": 8}
CHOOSING |= {"CartPole 5": 16, "Acrobot 5": 6, "Acrobot 10": 6}
#: Runs for confirming the default beside that of before, by task, or by its first word;
#: 64 of the others. There are more of them where 64 to 512 left it open whether a point
#: may be lost, or who is better.
COUNTS = {
    "CartPole 5": 1024,
    "CartPole 7": 2048,
    "CartPole": 512,
    "Acrobot 5": 1024,
    "Acrobot 7": 512,
    "Acrobot": 128,
    "MountainCar": 256,
    "": 64,
}
DECISIVE = ("default", "before")
FAR = "several, 60 neighbours"  # for two peaks in 128 dimensions
LONG = "Acrobot 25"  # takes a third of all time, and says nothing of the others
SIZE, GENERATIONS = 256, 50


class Store:
    """Measurements on disk, by name."""

    def __init__(self, minutes: float, only: list[str]) -> None:
        self.path = RESULTS / "guidance.json"
        exists = self.path.exists()
        self.rows = json.loads(self.path.read_text())["rows"] if exists else {}
        self.deadline, self.only = time.monotonic() + 60 * minutes, only

    def get(self, name: str, measure: Callable[[], Any]) -> None:
        """Measure what is not stored, while there is time."""
        if name in self.rows or (self.only and name.split(" | ")[0] not in self.only):
            return
        if time.monotonic() > self.deadline:
            raise TimeoutError
        start = time.monotonic()
        self.rows[name] = measure()
        print(f"{name} ({time.monotonic() - start:.0f} s)", flush=True)
        pairs = [f"{json.dumps(k)}: {json.dumps(row)}" for k, row in self.rows.items()]
        rows = "{\n" + ",\n".join(pairs) + "\n}"
        head = json.dumps(provenance())
        self.path.write_text(f'{{"provenance": {head},\n"rows": {rows}}}\n')


def rounded(values: Any, digits: int = 4) -> Any:
    """Nested lists of numbers of so many digits."""
    shorten = lambda value: float(f"{value:.{digits}g}")
    return np.vectorize(shorten)(np.asarray(values, float)).tolist()


# Choosing, by sweeps


def swept_scores(
    strategy: Any, task: str, seed: int, seeds: int, axes: dict[str, Any]
) -> np.ndarray:
    """In points of a hundred, (settings, seeds): the mean over the problems of a task."""
    what, scores = TASKS[task], []
    for problem in problems_of(task):
        swept = de.sweep(
            jax.random.key(seed),
            strategy,
            problem,
            axes=axes,
            num_seeds=seeds,
            population_size=what.population_size,
            keep=("fitness",),
        )
        fitness = jnp.asarray(swept["fitness"].values)
        scores.append(np.asarray(jax.vmap(jax.vmap(what.score))(fitness)))
    return 100 * np.mean(scores, axis=0)


def choose(
    task: str, kernel: str, sampler: str, axes: dict[str, list[float]]
) -> dict[str, Any]:
    """Mean and deviation of every setting, with one axis for each number."""
    population = de.denoisers.Population(KERNELS[kernel])
    grid = de.noise.VE(0.01, 4.0)
    generations = TASKS[task].num_generations
    strategy = de.DiffusionEvolution(generations, population, SAMPLERS[sampler], grid)
    seed, seeds = SEEDS["choosing"], CHOOSING[task]
    scores = swept_scores(strategy, task, seed, seeds, axes)
    shape = tuple(map(len, axes.values()))
    mean, spread = scores.mean(axis=1).reshape(shape), scores.std(axis=1).reshape(shape)
    return {"axes": axes, "mean": rounded(mean), "sd": rounded(spread, 3), "runs": seeds}


def swept_peaks(
    kernel: str, sampler: str, dim: int, axes: dict[str, list[float]]
) -> dict[str, Any]:
    """Error, and share of runs that keep both of two peaks, of every setting."""
    problem, peaks = landscape("two peaks", dim)
    population = de.denoisers.Population(KERNELS[kernel])
    grid = de.noise.VE(0.02, 4.0)
    strategy = de.DiffusionEvolution(GENERATIONS, population, SAMPLERS[sampler], grid)
    swept = de.sweep(
        jax.random.key(SEEDS["choosing"]),
        strategy,
        problem,
        axes=axes,
        num_seeds=16,
        population_size=SIZE,
        keep=("population",),
    )
    error, share = ended(swept["population"].values, np.asarray(peaks))
    shape = tuple(map(len, axes.values()))
    return {
        "axes": axes,
        "error": rounded(error.mean(axis=1).reshape(shape), 3),
        "kept": rounded((share >= SHARE).mean(axis=1).reshape(shape)),
        "runs": error.shape[1],
    }


def ended(population: np.ndarray, peaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of populations (..., N, D): error a dimension, and share of the rarest peak."""
    errors = np.stack([((population - peak) ** 2).mean(axis=-1) for peak in peaks], axis=-1)
    nearest = errors.argmin(axis=-1)
    share = np.stack([(nearest == k).mean(axis=-1) for k in range(len(peaks))], axis=-1)
    return errors.min(axis=-1).mean(axis=-1), share.min(axis=-1)


def options_of(task: str) -> dict[str, Any]:
    """Scores with guidance 1 and 2, and each option."""
    population = Optional(de.kernels.Tempered(2.0), de.shaping.Standardized(0.2))
    strategy = de.DiffusionEvolution(
        TASKS[task].num_generations,
        population,
        de.samplers.DDIM(1.0),
        de.noise.VE(0.01, 4.0),
    )
    seed, seeds = SEEDS["options"], 2 * CHOOSING[task]
    strengths = [1.0, 2.0]
    axes: Any = {"guidance": strengths, OPTION_FIELDS: option_values()}
    scores = swept_scores(strategy, task, seed, seeds, axes)
    names = [f"{name}, {g:g}" for g in strengths for name in OPTIONS]
    return {
        name: [*rounded(row.mean()[None]), *rounded(row.std()[None] / seeds**0.5, 2)]
        for name, row in zip(names, scores, strict=True)
    }


def on_grid(task: str, grid: str) -> dict[str, Any]:
    """The default's scores on another grid, with less guidance and with more."""
    strategy = de.replace(
        de.DiffusionEvolution(TASKS[task].num_generations), grid=GRIDS[grid]
    )
    seed, seeds = SEEDS["grids"], 2 * CHOOSING[task]
    axes = {"guidance": [0.0, 0.75, 2.0]}
    scores = swept_scores(strategy, task, seed, seeds, axes)
    error = scores.std(axis=1, ddof=1) / seeds**0.5
    return {"axes": axes, "mean": rounded(scores.mean(axis=1)), "se": rounded(error, 2)}


# Confirming, on fresh seeds


def count(name: str, task: str) -> int:
    """Runs of a strategy on each problem of a task."""
    if name not in DECISIVE:
        return 64
    return next(COUNTS[name] for name in (task, task.split()[0], "") if name in COUNTS)


def confirm(name: str, task: str) -> list[float]:
    """Score of every run, problems by problems."""
    what: Task = (TASKS | FRESH)[task]
    keys = jax.random.split(jax.random.key(SEEDS["fresh"]), 2048)[: count(name, task)]
    problem = what.problems()
    if name in PEERS:
        run = peer(name, what)
        one = lambda key, problem: what.score(run(key, problem))
    else:
        strategy = de.pytree.strong(STRATEGIES[name](task, what.num_generations))

        def one(key: jax.Array, problem: de.Problem) -> jax.Array:
            result = de.evolve(
                key, strategy, problem, population_size=what.population_size, final=0
            )
            return what.score(result.fitness)

    runs = jax.vmap(one, (0, None))
    if what.count:
        runs = jax.vmap(runs, (None, de.replace(problem, number=0)))
    scores = jax.jit(runs, compiler_options=de.compiler_options())(keys, problem)
    return [round(float(score), 5) for score in np.asarray(scores).reshape(-1)]


def peaks_of(problem: str, dim: int, strategy: Any, runs: int) -> dict[str, Any]:
    """Error and runs that keep all peaks."""
    keys = jax.random.split(jax.random.key(SEEDS["peaks"]), runs)
    function, peaks = landscape(problem, dim)

    def one(key: jax.Array) -> jax.Array:
        return de.evolve(key, strategy, function, population_size=SIZE).population

    compiled = jax.jit(jax.vmap(one), compiler_options=de.compiler_options())
    error, share = ended(np.asarray(compiled(keys)), np.asarray(peaks))
    return {
        "error": {k: rounded([v])[0] for k, v in summary(error).items()},
        "kept": int((share >= SHARE).sum()),
        "runs": runs,
    }


def precision(task: str, generations: int, sigma_min: float, name: str) -> dict[str, float]:
    """How far from the optimum, in points, more generations and less noise end."""
    what = TASKS[task]._replace(num_generations=generations)
    strategy = STRATEGIES[name](task, generations)
    if name == "default":
        strategy = de.replace(strategy, sigma_min=sigma_min)
    left = []
    for problem in problems_of(task):
        keys = jax.random.split(jax.random.key(SEEDS["longer"]), 16)

        def one(key: jax.Array, problem: de.Problem = problem) -> jax.Array:
            result = de.evolve(
                key, strategy, problem, population_size=what.population_size, final=0
            )
            return what.score(result.fitness)

        left.append(100 - 100 * np.asarray(jax.jit(jax.vmap(one))(keys)))
    return {k: rounded([v], 3)[0] for k, v in summary(np.mean(left, axis=0)).items()}


def under_noise(dim: int, noise: float, guidance: float) -> dict[str, float]:
    """Error a dimension on a sphere whose fitness has noise, in its first deviations."""
    centre = 0.5 * jnp.ones(dim)
    points = np.random.default_rng(0).normal(size=(4096, dim))
    spread = float(((points - 0.5) ** 2).sum(axis=1).std())

    def fitness(x: jax.Array, key: jax.Array) -> jax.Array:
        return -jnp.sum((x - centre) ** 2) + noise * spread * jax.random.normal(key)

    problem = Noisy(fitness, dim)
    strategy = de.replace(de.DiffusionEvolution(GENERATIONS), guidance=guidance)

    def one(key: jax.Array) -> jax.Array:
        population = de.evolve(key, strategy, problem, population_size=SIZE).population
        return jnp.mean((population - centre) ** 2)

    keys = jax.random.split(jax.random.key(SEEDS["noise"]), 32)
    values = np.asarray(jax.jit(jax.vmap(one))(keys))
    return {k: rounded([v], 3)[0] for k, v in summary(values).items()}


@de.pytree.dataclass
class Noisy:
    """A function of a solution and a key."""

    fn: Callable[[jax.Array, jax.Array], jax.Array] = de.pytree.static()
    dim: int = de.pytree.static()

    @property
    def space(self) -> de.problems.Space:
        """Unbounded, in unit scale."""
        return de.problems.Space(jax.ShapeDtypeStruct((self.dim,), jnp.float32))

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: jax.Array
    ) -> tuple[de.Evaluation, tuple[()]]:
        """A key for each."""
        keys = jax.random.split(key, len(solutions))
        return de.Evaluation(jax.vmap(self.fn)(solutions, keys)), problem_state


def cost(size: int, dim: int) -> dict[str, float]:
    """Milliseconds of the estimate, without and with guidance, and their ratio."""
    keys = jax.random.split(jax.random.key(0), 3)
    y, points = (jax.random.normal(key, (size, dim)) for key in keys[:2])
    weights = -5.0 * jax.random.uniform(keys[2], (size,))
    plain = jnp.zeros(size)

    @jax.jit
    def unguided(y: jax.Array, points: jax.Array, weights: jax.Array) -> de.Estimate:
        return de.denoisers.posterior_mean(y, points, points, weights, 1.0)

    @jax.jit
    def guided(
        y: jax.Array, points: jax.Array, weights: jax.Array, strength: jax.Array
    ) -> de.Estimate:
        guidance = de.attention.Guidance(strength, plain)
        return de.denoisers.posterior_mean(
            y, points, points, weights, 1.0, guidance=guidance
        )

    inner = max(1, 2**21 // size**2)

    def repeat(function: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: [function() for _ in range(inner)]

    times = alternate(
        {
            "guided": repeat(lambda: guided(y, points, weights, jnp.array(1.0))),
            "unguided": repeat(lambda: unguided(y, points, weights)),
        },
        15,
    )
    got = {name: 1e3 * times[name] / inner for name in ("guided", "unguided")}
    return {k: rounded([v])[0] for k, v in got.items()} | {
        "ratio": round(got["guided"] / got["unguided"], 3)
    }


# What is wanted, in the order of its use


def jobs() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names of measurements, and how to make them."""
    kernels, few = list(KERNELS), list(KERNELS)[:3]
    for task, kernel, sampler in itertools.product(CHOOSING, few, SAMPLERS):
        plain = kernel == "tempered 2" and sampler == "DDIM 1"
        if task == "Acrobot 10" or (not plain and task != "64 dims"):
            continue
        yield (
            f"choosing | {task} | {kernel} | {sampler}",
            lambda t=task, k=kernel, s=sampler: choose(t, k, s, FEW),
        )
    for dim, kernel in itertools.product((32,), kernels[1:2] + kernels[3:]):
        yield (
            f"choosing | two peaks, {dim} | {kernel} | DDIM 1",
            lambda d=dim, k=kernel: swept_peaks(k, "DDIM 1", d, WIDE),
        )
    for task in ("64 dims", "CartPole 5", "Acrobot 5"):
        yield f"options | {task}", lambda t=task: options_of(t)
    for task, grid in itertools.product(("8 dims", "64 dims", "Acrobot 10"), GRIDS):
        yield f"grids | {task} | {grid}", lambda t=task, g=grid: on_grid(t, g)
    for names in (DECISIVE, (*STRATEGIES, *PEERS)):
        for task, name in itertools.product(TASKS | FRESH, names):
            if name == FAR or (task == LONG and name not in DECISIVE):
                continue
            yield f"fresh | {task} | {name}", lambda n=name, t=task: confirm(n, t)
    for problem, dim, name in itertools.product(SIGNS, (2, 8, 32, 128), STRATEGIES):
        if name not in ("published", "Gaussian fit") and (
            name != FAR or (problem, dim) == ("two peaks", 128)
        ):
            yield (
                f"peaks | {problem} | {dim} | {name}",
                lambda p=problem, d=dim, n=name: peaks_of(
                    p, d, STRATEGIES[n]("", GENERATIONS), 64
                ),
            )
    for name in ("several", "default", "much guidance", "before", "MonoFlow"):
        yield (
            f"himmelblau | {name}",
            lambda n=name: rounded(
                peaks_kept(STRATEGIES[n]("", 25), SEEDS["peaks"], 64), 3
            ),
        )
    for dim, name, guidance in itertools.product(
        (8, 32), ("default", "several"), (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
    ):
        yield (
            f"curve | two peaks | {dim} | {name} | {guidance:g}",
            lambda d=dim, n=name, g=guidance: peaks_of(
                "two peaks", d, de.replace(STRATEGIES[n]("", 50), guidance=g), 32
            ),
        )
    for task, generations in itertools.product(("8 dims", "64 dims"), (25, 100, 200)):
        yield (
            f"longer | {task} | {generations} | before",
            lambda t=task, n=generations: precision(t, n, 0.0, "before"),
        )
        for end in (0.01, 0.001):
            yield (
                f"longer | {task} | {generations} | default, {end:g}",
                lambda t=task, n=generations, e=end: precision(t, n, e, "default"),
            )
    for dim, noise, guidance in itertools.product(
        (8, 64), (0.0, 0.1, 1.0), (0.0, 0.75, 2.0, 4.0)
    ):
        yield (
            f"noise | {dim} | {noise:g} | {guidance:g}",
            lambda d=dim, n=noise, g=guidance: under_noise(d, n, g),
        )
    for size, dim in itertools.product((256, 1024, 4096), (2, 58, 512)):
        yield f"cost | {size} | {dim}", lambda n=size, d=dim: cost(n, d)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=120.0, help="of this slice")
    parser.add_argument("--only", nargs="*", default=[], help="stages, by their names")
    options = parser.parse_args()
    store = Store(options.minutes, options.only)
    try:
        for name, measure in jobs():
            store.get(name, measure)
    except TimeoutError:
        print("the time of this slice is over; run again to go on")


if __name__ == "__main__":
    main()
