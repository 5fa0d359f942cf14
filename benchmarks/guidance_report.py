"""The tables of the study of fitness guidance, from what is stored."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from common import table
from design_tasks import FRESH, TASKS

#: Beside the default, on fresh seeds.
OTHERS = {
    "much guidance": "much guidance",
    "Gaussian fit": "Gaussian fit, guidance 4",
    "several": "for_several",
    "published": "as published",
    "MonoFlow": "MonoFlow",
    "CMA-ES": "CMA-ES (evosax)",
    "Diffusion Evolution, latent": "Diffusion Evolution (evosax, latent)",
}
#: A default may nowhere lose more points than this.
TOLERATED = 1.0


def report(rows: Any) -> str:
    """All tables; parts that are not measured yet are left out."""
    made = fresh, peaks, choosing, grids, options, longer, noise, cost
    return "\n\n".join(part for make in made if (part := make(rows)))


def scores(rows: Any, task: str, name: str) -> np.ndarray | None:
    """In points, of every run: the mean over the problems of a task; None if not there."""
    row = rows.get(f"fresh | {task} | {name}")
    if row is None:
        return None
    problems = max((TASKS | FRESH)[task].count, 1)
    return 100 * np.array(row).reshape(problems, -1).mean(axis=0)


def fresh(rows: Any) -> str:
    """The default beside that of before, paired, and beside others."""
    tasks = [
        task
        for task in TASKS | FRESH
        if all(scores(rows, task, name) is not None for name in ("default", "before"))
    ]
    if not tasks:
        return ""
    # Two-sided, Bonferroni: all intervals hold together in 95 of 100 studies.
    width = NormalDist().inv_cdf(1 - 0.025 / len(tasks))
    lines = []
    for task in tasks:
        ours, theirs = scores(rows, task, "default"), scores(rows, task, "before")
        gain = ours - theirs
        error = gain.std(ddof=1) / math.sqrt(len(gain))
        low, high = gain.mean() - width * error, gain.mean() + width * error
        verdict = "better" if low > 0 else "worse" if high < 0 else "even"
        if low < -TOLERATED:
            verdict += f", may lose more than {TOLERATED:g}"
        others = [scores(rows, task, name) for name in OTHERS]
        lines.append(
            [
                task + " (set apart)" * (task in FRESH),
                str(len(gain)),
                f"{theirs.mean():.1f}",
                f"**{ours.mean():.1f}**",
                f"{gain.mean():+.1f} ± {2 * error:.1f}",
                f"{low:+.1f}",
                verdict,
                *("-" if other is None else f"{other.mean():.1f}" for other in others),
            ]
        )
    head = ["task", "runs", "default of before", "default", "gain ± 2 se", "at least"]
    return table([*head, "verdict", *OTHERS.values()], lines)


def peaks(rows: Any) -> str:
    """Error a dimension, and runs that keep every peak."""
    names = {
        "several": "for_several",
        "several, 60 neighbours": "for_several, 60 neighbours, guidance 6",
        "default": "default",
        "much guidance": "much guidance",
        "before": "default of before",
        "MonoFlow": "MonoFlow",
    }
    found: dict[tuple[str, str], dict[str, str]] = {}
    for key, row in rows.items():
        stage, *words = key.split(" | ")
        if stage == "peaks":
            problem, dim, name = words
            cell = f"{row['error']['mean']:.2g}, {row['kept']}/{row['runs']}"
            found.setdefault((problem, dim), {})[name] = cell
    if not found:
        return ""
    lines = [
        [f"{problem}, D = {dim}", *(cells.get(name, "-") for name in names)]
        for (problem, dim), cells in found.items()
    ]
    kept = {name: rows.get(f"himmelblau | {name}") for name in names}
    cells = [f"{4 * np.mean(v):.1f} of 4" if v else "-" for v in kept.values()]
    lines.append(["Himmelblau's minima with a twentieth of all, 25 generations", *cells])
    return table(["error a dimension, runs that keep all", *names.values()], lines)


def choosing(rows: Any) -> str:
    """The best score of each guidance, and the temperature that it wants."""
    kernel, sampler = "tempered 2", "DDIM 1"
    tasks = [task for task in TASKS if f"choosing | {task} | {kernel} | {sampler}" in rows]
    if not tasks:
        return ""
    lines = []
    first = rows[f"choosing | {tasks[0]} | {kernel} | {sampler}"]
    for at, guidance in enumerate(first["axes"]["guidance"]):
        line = [f"{guidance:g}"]
        for task in tasks:
            row = rows[f"choosing | {task} | {kernel} | {sampler}"]
            mean = np.array(row["mean"])[at]
            _, temperature = np.unravel_index(mean.argmax(), mean.shape)
            best = row["axes"]["shaping.temperature"][temperature]
            line.append(f"{mean.max():.1f} ({best:g})")
        lines.append(line)
    text = "The best score of each guidance among noise ranges, and its temperature:"
    return f"{text}\n\n{table(['guidance', *tasks], lines)}"


def grids(rows: Any) -> str:
    """The default on other grids, without guidance, with its own, and with more."""
    found: dict[str, dict[str, str]] = {}
    for key, row in rows.items():
        stage, *words = key.split(" | ")
        if stage == "grids":
            task, grid = words
            for guidance, mean, error in zip(
                row["axes"]["guidance"], row["mean"], row["se"], strict=True
            ):
                cell = f"{mean:.1f} ± {2 * error:.1f}"
                found.setdefault(grid, {})[f"{task}, {guidance:g}"] = cell
    if not found:
        return ""
    columns = list(next(iter(found.values())))
    lines = [
        [grid, *(cells.get(name, "-") for name in columns)] for grid, cells in found.items()
    ]
    text = "The default on other grids, by task and guidance (± 2 standard errors):"
    return f"{text}\n\n{table(['grid', *columns], lines)}"


def options(rows: Any) -> str:
    """What was tried beside one number."""
    found = {key.split(" | ")[1]: row for key, row in rows.items() if key[:7] == "options"}
    if not found:
        return ""
    first = next(iter(found.values()))
    lines = [
        [name, *(f"{row[name][0]:.1f} ± {2 * row[name][1]:.1f}" for row in found.values())]
        for name in first
    ]
    text = "Options beside one number, with guidance 1 and 2 (± 2 standard errors):"
    return f"{text}\n\n{table(['option, guidance', *found], lines)}"


def longer(rows: Any) -> str:
    """Points that are missing to the optimum, with more generations."""
    name = lambda task, generations, setting: (f"{task}: {setting}", generations)
    return means(rows, "longer", "points that are missing", "{} generations", name)


def noise(rows: Any) -> str:
    """Error under noise of the fitness."""
    name = lambda dim, level, guidance: (f"D = {dim}, noise {level}", guidance)
    return means(rows, "noise", "error a dimension on a sphere", "guidance {}", name)


def means(rows: Any, stage: str, head: str, column: str, name: Any) -> str:
    """A stage's means: ``name`` makes of a row's words its line and its number."""
    found: dict[str, dict[str, str]] = {}
    for key, row in rows.items():
        first, *words = key.split(" | ")
        if first == stage:
            line, number = name(*words)
            found.setdefault(line, {})[number] = f"{row['mean']:.3g}"
    if not found:
        return ""
    numbers = sorted({n for cells in found.values() for n in cells}, key=float)
    lines = [[line, *(cells.get(n, "-") for n in numbers)] for line, cells in found.items()]
    return table([head, *map(column.format, numbers)], lines)


def cost(rows: Any) -> str:
    """Milliseconds of the estimate."""
    lines = []
    for key, row in rows.items():
        stage, *words = key.split(" | ")
        if stage == "cost":
            times = [f"{row['unguided']:.3g}", f"{row['guided']:.3g}"]
            lines.append([*words, *times, f"{row['ratio']:.2f}"])
    if not lines:
        return ""
    return table(["N", "D", "unguided, ms", "guided, ms", "ratio"], lines)
