"""Stagnation: whether it ends annealed runs too early, and what it saves on stuck ones.

    python benchmarks/stagnation.py [--only NAME ...]

Independent runs are let go to their end, and it is noted after which generation
``de.stops.Stagnation()`` would have ended each of them, and after which patience with the
mean alone, ``Stagnation(sigma=1e9)``, which does not know of the annealing. A stop is
premature if the mean fitness of the last generation of the run that was let go is more than
three standard errors of the difference above that of the generation that it stopped at. The
first rows are the published experiments, of ten generations and of more; the others are
stuck, from the start or since they have converged. Defaults were chosen on other seeds.
"""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, load, save, stored, table

import diffevo_jax as de
from diffevo_jax.running import plateaus, stops

STOPS = {
    "annealing": de.stops.Stagnation(),
    "mean alone": de.stops.Stagnation(sigma=1e9),
}
#: So many standard errors are no accident.
ERRORS = 3.0


@de.pytree.dataclass
class Measured:
    """All solutions are worth 0, measured with a deviation."""

    deviation: float = de.pytree.number(default=1.0)
    noisy: bool = de.pytree.static(default=True)

    @property
    def space(self) -> de.problems.Space:
        return de.problems.Space(jnp.zeros(8))

    def init(self, key: jax.Array) -> tuple[()]:
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: Any, solutions: jax.Array
    ) -> tuple[de.Evaluation, Any]:
        fitness = self.deviation * jax.random.normal(key, (len(solutions),))
        return de.Evaluation(fitness), problem_state


def cases() -> Iterator[tuple[str, Any, Any]]:
    """What is run: a name, a strategy and a problem."""
    for env_name in ("Acrobot-v1", "Pendulum-v1", "CartPole-v1"):
        experiment = de.published.control(env_name)
        for count in (10, 30):
            strategy = de.replace(experiment.strategy, num_generations=count)
            yield f"{env_name}, published", strategy, experiment.problem
    for count in (30, 100):
        for grid in (de.noise.Cosine(), de.DiffusionEvolution(1).grid):
            strategy = de.DiffusionEvolution(count, grid=grid)
            kind = type(grid).__name__
            yield f"flat, {kind}", strategy, Measured(0.0)
            yield f"noise alone, {kind}", strategy, Measured(1.0)
    problem = de.published.control("CartPole-v1").problem
    yield "CartPole-v1, default", de.DiffusionEvolution(30), problem


def measure(strategy: Any, problem: Any, size: int, seeds: int, seed: int) -> dict:
    """When each stop would have ended each run, and what it would have given away."""
    keys = jax.random.split(jax.random.key(2_121_000 + seed), seeds)
    total = strategy.num_generations
    codes = {
        name: stops.watcher(stop, strategy, problem, size, 1)
        for name, stop in STOPS.items()
    }
    after = {name: np.full(seeds, total) for name in STOPS}
    means, errors = [], []
    for count, result in enumerate(
        de.iterate(keys, strategy, problem, population_size=size), 1
    ):
        means.append(np.asarray(result.history.mean_fitness[:, -1], np.float64))
        errors.append(plateaus.standard_error(np.asarray(result.fitness)))
        for name, code in codes.items():
            fresh = (code(result) > 0) & (after[name] == total)
            after[name] = np.where(fresh, count, after[name])
    mean, error, runs = np.stack(means), np.stack(errors), np.arange(seeds)
    row: dict[str, Any] = {
        "generations": total,
        "seeds": seeds,
        "first": float(mean[0].mean()),
        "last": float(mean[-1].mean()),
    }
    for name, counts in after.items():
        lost = mean[-1] - mean[counts - 1, runs]
        noise = np.hypot(error[-1], error[counts - 1, runs])
        ended = counts < total
        row[name] = {
            "ended": int(ended.sum()),
            "premature": int((ended & (lost > ERRORS * noise)).sum()),
            "saved": float(1 - counts.mean() / total),
            "lost": float(lost.mean()),
            "errors": float((lost / np.maximum(noise, 1e-30)).max()),
        }
    return row


def main() -> None:
    options = arguments(__doc__ or "", seeds=32, only="names")
    known = load("stagnation") if options.only and stored("stagnation") else []
    rows = [row for row in known if row["what"] not in options.only]
    for name, strategy, problem in cases():
        if options.only and name not in options.only:
            continue
        if options.quick and strategy.num_generations > 10:
            continue
        begin = time.perf_counter()
        row = measure(strategy, problem, 256, options.seeds, options.seed)
        rows.append({"what": name} | row | {"seconds": time.perf_counter() - begin})
        print(rows[-1], flush=True)
    save("stagnation", options, rows)
    print(report(rows))


def line(row: dict[str, Any]) -> list[str]:
    """One line of the table."""
    own, other = row["annealing"], row["mean alone"]
    return [
        row["what"],
        str(row["generations"]),
        f"{row['first']:.4g} → {row['last']:.4g}",
        f"{own['ended']} of {row['seeds']}",
        str(own["premature"]),
        f"{100 * own['saved']:.0f} %",
        f"{other['ended']} of {row['seeds']}",
        str(other["premature"]),
    ]


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    head = [
        *("run", "generations", "mean, first → last", "ended early", "too early"),
        *("evaluations saved", "mean alone ends", "too early"),
    ]
    return table(head, [line(row) for row in rows])


if __name__ == "__main__":
    main()
