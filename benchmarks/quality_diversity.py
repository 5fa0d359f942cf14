"""Quality and diversity without a grid, beside MAP-Elites at equal evaluations.

    python benchmarks/quality_diversity.py [--only TASK ...]

Repertoires of an arm of twelve joints (pyribs' own task: low variance of the angles, the
place of its end) and of a pendulum in gymnax (low cost, the angle and speed at the end).
Diffusion Evolution with dominated novelty and elites, parts of it left out, MAP-Elites of
pyribs with both of its emitters of that kind, and pyribs' own dominated novelty search. All
that was evaluated fills one grid, the same for all: coverage is the share of its cells,
the QD score the sum of the best quality in each, in [0, 1], over the number of cells. Each
method takes, of its candidates, the setting of the highest QD score on seeds for choosing.

Wants ``pip install ribs`` (pyribs).
"""

import argparse
import functools
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, load, save, stored, summary, table

import diffevo_jax as de

NAME = "quality_diversity"
#: Seeds of the table begin here, those for choosing there.
FIRST_SEED, FIRST_CHOOSING, NUM_CHOOSING = 8001, 1001, 4
EVALUATIONS = 10_240
JOINTS, STEPS = 12, 100
#: Edge of a cell; descriptors are in [-1, 1], so there are 51 cells an axis.
CELL, CELLS = 0.04, 51
#: From a setting and seeds to fitness (R, E) and descriptors (R, E, 2) of R runs.
Method = Callable[..., tuple[np.ndarray, np.ndarray]]


@de.pytree.dataclass
class Arm:
    """Angles of joints that are alike; what counts is where the end is."""

    @property
    def space(self) -> de.problems.Space:
        return de.problems.Space(jnp.zeros(JOINTS), lower=-np.pi, upper=np.pi)

    def init(self, key: jax.Array) -> tuple[()]:
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: jax.Array
    ) -> tuple[de.Evaluation, tuple[()]]:
        heading = jnp.cumsum(solutions, axis=1)
        end = jnp.stack([jnp.cos(heading).mean(axis=1), jnp.sin(heading).mean(axis=1)], 1)
        return de.Evaluation(-jnp.var(solutions, axis=1), end), problem_state


@de.pytree.dataclass
class Pendulum:
    """A policy from one start; what counts is how the pendulum is at the end."""

    control: de.problems.Control

    @property
    def space(self) -> de.problems.Space:
        return self.control.space

    def init(self, key: jax.Array) -> tuple[()]:
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: Any
    ) -> tuple[de.Evaluation, tuple[()]]:
        start = jax.random.key(0)
        played = jax.vmap(lambda one: self.control.play(start, one, record=True))(solutions)
        end = played.final_state
        angle = jnp.arctan2(jnp.sin(end.theta), jnp.cos(end.theta)) / jnp.pi
        descriptor = jnp.stack([angle, end.theta_dot / 8], axis=1)
        return de.Evaluation(played.episode.total_reward, descriptor), problem_state


class Task(NamedTuple):
    """What a repertoire is wanted of.

    Attributes:
        problem: with descriptors in [-1, 1]^2 as measures.
        worst: fitness of quality 0; that of quality 1 is 0.
        bound: of solutions, both ways; None for none.
        unit: solution units in a deviation of the space.
    """

    problem: Any
    worst: float
    bound: float | None
    unit: float


@functools.cache
def tasks() -> dict[str, Task]:
    """All of them, by name."""
    control = de.problems.Control(
        "Pendulum-v1", policy=de.problems.MLP((8,)), max_steps=STEPS
    )
    # A variance of 1 counts nothing; nor does the highest cost of a pendulum in all steps.
    return {
        "arm": Task(Arm(), -1.0, np.pi, np.pi / 2),
        "pendulum": Task(Pendulum(control), -(np.pi**2 + 6.4 + 0.004) * STEPS, None, 1.0),
    }


# Ours


