"""Neighbourhoods: whom an individual listens to, and where it is drawn to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Problem
from diffevo_jax.noise import canonical_scale
from diffevo_jax.plots.canvas import (
    BLUE,
    DASHES,
    GREEN,
    INK,
    ORANGE,
    Colors,
    evenly,
    palette,
)
from diffevo_jax.plots.landscapes import (
    check_individuals,
    check_kappa,
    decoded,
    landscape,
    recorded,
)
from diffevo_jax.plots.writing import filmed
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.running.evolution import Result

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Neighbourhood(NamedTuple):
    """Whom an individual hears: a disc, or a ball in more than two dimensions.

    Attributes:
        centre: (D,) where the individual asks.
        radius: how far it hears.
        heard: (N,) bool, who is inside.
    """

    centre: np.ndarray
    radius: float
    heard: np.ndarray


@checked
def neighbourhood(
    population: npt.ArrayLike, individual: Index, sigma: float, kappa: float = 1.0
) -> Neighbourhood:
    """The neighbourhood of an individual in a generation.

    Individual i asks at ``y = x_i / sqrt(alpha_bar)``, and the kernel weighs j with
    ``exp(-kappa |y - x_j|^2 / (2 sigma^2))``. Heard is whose weight is at least
    ``exp(-1/2)`` of the largest: who is within ``sqrt(d^2 + sigma^2 / kappa)`` of y, where
    d is how far the nearest is. While sigma is large y is far from everyone and all are
    heard; in the end d is 0, and the radius one deviation of the kernel.

    Args:
        population: (N, D) in unit scale.
        individual: i.
        sigma: noise level of the generation.
        kappa: of the kernel, > 0; the larger, the smaller the neighbourhood.

    Raises:
        ValueError: kappa is not positive.

    Example:
        >>> from diffevo_jax.plots.neighbourhoods import neighbourhood
        >>> neighbourhood([[0.0], [0.4], [0.6]], 0, sigma=0.5).heard.tolist()
        [True, True, False]
        >>> neighbourhood([[0.0], [0.4], [0.6]], 0, sigma=100.0).heard.tolist()
        [True, True, True]
    """
    check_kappa(kappa)
    points = np.asarray(population, float)
    centre = points[individual] * float(canonical_scale(sigma))
    squares = ((points - centre) ** 2).sum(axis=-1)
    reach = squares.min() + sigma**2 / kappa
    return Neighbourhood(centre, float(np.sqrt(reach)), squares <= reach)


@checked
def neighbourhood_film(
    problem: Problem,
    result: Result,
    individuals: Sequence[Index] = (0,),
    path: str | Path | None = None,
    *,
    generations: Sequence[int] = (),
    kappa: float = 1.0,
    fps: int = 7,
    dpi: int = 80,
    colors: Colors = (ORANGE, BLUE, GREEN, INK),
    ax: Axes | None = None,
) -> FuncAnimation:
    """Film the neighbourhoods of individuals, which shrink as the noise level falls.

    A disc is around where an individual asks, ``y = x / sqrt(alpha_bar)``. Points in it are
    heard, and coloured: their kernel is at least ``exp(-1/2)`` of the nearest one's
    (:func:`diffevo_jax.plots.neighbourhoods.neighbourhood`). In the end its radius is one
    deviation of the kernel, ``sigma / sqrt(kappa)``; in the beginning it holds everyone.
    An individual has its index beside it. The line is its way so far, and the arrow leads
    to its clean estimate, if that was recorded.

    Args:
        problem: see :func:`diffevo_jax.plots.landscape`.
        result: one run, with ``record=("population", "clean_estimate")``, of which the
            second may be missing.
        individuals: whom to follow.
        path: of a GIF, or of an MP4 where there is ffmpeg, which is written in whole or not
            at all; None writes nothing.
        generations: one a frame, from 1; none given takes 25, evenly spaced.
        kappa: factor of the kernel on squared distances, > 0: 1 of ``Gaussian()`` and, in
            two dimensions, of the default. Kernels with a bandwidth for each individual
            have no such disc.
        fps: frames a second.
        dpi: pixels an inch; the film is 4.5 inches wide and high, unless ``ax`` is given.
        colors: of the individuals in turn: names, or an array (K, 3).
        ax: where to draw; None draws the landscape first.

    Raises:
        ValueError: the population was not recorded, kappa is not positive, a generation or
            an individual is none of the run's, or the path cannot be written.
    """
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import withStroke

    check_kappa(kappa)
    paths = recorded(problem, result, "population")
    pulls = "clean_estimate" in result.recorded
    clean = recorded(problem, result, "clean_estimate") if pulls else None
    check_individuals(individuals, paths.shape[1])
    frames = evenly(generations, 25, len(paths))
    drawn = ax or landscape(problem).axes[0]
    ax_limits = drawn.get_xlim(), drawn.get_ylim()
    zero, one = decoded(problem, [[0.0, 0.0], [1.0, 1.0]])
    units = np.asarray(result.recorded["population"])
    sigmas = np.asarray(result.history.sigma, float)
    x, y = paths[0].T
    everyone = drawn.scatter(x, y, 8, c="0.35", alpha=0.7, lw=0, zorder=2)
    hues = palette(colors)
    halo = withStroke(linewidth=2.5, foreground="white")
    followed = []
    for n, i in enumerate(individuals):
        color, dashes = hues[n % len(hues)], DASHES[n % len(DASHES)]
        disc = Ellipse((0, 0), 0, 0, fc=(color, 0.1), ec=color, ls=dashes, lw=1.6, zorder=3)
        rings = drawn.scatter([], [], 16.0 + 22.0 * n, lw=1.2, zorder=4 - 0.1 * n)
        rings.set(edgecolor=color, facecolor=color if n == 0 else "none")
        way = drawn.plot([], [], color=color, lw=1.1, ls=dashes, zorder=5)[0]
        point = drawn.plot([], [], "o", color=color, mec="white", ms=9, zorder=6)[0]
        arrow = drawn.annotate(
            "",
            (0, 0),
            (0, 0),
            arrowprops={"arrowstyle": "->", "color": INK, "shrinkA": 0, "shrinkB": 0},
            zorder=7,
        )
        name = drawn.annotate(str(i), (0, 0), (6, 6), textcoords="offset points", zorder=8)
        name.set(color=color, fontsize=9, weight="bold", path_effects=[halo])
        drawn.add_patch(disc)
        followed.append((i, disc, rings, way, point, arrow, name))
    drawn.set(xlim=ax_limits[0], ylim=ax_limits[1])

    def draw(generation: int) -> Iterable[Artist]:
        g, told = generation - 1, []
        everyone.set_offsets(paths[g])
        for i, disc, rings, way, point, arrow, name in followed:
            near = neighbourhood(units[g], i, float(sigmas[g]), kappa)
            told.append(f"{i} hears {near.heard.sum()}")
            x = paths[g, i]
            disc.set_center(zero + near.centre * (one - zero))
            disc.width, disc.height = 2 * near.radius * (one - zero)
            rings.set_offsets(paths[g][near.heard])
            way.set_data(*paths[:generation, i].T)
            point.set_data(*x[:, None])
            name.xy = tuple(x)
            arrow.set_visible(clean is not None)
            if clean is not None:
                arrow.xy = tuple(clean[g, i])
                arrow.set_position(tuple(x))
        words = f"generation {generation} of {len(paths)}, σ = {sigmas[g]:.3g}"
        drawn.set_title(f"{words}\n{', '.join(told)} of {len(units[g])}", fontsize=10)
        return drawn.get_children()

    figure = cast("Figure", drawn.figure)
    return filmed(figure, draw, frames, path, fps=fps, dpi=dpi)
