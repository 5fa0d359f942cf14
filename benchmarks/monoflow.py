"""MonoFlow as an evolution strategy beside Diffusion Evolution, at equal evaluations.

    python benchmarks/monoflow.py [--only SETTING or TASK ...]

The tasks are those of the study of the design space (``design_tasks.py``): the published
landscapes, Rastrigin and Ackley off the origin in 2 to 64 dimensions, and CartPole. Every
setting gets the same populations, 20 of them for each problem, and a score with a range of
one. MonoFlow's default was chosen on four of these tasks, on other seeds; Diffusion
Evolution is the library's default, the same with much guidance, what it was before
guidance, and as published. "peaks" is the share of Himmelblau's
four peaks that have a twentieth of the final population within 0.5.

A gain is the mean paired difference to the default of before guidance, with the half width
of its 95 % interval, all in points: hundredths of the range.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, load, save, stored, summary, table
from design_settings import build, published
from design_space import measure
from design_tasks import SCALE, TASKS, Task, ackley, functions, landscape, rastrigin
from guidance_settings import before, much
from matplotlib.figure import Figure

import diffevo_jax as de

NAME = "monoflow"
REFERENCE = "before guidance"
GUIDED = {"default": de.DiffusionEvolution, "much guidance": much}
CHOSEN = {
    name: TASKS[name]
    for name in ("suite", "2 dims", "8 dims", "64 dims", "CartPole 10", "CartPole 25")
} | {"32 dims": landscape(functions(32, rastrigin, ackley), 2)}
CONTROL = ("CartPole 10", "CartPole 25")
ORDER = ("suite", "peaks", "2 dims", "8 dims", "32 dims", "64 dims", *CONTROL)
PEAKS = ((3.0, 2.0), (-2.80512, 3.13131), (-3.77931, -3.28319), (3.58443, -1.84813))
#: MonoFlow's settings: the default, and one field of it changed.
CHANGES: dict[str, dict[str, Any]] = {
    "MonoFlow": {},
    "MonoFlow, power 0": {"density_power": 0.0},
    "MonoFlow, power 1": {"density_power": 1.0},
    "MonoFlow, exact kernel": {"ratio": de.flows.KernelRatio(de.kernels.Gaussian())},
    "MonoFlow, forward KL": {"divergence": de.flows.ForwardKL()},
    "MonoFlow, discriminator": {"ratio": de.flows.Discriminator((32, 32))},
    "MonoFlow, generator": {"generator": de.flows.Generator((32, 32))},
}
SETTINGS = (REFERENCE, *GUIDED, "as published", *CHANGES)


def strategy(setting: str, task: str) -> Any:
    """The strategy of a setting for a task."""
    generations = task_of(task).num_generations
    if setting == REFERENCE:
        return before(generations)
    if setting in GUIDED:
        return GUIDED[setting](generations)
    if setting == "as published":
        return build(published("suite" if task == "peaks" else task), generations)
    return de.MonoFlow(generations, **CHANGES[setting])


def task_of(name: str) -> Task:
    """The task; that of the peaks is of the suite."""
    return CHOSEN["suite" if name == "peaks" else name]


def peaks_kept(made: Any, seed: int, seeds: int) -> np.ndarray:
    """Share of the four peaks at which a run ends, (seeds,)."""
    problem = de.problems.Landscape("himmelblau", scale=SCALE)

    def one(key: jax.Array) -> jax.Array:
        result = de.evolve(key, made, problem, population_size=256)
        points = problem.space.decode(result.population)
        near = jnp.linalg.norm(points[:, None] - jnp.array(PEAKS), axis=-1) < 0.5
        return jnp.mean(jnp.mean(near, axis=0) >= 0.05)

    keys = jax.random.split(jax.random.key(seed), seeds)
    return np.asarray(jax.jit(jax.vmap(one))(keys))


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    rows = load(NAME) if options.only and stored(NAME) else []
    for setting in SETTINGS[:: 2 if options.quick else 1]:  # what is learned is last
        for task in ORDER[: 2 if options.quick else None]:
            names = {"task": task, "setting": setting}
            if options.only and not set(names.values()) & set(options.only):
                continue
            start = time.perf_counter()
            made = strategy(setting, task)
            if task == "peaks":
                scores = peaks_kept(made, options.seed, options.seeds)
            else:
                scores = measure([made], CHOSEN[task], options.seed, options.seeds)[0]
            rows = [row for row in rows if not names.items() <= row.items()]
            rows.append(names | {"scores": [round(float(one), 5) for one in scores]})
            spent = time.perf_counter() - start
            print(task, setting, f"{scores.mean():.4f} ({spent:.0f} s)", flush=True)
            save(NAME, options, rows)
    return rows


def by_name(rows: list[dict[str, Any]]) -> dict[tuple[str, str], np.ndarray]:
    """Scores (problems x seeds,) by task and setting."""
    return {(row["task"], row["setting"]): np.array(row["scores"]) for row in rows}


def gain(scores: Any, task: str, setting: str) -> dict[str, float] | None:
    """Mean paired gain over the reference, over seeds: problems are averaged first."""
    both = [scores.get((task, name)) for name in (setting, REFERENCE)]
    if any(one is None for one in both):
        return None
    problems = 1 if task == "peaks" else max(CHOSEN[task].count, 1)
    return summary(100 * (both[0] - both[1]).reshape(problems, -1).mean(axis=0))


def report(rows: list[dict[str, Any]]) -> str:
    """The mean score of the reference, and the gain of all others."""
    scores, lines = by_name(rows), []
    for setting in SETTINGS:
        line = [setting]
        for task in ORDER:
            got, mean = gain(scores, task, setting), scores.get((task, setting))
            if got is None or mean is None:
                line.append("-")
            elif setting == REFERENCE:
                line.append(f"{100 * mean.mean():.1f}")
            else:
                line.append(f"{got['mean']:+.1f} ± {got['interval']:.1f}")
        lines.append(line)
    return table(["score, then gains", *ORDER], lines)


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Gains over the reference: a panel a task, a row a setting."""
    scores, others = by_name(rows), SETTINGS[1:]
    figure = Figure(figsize=(14, 3.4), layout="constrained")
    axes = figure.subplots(1, len(ORDER), sharey=True)
    for axis, task in zip(axes, ORDER, strict=True):
        for place, setting in enumerate(others):
            got = gain(scores, task, setting)
            if got is not None:
                colour = "#D55E00" if setting == "MonoFlow" else "#0072B2"
                axis.errorbar(
                    got["mean"], -place, xerr=got["interval"], fmt="o", color=colour
                )
        axis.axvline(0.0, color="#999999", linewidth=1)
        axis.set(title=task, yticks=[-i for i in range(len(others))], yticklabels=others)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("gain over Diffusion Evolution before guidance, in points")
    return figure


def main() -> None:
    options = arguments(__doc__ or "", seeds=20, only="settings or tasks")
    rows = run(options)
    print(report(rows))
    if not options.quick:
        draw(rows).savefig(FIGURES / f"{NAME}.png", dpi=130)


if __name__ == "__main__":
    main()
