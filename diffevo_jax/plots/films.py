"""Films of populations: a generation a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffevo_jax.base import Problem
from diffevo_jax.plots.canvas import evenly
from diffevo_jax.plots.landscapes import landscape, population, recorded
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.evolution import Result

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes


@checked
def film(
    problem: Problem,
    result: Result,
    *,
    generations: Sequence[int] = (),
    ax: Axes | None = None,
) -> FuncAnimation:
    """Film a population: ``film(...).save("film.gif", writer="pillow", dpi=70)``.

    Args:
        problem: see :func:`landscape`.
        result: one run, with ``record=("population", "fitness")``.
        generations: one a frame; none given takes 25, evenly spaced.
        ax: where to draw; None draws the landscape first.
    """
    from matplotlib.animation import FuncAnimation

    paths = recorded(problem, result, "population")
    fitness = np.ma.masked_invalid(result.recorded["fitness"])
    ax = ax or landscape(problem).axes[0]
    figure = population(problem, result.recorded["population"][0], fitness[0], ax=ax)
    points = ax.collections[-1]
    points.set(clim=(fitness.min(), fitness.max()), alpha=None, antialiased=False)

    def draw(generation: int) -> list[Any]:
        points.set_offsets(paths[generation - 1])
        points.set_array(fitness[generation - 1])
        return [points, ax.set_title(f"generation {generation} of {len(paths)}")]

    return FuncAnimation(figure, draw, evenly(generations, 25, len(paths)), interval=150)
