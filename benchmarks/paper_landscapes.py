"""Two-dimensional landscapes at the paper's protocol, beside reference numbers.

    python benchmarks/paper_landscapes.py

Population 512, 25 cosine generations, eta 0.1, scale 4, 100 seeds. For the best 64 of the
final population: the entropy of their cells (of edge 0.1, in bits) and their mean fitness,
where "best" is judged twice, as in the paper's code by the fitness of the clean estimate
x0_hat, and by the fitness of the individual x itself. The clean estimates are evaluated
here only to report them: 512 evaluations more a generation, which the algorithm does not
need. The reference numbers come from an independent implementation of the published
protocol in NumPy, with standard deviations of 12 runs.
"""

import math
from typing import Any

import jax
from common import arguments, save, summary, table

import diffevo_jax as de
from diffevo_jax import metrics

TOP = 64
REFERENCE_RUNS = 12
#: name: (entropy, its sd, f(x0), its sd, entropy by f(x), f(x)); 12 runs.
REFERENCE = {
    "rosenbrock": (5.88, 0.06, 0.890, 0.05, 5.88, 0.874),
    "beale": (5.50, 0.19, 0.970, 0.01, 5.46, 0.964),
    "himmelblau": (5.28, 0.22, 0.951, 0.02, 5.24, 0.934),
    "ackley": (5.66, 0.17, 0.778, 0.06, 5.65, 0.746),
    "rastrigin": (5.81, 0.07, 0.664, 0.04, 5.77, 0.624),
}
COLUMNS = ("entropy_x0", "fitness_x0", "entropy_x", "fitness_x", "mean_fitness", "qd_score")


def measure(name: str, seeds: int, seed: int) -> dict[str, jax.Array]:
    """All columns, one value a seed."""
    strategy, problem, population_size = de.published.landscape(name)

    def one(key: jax.Array) -> tuple[jax.Array, ...]:
        result = de.evolve(
            key,
            strategy,
            problem,
            population_size=population_size,
            record=("clean_estimate",),
        )
        assert isinstance(problem, de.problems.Landscape)
        x = problem.space.decode(result.population)
        # The estimate that led to the final population is that of the generation before.
        x0 = problem.space.decode(result.recorded["clean_estimate"][-2])
        by_x0, by_x = jax.vmap(problem.density)(x0), result.fitness
        return (
            metrics.entropy(metrics.top(x, by_x0, TOP)),
            jax.lax.top_k(by_x0, TOP)[0].mean(),
            metrics.entropy(metrics.top(x, by_x, TOP)),
            jax.lax.top_k(by_x, TOP)[0].mean(),
            by_x.mean(),
            metrics.qd_score(x, by_x, low=-4, high=4),
        )

    keys = jax.random.split(jax.random.key(seed), seeds)
    values = jax.jit(jax.vmap(one))(keys)
    return dict(zip(COLUMNS, values, strict=True))


def compare(name: str, ours: dict[str, Any], seeds: int) -> list[dict[str, Any]]:
    """The four columns beside the reference, with the bound of three standard errors."""
    entropy, entropy_sd, fitness, fitness_sd, entropy_x, fitness_x = REFERENCE[name]
    wanted = zip(
        COLUMNS[:4],
        (entropy, fitness, entropy_x, fitness_x),
        (entropy_sd, fitness_sd) * 2,
        strict=True,
    )
    rows = []
    for column, reference, sd in wanted:
        mine = summary(ours[column])
        bound = 3 * math.sqrt(sd**2 / REFERENCE_RUNS + mine["sd"] ** 2 / seeds)
        rows.append(
            {
                "landscape": name,
                "column": column,
                **mine,
                "reference": reference,
                "reference_sd": sd,
                "bound": bound,
                "agrees": abs(mine["mean"] - reference) < bound,
            }
        )
    return rows


def main() -> None:
    options = arguments(__doc__ or "", seeds=100)
    rows, others = [], {}
    for name in REFERENCE:
        ours = measure(name, options.seeds, options.seed)
        rows += compare(name, ours, options.seeds)
        others[name] = {column: summary(ours[column]) for column in COLUMNS[4:]}
    save("paper_landscapes", options, {"compared": rows, "others": others})
    print(report(rows))
    for name, values in others.items():
        print(name, {column: round(value["mean"], 3) for column, value in values.items()})
    extra = 512 * 24
    print(f"evaluations a run: {512 * 25}; the x0 columns would need {extra} more")


def report(rows: list[dict[str, Any]]) -> str:
    """The comparison as a table."""
    lines = [
        [
            row["landscape"],
            row["column"],
            f"{row['mean']:.3f} ± {row['sd']:.3f}",
            f"{row['reference']:.3f} ± {row['reference_sd']:.3f}",
            f"{abs(row['mean'] - row['reference']):.3f} < {row['bound']:.3f}",
            "yes" if row["agrees"] else "no",
        ]
        for row in rows
    ]
    header = ["landscape", "column", "ours", "reference", "difference < bound", "agrees"]
    return table(header, lines)


if __name__ == "__main__":
    main()
