"""Films of populations: a generation a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffevo_jax.base import Problem
from diffevo_jax.plots.canvas import evenly
from diffevo_jax.plots.landscapes import landscape, population, recorded
from diffevo_jax.plots.writing import filmed
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.evolution import Result

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


@checked
def film(
    problem: Problem,
    result: Result,
    path: str | Path | None = None,
    *,
    generations: Sequence[int] = (),
    fps: int = 7,
    dpi: int = 80,
    ax: Axes | None = None,
) -> FuncAnimation:
    """Film a population on a landscape in two dimensions.

    Args:
        problem: see :func:`diffevo_jax.plots.landscape`.
        result: one run, with ``record=("population", "fitness")``.
        path: of a GIF, or of an MP4 where there is ffmpeg, which is written in whole or not
            at all; None writes nothing, as ``film.save("film.gif", writer="pillow")`` can
            do later.
        generations: one a frame, from 1; none given takes 25, evenly spaced.
        fps: frames a second.
        dpi: pixels an inch; the film is 4.5 inches wide and high, unless ``ax`` is given.
        ax: where to draw; None draws the landscape first.

    Raises:
        ValueError: something was not recorded, a generation is none of the run's, or the
            path cannot be written.
    """
    paths = recorded(problem, result, "population")
    fitness = np.ma.masked_invalid(recorded_fitness(result))
    frames = evenly(generations, 25, len(paths))
    ax = ax or landscape(problem).axes[0]
    figure = population(problem, result.recorded["population"][0], fitness[0], ax=ax)
    points, drawn = ax.collections[-1], ax
    points.set(clim=(fitness.min(), fitness.max()), alpha=None, antialiased=False)

    def draw(generation: int) -> Iterable[Artist]:
        points.set_offsets(paths[generation - 1])
        points.set_array(fitness[generation - 1])
        return [points, drawn.set_title(f"generation {generation} of {len(paths)}")]

    return filmed(figure, draw, frames, path, fps=fps, dpi=dpi)


def recorded_fitness(result: Result) -> np.ndarray:
    """The fitness (generations, N) that a run recorded."""
    if "fitness" not in result.recorded:
        raise ValueError("result: got no 'fitness', want record=('fitness', ...) in evolve")
    return np.asarray(result.recorded["fitness"])
