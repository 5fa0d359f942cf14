"""Control tasks at the paper's protocol, beside the published numbers.

    python benchmarks/paper_control.py

Population 256, 10 generations (2,560 episodes a run), cosine grid, eta 1, temperature 1,
one hidden layer of 8, episodes of at most 500 steps. Three kernels: the exact one (the
paper's "raw"), the latent one in two dimensions (the paper's), and the tempered one (ours).
Printed is the mean total reward over the final population, its mean and standard deviation
over independent runs, the standard deviation over individuals (which is what the paper
gives), and the share of episodes that succeed.
"""

import time
from typing import Any

import jax
import numpy as np
from common import arguments, load, save, table

import diffevo_jax as de

LATENT, TEMPERED, EXACT = (
    de.kernels.RandomProjection(2),
    de.kernels.Tempered(2.0),
    de.kernels.Gaussian(),
)
WIDE = (128, 128)
#: (label, environment, kernel, hidden, floor, share of the seeds, published)
#: published: mean reward (sd over individuals), success in percent.
ROWS = [
    ("latent", "CartPole-v1", LATENT, (8,), None, 256, "491.6 (50.2), 96.4 %"),
    ("tempered", "CartPole-v1", TEMPERED, (8,), None, 256, "-"),
    ("exact", "CartPole-v1", EXACT, (8,), None, 256, "482.9 (73.2), 92.5 %"),
    ("exact, floor 1e-9", "CartPole-v1", EXACT, (8,), 1e-9, 256, "482.9 (73.2), 92.5 %"),
    ("latent, 17,410", "CartPole-v1", LATENT, WIDE, None, 10, "445.0 (124.2), 79.4 %"),
    ("tempered, 17,410", "CartPole-v1", TEMPERED, WIDE, None, 10, "-"),
    ("latent", "Acrobot-v1", LATENT, (8,), None, 100, "-127.0 (93.1), 95.2 %"),
    ("tempered", "Acrobot-v1", TEMPERED, (8,), None, 100, "-"),
    ("exact", "Acrobot-v1", EXACT, (8,), None, 100, "-199.9 (160.3), 79.1 %"),
    ("exact, floor 1e-9", "Acrobot-v1", EXACT, (8,), 1e-9, 100, "-199.9 (160.3), 79.1 %"),
    ("latent", "MountainCar-v0", LATENT, (8,), None, 100, "-129.5 (32.8), 98.2 %"),
    ("tempered", "MountainCar-v0", TEMPERED, (8,), None, 100, "-"),
    ("exact", "MountainCar-v0", EXACT, (8,), None, 100, "-134.2 (34.9), 93.1 %"),
    (
        "exact, floor 1e-9",
        "MountainCar-v0",
        EXACT,
        (8,),
        1e-9,
        100,
        "-134.2 (34.9), 93.1 %",
    ),
    ("latent", "MountainCarContinuous-v0", LATENT, (8,), None, 100, "91.7 (11.3), 99.3 %"),
    ("tempered", "MountainCarContinuous-v0", TEMPERED, (8,), None, 100, "-"),
    ("exact", "MountainCarContinuous-v0", EXACT, (8,), None, 100, "79.4 (37.5), 92.0 %"),
    (
        "exact, floor 1e-9",
        "MountainCarContinuous-v0",
        EXACT,
        (8,),
        1e-9,
        100,
        "79.4 (37.5), 92.0 %",
    ),
]


def measure(
    env_name: str,
    kernel: de.Kernel,
    hidden: tuple[int, ...],
    floor: float | None,
    seeds: int,
    seed: int,
) -> dict[str, Any]:
    """Final population of independent runs, in one program."""
    experiment = de.published.control(env_name, hidden=hidden, kernel=kernel)
    strategy = experiment.strategy
    if floor is not None:
        floors = {"kernel.floor": floor, "shaping.floor": floor}
        strategy = de.replace(strategy, **floors)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = de.evolve(
            key,
            strategy,
            experiment.problem,
            population_size=experiment.population_size,
            final=0,
        )
        solved = result.measures.terminated
        return result.fitness, ~solved if env_name == "CartPole-v1" else solved

    keys = jax.random.split(jax.random.key(seed), seeds)
    begin = time.perf_counter()
    fitness, success = jax.block_until_ready(jax.jit(jax.vmap(one))(keys))
    fitness, success = np.asarray(fitness, float), np.asarray(success, float)
    return {
        "weights": experiment.problem.space.dim,
        "seeds": seeds,
        "mean": fitness.mean(),
        "sd_runs": fitness.mean(axis=1).std(ddof=1),
        "sd_individuals": fitness.std(),
        "success_percent": 100 * success.mean(),
        "success_sd_runs": 100 * success.mean(axis=(1, 2)).std(ddof=1),
        "seconds": time.perf_counter() - begin,
    }


def main() -> None:
    options = arguments(__doc__ or "", seeds=256, only="environments or kernels to measure")
    stored = load("paper_control") if options.only else []
    rows = []
    for label, env_name, kernel, hidden, floor, seeds, published in ROWS:
        if options.quick and hidden == WIDE:
            continue
        if options.only and not {env_name, label} & set(options.only):
            same = (r for r in stored if (r["env"], r["kernel"]) == (env_name, label))
            rows += list(same)
            continue
        seeds = min(seeds, options.seeds)
        values = measure(env_name, kernel, hidden, floor, seeds, options.seed)
        rows.append({"env": env_name, "kernel": label, "published": published, **values})
        print(
            env_name, label, {k: round(float(v), 2) for k, v in values.items()}, flush=True
        )
    save("paper_control", options, rows)
    print(report(rows))


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the page's table."""
    return table(HEADER, [line(row) for row in rows])


HEADER = [
    "environment",
    "kernel",
    "runs",
    "mean reward ± sd of runs (sd of individuals)",
    "success",
    "published",
]


def line(row: dict[str, Any]) -> list[str]:
    """One line of the README's table."""
    return [
        row["env"],
        row["kernel"],
        str(row["seeds"]),
        f"{row['mean']:.1f} ± {row['sd_runs']:.1f} ({row['sd_individuals']:.1f})",
        f"{row['success_percent']:.1f} %",
        row["published"],
    ]


if __name__ == "__main__":
    main()