def strategy(size: int, elites: int, low: float, high: float) -> de.DiffusionEvolution:
    """Elites by dominated novelty answer, and everyone starts anew around the nearest."""
    population = de.denoisers.Population(
        de.kernels.Gaussian(),
        de.shaping.DominatedNovelty(dim=2),
        memory=de.denoisers.Elites(elites),
        support=de.denoisers.Best(elites),
        guidance=0.0,
    )
    grid = de.noise.VE(low, high)
    sampler = de.samplers.Consistency()
    return de.DiffusionEvolution(EVALUATIONS // size, population, sampler, grid)


def evolved(
    task: Task, seeds: range, size: int, start: float, **setting: Any
) -> tuple[np.ndarray, np.ndarray]:
    """All that runs of ours evaluate."""
    return _evolved(task, seeds, strategy(size, **setting), size, start)


def by_fitness(
    task: Task, seeds: range, size: int, start: float, **setting: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The same elites, but of the highest fitness."""
    plain = de.replace(strategy(size, **setting), shaping=de.shaping.Standardized(3.0))
    return _evolved(task, seeds, plain, size, start)


def without_elites(
    task: Task, seeds: range, size: int, start: float, **setting: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The same, but only the latest generation competes; half of it answers."""
    latest = de.replace(
        strategy(size, **setting),
        memory=de.denoisers.Latest(),
        support=de.denoisers.Best(size // 2),
    )
    return _evolved(task, seeds, latest, size, start)


def _evolved(
    task: Task, seeds: range, strategy: de.DiffusionEvolution, size: int, start: float
) -> tuple[np.ndarray, np.ndarray]:
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    fitness, descriptors = _run(keys, strategy, task.problem, size, jnp.float32(start))
    rows = len(seeds)
    return np.reshape(fitness, (rows, -1)), np.reshape(descriptors, (rows, -1, 2))


@functools.partial(jax.jit, static_argnames="size")
def _run(
    keys: jax.Array,
    strategy: de.DiffusionEvolution,
    problem: Any,
    size: int,
    start: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        shape = (size, problem.space.dim)
        population = start * jax.random.normal(jax.random.fold_in(key, 1), shape)
        recorded = de.evolve(
            key,
            strategy,
            problem,
            population=population,
            record=("fitness", "measures"),
            final=0,
        ).recorded
        return recorded["fitness"], recorded["measures"]

    return jax.vmap(one)(keys)


# pyribs


def illuminated(
    task: Task,
    seeds: range,
    size: int,
    start: float,
    sigma: float,
    line: float | None = None,
    survivors: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """All that runs of pyribs evaluate: a Gaussian emitter, or one along lines.

    Args:
        task: what for.
        seeds: one a run.
        size: solutions of a batch.
        start: deviation of the first of them, in that of the space.
        sigma: deviation of a mutation, in that of the space.
        line: of the difference of two parents; None for a Gaussian emitter.
        survivors: of dominated novelty search; 0 for MAP-Elites.
    """
    runs = [_illuminated(task, seed, size, start, sigma, line, survivors) for seed in seeds]
    return np.stack([run[0] for run in runs]), np.stack([run[1] for run in runs])


def _illuminated(
    task: Task,
    seed: int,
    size: int,
    start: float,
    sigma: float,
    line: float | None,
    survivors: int,
) -> tuple[np.ndarray, np.ndarray]:
    from ribs.archives import DNSArchive, GridArchive
    from ribs.emitters import GaussianEmitter, IsoLineEmitter

    dim = task.problem.space.dim
    edges = [(-1 - CELL / 2, 1 + CELL / 2)] * 2
    archive = (
        DNSArchive(
            solution_dim=dim, measure_dim=2, capacity=survivors, k_neighbors=3, seed=seed
        )
        if survivors
        else GridArchive(solution_dim=dim, dims=(CELLS, CELLS), ranges=edges, seed=seed)
    )
    limit = np.inf if task.bound is None else task.bound
    first = task.unit * start * np.random.default_rng(seed).normal(size=(size, dim))
    options = {
        "initial_solutions": np.clip(first, -limit, limit),
        "lower_bounds": None if task.bound is None else np.full(dim, -limit),
        "upper_bounds": None if task.bound is None else np.full(dim, limit),
        "batch_size": size,
        "seed": seed,
    }
    emitter = (
        GaussianEmitter(archive, sigma=task.unit * sigma, **options)
        if line is None
        else IsoLineEmitter(
            archive, iso_sigma=task.unit * sigma, line_sigma=line, **options
        )
    )
    found = []
    for _ in range(EVALUATIONS // size):
        solutions = emitter.ask()
        fitness, descriptors = map(np.asarray, evaluated(task.problem, solutions))
        added = archive.add(solutions, fitness, descriptors)
        emitter.tell(solutions, fitness, descriptors, added)
        found.append((fitness, descriptors))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def evaluated(problem: Any, solutions: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Fitness (N,) and descriptors (N, 2) of flat solutions (N, D)."""
    return _evaluated(problem, jnp.asarray(solutions, jnp.float32))


@jax.jit
def _evaluated(problem: Any, solutions: jax.Array) -> tuple[jax.Array, jax.Array]:
    example = jax.eval_shape(
        lambda: problem.space.decode(jnp.zeros((1, problem.space.dim)))
    )
    leaves, structure = jax.tree.flatten(example)
    ends = np.cumsum([np.prod(leaf.shape[1:], dtype=int) for leaf in leaves])[:-1]
    parts = jnp.split(solutions, ends, axis=1)
    shaped = [x.reshape(-1, *leaf.shape[1:]) for x, leaf in zip(parts, leaves, strict=True)]
    decoded = jax.tree.unflatten(structure, shaped)
    evaluation, _ = problem.evaluate(jax.random.key(0), (), decoded)
    return evaluation.fitness, evaluation.measures


# What is measured


def products(**candidates: tuple[Any, ...]) -> list[dict[str, Any]]:
    """All settings of these values."""
    values = itertools.product(*candidates.values())
    return [dict(zip(candidates, one, strict=True)) for one in values]


SIZES, STARTS = (32, 64, 256), (0.07, 0.5, 1.0)
OURS = "dominated novelty"
METHODS: dict[str, tuple[Method, list[dict[str, Any]]]] = {
    OURS: (
        evolved,
        products(
            size=(32, 64),
            elites=(128, 256),
            start=STARTS,
            low=(0.07, 0.15),
            high=(0.15, 0.3),
        ),
    ),
    "MAP-Elites, Gaussian": (
        illuminated,
        products(size=SIZES, start=STARTS, sigma=(0.03, 0.07, 0.15, 0.3)),
    ),
    "MAP-Elites, lines": (
        illuminated,
        products(size=SIZES, start=STARTS, sigma=(0.03, 0.07, 0.15), line=(0.2, 0.4)),
    ),
    "dominated novelty search, pyribs": (
        illuminated,
        products(
            size=(64,),
            start=STARTS,
            sigma=(0.03, 0.07, 0.15),
            line=(0.2,),
            survivors=(128, 256),
        ),
    ),
}
#: With the setting of ours, and something left out.
PARTS: dict[str, Method] = {"by fitness": by_fitness, "without elites": without_elites}


def scores(task: Task, runs: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Coverage and QD score in percent, one number a run."""
    fitness, descriptors = runs
    quality = np.clip(1 - fitness / task.worst, 0.0, 1.0)
    score = jax.vmap(functools.partial(de.metrics.qd_score, low=-1.0, high=1.0, cell=CELL))
    share = 100 / CELLS**2
    return {
        "coverage": share * np.asarray(score(descriptors, np.ones_like(quality))),
        "qd_score": share * np.asarray(score(descriptors, quality)),
    }


def chosen(task: Task, method: Method, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """The candidate of the highest QD score on seeds for choosing."""
    seeds = range(FIRST_CHOOSING, FIRST_CHOOSING + NUM_CHOOSING)
    found = [scores(task, method(task, seeds, **one))["qd_score"] for one in candidates]
    return candidates[int(np.argmax([score.mean() for score in found]))]


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Choose, measure, and store after every row, so that a run may end early."""
    rows = load(NAME) if options.only and stored(NAME) else []
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    for name, task in tasks().items():
        if options.only and name not in options.only:
            continue
        rows = [row for row in rows if row["task"] != name]
        setting: dict[str, Any] = {}
        for method, (runs, candidates) in METHODS.items():
            few = candidates[:1] if options.quick else candidates
            start = time.perf_counter()
            best = chosen(task, runs, few)
            rows.append(row(name, method, best, scores(task, runs(task, seeds, **best))))
            setting = best if method == OURS else setting
            print(*line(rows[-1]), f"{time.perf_counter() - start:.0f} s", flush=True)
            save(NAME, options, rows)
        for method, runs in PARTS.items():
            measured = scores(task, runs(task, seeds, **setting))
            rows.append(row(name, f"{OURS}, {method}", setting, measured))
            print(*line(rows[-1]), flush=True)
            save(NAME, options, rows)
    return rows


def row(
    task: str, method: str, setting: dict[str, Any], measured: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What a method has reached, with the setting that it has taken."""
    return {
        "task": task,
        "method": method,
        "setting": setting,
        "evaluations": EVALUATIONS,
        "runs": len(measured["coverage"]),
        "first_seed": FIRST_SEED,
        **{what: summary(values) for what, values in measured.items()},
    }


def line(row: dict[str, Any]) -> list[str]:
    """One line of the table."""
    numbers = [f"{row[what]['mean']:.1f} ± {row[what]['interval']:.1f}" for what in SHOWN]
    setting = ", ".join(f"{name} {value:g}" for name, value in row["setting"].items())
    return [row["task"], row["method"], *numbers, setting]


SHOWN = ("coverage", "qd_score")


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as a table; intervals of 95 %."""
    head = ["task", "method", "coverage, %", "QD score, %", "chosen setting"]
    return table(head, [line(row) for row in rows])


if __name__ == "__main__":
    options = arguments(__doc__ or "", seeds=20, only="tasks")
    print(report(run(options)))
