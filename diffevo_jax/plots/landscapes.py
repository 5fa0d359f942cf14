"""Landscapes in two dimensions, and populations on them.

Populations are given in unit scale, as results hold them, and drawn in the units of the
solutions; generations count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Problem
from diffevo_jax.plots.canvas import BLUE, blank
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.surfaces import heights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked
def landscape(
    problem: Problem,
    extent: Sequence[float] | None = None,
    *,
    ax: Axes | None = None,
    levels: Sequence[float] | None = None,
) -> Figure:
    """Draw the fitness of a two-dimensional problem: the darker, the fitter.

    Args:
        problem: its solutions are vectors (2,); anything else raises ValueError.
        extent: left, right, bottom, top; None is the box, or two deviations each way.
        ax: where to draw.
        levels: fitness values between the greys; None takes twelve even steps.

    Example:
        >>> import diffevo_jax as de
        >>> problem = de.problems.Landscape("two_peaks", scale=1.5)
        >>> figure = de.plots.landscape(problem)  # figure.savefig("two_peaks.png") keeps it
        >>> [float(end) for end in figure.axes[0].get_xlim()]  # two deviations each way
        [-3.0, 3.0]
    """
    space = problem.space
    if (shapes := space.layout.shapes) != ((2,),):
        raise ValueError(f"problem: got solutions of shapes {shapes}, want ((2,),)")
    ax = ax or blank(4.5, 4.5).add_subplot()
    whole = decoded(problem, [[-2.0, -2.0], [2.0, 2.0]])
    if space.bounded:
        edges = jax.tree.leaves((space.lower, space.upper))
        whole = np.stack([np.broadcast_to(edge, 2) for edge in edges])
    if extent is not None and len(extent) != 4:
        raise ValueError(f"extent: got {extent}, want left, right, bottom and top")
    left, right, bottom, top = whole.T.ravel() if extent is None else extent
    x, y = np.linspace(left, right, 200), np.linspace(bottom, top, 200)
    height = np.ma.masked_invalid(heights(problem, x, y))
    if levels is None:
        levels = np.linspace(height.min(), float(height.max()) + 1e-9, 13).tolist()
    greys = [str(grey) for grey in np.linspace(1.0, 0.62, len(levels) - 1)]
    ax.contourf(x, y, height, levels=levels, colors=greys)
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    return cast("Figure", ax.figure)


@checked
def population(
    problem: Problem,
    population: npt.ArrayLike,
    fitness: npt.ArrayLike | None = None,
    *,
    ax: Axes | None = None,
    color: npt.ArrayLike = BLUE,
    size: float = 9.0,
) -> Figure:
    """Draw a population, coloured by fitness.

    Args:
        problem: see :func:`landscape`.
        population: (N, 2) in unit scale.
        fitness: (N,), from dark (low) to bright (high); None takes ``color``.
        ax: where to add the points; None draws the landscape first.
        color: a colour, or N of them.
        size: area of a point, in square points.

    Example:
        >>> import numpy as np, diffevo_jax as de
        >>> problem = de.problems.Landscape("two_peaks", scale=1.5)
        >>> points = np.random.default_rng(0).normal(size=(32, 2))
        >>> figure = de.plots.population(problem, points, fitness=points[:, 0])
        >>> len(figure.axes[0].collections[-1].get_offsets())
        32
    """
    ax = ax or landscape(problem).axes[0]
    x, y = decoded(problem, population).T
    colors: dict[str, Any] = (
        {"c": color} if fitness is None else {"c": fitness, "cmap": "plasma"}
    )
    ax.scatter(x, y, size, lw=0, alpha=0.85, zorder=2, **colors)
    return cast("Figure", ax.figure)


def decoded(problem: Problem, points: npt.ArrayLike) -> np.ndarray:
    """Points (N, 2) in unit scale, in the units of the solutions."""
    return np.asarray(jax.tree.leaves(problem.space.decode(jnp.asarray(points)))[0])


def recorded(problem: Problem, result: Result, name: str) -> np.ndarray:
    """What a run recorded under a name, (generations, N, 2)."""
    return populations_of(problem, result.recorded.get(name), name)


def populations_of(
    problem: Problem, points: npt.ArrayLike | None, name: str = "population"
) -> np.ndarray:
    """Points (generations, N, 2) in unit scale, in the units of the solutions."""
    if points is None:
        raise ValueError(f"result: got no {name!r}, want record=({name!r}, ...) in evolve")
    values = np.asarray(points)
    if values.ndim != 3 or values.shape[-1] != 2 or not values.size:
        want = "want one run, (generations, N, 2)"
        raise ValueError(f"result: got {name} of shape {values.shape}, {want}")
    return np.stack([decoded(problem, generation) for generation in values])


def check_individuals(individuals: Sequence[int], count: int) -> None:
    """Raise ValueError if one is not in a population of so many."""
    if wrong := [i for i in individuals if not 0 <= i < count]:
        raise ValueError(f"individuals: got {wrong[0]}, want 0 to {count - 1}")


def check_kappa(kappa: float) -> None:
    """Raise ValueError unless it is a factor of a kernel: finite, and above 0."""
    if not 0 < kappa < np.inf:
        raise ValueError(f"kappa: got {kappa}, want a number > 0")
