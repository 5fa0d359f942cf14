"""How many generations a schedule needs: seven lengths, three schedules, five landscapes.

    python benchmarks/paper_steps.py

The paper's two-dimensional protocol (population 512, eta 0.1, scale 4) with 5 to 100
generations on the linear, the DDPM and the cosine grid, 100 seeds. Judged by the mean
fitness of the best 64 of the final population; nothing but the population is evaluated.
"""

from typing import Any

import jax
from common import FIGURES, arguments, save, summary, table
from matplotlib.figure import Figure

import diffevo_jax as de

LANDSCAPES = ("rosenbrock", "beale", "himmelblau", "ackley", "rastrigin")
GRIDS = {"cosine": de.noise.Cosine(), "linear": de.noise.Linear(), "ddpm": de.noise.DDPM()}
STEPS = (5, 10, 15, 20, 25, 50, 100)
TICKS = (5, 10, 20, 50, 100)
TOP = 64


def measure(name: str, grid: de.Grid, steps: int, keys: jax.Array) -> dict[str, float]:
    """Mean fitness of the best 64 of the final population: mean, sd, interval."""
    strategy, problem, population_size = de.published.landscape(name, num_generations=steps)
    strategy = de.replace(strategy, grid=grid)

    def one(key: jax.Array) -> jax.Array:
        result = de.evolve(key, strategy, problem, population_size=population_size)
        return jax.lax.top_k(result.fitness, TOP)[0].mean()

    return summary(jax.jit(jax.vmap(one))(keys))


def verdict(rows: list[dict[str, Any]], name: str) -> list[str]:
    """Whether 10, 15 and 20 cosine steps reach 100 steps of the others."""
    values = {(r["grid"], r["steps"]): r for r in rows if r["landscape"] == name}
    cells = [name]
    for steps in (10, 15, 20, 100):
        row = values["cosine", steps]
        cells.append(f"{row['mean']:.3f} ± {row['interval']:.3f}")
    for grid in ("linear", "ddpm"):
        row = values[grid, 100]
        cells.append(f"{row['mean']:.3f} ± {row['interval']:.3f}")
    best = max((values["linear", 100], values["ddpm", 100]), key=lambda row: row["mean"])
    reached = [
        steps
        for steps in (10, 15, 20)
        if values["cosine", steps]["mean"] + values["cosine", steps]["interval"]
        >= best["mean"] - best["interval"]
    ]
    return [*cells, f"from {reached[0]}" if reached else "no"]


def draw(rows: list[dict[str, Any]]) -> Figure:
    """One panel a landscape, one line a grid."""
    figure = Figure(figsize=(13, 3.2), layout="constrained")
    axes = figure.subplots(1, len(LANDSCAPES), sharex=True)
    colours = {"cosine": "#0072B2", "linear": "#D55E00", "ddpm": "#009E73"}
    for axis, name in zip(axes, LANDSCAPES, strict=True):
        for grid, colour in colours.items():
            line = [r for r in rows if r["landscape"] == name and r["grid"] == grid]
            steps = [r["steps"] for r in line]
            means = [r["mean"] for r in line]
            low = [r["mean"] - r["interval"] for r in line]
            high = [r["mean"] + r["interval"] for r in line]
            axis.plot(steps, means, "o-", color=colour, label=grid, markersize=3)
            axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set(title=name, xscale="log", xlabel="generations")
        axis.set_xticks(TICKS, [str(steps) for steps in TICKS])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("mean fitness of the best 64")
    axes[0].legend(frameon=False)
    return figure


def main() -> None:
    options = arguments(__doc__ or "", seeds=100)
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    steps_list = STEPS[:2] + STEPS[-1:] if options.quick else STEPS
    rows: list[dict[str, Any]] = []
    for name in LANDSCAPES:
        for grid_name, grid in GRIDS.items():
            for steps in steps_list:
                value = measure(name, grid, steps, keys)
                rows.append({"landscape": name, "grid": grid_name, "steps": steps, **value})
                print(name, grid_name, steps, f"{value['mean']:.3f}", flush=True)
    if not options.quick:
        save("paper_steps", options, rows)
        FIGURES.mkdir(parents=True, exist_ok=True)
        draw(rows).savefig(FIGURES / "steps.png", dpi=130)
        print(report(rows))


def report(rows: list[dict[str, Any]]) -> str:
    """The table of the verdicts."""
    header = ["landscape", "cosine 10", "15", "20", "100", "linear 100", "ddpm 100"]
    return table([*header, "cosine reaches"], [verdict(rows, n) for n in LANDSCAPES])


if __name__ == "__main__":
    main()
