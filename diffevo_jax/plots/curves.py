"""Learning curves: fitness over generations."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from diffevo_jax.base import Info
from diffevo_jax.plots.canvas import BLUE, ORANGE, blank
from diffevo_jax.pytree.annotations import checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked
def learning_curve(
    history: Info, *, ax: Axes | None = None, title: str = "", noisy: bool = False
) -> Figure:
    """Draw fitness over generations: the typical run, and how far the runs spread.

    The line is the median over runs of the mean fitness, the bands its quartiles and its
    extremes; dashed is the median of the best fitness of each generation.

    Args:
        history: of a result; leaves are (generations,) or (runs, generations).
        ax: where to draw.
        title: above the axes.
        noisy: whether fitness depends on luck: then the best of a generation is the
            luckiest, and is left out.
    """
    mean, best = map(np.atleast_2d, (history.mean_fitness, history.best_fitness))
    if mean.ndim != 2:
        raise ValueError(f"history: got shape {mean.shape}, want (runs, generations)")
    ax = ax or blank(6.0, 3.4).add_subplot()
    x, runs = np.arange(1, mean.shape[1] + 1), len(mean)
    with np.errstate(invalid="ignore"):  # -inf where every evaluation failed: a gap
        low, first, median, third, high = np.quantile(mean, np.linspace(0, 1, 5), axis=0)
        best = np.median(best, axis=0)
    if runs > 1:
        ax.fill_between(x, low, high, color=BLUE, alpha=0.12, lw=0, label="all runs")
        ax.fill_between(x, first, third, color=BLUE, alpha=0.3, lw=0, label="quartiles")
    label = "mean fitness" + f", median of {runs} runs" * (runs > 1)
    ax.plot(x, median, color=BLUE, lw=2, label=label)
    if not noisy:
        ax.plot(x, best, color=ORANGE, lw=1.5, ls="--", label="best fitness")
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="generation", ylabel="fitness", title=title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    return cast("Figure", ax.figure)
