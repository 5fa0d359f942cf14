"""Films of populations: a generation a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Problem
from diffevo_jax.plots.canvas import Numbers, evenly
from diffevo_jax.plots.landscapes import landscape, population, populations_of
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
    result: Result | Numbers,
    path: str | Path | None = None,
    *,
    fitness: npt.ArrayLike | None = None,
    generations: Sequence[int] = (),
    fps: int = 7,
    dpi: int = 80,
    ax: Axes | None = None,
) -> FuncAnimation:
    """Film a population on a landscape in two dimensions.

    Args:
        problem: see :func:`diffevo_jax.plots.landscape`.
        result: one run, with ``record=("population", "fitness")``; or populations
            (generations, N, 2) in unit scale, as ``de.loggers.read_populations`` has them.
        path: of a GIF, or of an MP4 where there is ffmpeg, which is written in whole or not
            at all; None writes nothing, as ``film.save("film.gif", writer="pillow")`` can
            do later.
        fitness: (generations, N) of such populations, which colours them.
        generations: one a frame, from 1; none given takes 25, evenly spaced.
        fps: frames a second.
        dpi: pixels an inch; the film is 4.5 inches wide and high, unless ``ax`` is given.
        ax: where to draw; None draws the landscape first.

    Raises:
        ValueError: something was not recorded, a shape is wrong, a generation is none of
            the run's, or the path cannot be written.

    Example:
        >>> import numpy as np, tempfile, diffevo_jax as de
        >>> problem = de.problems.Landscape("himmelblau")
        >>> populations = np.random.default_rng(0).normal(size=(3, 8, 2))
        >>> film = de.plots.film(problem, populations, tempfile.mkdtemp() + "/film.gif")
    """
    if isinstance(result, Result):
        if fitness is not None:
            raise ValueError("fitness: got some, want none, as a result has its own")
        fitness = recorded_fitness(result)
        units = result.recorded.get("population")
    else:
        units = np.asarray(result)
    paths = populations_of(problem, units)
    if fitness is not None and np.shape(fitness) != paths.shape[:2]:
        got = np.shape(fitness)
        raise ValueError(f"fitness: got shape {got}, want {paths.shape[:2]}")
    worth = None if fitness is None else np.ma.masked_invalid(fitness)
    frames = evenly(generations, 25, len(paths))
    ax = ax or landscape(problem).axes[0]
    first = None if worth is None else worth[0]
    figure = population(problem, np.asarray(units)[0], first, ax=ax)
    points, drawn = ax.collections[-1], ax
    points.set(alpha=None, antialiased=False)
    if worth is not None:
        points.set_clim(worth.min(), worth.max())

    def draw(generation: int) -> Iterable[Artist]:
        points.set_offsets(paths[generation - 1])
        if worth is not None:
            points.set_array(worth[generation - 1])
        return [points, drawn.set_title(f"generation {generation} of {len(paths)}")]

    return filmed(figure, draw, frames, path, fps=fps, dpi=dpi)


def recorded_fitness(result: Result) -> np.ndarray:
    """The fitness (generations, N) that a run recorded."""
    if "fitness" not in result.recorded:
        raise ValueError("result: got no 'fitness', want record=('fitness', ...) in evolve")
    return np.asarray(result.recorded["fitness"])
