"""Paths of individuals: where they go, and where they are drawn to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from diffevo_jax.base import Problem
from diffevo_jax.noise import canonical_scale
from diffevo_jax.plots.canvas import BLUE, GREEN, INK, ORANGE, evenly
from diffevo_jax.plots.landscapes import check_individuals, decoded, landscape, recorded
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
    ax: Axes | None = None,
    colors: Sequence[str] = (ORANGE, BLUE, GREEN, INK),
) -> Figure:
    """Draw the paths of individuals, where they are drawn to, and whom they listen to.

    An arrow leads from an individual to its clean estimate. A disc is its neighbourhood,
    one deviation ``sigma = sqrt(1 - alpha_bar) / sqrt(alpha_bar)`` of the exact kernel
    around ``y = x / sqrt(alpha_bar)``, where the kernel compares it with the others.

    Args:
        problem: see :func:`landscape`.
        result: one run, with ``record=("population", "clean_estimate")``.
        individuals: whom to follow.
        generations: where to draw arrows and discs; none given takes five, evenly spaced.
        ax: where to draw; None draws the landscape first.
        colors: of the individuals in turn.
    """
    from matplotlib.patches import Ellipse

    paths, clean = (recorded(problem, result, n) for n in ("population", "clean_estimate"))
    check_individuals(individuals, paths.shape[1])
    ax = ax or landscape(problem).axes[0]
    zero, one = decoded(problem, [[0.0, 0.0], [1.0, 1.0]])
    rounds = np.subtract(evenly(generations, 5, len(paths)), 1)
    arrow = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
    for n, i in enumerate(individuals):
        color = colors[n % len(colors)]
        ax.plot(*paths[: rounds[-1] + 1, i].T, color=color, lw=1.1, alpha=0.8, zorder=3)
        for g in rounds:
            x, sigma = paths[g, i], float(result.history.sigma[g])
            centre = zero + (x - zero) * float(canonical_scale(sigma))
            size = 2 * sigma * (one - zero)
            ax.add_patch(Ellipse(centre, *size, fc=(color, 0.12), ec=(color, 0.6)))
            if np.linalg.norm(clean[g, i] - x) > 0.02 * np.ptp(ax.get_xlim()):
                ax.annotate("", clean[g, i], x, arrowprops=arrow)
            ax.plot(*x, "o", color=color, mec="white", ms=6, zorder=6)
    return cast("Figure", ax.figure)
