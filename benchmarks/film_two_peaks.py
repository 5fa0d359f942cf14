"""The film of the two peaks: neighbourhoods shrink, and a population splits in two.

It is the run of ``figure_two_peaks.py``, one picture every third generation. As a GIF it
needs no program beside Pillow, which matplotlib brings.

    python benchmarks/film_two_peaks.py [--film FILE]
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from common import FIGURES
from figure_two_peaks import (
    COLORS,
    EXTENT,
    LEVELS,
    SEED,
    TINTS,
    distances,
    parted_neighbours,
    run,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import diffevo_jax as de
from diffevo_jax import plots

#: Of 100 generations; the first half of a linear grid is nearly all noise.
SHOWN = (1, *range(10, 52, 4), *range(53, 101, 2), 100)
MILLISECONDS, LAST = 120, 2500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--film", type=Path, default=FIGURES / "two_peaks.gif")
    options = parser.parse_args()
    save(frames(run(SEED)), options.film)


def frames(result: de.Result) -> list[Image.Image]:
    """One picture for each generation that is shown."""
    problem = de.published.landscape("two_peaks").problem
    start, end = jax.vmap(problem.space.decode)(
        result.recorded["population"][np.array([0, -1])]
    )
    home = np.argmin(distances(end), axis=-1)
    pair = parted_neighbours(np.asarray(start), home)
    tints = [TINTS[peak] for peak in home]
    made = []
    for generation in SHOWN:
        fig = Figure(figsize=(4.2, 4.65), dpi=100)
        ax = fig.add_axes((0.006, 0.005, 0.988, 0.892))
        plots.landscape(problem, EXTENT, ax=ax, levels=LEVELS)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.6")
        sigma = float(result.history.sigma[generation - 1])
        fig.text(0.02, 0.94, f"generation {generation}", va="center", fontsize=11)
        noise = (
            f"noise level σ = {sigma:,.2f}"
            if sigma < 100
            else f"noise level σ = {sigma:,.0f}"
        )
        fig.text(0.98, 0.94, noise, va="center", ha="right", fontsize=11)
        now = result.recorded["population"][generation - 1]
        plots.population(problem, now, ax=ax, color=tints, size=7)
        plots.trajectories(
            problem, result, pair, generations=[generation], ax=ax, colors=COLORS
        )
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
        made.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    return made


def save(pictures: list[Image.Image], film: Path) -> None:
    """Write them as a GIF of few colours, the same in all pictures."""
    width, height = pictures[0].size
    together = Image.new("RGB", (width, 3 * height), "white")
    for place, picture in enumerate(
        (pictures[0], pictures[len(pictures) // 2], pictures[-1])
    ):
        together.paste(picture, (0, place * height))
    palette = together.quantize(80, Image.Quantize.MAXCOVERAGE)
    few = [
        picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures
    ]
    few[0].save(
        film,
        save_all=True,
        append_images=few[1:],
        duration=[MILLISECONDS] * (len(few) - 1) + [LAST],
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    main()
