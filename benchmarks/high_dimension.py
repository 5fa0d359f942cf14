"""Selection and diversity in high dimension: who selects, and who keeps every peak.

    python benchmarks/high_dimension.py

256 individuals, 50 generations on the cosine grid, fresh noise (eta 1), 16 runs, on peaks
of the squared distance in 2 to 128 dimensions, in unit scale:

* two peaks: at +0.5 and at -0.5 in every coordinate;
* four peaks: a sign for the first half of the coordinates, and one for the second;
* unequal peaks: two, that at -0.5 lower by 10 % of the squared distance between them;
* shifted sphere: one, at +0.5.

Judged by the final population, and nothing else: "error" is the squared distance to the
nearest peak for each dimension, mean over individuals and runs; "kept" counts the runs in
which every peak is nearest to at least 10 % of the individuals. Each is easy alone: who
never moves keeps every peak. The claims are tested on fresh seeds, four times as many; so
are ``for_several`` and two that are more guided.
"""

import argparse
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from common import FIGURES, arguments, load, save, stored, summary, table
from high_dimension_settings import FAR, GUIDED, SETTINGS, TRIED
from matplotlib.figure import Figure

import diffevo_jax as de

NAME = "high_dimension"
DIMS = (2, 8, 32, 128)
#: Signs of the first and the second half of the coordinates of every peak.
SIGNS = {
    "two peaks": [(1, 1), (-1, -1)],
    "four peaks": [(1, 1), (1, -1), (-1, 1), (-1, -1)],
    "unequal peaks": [(1, 1), (-1, -1)],
    "shifted sphere": [(1, 1)],
}
#: How much lower the other peaks are, in squared distances from the first.
LOWER = {"unequal peaks": 0.1}
#: A peak is kept by this share of the population.
SHARE = 0.1


class Claim(NamedTuple):
    """What is claimed: an error at most, and a share of the runs that is kept at least."""

    problem: str
    dim: int
    setting: str
    error: float
    kept: float


CLAIMS = (
    Claim("shifted sphere", 128, "default before guidance", error=0.12, kept=0.0),
    Claim("two peaks", 8, "perplexity 30, 2 components", error=0.01, kept=1.0),
    Claim("two peaks", 32, "perplexity 60, 2 components", error=0.06, kept=14 / 16),
    Claim("two peaks", 32, "perplexity 30, 2 components", error=0.06, kept=14 / 16),
    Claim("two peaks", 8, "perplexity 30, self, local", error=0.01, kept=1.0),
    Claim("two peaks", 32, "perplexity 30, self, local", error=0.06, kept=14 / 16),
)
#: Where the guided are compared.
CELLS = (
    ("two peaks", 8),
    ("two peaks", 32),
    ("two peaks", 128),
    ("four peaks", 8),
    ("four peaks", 32),
    ("unequal peaks", 8),
    ("unequal peaks", 32),
)
#: Of the figure: by the last of these in the name of a setting, and a marker for each.
COLOURS = {
    "": "#999999",
    "default": "#000000",
    "components": "#009E73",
    "self": "#0072B2",
    "local": "#D55E00",
}
MARKERS = "xos^dP*vD<>hXp8H"


def landscape(name: str, dim: int) -> tuple[de.problems.Function, jax.Array]:
    """A problem, and its peaks (K, D)."""
    first = jnp.arange(dim) < dim // 2
    peaks = jnp.stack([0.5 * jnp.where(first, a, b) for a, b in SIGNS[name]])
    drop = LOWER.get(name, 0.0) * jnp.sum((peaks - peaks[0]) ** 2, axis=1)

    def fitness(x: jax.Array) -> jax.Array:
        return jnp.max(-jnp.sum((x - peaks) ** 2, axis=1) - drop)

    return de.problems.Function(fitness, dim), peaks


def measure(
    setting: de.DiffusionEvolution, name: str, dim: int, keys: jax.Array, size: int
) -> dict[str, Any]:
    """Error and runs kept, of one compiled program."""
    problem, peaks = landscape(name, dim)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = de.evolve(key, setting, problem, population_size=size).population
        errors = jnp.stack([jnp.mean((x - peak) ** 2, axis=1) for peak in peaks])
        nearest = jax.nn.one_hot(jnp.argmin(errors, axis=0), len(peaks))
        return errors.min(axis=0).mean(), nearest.mean(axis=0).min()

    runs = jax.jit(jax.vmap(one), compiler_options=de.compiler_options())
    errors, shares = runs(keys)
    return {
        "population_size": size,
        "num_generations": setting.num_generations,
        "error": summary(errors),
        "kept": int((shares >= SHARE).sum()),
        "runs": len(keys),
    }


