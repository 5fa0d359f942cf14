"""CartPole on fresh seeds: how many policies balance the pole after few generations.

    python benchmarks/cartpole.py [--only SETTING ...]

The success of a run is the share of its last population that keeps the pole up for all 500
steps. The library's default, what it was before fitness guidance, a sampler of second
order, and a simple setting with a fixed temperature, beside the published one on the same
keys; the gain is paired. Nothing was chosen on these keys.
"""

from typing import Any

import jax
import numpy as np
from common import arguments, load, save, stored, summary, table
from guidance_settings import before

import diffevo_jax as de

GENERATIONS = (5, 7, 10, 25)
#: What the last population shall reach, in percent.
WANTED = {7: 96.0, 10: 98.0}


def strategies(num_generations: int) -> dict[str, de.DiffusionEvolution]:
    """The settings, by name."""
    published = de.published.control("CartPole-v1").strategy
    published = de.replace(published, num_generations=num_generations)
    return {
        "published": published,
        "default": de.DiffusionEvolution(num_generations),
        "before guidance": before(num_generations),
        "before guidance, 2M, temperature 0.3": de.replace(
            before(num_generations),
            sampler=de.samplers.DPMSolver2M(eta=1.0),
            temperature=0.3,
        ),
        "kappa 1 / 58, temperature 30": de.replace(
            published,
            kernel=de.kernels.Gaussian(1 / 58),
            shaping=de.shaping.Boltzmann(30.0),
        ),
    }


def measure(strategy: de.DiffusionEvolution, keys: jax.Array) -> dict[str, np.ndarray]:
    """Success and mean return of the last population, in percent, one number a run."""
    experiment = de.published.control("CartPole-v1")

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = de.evolve(
            key,
            strategy,
            experiment.problem,
            population_size=experiment.population_size,
            final=0,
        )
        return (~result.measures.terminated).mean(), result.fitness.mean() / 500

    runs = jax.jit(jax.vmap(one), compiler_options=de.compiler_options())
    success, reward = (100 * np.asarray(part, float) for part in runs(keys))
    return {"success": success, "return": reward}


def rows(options: Any) -> list[dict[str, Any]]:
    """One for every number of generations and setting; kept, if it is not asked for."""
    only = options.only
    known = load("cartpole") if only and stored("cartpole") else []
    found = []
    # Keys that no study of this folder uses.
    keys = jax.random.split(jax.random.key(2_026_000 + options.seed), options.seeds)
    for num_generations in GENERATIONS:
        runs = {
            name: measure(strategy, keys)
            for name, strategy in strategies(num_generations).items()
            if not only or name in (*only, "published")
        }
        found += [
            row
            for row in known
            if row["generations"] == num_generations and row["setting"] not in runs
        ]
        for name, values in runs.items():
            gain = values["success"] - runs["published"]["success"]
            row = {
                "generations": num_generations,
                "setting": name,
                "seeds": options.seeds,
                "gain": summary(gain),
                **{what: summary(numbers) for what, numbers in values.items()},
            }
            found.append(row)
            print(line(row), flush=True)
    return found


def line(row: dict[str, Any]) -> list[str]:
    """One line of the table."""
    success, gain = row["success"], row["gain"]
    wanted = WANTED.get(row["generations"])
    shown = f"{gain['mean']:+.1f} ± {gain['interval']:.1f}"
    return [
        str(row["generations"]),
        row["setting"],
        f"{success['mean']:.1f} ± {success['interval']:.1f} %",
        "-" if wanted is None else f"{wanted:.0f} %",
        "-" if row["setting"] == "published" else shown,
        f"{5 * row['return']['mean']:.1f}",
    ]


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as a table; intervals of 95 %."""
    head = ["generations", "setting", "success", "wanted", "paired gain", "mean return"]
    return table(head, [line(row) for row in rows])


def main() -> None:
    options = arguments(__doc__ or "", seeds=256, only="settings")
    measured = rows(options)
    save("cartpole", options, measured)
    print(report(measured))


if __name__ == "__main__":
    main()
