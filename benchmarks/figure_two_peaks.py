"""The figure of the two peaks: evolution, and the diffusion that it reverses.

A population that starts anywhere splits into two groups, one for each peak. The published
setting: 512 individuals, 100 generations, linear grid, eta 0.1 (arXiv:2410.02543, fig. 2).

    python benchmarks/figure_two_peaks.py                    # the figure, then the numbers
    python benchmarks/figure_two_peaks.py --json FILE        # and save the numbers
    python benchmarks/figure_two_peaks.py --quick            # 4 seeds
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, provenance
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import plots
from diffevo_jax.plots.canvas import BLUE, ORANGE

SEED = 42  # of the published figure
PEAKS = np.array([[-1.0, -1.0], [1.0, 1.0]])
RADIUS = 0.5  # of a peak, in the units of the solutions
NEAR, EACH, TARGET = 0.97, 0.10, 0.95
GENERATIONS = (1, 51, 81, 96, 100)
EXTENT = (-3.2, 3.2, -3.2, 3.2)
COLORS = (ORANGE, BLUE)
TINTS = ("#EAA783", "#82B4D8")
CAPTIONS = {
    "Evolution →": "Two neighbours of the first generation end on different peaks. "
    "Arrow: estimated clean point. Disc: whom it listens to.",
    "← Diffusion": "The reverse: the last generation, noised to the level of each column. "
    "Colour: the peak that is home in the end.",
}
LEVELS = (0.0, 1e-6, 1e-4, 10**-2.5, 10**-1.5, 10**-0.7, 10**-0.3, 1.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument(
        "--figure", type=Path, default=FIGURES / "two_peaks.png", help="file for the figure"
    )
    parser.add_argument("--quick", action="store_true", help="few seeds")
    parser.add_argument("--seeds", type=int, default=100, help="independent runs")
    options = parser.parse_args()
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(run(SEED)).savefig(options.figure, dpi=200, pil_kwargs={"optimize": True})
    numbers = measure(4 if options.quick else options.seeds)
    report(numbers)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")


def run(seed: int) -> de.Result:
    """One run, with all that the figure shows."""
    strategy, problem, size = de.published.landscape("two_peaks")
    record = ("population", "clean_estimate")
    key = jax.random.key(seed)
    return de.evolve(key, strategy, problem, population_size=size, record=record)


def draw(result: de.Result) -> Figure:
    """Evolution above, diffusion below; the noise level is the same in each column."""
    problem = de.published.landscape("two_peaks").problem
    decode = jax.vmap(problem.space.decode)
    start, end = decode(result.recorded["population"][np.array([0, -1])])
    home = np.argmin(distances(end), axis=-1)
    pair = parted_neighbours(np.asarray(start), home)
    tints = [TINTS[peak] for peak in home]
    fig, rows = canvas(problem)
    for above, below, generation in zip(*rows, GENERATIONS, strict=True):
        sigma = result.history.sigma[generation - 1]
        title(above, generation, float(sigma))
        now = result.recorded["population"][generation - 1]
        plots.population(problem, now, ax=above, color=tints, size=5)
        plots.trajectories(
            problem, result, pair, generations=[generation], ax=above, colors=COLORS
        )
        noisy = de.noise.diffuse(jax.random.key(0), result.population, sigma)
        plots.population(problem, noisy, ax=below, color=tints, size=5)
        followed = problem.space.decode(noisy)[np.array(pair)]
        below.scatter(*followed.T, s=36, c=COLORS, edgecolors="white", zorder=6)
    for peak, color in enumerate(COLORS):
        text, place = f"{np.mean(home == peak):.0%}", PEAKS[peak] * 1.75
        rows[0, -1].text(*place, text, color=color, ha="center", va="center", fontsize=10)
    return fig


def canvas(problem: de.Problem) -> tuple[Figure, Any]:
    """An empty figure with its landscapes and words, and its axes (2, columns)."""
    fig = Figure(figsize=(9.0, 4.62))
    rows = fig.subplots(2, len(GENERATIONS))
    fig.subplots_adjust(
        left=0.004, right=0.996, top=0.842, bottom=0.008, wspace=0.04, hspace=0.2
    )
    for ax in rows.flat:
        plots.landscape(problem, EXTENT, ax=ax, levels=LEVELS)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.6")
    for height, (name, text) in zip((0.972, 0.409), CAPTIONS.items(), strict=True):
        fig.text(0.004, height, name, fontsize=11, weight="bold", va="center")
        fig.text(0.124, height, text, fontsize=9, va="center", color="0.3")
    return fig, rows


def parted_neighbours(start: np.ndarray, home: np.ndarray) -> list[int]:
    """The two that start closest and end on different peaks, in the order of these."""
    apart = np.linalg.norm(start[:, None] - start[None], axis=-1)
    apart[home[:, None] == home] = np.inf
    pair = np.array(np.unravel_index(np.argmin(apart), apart.shape))
    return pair[np.argsort(home[pair])].tolist()


def title(ax: Axes, generation: int, sigma: float) -> None:
    """The generation, and both names of its noise level."""
    alpha_bar = 1.0 / (1.0 + sigma**2)
    digits = 2 if alpha_bar < 0.99 else 4
    text = rf"$\bar\alpha$ = {alpha_bar:.{digits}f}   $\sigma$ = {sigma:.2f}"
    if sigma > 100:
        powers = (round(np.log10(number)) for number in (alpha_bar, sigma))
        text = r"$\bar\alpha$ = $10^{{{}}}$   $\sigma$ = $10^{{{}}}$".format(*powers)
    style = {"transform": ax.transAxes, "ha": "center", "va": "baseline", "fontsize": 9}
    ax.text(0.5, 1.14, f"generation {generation}", **style)
    ax.text(0.5, 1.04, text, **style)


def distances(points: Any) -> Any:
    """Distance of points (..., 2) to each peak, (..., 2)."""
    return jnp.linalg.norm(points[..., None, :] - PEAKS, axis=-1)


def measure(num_seeds: int) -> dict[str, Any]:
    """Where the population ends, for many seeds in one program."""
    strategy, problem, size = de.published.landscape("two_peaks")

    def shares(key: jax.Array) -> jax.Array:
        result = de.evolve(key, strategy, problem, population_size=size)
        near = distances(problem.space.decode(result.population)) < RADIUS
        return jnp.mean(near, axis=0)

    keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
    begin = time.perf_counter()
    on_peak = np.asarray(jax.jit(jax.vmap(shares))(keys), dtype=float)
    seconds = time.perf_counter() - begin
    near, lesser = on_peak.sum(axis=1), on_peak.min(axis=1)
    return {
        "claim": f"in {TARGET:.0%} of the seeds, >= {NEAR:.0%} of the population within "
        f"{RADIUS} of a peak and >= {EACH:.0%} on each",
        "num_seeds": num_seeds,
        "seeds_that_meet_it": int(np.sum((near >= NEAR) & (lesser >= EACH))),
        "seeds_near": int(np.sum(near >= NEAR)),
        "seeds_on_each": int(np.sum(lesser >= EACH)),
        "share_near": spread(near),
        "share_on_lesser_peak": spread(lesser),
        "share_on_each_peak_by_seed": on_peak.round(4).tolist(),
        "population_size": size,
        "num_generations": strategy.num_generations,
        "strategy": repr(strategy),
        "seconds_with_compilation": round(seconds, 2),
        "provenance": provenance(),
    }


def spread(values: np.ndarray) -> dict[str, float]:
    """Lowest, median, mean and highest."""
    functions = (np.min, np.median, np.mean, np.max)
    names = ("lowest", "median", "mean", "highest")
    pairs = zip(names, functions, strict=True)
    return {name: round(float(function(values)), 4) for name, function in pairs}


def report(numbers: dict[str, Any]) -> None:
    """Print the numbers."""
    seeds, met = numbers["num_seeds"], numbers["seeds_that_meet_it"]
    near, lesser = numbers["share_near"], numbers["share_on_lesser_peak"]
    print(
        f"within {RADIUS} of a peak: median {near['median']:.1%}, "
        f"lowest {near['lowest']:.1%} of the population"
    )
    print(
        f"on the lesser peak: median {lesser['median']:.1%}, lowest {lesser['lowest']:.1%}"
    )
    print(f">= {NEAR:.0%} near a peak: {numbers['seeds_near']} of {seeds} seeds")
    print(f">= {EACH:.0%} on each peak: {numbers['seeds_on_each']} of {seeds} seeds")
    verdict = "met" if met >= TARGET * seeds else "NOT met"
    print(f"both: {met} of {seeds} seeds (target {TARGET:.0%}: {verdict})")
    print(f"{numbers['seconds_with_compilation']} s on {numbers['provenance']['device']}")


if __name__ == "__main__":
    main()