def jobs(quick: bool) -> Iterator[tuple[str, str, str, int, de.DiffusionEvolution, int]]:
    """Table, setting, problem, dimension, strategy, size; what is claimed comes first."""
    for problem, dim, name, *_ in CLAIMS:
        yield "claims", name, problem, dim, SETTINGS[name], 256
    for problem in SIGNS:
        for name, setting in list(SETTINGS.items())[:: 6 if quick else 1]:
            for dim in DIMS[:2] if quick else DIMS:
                yield "settings", name, problem, dim, setting, 256
    for name, (setting, size) in ({} if quick else TRIED).items():
        yield "tried", name, "two peaks", 128, setting, size
    for name, setting in ({} if quick else GUIDED).items():
        for problem, dim in CELLS if name == FAR else [c for c in CELLS if c[1] < 128]:
            yield "guided", name, problem, dim, setting, 256


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    fresh = jax.random.split(jax.random.key(options.seed + 1), 4 * options.seeds)
    rows = load(NAME) if options.only and stored(NAME) else []
    for *names, setting, size in jobs(options.quick):
        if options.only and not set(names) & set(options.only):
            continue
        start = time.perf_counter()
        row = dict(zip(("table", "setting", "problem", "dim"), names, strict=True))
        rows = [other for other in rows if not row.items() <= other.items()]
        drawn = fresh if row["table"] in ("claims", "guided") else keys
        row |= measure(setting, row["problem"], row["dim"], drawn, size)
        rows.append(row)
        print(*names, cell(row), f"{time.perf_counter() - start:.0f} s", flush=True)
        save(NAME, options, rows)
    return rows


def cell(row: dict[str, Any]) -> str:
    """Error and runs kept."""
    kept = f", {row['kept']}/{row['runs']}" * (len(SIGNS[row["problem"]]) > 1)
    return f"{row['error']['mean']:.3g}{kept}"


def claim_line(row: dict[str, Any]) -> list[str]:
    """A claim, what was measured, and whether it holds."""
    claim = next(c for c in CLAIMS if (c.problem, c.dim) == (row["problem"], row["dim"]))
    error, want = row["error"], math.ceil(claim.kept * row["runs"])
    holds = error["mean"] <= claim.error and row["kept"] >= want
    return [
        f"{claim.problem}, D = {claim.dim}: {row['setting']}",
        f"{error['mean']:.2g} ± {error['interval']:.1g}",
        f"{claim.error:g}",
        f"{row['kept']}/{row['runs']}" if want else "-",
        f"{want}/{row['runs']}" if want else "-",
        "yes" if holds else "no",
    ]


def tried_line(row: dict[str, Any]) -> list[str]:
    """What was tried, and what it gave."""
    size, generations = str(row["population_size"]), str(row["num_generations"])
    kept = f"{row['kept']}/{row['runs']}"
    return [row["setting"], size, generations, f"{row['error']['mean']:.3g}", kept]


def report(rows: list[dict[str, Any]]) -> str:
    """A table a problem (error, runs kept), then claims, what was tried, and guided."""
    names = ("table", "problem", "setting", "dim")
    cells = {tuple(row[name] for name in names): cell(row) for row in rows}
    parts = []
    for problem in SIGNS:
        lines = [
            [name, *(cells.get(("settings", problem, name, dim), "-") for dim in DIMS)]
            for name in SETTINGS
        ]
        parts.append(table([problem, *(f"D = {dim}" for dim in DIMS)], lines))
    header = ["claim, on fresh seeds", "error", "at most", "kept", "at least", "holds"]
    lines = [claim_line(row) for row in rows if row["table"] == "claims"]
    parts.append(table(header, lines))
    header = ["128 dimensions, two peaks: tried", "N", "generations", "error", "kept"]
    lines = [tried_line(row) for row in rows if row["table"] == "tried"]
    parts.append(table(header, lines))
    lines = [
        [
            f"{problem}, D = {dim}",
            *(cells.get(("guided", problem, name, dim), "-") for name in GUIDED),
        ]
        for problem, dim in CELLS
    ]
    parts.append(table(["with guidance, on fresh seeds", *GUIDED], lines))
    return "\n\n".join(parts)


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Two peaks: error against runs kept, one point a setting, one panel a dimension."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    shown = [r for r in rows if (r["table"], r["problem"]) == ("settings", "two peaks")]
    for axis, dim in zip(axes, DIMS[2:], strict=True):
        for row in (r for r in shown if r["dim"] == dim):
            name = row["setting"]
            colour = [COLOURS[part] for part in COLOURS if part in name][-1]
            marker = MARKERS[list(SETTINGS).index(name)]
            x, y = row["error"]["mean"], row["kept"] / row["runs"]
            style = {"color": colour, "markersize": 9, "alpha": 0.8, "clip_on": False}
            axis.plot(x, y, marker, label=name, **style)
        axis.set(title=f"two peaks, D = {dim}", xscale="log", ylim=(0, 1))
        axis.set_xlabel("mean squared error a dimension")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of runs that kept both peaks")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", frameon=False)
    return figure


def main() -> None:
    options = arguments(__doc__ or "", seeds=16, only="tables, settings or problems")
    rows = run(options)
    print(report(rows))
    if not options.quick:
        draw(rows).savefig(FIGURES / "high_dimension.png", dpi=130)


if __name__ == "__main__":
    main()
