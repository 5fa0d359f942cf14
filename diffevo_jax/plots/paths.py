"""Paths of individuals: where they go, and where they are drawn to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from diffevo_jax.base import Problem
from diffevo_jax.noise import canonical_scale
from diffevo_jax.plots.canvas import BLUE, GREEN, INK, ORANGE, Colors, evenly, palette
from diffevo_jax.plots.landscapes import (
    check_individuals,
    check_kappa,
    decoded,
    landscape,
    recorded,
)
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.running.evolution import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked
def trajectories(
    problem: Problem,
    result: Result,
    individuals: Sequence[Index] = (0,),
    *,
    generations: Sequence[int] = (),
    kappa: float = 1.0,
    ax: Axes | None = None,
    colors: Colors = (ORANGE, BLUE, GREEN, INK),
) -> Figure:
    """Draw the paths of individuals, where they are drawn to, and whom they listen to.

    An arrow leads from an individual to its clean estimate. A disc is one deviation of its
    kernel, ``sigma / sqrt(kappa)`` with ``sigma = sqrt(1 - alpha_bar) / sqrt(alpha_bar)``,
    around ``y = x / sqrt(alpha_bar)``, where the kernel compares it with the others: an
    individual at its edge has ``exp(-1/2)`` of the weight that one at ``y`` would have.

    Args:
        problem: see :func:`landscape`.
        result: one run, with ``record=("population", "clean_estimate")``.
        individuals: whom to follow.
        generations: where to draw arrows and discs; none given takes five, evenly spaced.
        kappa: factor of the kernel on squared distances, > 0: 1 of ``Gaussian()`` and, in
            two dimensions, of the default. Kernels with a bandwidth for each individual
            have no such disc.
        ax: where to draw; None draws the landscape first.
        colors: of the individuals in turn: names, or an array (K, 3).

    Raises:
        ValueError: something was not recorded, kappa is not positive, or a colour, a
            generation or an individual is none.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("two_peaks", scale=1.5)
        >>> record = ("population", "clean_estimate")
        >>> result = de.evolve(jax.random.key(0), de.DiffusionEvolution(4), problem,
        ...     population_size=16, record=record)
        >>> figure = de.plots.trajectories(problem, result, [0, 1], generations=[1, 4])
        >>> len(figure.axes[0].patches)  # discs of two individuals in two generations
        4
    """
    from matplotlib.patches import Ellipse

    check_kappa(kappa)
    paths, clean = (recorded(problem, result, n) for n in ("population", "clean_estimate"))
    check_individuals(individuals, paths.shape[1])
    ax = ax or landscape(problem).axes[0]
    zero, one = decoded(problem, [[0.0, 0.0], [1.0, 1.0]])
    rounds = np.subtract(evenly(generations, 5, len(paths)), 1)
    hues = palette(colors)
    arrow = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
    for n, i in enumerate(individuals):
        color = hues[n % len(hues)]
        ax.plot(*paths[: rounds[-1] + 1, i].T, color=color, lw=1.1, alpha=0.8, zorder=3)
        for g in rounds:
            x, sigma = paths[g, i], float(result.history.sigma[g])
            centre = zero + (x - zero) * float(canonical_scale(sigma))
            size = 2 * sigma / np.sqrt(kappa) * (one - zero)
            ax.add_patch(Ellipse(centre, *size, fc=(color, 0.12), ec=(color, 0.6)))
            if np.linalg.norm(clean[g, i] - x) > 0.02 * np.ptp(ax.get_xlim()):
                ax.annotate("", clean[g, i], x, arrowprops=arrow)
            ax.plot(*x, "o", color=color, mec="white", ms=6, zorder=6)
    return cast("Figure", ax.figure)
