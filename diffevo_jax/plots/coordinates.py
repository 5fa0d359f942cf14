"""Solutions in any number of dimensions: a line a solution, over its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from diffevo_jax.plots.canvas import blank
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.distinct import Solutions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked
def parallel_coordinates(found: Solutions, *, ax: Axes | None = None) -> Figure:
    """Draw solutions as lines, one a solution, over its numbers: where they differ.

    Every number has its own axis, from the least to the largest value in the list, which
    are written at its ends, categories in alphabetical order; the fitter, the brighter,
    and the fittest is drawn last.

    Args:
        found: of :func:`diffevo_jax.solutions`, of at least one.
        ax: where to draw.

    Example:
        >>> import numpy as np, diffevo_jax as de
        >>> points, fitness = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([3.0, 1.0])
        >>> named = {"x": points[:, 0], "y": points[:, 1]}
        >>> found = de.Solutions(points, points, named, fitness, violation=None,
        ...     measures=(), count=np.array([8, 8]), num_evaluations=0)
        >>> figure = de.plots.parallel_coordinates(found)
        >>> len(figure.axes[0].lines)  # one a solution
        2
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if not len(found):
        raise ValueError("found: got no solutions, want at least one")
    columns = {name: _on_axis(column) for name, column in found.named.items()}
    values = np.stack([places for places, _ in columns.values()], axis=1)
    low, high = values.min(axis=0), values.max(axis=0)
    heights = np.where(
        high > low, (values - low) / np.where(high > low, high - low, 1), 0.5
    )
    ax = ax or blank(max(4.0, 0.9 * len(columns) + 1.0), 3.4).add_subplot()
    x = np.arange(len(columns))
    ax.vlines(x, 0, 1, color="0.8", lw=1, zorder=0)
    shades = ScalarMappable(Normalize(found.fitness.min(), found.fitness.max()), "plasma")
    for row in range(len(found) - 1, -1, -1):
        color = shades.to_rgba(found.fitness[row])
        ax.plot(x, heights[row], "o-", color=color, lw=1.5, ms=3, alpha=0.85)
    for place, (_, names) in enumerate(columns.values()):
        for value, height, align in ((low, -0.04, "top"), (high, 1.04, "bottom")):
            end = value[place]
            text = f"{end:.3g}" if names is None else names[int(end)]
            ax.text(float(place), height, text, ha="center", va=align, fontsize=8)
    ax.set_xticks(x, list(columns), rotation=45 * (len(columns) > 8))
    ax.set(yticks=[], ylim=(-0.15, 1.15), xlim=(-0.5, len(x) - 0.5))
    ax.spines[["top", "right", "left", "bottom"]].set_visible(False)
    ax.figure.colorbar(shades, ax=ax, label="fitness")
    return cast("Figure", ax.figure)


def _on_axis(column: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Values (K,) on an axis; of categories their places, and the names of these."""
    if np.issubdtype(column.dtype, np.number):
        return np.asarray(column, float), None
    names, places = np.unique(column.astype(str), return_inverse=True)
    return places.astype(float), names.tolist()
