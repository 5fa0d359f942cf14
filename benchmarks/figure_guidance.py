"""The two figures of fitness guidance.

    python benchmarks/figure_guidance.py

``guidance.png``: two peaks, and what their population answers: plain mean, weighted mean,
and what is beyond. ``guidance_curve.png``: error against diversity with guidance as the
parameter of a curve, from ``results/guidance.json``.
"""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, RESULTS
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import plots
from diffevo_jax.plots.canvas import BLUE, ORANGE

SEED, SIZE, GUIDANCE = 4, 128, 1.0
PEAKS = np.array([[-1.5, -1.5], [1.5, 1.5]])
GENERATIONS, SHOWN = 12, (1, 3, 6, 9)
EXTENT = (-2.6, 2.6, -2.6, 2.6)
#: Means of an individual: the guidance that answers with them, colour and name.
ARROWS = (
    (-1.0, "0.45", "to the plain mean $m_1$"),
    (0.0, BLUE, "on to the weighted mean $m_w$"),
    (GUIDANCE, ORANGE, "and as far again: the guided answer"),
)
CURVES = {"several": BLUE, "default": ORANGE}
LABELS = {"several": "for_several", "default": "the default"}


def problem() -> de.problems.Function:
    """Two peaks of the squared distance."""

    def fitness(x: jax.Array) -> jax.Array:
        return -jnp.min(jnp.sum((x - PEAKS) ** 2, axis=1))

    return de.problems.Function(fitness, dim=2)


def film() -> Figure:
    """A column a generation: who was evaluated, and the answers of some of them."""
    what = problem()
    strategy = de.DiffusionEvolution(
        GENERATIONS,
        de.denoisers.Population(
            de.kernels.Perplexity(20.0), de.shaping.Standardized(0.5), guidance=GUIDANCE
        ),
        grid=de.noise.VE(0.1, 8.0),
    )
    key = jax.random.key(SEED)
    figure = Figure(figsize=(11.0, 3.4), layout="constrained")
    columns = figure.subplots(1, len(SHOWN))
    _, key_population, key_strategy = de.setup_keys(key)
    x = what.space.sample(key_population, SIZE)
    state = de.init(strategy, key_strategy, x)
    for generation in range(GENERATIONS):
        keys = de.generation_keys(key, generation)
        candidates, state = de.ask(strategy, keys[0], state)
        fitness = jax.vmap(what.fn)(candidates)
        sigma = state.sigma
        state, _ = de.tell(strategy, keys[2], state, candidates, fitness)
        if generation + 1 in SHOWN:
            axis = columns[SHOWN.index(generation + 1)]
            draw_answers(axis, what, strategy, state, np.asarray(candidates), sigma)
            axis.set_title(f"generation {generation + 1}, $\\sigma$ = {float(sigma):.2g}")
    handles = [
        columns[0].plot([], [], color=color, lw=2, label=name)[0]
        for _, color, name in ARROWS
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(ARROWS), frameon=False
    )
    return figure


def draw_answers(
    axis: Axes,
    what: de.Problem,
    strategy: de.DiffusionEvolution,
    state: Any,
    candidates: np.ndarray,
    sigma: jax.Array,
) -> None:
    """The evaluated population, and the answers of four of it."""
    plots.landscape(what, EXTENT, ax=axis)
    plots.population(what, candidates, ax=axis, color="0.5", size=6)
    y = candidates * de.noise.canonical_scale(sigma)
    few = chosen(candidates)
    starts = candidates[few]
    for guidance, color, _ in ARROWS:
        denoiser = de.replace(strategy.denoiser, guidance=guidance)
        ends = np.asarray(denoiser.denoise(state.denoiser, y, sigma).clean)[few]
        for start, end in zip(starts, ends, strict=True):
            style = {"arrowstyle": "-|>", "color": color, "lw": 1.8, "shrinkA": 0}
            axis.annotate(
                "", end, start, arrowprops=style | {"shrinkB": 0, "mutation_scale": 9}
            )
        starts = ends
    axis.scatter(*candidates[few].T, s=26, c="white", edgecolors="black", zorder=6)
    axis.scatter(*PEAKS.T, s=60, marker="+", c="black", zorder=4)
    axis.set(xticks=[], yticks=[], xlim=EXTENT[:2], ylim=EXTENT[2:])
    axis.spines[:].set_color("0.6")


def chosen(candidates: np.ndarray) -> np.ndarray:
    """Four individuals, as far from each other as can be, of those within the picture."""
    inside = np.flatnonzero(np.abs(candidates).max(axis=1) < 2.4)
    few = [inside[np.argmax(np.abs(candidates[inside]).sum(axis=1))]]
    for _ in range(3):
        apart = np.linalg.norm(candidates[inside, None] - candidates[few], axis=-1)
        few.append(inside[np.argmax(apart.min(axis=1))])
    return np.array(few)


def curve(rows: dict[str, Any]) -> Figure:
    """Error against runs that keep both of two peaks; guidance along the curves."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, dim in zip(axes, ("8", "32"), strict=True):
        for name, color in CURVES.items():
            points = []
            for key, row in rows.items():
                stage, *words = key.split(" | ")
                if stage == "curve" and words[1:3] == [dim, name]:
                    kept = row["kept"] / row["runs"]
                    points.append((float(words[3]), row["error"]["mean"], kept))
            guidance, error, kept = zip(*sorted(points), strict=True)
            axis.plot(
                error, kept, "o-", color=color, label=LABELS[name], ms=5, clip_on=False
            )
            for at, x, y in zip(guidance, error, kept, strict=True):
                axis.annotate(
                    f"{at:g}", (x, y), xytext=(0, 6), textcoords="offset points",
                    ha="center", fontsize=8, color=color,
                )  # fmt: skip
        axis.set(title=f"two peaks, D = {dim}", xscale="log", ylim=(-0.02, 1.08))
        axis.set_xlabel("mean squared error a dimension")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of runs that keep both peaks")
    axes[0].legend(frameon=False, loc="center left", title="number: guidance")
    return figure


def main() -> None:
    film().savefig(FIGURES / "guidance.png", dpi=130)
    rows = json.loads((RESULTS / "guidance.json").read_text())["rows"]
    curve(rows).savefig(FIGURES / "guidance_curve.png", dpi=130)


if __name__ == "__main__":
    main()
